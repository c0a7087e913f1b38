"""An image of a card: copied, made larger, mounted. Stdlib only; mounting needs root."""

import lzma
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from device.errors import HardwareError, UsageError

_BLOCK = 4 << 20
_SECTOR = 512
_TABLE = 446
_ENTRY = struct.Struct("<4xB3xII")
"""A partition in the master boot record: its kind, first sector, number of sectors."""
_SECTORS_AT = 12


class Part(NamedTuple):
    """A partition, in bytes."""

    start: int
    size: int


def copy(image: Path, to: Path) -> None:
    """The image, unpacked if it is packed. What is zero in it takes no room.

    Raises:
        UsageError: it is packed otherwise than by xz, or is not whole.
    """
    with image.open("rb") as file:
        magic = file.read(6)
    if magic[:2] == b"PK" or magic[:2] == b"\x1f\x8b" or magic[:4] == b"\x28\xb5\x2f\xfd":
        raise UsageError(f"{image} is packed in a way that is not known here: unpack it and give the .img.")
    try:
        with lzma.open(image) if magic == b"\xfd7zXZ\x00" else image.open("rb") as source, to.open("wb") as target:
            while block := source.read(_BLOCK):
                if block.count(0) == len(block):
                    target.seek(len(block), os.SEEK_CUR)
                else:
                    target.write(block)
            target.truncate(target.tell())
    except (lzma.LZMAError, EOFError):
        raise UsageError(f"{image} is damaged or not whole: download it again.") from None


def widen(image: Path, room: int) -> None:
    """Add `room` bytes to the image, and to its root partition.

    Raises:
        UsageError: it has not the two partitions of a Raspberry Pi OS.
        HardwareError: the disk has no room for it.
    """
    _, root = parts(image)
    size = (image.stat().st_size + room) // _SECTOR * _SECTOR
    os.truncate(image, size)
    _check_room(image)
    with image.open("r+b") as file:
        file.seek(_TABLE + _ENTRY.size + _SECTORS_AT)
        file.write(struct.pack("<I", (size - root.start) // _SECTOR))


def parts(image: Path) -> tuple[Part, Part]:
    """Boot and root partition of the image, by its master boot record, as every Raspberry Pi OS has one.

    Raises:
        UsageError: it has not the two.
    """
    with image.open("rb") as file:
        record = file.read(_SECTOR)
    table = list(_ENTRY.iter_unpack(record[_TABLE : _TABLE + 4 * _ENTRY.size])) if record[510:] == b"\x55\xaa" else []
    if [kind for kind, _, _ in table] not in ([0x0C, 0x83, 0, 0], [0x0B, 0x83, 0, 0]):
        raise UsageError("That is no image of a card with Raspberry Pi OS: it has not its two partitions.")
    boot, root = (Part(start * _SECTOR, count * _SECTOR) for _, start, count in table[:2])
    return boot, root


def _check_room(image: Path) -> None:
    """Zeros take no room yet: a disk that gets full later would look like a broken card from inside."""
    about = image.stat()
    lacking = about.st_size - about.st_blocks * 512 - shutil.disk_usage(image.parent).free
    if lacking > 0:
        raise HardwareError(
            f"{image.parent.absolute()}: {lacking // 1_000_000 + 1} MB more are needed there for the image."
        )


@contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """Where the system of the image is mounted, its boot partition at boot/firmware. Its file system fills its partition.

    Raises:
        UsageError: the system is of a kind that Earshot does not run on.
        HardwareError: the file system is damaged; or this machine cannot mount it.
    """
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="earshot-"))
        stack.callback(place.rmdir)  # never a removal of what is in it: that would be the card's
        boot, root = (stack.enter_context(_looped(image, part)) for part in parts(image))
        _run("e2fsck", "-f", "-p", root, fine=(0, 1))  # 1: it mended something
        # Of the device, not of the file: that one it would cut off at its own size, whatever lies before it.
        _run("resize2fs", root)
        _mount(stack, root, place)
        firmware = place / "boot/firmware"
        if not firmware.is_dir():
            raise UsageError(
                "The image has no /boot/firmware: Earshot needs Raspberry Pi OS of 2023 (Bookworm) or newer."
            )
        _mount(stack, boot, firmware)
        yield place


@contextmanager
def _looped(image: Path, part: Part) -> Iterator[str]:
    """A block device that is the partition. Not a partition of one: without udev that has no file in /dev."""
    where = ("--offset", str(part.start), "--sizelimit", str(part.size))
    device = _run("losetup", "--find", "--show", *where, str(image)).strip()
    try:
        yield device
    finally:
        _run("losetup", "--detach", device)


def _mount(stack: ExitStack, device: str, place: Path) -> None:
    _run("mount", device, str(place))
    stack.callback(_unmount, place)


def _unmount(place: Path) -> None:
    """A program that was stopped may need a moment to be gone."""
    for _ in range(20):
        with suppress(HardwareError):
            _run("umount", str(place))
            return
        threading.Event().wait(0.5)
    _run("umount", "--lazy", str(place))


def check_system(root: Path) -> None:
    """Whether Earshot can be put into the system below `root`, and this machine can run its programs.

    Raises:
        UsageError: it says why not.
    """
    lines = (root / "etc/os-release").read_text().splitlines() if (root / "etc/os-release").is_file() else []
    about = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    title = about.get("PRETTY_NAME", "an unknown system")
    if not (root / "boot/firmware/config.txt").is_file() or about.get("ID") not in ("debian", "raspbian"):
        raise UsageError(f"The image holds {title}, which is no Raspberry Pi OS.")
    if not (root / "lib/ld-linux-aarch64.so.1").exists():
        raise UsageError("The image is a 32-bit system; the wake words need the 64-bit Raspberry Pi OS.")
    if about.get("VERSION_ID", "99").isdecimal() and int(about.get("VERSION_ID", "99")) < 12:
        raise UsageError(f"The image holds {title}. Earshot needs Raspberry Pi OS of 2023 (Bookworm) or newer.")


def _run(*command: str, given: str = "", fine: tuple[int, ...] = (0,)) -> str:
    """What the command prints."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    if done.returncode not in fine:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it does not say why"]
        raise HardwareError(f"{command[0]} failed: {said[0]}")
    return done.stdout
