"""The virtual Pi, as QEMU emulates it, and what it does for us."""

import base64
import json
import queue
import shlex
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from device.demo.programs import dying_with_us

MEMORY_MB = 2048
BOOT_LIMIT_S = 240.0
SLOWNESS, SLACK_S = 6.0, 60.0
"""A second of work there may take so many here, and telling of its end so long."""


class Done(NamedTuple):
    """A command that has ended; `start` and `end` are of the guest's CLOCK_MONOTONIC, in seconds."""

    code: int | str
    output: bytes
    start: float
    end: float

    @property
    def text(self) -> str:
        """What it said."""
        return self.output.decode(errors="replace").strip()


class Trouble(Exception):
    """Something was not as it should be; the message says what was seen."""


class Machine:
    """A machine with `disk` as /dev/vda and `card` as /dev/vdb, ended with its context.

    `folder` holds vmlinuz and initrd.img; the kernel's messages go to the file `console`. `hurried`: it works on two
    processors, for what takes long and is not timed, and a restart switches it off.
    """

    def __init__(self, folder: Path, disk: Path, card: Path, console: Path, *, hurried: bool = False) -> None:
        # Its time is the number of its instructions, 1 ns each, about what a core of a Pi Zero 2 W does: however slow or
        # busy this machine is, sound is in real time there. Where it has nothing to do, it does not wait.
        timed = ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-rtc", "clock=vm", "-smp", "1")
        self._words = [
            *("qemu-system-x86_64", "-cpu", "max", "-m", str(MEMORY_MB), "-display", "none", "-nodefaults"),
            *(("-accel", "tcg,thread=multi", "-smp", "2", "-no-reboot") if hurried else timed),
            *("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img")),
            # norandmaps: QEMU translates code anew for each address where it lies; without that, Python starts a third faster.
            *("-append", "root=/dev/vda rw console=ttyS0 systemd.show_status=no panic=5 norandmaps"),
            # unsafe: to wait for a flush of our own disk is idle time, which runs as fast as it can: a second is minutes there.
            # What QEMU has written stays when QEMU is killed, flushed or not.
            *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
            *("-drive", f"file={card},format=raw,if=virtio,readonly=on"),
            *("-device", "virtio-serial", "-chardev", "stdio,id=driver,signal=off"),
            *("-device", "virtserialport,chardev=driver,name=driver", "-device", "virtio-rng-pci"),
            *("-serial", "chardev:console", "-chardev", f"file,id=console,path={console},append=on"),
        ]
        self.console = console
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._asked = 0
        self.said: list[str] = []
        """QEMU's own words."""

    def start(self) -> None:
        """Switch it on, and wait until it does what it is asked for."""
        booted = threading.Event()
        # SIGTERM from a dead parent ends QEMU in good order; it loses nothing that the guest wrote.
        self._process = subprocess.Popen(
            dying_with_us(*self._words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self._process, booted), name="driver", daemon=True).start()
        end = time.monotonic() + BOOT_LIMIT_S
        while not booted.wait(1.0):
            if self._process.poll() is not None:
                raise Trouble(f"QEMU has ended: {self.said[-5:]}")
            if time.monotonic() > end:
                raise Trouble(f"not booted after {BOOT_LIMIT_S:.0f} s: see the console's log")

    def _read(self, process: subprocess.Popen[bytes], booted: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # cut by its end, or QEMU's own words
                self.said.append(line.decode(errors="replace").rstrip())
                continue
            if "booted" in message:
                booted.set()
            elif replies := self._waiting.pop(message["id"], None):
                replies.put(message)
        for replies in list(self._waiting.values()):  # nobody is left to answer
            replies.put({"code": "the machine is off", "output": "", "start": 0.0, "end": 0.0})

    def begin(self, command: str, limit: float = 60.0) -> "Pending":
        """Start a command of the shell there; `limit` is in seconds of its time."""
        assert self._process is not None and self._process.stdin is not None
        self._asked += 1
        replies = self._waiting[self._asked] = queue.SimpleQueue()
        line = json.dumps({"id": self._asked, "run": command, "limit": limit}).encode() + b"\n"
        while line:
            line = line[self._process.stdin.write(line) :]
        return Pending(command, replies, limit * SLOWNESS + SLACK_S)

    def ask(self, command: str, limit: float = 60.0) -> Done:
        """What a command of the shell there did, whether it failed or not; Trouble only if nothing comes back."""
        return self.begin(command, limit).wait()

    def run(self, command: str, limit: float = 60.0) -> str:
        """What a command said; Trouble if it fails."""
        done = self.ask(command, limit)
        if done.code:
            raise Trouble(f"`{command[:100]}` failed with {done.code}:\n{done.text[-2000:]}")
        return done.text

    def get(self, path: str) -> bytes:
        """Read a file there."""
        done = self.ask(f"cat {shlex.quote(path)}")
        if done.code:
            raise Trouble(f"{path}: {done.text}")
        return done.output

    def power_off(self) -> None:
        """As its owner would."""
        self.begin("systemctl poweroff")
        self.wait_off()

    def wait_off(self) -> None:
        """Until it is; Trouble if that takes longer than a minute."""
        assert self._process is not None
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            raise Trouble("still on after 60 s") from None

    def cut(self) -> None:
        """Take its power away: what it had not written to its disk is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.cut()


class Pending:
    """A command that goes on."""

    def __init__(self, command: str, replies: "queue.SimpleQueue[dict[str, Any]]", limit: float) -> None:
        self._command, self._replies, self._limit = command, replies, limit

    def wait(self) -> Done:
        """Until it has ended."""
        try:
            reply = self._replies.get(timeout=self._limit)
        except queue.Empty:
            raise Trouble(f"the machine gave no answer to `{self._command[:100]}` in {self._limit:.0f} s") from None
        return Done(reply["code"], base64.b64decode(reply["output"]), reply["start"], reply["end"])
