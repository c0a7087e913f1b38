"""`earshot run` in pink noise, and beside it another speaker's software on the same virtual sound card."""

import os
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from device.audio import RATE
from device.demo.card import VirtualCard
from device.demo.programs import dying_with_us
from tests.bench import conversation
from tests.bench.cuts import Row
from tests.bench.usage import Memory, cpu_s, memory
from tests.fakes import pink_noise

NOISE = 10 ** (-30 / 20)
"""Its level as RMS of full scale: that of `conversation.idle`."""
START_S = 30.0
SETTLE_S = 8.0
"""From its start, or from its client's, until it does nothing but listen."""
STOP_S = 10.0


def idle(folder: Path, seconds: float, command: str, port: int) -> Iterator[Row]:
    """The whole process in pink noise, and in the same the one that `command` starts, if there is one. See `measure`."""
    with VirtualCard() as card:
        cpu, rss, pss = (got for _, _, got in conversation.idle(card, folder, seconds))
        yield "idle in pink noise, whole process: CPU s per 60 s", "<= 0.7", cpu, float(cpu) <= 0.7
        yield "idle in pink noise, whole process: RSS MB", "<= 90", rss, float(rss) <= 90
        yield "idle in pink noise, whole process: Pss MB", "report", pss, True
        if command:
            theirs, took = measure(card, command, port, pink_noise(seconds + SETTLE_S + 5, NOISE), seconds)
            yield "the same: the peer", "report", f"{theirs:.2f} CPU s per 60 s, {took}", True


def measure(card: VirtualCard, command: str, port: int, noise: np.ndarray, seconds: float) -> tuple[float, Memory]:
    """CPU seconds per minute and memory, of the process that `command` starts and all its children.

    `noise`: int16 at 16 kHz, longer than `seconds` and what it takes to settle. `port` of loopback: where a client stays
    connected meanwhile; 0: none does.

    Raises:
        RuntimeError: it ends, does not listen on `port`, or hangs up.
    """
    with started(card, command) as process, client(process, port) as check:
        sound, pause = card.play(noise, RATE), threading.Event()
        try:
            pause.wait(SETTLE_S)
            check()
            before = cpu_s(process.pid)
            pause.wait(seconds)
            check()
            return (cpu_s(process.pid) - before) * 60 / seconds, memory(process.pid)
        finally:
            sound.stop()


@contextmanager
def started(card: VirtualCard, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """What it says is only shown where it fails."""
    with tempfile.TemporaryFile() as log:
        words = dying_with_us(*shlex.split(command))
        process = subprocess.Popen(
            words, env=card.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        except RuntimeError as error:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()[-2000:]
            raise RuntimeError(f"{error} It said:\n{said or '(nothing)'}") from None
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """And its children, which are its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        os.killpg(process.pid, signal.SIGKILL)  # who of them is left
    process.wait(STOP_S)


@contextmanager
def client(process: subprocess.Popen[bytes], port: int) -> Iterator[Callable[[], None]]:
    """A client that is connected, and silent; gives what raises when the peer has ended or hung up."""
    if not port:
        yield lambda: check_alive(process)
        return
    pause = threading.Event()
    for _ in range(round(START_S / 0.1)):
        check_alive(process)
        with suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), 1.0)
            break
        pause.wait(0.1)
    else:
        raise RuntimeError(f"The peer does not listen on port {port} after {START_S:g} s.")

    def check() -> None:
        check_alive(process)
        check_connected(connection)

    with connection:
        yield check


def check_alive(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise RuntimeError(f"The peer ended with {process.returncode}.")


def check_connected(connection: socket.socket) -> None:
    """Raises when the peer has hung up: there are some that look for their wake word only while a client is connected."""
    connection.setblocking(False)
    with suppress(ConnectionError):
        try:
            while connection.recv(65536):  # what it tells its client
                pass
        except BlockingIOError:
            return
    raise RuntimeError("The peer hung up on its client.")
