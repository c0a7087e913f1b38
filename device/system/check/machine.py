"""The machine that is checked: its files and its programs. Tests bring one of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_TEXT_BYTES = 1 << 20


class Ran(NamedTuple):
    """What a program said on standard output, and how it ended: 127 where there is none of that name, 124 in no time."""

    code: int
    output: str


def run(command: Sequence[str], limit_s: float) -> Ran:
    """Run a program, in English, for `limit_s` at the most. Ctrl-C is for us, not for it."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=limit_s,
            env=os.environ | {"LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"},
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return Ran(124, "")
    except OSError:
        return Ran(127, "")
    return Ran(done.returncode, done.stdout.decode("utf-8", "replace"))


class Disk(NamedTuple):
    """A file system, in bytes."""

    size: int
    free: int


class Machine:
    """The machine below `root`, its programs run by `run`."""

    def __init__(self, root: Path = Path("/"), run: Callable[[Sequence[str], float], Ran] = run) -> None:
        self.root = root
        self._run = run
        self.is_root = os.geteuid() == 0
        self.bits = 64 if sys.maxsize > 1 << 32 else 32
        """Of the programs; a kernel of 64 bits may run those of 32."""

    def run(self, *command: str, limit_s: float = 5.0) -> Ran:
        return self._run(command, limit_s)

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str | None:
        """The beginning of a file (1 MB) without space around it, or None if it cannot be read."""
        try:
            with self.path(path).open("rb") as file:
                return file.read(_TEXT_BYTES).decode("utf-8", "replace").strip(" \t\r\n\0")
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        try:
            return self.path(path).exists()
        except OSError:
            return False

    def glob(self, pattern: str) -> list[str]:
        """The files that match, sorted, as `text` takes them."""
        return sorted(f"/{path.relative_to(self.root)}" for path in self.root.glob(pattern.lstrip("/")))

    def disk(self, path: str) -> Disk:
        """The file system that `path` is on; OSError where there is none."""
        found = os.statvfs(self.path(path))
        return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def now(self) -> float:
        """Seconds since 1970, as the machine believes."""
        return time.time()

    @property
    def model(self) -> str:
        """The Raspberry Pi's model, or empty for another machine."""
        model = self.text("/proc/device-tree/model") or ""
        return model if "Raspberry Pi" in model else ""

    @property
    def on_trial(self) -> bool:
        """Whether a new release is being tried: an update goes back if it fails the check."""
        return self.exists("/opt/earshot/trial")
