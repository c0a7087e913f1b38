"""What the board needs at boot: our overlays compiled beside the firmware's own, and marked lines in config.txt.

Doing the same again changes nothing, and taking it out gives the owner's config.txt back to the byte.
"""

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from device.boards import BOARDS, Board
from device.errors import HardwareError

BEGIN = b"# BEGIN earshot (made by install.sh)"
END = b"# END earshot"
_FRESH = ".earshot"
"""A file that is being written has this ending: known, so that what a power cut leaves behind is found."""
_BACKUP = "config.txt.before-earshot"
_BLOCK = re.compile(
    rb"^%b(?P<eol>\r?\n)(?:(?!# BEGIN earshot).*\n)*?%b[ \t]*(?:\r?\n|\Z)" % (re.escape(BEGIN), re.escape(END)),
    re.MULTILINE,
)
_OPEN = re.compile(rb"^%b[ \t\r\0]*(?:\n|\Z)" % re.escape(BEGIN), re.MULTILINE)
# Only one sound card can use GPIO18 to 21. How overlays of sound cards are called, here and by their vendors.
_SOUND = re.compile(
    r"dtoverlay=(?!i2s-mmap)[^,\s]*(adau|amp|audio|codec|dac|digi|draws|hifiberry|i2s|justboom|max98|merus|pibell|respeaker|"
    r"sabre|seeed|sound|udrc|voice|whisplay|wm\d)"
)


class Outcome(NamedTuple):
    """`changed`: whether anything was; `reboot`: whether the machine runs on older lines than it has; `sentences` to say."""

    changed: bool
    reboot: bool
    sentences: tuple[str, ...] = ()


def apply(root: Path, board: Board, overlays_dir: Path) -> Outcome:
    """Let this machine boot with what the board needs. `overlays_dir` holds the sources, NAME.dts.

    Raises:
        HardwareError: the boot partition is not mounted, is full or may not be written; or an overlay cannot be compiled.
    """
    if not board.overlays:
        return remove(root)
    config = find(root)
    if config is None:
        missing = ", ".join(board.overlays)
        return Outcome(False, False, (f"No config.txt here, as on a Raspberry Pi: it does without {missing}.",))
    compiled = {f"{name}.dtbo": _compile(overlays_dir / f"{name}.dts") for name in board.sources}
    with _told(config):
        text = config.read_bytes()
        bare = without_block(text)
        is_there = text.count(BEGIN) == 1 and block(bare, board.overlays) in text
        wanted = text if is_there else with_block(bare, board.overlays)
        changed = [_write(config.parent / "overlays" / name, content) for name, content in compiled.items()]
        if wanted != text and not (config.parent / _BACKUP).exists():
            _write(config.parent / _BACKUP, bare)
        changed += [_write(config, wanted), _tidy(config.parent, keep=compiled)]
    sentences = tuple(_conflicts(bare.decode(errors="replace"), board))
    return Outcome(any(changed), _is_newer_than_boot(root, config), sentences)


def remove(root: Path) -> Outcome:
    """Take everything out again.

    Raises:
        HardwareError: the boot partition is not mounted, or may not be written.
    """
    config = find(root)
    if config is None:
        return Outcome(False, False)
    with _told(config):
        # The overlays first: that makes room for the copy. The firmware passes over lines whose overlay is not there.
        changed = [_tidy(config.parent, keep={}), _write(config, without_block(config.read_bytes()))]
        if (config.parent / _BACKUP).exists():
            (config.parent / _BACKUP).unlink()
            _settle(config.parent)
            changed.append(True)
    return Outcome(any(changed), _is_newer_than_boot(root, config))


def with_block(text: bytes, lines: tuple[str, ...]) -> bytes:
    """The text with the block at its end. It ends with a line break if the text does: so removing it leaves no trace."""
    eol = _eol(text)
    if not text or text.endswith(b"\n"):
        return text + block(text, lines) + eol
    return text + eol + block(text, lines)


def without_block(text: bytes) -> bytes:
    """The text without our blocks, and without what is left of one that was cut off."""
    while found := _BLOCK.search(text):
        start, end = found.span()
        if not found[0].endswith(b"\n"):  # the text had no line break at its end, and the block brought one
            start = max(0, start - len(found["eol"]))
        text = text[:start] + text[end:]
    while found := _OPEN.search(text):
        rest = text[found.end() :].splitlines(keepends=True)
        while rest and _is_ours(rest[0]):
            del rest[0]
        text = text[: found.start()] + b"".join(rest)
    return text


