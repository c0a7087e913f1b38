"""Another speaker's software on the virtual sound card, measured from outside like `earshot run`."""

import os
import shlex
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from device.audio import RATE
from device.demo.card import VirtualCard
from device.demo.programs import dying_with_us

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
START_S = 30.0
SETTLE_S = 8.0
"""From its start, or from its client's, until it does nothing but listen."""
STOP_S = 10.0


def measure(card: VirtualCard, command: str, port: int, noise: np.ndarray, seconds: float) -> tuple[float, float]:
    """CPU seconds per minute and resident MB, of the process that `command` starts and all its children.

    `noise`: int16 at 16 kHz, longer than `seconds` and what it takes to settle. `port` of loopback: where a client stays
    connected meanwhile; 0: none does.

    Raises:
        RuntimeError: it ends, or does not listen on `port`.
    """
    with started(card, command) as process, client(process, port):
        sound, pause = card.play(noise, RATE), threading.Event()
        try:
            pause.wait(SETTLE_S)
            check(process)
            before = cpu_s(process.pid)
            pause.wait(seconds)
            check(process)
            return (cpu_s(process.pid) - before) * 60 / seconds, rss_mb(process.pid)
        finally:
            sound.stop()


@contextmanager
def started(card: VirtualCard, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """What it says is only shown where it fails."""
    with tempfile.TemporaryFile() as log:
        words = dying_with_us(*shlex.split(command))
        process = subprocess.Popen(words, env=card.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        except RuntimeError as error:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()[-2000:]
            raise RuntimeError(f"{error} It said:\n{said or '(nothing)'}") from None
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)


@contextmanager
def client(process: subprocess.Popen[bytes], port: int) -> Iterator[None]:
    """Connected, and silent."""
    if not port:
        yield
        return
    pause = threading.Event()
    for _ in range(round(START_S / 0.1)):
        check(process)
        with suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), 1.0)
            break
        pause.wait(0.1)
    else:
        raise RuntimeError(f"The peer does not listen on port {port} after {START_S:g} s.")
    with connection:
        yield


def check(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise RuntimeError(f"The peer ended with {process.returncode}.")


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for one in found:  # grows
        for thread in Path(f"/proc/{one}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds so far, those of children that have ended among them."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def rss_mb(pid: int) -> float:
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid))
    return pages * PAGE / 1e6
