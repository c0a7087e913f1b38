"""What is played into the room of the virtual card, and what is recorded of it."""

import contextlib
import os
import subprocess
import threading
import time
import wave
from pathlib import Path

import numpy as np

from device.errors import HardwareError

RATE = 48_000  # Hz, of the card and of every recording
LIMIT_S = 5.0  # for whatever PulseAudio is asked


class Playing:
    """A sound on its way into the room."""

    def __init__(self, pcm: np.ndarray, command: list[str], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._started = threading.Event()
        self._monotonic = 0.0
        self._said = b""
        threading.Thread(target=self._listen, name="playing", daemon=True).start()
        threading.Thread(target=self._feed, args=(pcm.tobytes(),), name="playing feed", daemon=True).start()

    def _feed(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:  # broken: pacat says why on stderr
            pipe.write(data)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                if line.startswith(b"Stream started"):
                    self._monotonic = time.monotonic()
                    self._started.set()
                self._said = (self._said + line)[-2000:]
        self._started.set()
        self._process.wait(LIMIT_S)

    @property
    def started(self) -> float:
        """When the first sample entered the room (seconds, CLOCK_MONOTONIC), at most 15 ms late; waits for it."""
        if not self._started.wait(LIMIT_S) or not self._monotonic:
            raise HardwareError(f"nothing could be played into the room: {self._said.decode(errors='replace').strip()}")
        return self._monotonic

    def wait(self, timeout: float) -> bool:
        """Whether the last sample has been played within `timeout` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Be silent at once."""
        self._process.kill()
        self._process.wait(LIMIT_S)


class Recording:
    """Both ends of the card while it runs, as a WAV file: left the microphone, right the speaker."""

    def __init__(self, path: Path, command: list[str], env: dict[str, str]) -> None:
        self.path = path
        self._first = float("inf")
        self._begun = threading.Event()
        self._frames = 0
        self._failure: Exception | None = None
        self._file = path.open("wb")
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._write, name="recording", daemon=True)
        self._thread.start()
        if not self._begun.wait(LIMIT_S):
            self.stop()
            raise HardwareError("the virtual sound card cannot be recorded: its monitor gives no sound")

    def _write(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        try:
            with self._process.stdout, self._file, wave.open(self._file, "wb") as wav:
                wav.setparams((2, 2, RATE, 0, "NONE", "not compressed"))
                rest = b""
                while data := os.read(descriptor, 65536):
                    now = time.monotonic()
                    data = rest + data
                    whole = len(data) // 4 * 4
                    wav.writeframesraw(data[:whole])
                    rest = data[whole:]
                    self._frames += whole // 4
                    # The chunk that was delayed least tells when the first sample was there.
                    self._first = min(self._first, now - self._frames / RATE)
                    self._begun.set()
        except OSError as failure:  # a full disk
            self._failure = failure
            self._begun.set()
            self._process.kill()

    @property
    def first_sample(self) -> float:
        """When the first sample was on the card (seconds, CLOCK_MONOTONIC), to 10 ms: the card moves in blocks."""
        return self._first

    def stop(self) -> None:
        """Write the end of the file. HardwareError if it could not be written."""
        self._process.terminate()
        self._process.wait(LIMIT_S)
        self._thread.join(LIMIT_S)
        if self._failure:
            raise HardwareError(f"cannot write {self.path}: {self._failure}")

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
