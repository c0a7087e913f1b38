"""A network cable with a length and a plug: two network namespaces, each with a TUN device, and a process that carries packets.

What runs at the near end (10.77.0.1, a speaker) reaches the far end (10.77.0.2, also named agent.test) with the round trip of
a real line in everything: SYN, TLS and all. While the plug is pulled nothing arrives or is acknowledged, and nobody is told.
Needs no root, where the kernel lets everybody have namespaces: see `Cable.why_not`.
"""

import contextlib
import fcntl
import functools
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

NEAR, FAR = "10.77.0.1", "10.77.0.2"
NAME = "agent.test"
"""The far end's name, at both ends."""
LIMIT_S = 10.0
"""For what should take a few milliseconds."""
TOOLS = "unshare", "nsenter", "mount", "ip"
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LONGEST_PACKET = 65_536
MOST_PACKETS = 1000
"""On their way at once, each way; a line drops what is more, and so do we."""


class CableError(Exception):
    """There can be no cable here; the message says why."""


class End:
    """One end: a process that keeps the namespaces, and what was started in them."""

    def __init__(self, address: str, hosts: Path) -> None:
        self._complaint = hosts.with_name(address)
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(LIMIT_S)
        control = theirs.fileno()
        argv = ["unshare", "--user", "--map-root-user", "--net", "--mount", *_me("keep", control, address, hosts)]
        with theirs, self._complaint.open("w") as complaint:
            self._keeper = _start(argv, [control], stderr=complaint)
        self._started: list[subprocess.Popen[Any]] = []

    def take(self) -> int:
        """The next file descriptor that the keeper gives: first the TUN device, then a socket each time it is asked."""
        _, descriptors, _, _ = socket.recv_fds(self._ours, 1, 1)
        if not descriptors:
            self._keeper.wait(LIMIT_S)  # then it has said all it had to say
            said = self._complaint.read_text().strip().splitlines() or ["it does not say why"]
            raise CableError(f"No network cable on this machine: {said[-1]}.")
        return descriptors[0]

    def socket(self) -> socket.socket:
        """A TCP socket of this end, for use in the calling process."""
        self._ours.send(b"s")
        return socket.socket(fileno=self.take())

    def start(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process here; `options` are `Popen`'s. It leads a group of its own, which ends with the cable."""
        # Entering a mount namespace leads to its root.
        where = f"--wd={options.pop('cwd', Path.cwd())}"
        spaces = ["--user", "--preserve-credentials", "--net", "--mount", f"--target={self._keeper.pid}"]
        process = subprocess.Popen(["nsenter", *spaces, where, "--", *argv], start_new_session=True, **options)
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(LIMIT_S)
        self._ours.close()
        self._keeper.wait(LIMIT_S)


class Cable:
    """A cable, plugged in, as long as its context lasts; a packet takes `delay_s` to the other end."""

    def __init__(self, delay_s: float = 0.02) -> None:
        self._delay_s = delay_s
        self._ends = contextlib.ExitStack()

    @classmethod
    @functools.cache
    def why_not(cls) -> str:
        """Why there can be no cable on this machine, in a sentence; "": there can."""
        try:
            with cls():
                return ""
        except CableError as error:
            return str(error)

    def __enter__(self) -> "Cable":
        with contextlib.ExitStack() as stack:
            self._build(stack)
            self._ends = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def near(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process at the near end; see `End.start`."""
        return self._near.start(argv, **options)

    def far(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process at the far end; see `End.start`."""
        return self._far.start(argv, **options)

    def dialler(self) -> socket.socket:
        """A TCP socket that connects from the near end, for use in the calling process."""
        return self._near.socket()

    def listener(self, port: int = 0) -> socket.socket:
        """A TCP socket that listens at the far end, for use in the calling process; port 0: a free one."""
        listener = self._far.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What it accepts inherits this. Without it, TLS costs two round trips more: Nagle holds the first answer back.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((FAR, port))
        listener.listen()
        return listener

    def pull(self) -> None:
        """Cut the line, in both directions; what is on its way is lost. It is cut when this returns."""
        self._order(b"-")

    def plug(self) -> None:
        """Mend the line."""
        self._order(b"+")

    def _build(self, stack: contextlib.ExitStack) -> None:
        if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
            raise CableError(f"No network cable on this machine: there is no {' and no '.join(missing)}.")
        hosts = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{FAR} {NAME}\n")
        ends = []
        for address in (NEAR, FAR):
            ends.append(End(address, hosts))
            stack.callback(ends[-1].close)
        self._near, self._far = ends
        with contextlib.ExitStack() as handed_on:
            wires = []
            for end in ends:
                wires.append(end.take())
                handed_on.callback(os.close, wires[-1])
            self._orders, theirs = socket.socketpair()
            self._orders.settimeout(LIMIT_S)
            handed_on.enter_context(theirs)
            carried = [theirs.fileno(), *wires]
            carrier = _start(_me("carry", self._delay_s, *carried), carried)
        stack.callback(carrier.wait, LIMIT_S)
        stack.callback(self._orders.close)  # ends it; callbacks run from the last
        self.plug()  # waits until it is there

    def _order(self, order: bytes) -> None:
        self._orders.send(order)
        if self._orders.recv(1) != order:
            raise CableError("The carrier of the cable is gone.")


def _me(*words: object) -> list[str]:
    return [sys.executable, __file__, *map(str, words)]


def _start(argv: Sequence[str], descriptors: Sequence[int], stderr: IO[str] | None = None) -> subprocess.Popen[bytes]:
    """A process that inherits `descriptors`, and that no Ctrl-C ends before its time."""
    return subprocess.Popen(argv, pass_fds=descriptors, stdin=subprocess.DEVNULL, stderr=stderr, start_new_session=True)


# --- the processes: this file is their program, so that they start without the packages of the tests


def keep(control: int, address: str, hosts: str) -> None:
    """Keep the namespaces and give away file descriptors, until the other side of `control` is closed."""
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"cable", IFF_TUN | IFF_NO_PI))
    for line in ("link set lo up", f"address add {address}/24 dev cable", "link set cable up"):
        subprocess.run(["ip", *line.split()], check=True)
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    with socket.socket(fileno=control) as asked:
        socket.send_fds(asked, [b"t"], [tun])
        os.close(tun)  # the device lives as long as the carrier has it
        while asked.recv(1):
            with socket.socket() as fresh:
                socket.send_fds(asked, [b"s"], [fresh.fileno()])


