"""The support bundle: what those who help have to know, and nothing that is nobody's business."""

import contextlib
import io
import os
import re
import sys
import tarfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from device import __version__
from device.errors import UsageError
from device.system.check.machine import Machine
from device.system.check.scrub import scrub
from device.system.check.service import Entry, Journal, counts, entries

_FOLDER = "earshot-support"
_PEOPLE = range(1000, 60_000)
"""Numbers of users that are people."""
_LIBRARIES = (
    "numpy",
    "onnxruntime",
    "openwakeword",
    "samplerate",
    "PyAudio",
    "gpiozero",
    "lgpio",
    "spidev",
    "websocket-client",
)
_KERNEL = re.compile(
    r"snd|sound|alsa|asoc|i2s|codec|hda|usb.*audio|voltage|throttl|thermal|gpio|spi\b|\boom\b|out of memory|mmc|ext4|watchdog",
    re.IGNORECASE,
)
_COMMAND_LINE = "command line"
"""Lines of the kernel about it say in which country this is, and what the card is called."""
_SERIAL = re.compile(r"^(\s*\[0x)[0-9A-Fa-f]+", re.MULTILINE)
"""A filter of config.txt for one Raspberry Pi."""
_OURS = re.compile(r"^# BEGIN earshot.*?^# END earshot[^\n]*", re.MULTILINE | re.DOTALL)
_BOOT = re.compile(
    r"^\s*(?:dtoverlay|dtparam|\[|arm_|over_|gpu_|force_turbo|camera_|display_|usb_)[^\n]*", re.MULTILINE
)


class Bundle:
    """Gathers texts and writes them, each without what `scrub` takes out."""

    def __init__(
        self,
        machine: Machine,
        journal: Journal,
        secrets: Collection[str],
        hosts: Collection[str],
        people: Collection[str] = (),
    ) -> None:
        """`secrets` and `hosts` as `scrub` takes them; `people` are names beside those of the machine and its users."""
        self._machine = machine
        self._journal = journal
        self._clean: Callable[[str], str] = lambda text: scrub(text, names(machine) | {*people}, secrets, hosts)

    def write(self, path: Path, given: Mapping[str, str]) -> list[str]:
        """Write the bundle to `path`, readable by its owner alone; returns a line about each file in it.

        `given` are more texts, by file name.

        Raises:
            UsageError: it cannot be written, or something is there already.
        """
        told = []
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o600), "wb") as file, _whole_or_not_at_all(path):
                os.fchmod(file.fileno(), 0o600)
                _give_to_caller(file.fileno(), self._machine.is_root)
                with tarfile.open(fileobj=file, mode="w:gz") as tar:
                    for name, text, about in self._texts(given):
                        told.append(f"{name:14} {about}")
                        _add(tar, f"{_FOLDER}/{name}", self._clean(text))
                file.flush()
        except OSError as error:
            raise UsageError(f"The support bundle {path} cannot be written: {error.strerror}.") from None
        return told

    def _texts(self, given: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
        """File name, text, and what it is."""
        about = {"check.json": "this check", "config.toml": "the settings in force, without secrets"}
        for name, text in given.items():
            yield name, text, about.get(name, "")
        yield "versions.txt", _versions(self._machine), "of system and libraries"
        yield "usb.txt", _usb(self._machine), "what is plugged in, without serial numbers"
        yield "sound.txt", _sound(self._machine), "sound cards as the kernel sees them"
        yield "boot.txt", _boot(self._machine), "overlays in config.txt"
        kernel = entries(self._machine, "-k") or []
        lines = _lines(
            one for one in kernel if _KERNEL.search(one.message) and _COMMAND_LINE not in one.message.lower()
        )
        yield "kernel.txt", lines, "what the kernel says of sound, voltage, pins and the card"
        ours = self._journal.entries
        lines = "not ours to read\n" if ours is None else _lines(entry for entry in ours if not entry.is_private)
        yield "journal.txt", lines, "the log of Earshot's services since the start, without speech"
        told = "".join(f"{count:6} {name}\n" for name, count in sorted(counts(ours or []).items()))
        yield "events.txt", told, "how often each event is in that log"


def names(machine: Machine) -> set[str]:
    """What this machine and its people are called."""
    host = machine.text("/proc/sys/kernel/hostname") or ""
    found = {host, host.partition(".")[0], machine.text("/etc/hostname") or ""}
    found |= {os.environ.get(name, "") for name in ("SUDO_USER", "USER", "LOGNAME")}
    for line in (machine.text("/etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) > 4 and fields[2].isdecimal() and int(fields[2]) in _PEOPLE:
            found |= {fields[0], fields[4].partition(",")[0]}
    return found


def default_path() -> Path:
    """In the present directory, by the time."""
    return Path(time.strftime("earshot-support-%Y%m%d-%H%M%S.tar.gz"))


def without_words(value: Any) -> Any:
    """An option of the agent, which may tell it who lives here, without what it says."""
    if isinstance(value, Mapping):
        return {key: without_words(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_words(item) for item in value]
    return "…" if isinstance(value, str) else value


@contextlib.contextmanager
def _whole_or_not_at_all(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode("utf-8", "replace")
    about = tarfile.TarInfo(name)  # of user and group 0, without names
    about.size, about.mode, about.mtime = len(data), 0o600, int(time.time())
    tar.addfile(about, io.BytesIO(data))


def _give_to_caller(descriptor: int, is_root: bool) -> None:
    """Who called sudo is to send it."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if is_root and user.isdecimal() and group.isdecimal():
        os.fchown(descriptor, int(user), int(group))


def _versions(machine: Machine) -> str:
    lines = [f"earshot {__version__}", f"Python {sys.version.split()[0]}"]
    lines += [line for line in (machine.text("/etc/os-release") or "").splitlines() if line.startswith("PRETTY_NAME")]
    lines += [machine.text(path) or "" for path in ("/proc/sys/kernel/osrelease", "/proc/sys/kernel/version")]
    lines += [machine.text("/etc/rpi-issue") or "", machine.model or "not a Raspberry Pi"]
    lines += [f"board {machine.text('/etc/earshot/board') or 'unknown'}"]
    for name in _LIBRARIES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name} not installed")
    return "\n".join(lines) + "\n"


def _usb(machine: Machine) -> str:
    lines = []
    for path in machine.glob("/sys/bus/usb/devices/*/idVendor"):
        folder = path.rpartition("/")[0]
        fields = (
            machine.text(f"{folder}/{name}") or "" for name in ("idVendor", "idProduct", "manufacturer", "product")
        )
        lines.append(" ".join(fields))
    return "\n".join(lines) + "\n"


def _sound(machine: Machine) -> str:
    paths = ["/proc/asound/version", "/proc/asound/cards", "/proc/asound/pcm", "/proc/asound/modules"]
    paths += machine.glob("/proc/asound/card*/pcm*/sub*/hw_params") + machine.glob("/proc/asound/card*/stream*")
    return "".join(f"== {path}\n{text}\n" for path in paths if (text := machine.text(path)))


def _boot(machine: Machine) -> str:
    text = machine.text("/boot/firmware/config.txt")
    if text is None:
        return "there is no config.txt\n"
    text = _SERIAL.sub(r"\1…", text)
    ours = [found[0] for found in _OURS.finditer(text)]
    rest = [found[0] for found in _BOOT.finditer(_OURS.sub("", text))]
    return "\n".join(["== ours", *ours, "== of overlays, beside it", *rest]) + "\n"


def _lines(chosen: "Iterator[Entry]") -> str:
    return "".join(f"[{one.seconds:12.3f}] {one.source}: {one.message}\n" for one in chosen)
