"""Waits for the sound cards and turns the controls of the board's card to its values; earshot-mixer.service runs it before
each start of the speaker. A card that comes back on the USB has its own values.

What the owner has set is theirs: where /var/lib/alsa/asound.state knows the card and is newer than the choice of the board,
udev has had alsactl restore it (at boot, and when the card came), and the controls are left alone. The system writes that file
when it is shut down; `sudo alsactl store` does so at once.

The system's Python runs it, with nothing but the standard library: it is in the way of a speaker that comes back.
"""

import re
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

from device.boards import BOARDS, Board, Mixer

CARD_S = 30.0
"""A card may come so long after the boot. The speaker then says itself what is missing, and is started again."""
CONTROL_S = 1.0
"""A USB card may be there before all of its controls."""
_TICK_S = 0.2
_COMMAND_S = 5.0
_HARDWARE = re.compile(r"(?:plug)?hw:(?:CARD=)?([A-Za-z]\w*)")
_CARD = re.compile(r"^ *(\d+) \[.*?\]: .*? - (.*)$", re.MULTILINE)
_PCM = re.compile(r"^0*(\d+)-0*(\d+): .*? : (.*?) : ", re.MULTILINE)
_ALSA_FILES = ("usr/share/alsa/alsa.conf", "etc/alsa/conf.d/*.conf", "etc/asound.conf")
"""They make PCMs that belong to no card, or to any."""


def main(root: Path = Path("/"), card_s: float = CARD_S) -> int:
    """Wait up to `card_s` seconds and set what can be set; always 0. What cannot be is a line on standard error."""
    cards = root / "proc/asound"
    for name in sorted(_missing(root, _named(root), card_s)):
        _say(f"The sound card {name} is not there. Is it plugged in? Those that are: cat /proc/asound/cards")
    board = _board(root)
    card = next((card for card in board.cards if (cards / card).exists()), None) if board else None
    if board and card and board.mixer and not _is_restored(root, card):
        # When a card comes, udev has alsactl give it the values of the last shutdown: ours come after them.
        _run("udevadm", "settle", "--timeout=3")
        for control, why in _set(card, board.mixer).items():
            _say(f"{card}: the control {control!r} cannot be set: {why}")
    return 0


def _board(root: Path) -> Board | None:
    """The board that install.sh found or was told of."""
    try:
        return BOARDS.get((root / "etc/earshot/board").read_text().strip())
    except (OSError, UnicodeDecodeError):
        return None


def _is_restored(root: Path, card: str) -> bool:
    """Whether alsactl gives the card values that are younger than the choice of the board."""
    state = root / "var/lib/alsa/asound.state"
    try:
        return (
            state.stat().st_mtime > (root / "etc/earshot/board").stat().st_mtime
            and f"\nstate.{card} {{" in f"\n{state.read_text(errors='replace')}"
        )
    except OSError:
        return False


def _named(root: Path) -> set[str]:
    """The devices that the settings name; of hw: devices the card. Of settings with mistakes the speaker tells."""
    try:
        settings = tomllib.loads((root / "etc/earshot/earshot.toml").read_text())
        devices = [settings.get(section, {}).get("device", "default") for section in ("microphone", "speaker")]
        return {match[1] if (match := _HARDWARE.match(device)) else device for device in devices}
    except (OSError, ValueError, AttributeError, TypeError):
        return set()


def _missing(root: Path, names: set[str], card_s: float) -> set[str]:
    """Those of the devices that are not there after so many seconds; returns as soon as all are."""
    until = time.monotonic() + card_s
    while missing := {name for name in names if not _is_there(root, name)}:
        if time.monotonic() >= until:
            break
        _pause()
    return missing


def _is_there(root: Path, name: str) -> bool:
    """Whether there is a card that the name may mean: by its id, or by a part of what PortAudio calls its PCMs."""
    cards = root / "proc/asound"
    if re.fullmatch(r"\w+", name) and (cards / name).is_symlink():
        return True
    titles = dict(_CARD.findall(_text(cards / "cards")))
    for card, device, title in _PCM.findall(_text(cards / "pcm")):
        if name.casefold() in f"{titles.get(card, '')}: {title} (hw:{card},{device})".casefold():
            return True
    return bool(titles) and (name == "default" or _is_made_by_alsa(root, name))


def _is_made_by_alsa(root: Path, name: str) -> bool:
    texts = (_text(path) for pattern in _ALSA_FILES for path in root.glob(pattern))
    return any(re.search(rf"^\s*pcm\.!?{re.escape(name)}\b", text, re.MULTILINE) for text in texts)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _set(card: str, mixer: Mixer) -> dict[str, str]:
    """Set the controls, in their order; those that cannot be set, and why."""
    until = time.monotonic() + CONTROL_S
    failed = {control: "" for control, _ in mixer}
    while True:
        for control, value in mixer:
            if control in failed:  # after -- a value may begin with a minus sign
                failed[control] = _run("amixer", "-q", "-c", card, "--", "cset", f"name='{control}'", value)
        failed = {control: reason for control, reason in failed.items() if reason}
        if not failed or time.monotonic() >= until:
            return failed
        _pause()


def _run(*command: str) -> str:
    """Run a command; nothing if all is well, else what it says."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_COMMAND_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return said[0] if done.returncode else ""


def _pause() -> None:
    threading.Event().wait(_TICK_S)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