def carry(delay_s: float, control: int, near: int, far: int) -> None:
    """Carry packets, each after `delay_s`, until the other side of `control` is closed."""
    ways: dict[int, deque[tuple[float, bytes]]] = {near: deque(), far: deque()}
    across = {near: far, far: near}
    plugged = True
    while True:
        dues = [way[0][0] for way in ways.values() if way]
        wait = max(0.0, min(dues) - time.monotonic()) if dues else None
        readable, _, _ = select.select([control, near, far], [], [], wait)
        if control in readable:
            order = os.read(control, 1)
            if not order:
                return
            plugged = order == b"+"
            for way in ways.values():
                way.clear()
            os.write(control, order)
        now = time.monotonic()
        for wire, way in ways.items():
            if wire in readable:
                packet = os.read(wire, LONGEST_PACKET)
                if plugged and len(way) < MOST_PACKETS:
                    way.append((now + delay_s, packet))
            while way and way[0][0] <= now:
                os.write(across[wire], way.popleft()[1])


def main(work: str, *words: str) -> None:
    try:
        if work == "keep":
            keep(int(words[0]), *words[1:])
        else:
            carry(float(words[0]), *map(int, words[1:]))
    except subprocess.CalledProcessError:
        sys.exit(1)  # the command has said what is wrong
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