def block(text: bytes, lines: tuple[str, ...]) -> bytes:
    """Our lines between their marks, with the line breaks of the text, without the last one.

    [all] ends whatever filter the owner's lines stand under, and the empty dtoverlay= lets what follows be parameters of the
    base again. It is never the first dtoverlay of a file: there it would keep the overlay of a HAT from being loaded.
    """
    return _eol(text).join([BEGIN, b"[all]", *(line.encode() for line in lines), b"dtoverlay=", END])


def _eol(text: bytes) -> bytes:
    return b"\r\n" if b"\r\n" in text else b"\n"


def _is_ours(line: bytes) -> bool:
    """Whether a line below a BEGIN without END is one of the block's, or the beginning of one at the end of the file."""
    known = {b"[all]", b"dtoverlay=", END} | {line.encode() for board in BOARDS.values() for line in board.overlays}
    bare = line.rstrip(b"\r\n\0")  # a file that was not written to its end may go on with zeros
    return bare in known or (not line.endswith(b"\n") and any(one.startswith(bare) for one in known))


def find(root: Path) -> Path | None:
    """config.txt, where Raspberry Pi OS has it since Bookworm, or had it before."""
    for place in ("boot/firmware/config.txt", "boot/config.txt"):
        config = root / place
        if config.is_file():
            # Since Bookworm, the old one only points to the new one.
            if place == "boot/config.txt" and b"/boot/firmware/config.txt" in config.read_bytes():
                raise HardwareError(
                    f"{root / 'boot/firmware'} is empty: mount the boot partition there and run this again."
                )
            return config
    return None


def _compile(source: Path) -> bytes:
    command = ["dtc", "-@", "-I", "dts", "-O", "dtb", "-o", "-", str(source)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    except FileNotFoundError:
        raise HardwareError("dtc is missing, which compiles overlays: sudo apt install device-tree-compiler") from None
    except subprocess.TimeoutExpired:
        raise HardwareError(f"{source}: dtc did not finish within 30 seconds. Run this again.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise HardwareError(f"{source} cannot be compiled: {said[0] if said else 'dtc does not say why'}.")
    return done.stdout


def _write(path: Path, content: bytes) -> bool:
    """Let the file hold that, whole or not at all; whether it held something else. FAT knows no owners and modes to keep."""
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        path.parent.mkdir(exist_ok=True)
    fresh = path.with_name(path.name + _FRESH)
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _settle(path.parent)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
    return True


def _tidy(boot: Path, keep: dict[str, bytes]) -> bool:
    """Remove our overlays but those to keep, and what a power cut left behind; whether there was any."""
    old = [path for path in boot.glob("overlays/earshot-*.dtbo*") if path.name not in keep]
    old += [boot / f"{name}{_FRESH}" for name in ("config.txt", _BACKUP) if (boot / f"{name}{_FRESH}").exists()]
    for path in old:
        path.unlink()
        _settle(path.parent)
    return bool(old)


def _settle(directory: Path) -> None:
    """Have the names in the directory written to the card: FAT has no journal that would do it in time."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _conflicts(text: str, board: Board) -> Iterator[str]:
    """Sentences on the owner's overlays that want the pins of ours."""
    ours = [line for line in board.overlays if _SOUND.match(line)]
    for line in map(str.strip, text.splitlines()) if ours else ():
        if _SOUND.match(line):
            yield f"config.txt has `{line}`, a sound card on the same pins as `{ours[0]}`: only one of them will work."


def _is_newer_than_boot(root: Path, config: Path) -> bool:
    """Whether config.txt was changed since this machine started, by us or by its owner."""
    try:
        booted = re.search(r"^btime (\d+)", (root / "proc/stat").read_text(), re.MULTILINE)
        return booted is not None and config.stat().st_mtime > int(booted[1])
    except OSError:
        return False


@contextmanager
def _told(config: Path) -> Iterator[None]:
    """Turns what the file system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "Remove what is not needed there, such as old kernels,",
            errno.EROFS: "Make it writable (raspi-config, Overlay File System),",
            errno.EACCES: "Use sudo,",
        }.get(error.errno or 0, "Check the card (dmesg tells more)")
        raise HardwareError(
            f"{config.parent} cannot be written: {error.strerror}. {remedy} and run this again."
        ) from error
