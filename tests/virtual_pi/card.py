"""The second disk of the virtual Pi: checkouts, what they need without a network, and what is said in the room."""

import hashlib
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np

from device.demo.voices import RATE, say
from tests.virtual_pi.tree import CHECKOUT, cache, copy, format_disk, made, remove, run

SAYINGS = {"wake": "hey jarvis", "time": "hey jarvis, what time is it", "story": "hey jarvis, tell me a story"}
VOICE = "flite:slt"
LEAD_S, TAIL_S = 0.3, 0.5
CARD_MB = 1536


def checkout(folder: Path) -> None:
    """The work tree as git sees it, with what is not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, capture_output=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    for name in filter(None, listed.decode().split("\0")):
        source, target = CHECKOUT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def changed(folder: Path, source: Path, file: str, addition: str) -> None:
    """A copy of `source` with `addition` at the end of one file."""
    copy(source, folder)
    with (folder / file).open("a") as changing:
        changing.write(addition)


def sounds(folder: Path) -> None:
    """What people say, as WAV files of 16 kHz."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in SAYINGS.items():
        quiet = [np.zeros(int(RATE * seconds), np.int16) for seconds in (LEAD_S, TAIL_S)]
        pcm = np.concatenate((quiet[0], say(text, VOICE), quiet[1]))
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
            file.writeframes(pcm.astype("<i2").tobytes())


def downloads(tree: Path, scratch: Path) -> Path:
    """What install.sh --download fetches for the system in `tree`."""
    source = scratch / "source"
    checkout(source)
    pins = [
        (source / name).read_bytes() for name in ("services/requirements.lock", "install.sh", "device/install/flash.sh")
    ]
    name = f"offline-{tree.name}-{hashlib.sha256(b''.join(pins)).hexdigest()[:12]}"

    def make(part: Path) -> None:
        room = cache() / "download"
        remove(room)
        try:
            copy(tree, room)
            # Whom this machine trusts, and where its pip looks: the system below `room` knows only Debian's way.
            for path in map(Path, ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")):
                if path.exists():
                    (room / path.relative_to("/")).unlink(missing_ok=True)
                    shutil.copy(path, room / path.relative_to("/"))
            run(source / "install.sh", "--root", room, "--download", part)
        finally:
            remove(room)

    return made(name, make)


def image(room: Path, fetched: Path) -> Path:
    """The disk's image, made in the folder `room` for each run: it holds the checkout as it is now."""
    content = room / "card"
    remove(content)
    checkout(content / "checkout")
    changed(content / "next", content / "checkout", "CHANGELOG.md", "\nThe virtual Pi's update.\n")
    changed(content / "broken", content / "checkout", "device/app.py", '\nraise RuntimeError("broken on purpose")\n')
    sounds(content / "sounds")
    run("cp", "-r", fetched, content / "offline")
    card = room / "card.img"
    format_disk(content, card, CARD_MB)
    remove(content)
    return card
