"""Working stand-ins for what is outside, with levers to pull and recordings to read; and sounds to try things with."""

import functools
import queue
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from device.demo.voices import say
from device.errors import HardwareError, NetworkError

LIMIT_S = 5.0
"""How long a test waits for what should happen at once."""


class Recorder:
    """Called with something, keeps it; a test may wait until what was kept is as it should be."""

    def __init__(self):
        self.items = []
        self._changed = threading.Condition()

    def __call__(self, *item):
        with self._changed:
            self.items.append(item[0] if len(item) == 1 else item)
            self._changed.notify_all()

    def wait(self, test, limit_s=LIMIT_S):
        with self._changed:
            assert self._changed.wait_for(lambda: test(self.items), limit_s), f"only this came: {self.items[-20:]}"
        return self.items

    def wait_for(self, item, limit_s=LIMIT_S):
        self.wait(lambda items: item in items, limit_s)

    def of(self, *kinds):
        return [item for item in self.items if isinstance(item, kinds)]

    def wait_kind(self, kind, count=1):
        self.wait(lambda items: sum(isinstance(item, kind) for item in items) >= count)
        return self.of(kind)[count - 1]


class Clock:
    """Stands for the `time` module of one module under test: `tick_s` pass with each look at it."""

    def __init__(self, now=100.0, tick_s=0.0):
        self.now = now
        self.tick_s = tick_s

    def monotonic(self):
        self.now += self.tick_s
        return self.now


class FakeOutput:
    """An output stream of a card that plays only when told to: `play` makes room, a write waits for it."""

    def __init__(self, rate=24_000, channels=1):
        self.name, self.rate, self.channels, self.latency_s = "fake speaker", rate, channels, 0.02
        self.period = rate // 50
        self.closed = threading.Event()
        self._written = bytearray()
        self._room = 0
        self._waits = False
        self._unplugged = False
        self._changed = threading.Condition()
        self.writes = Recorder()
        """How many samples each write offered."""
        self.room_at_once = True
        """What `has_room` says. Without room the speaker waits for orders a little longer."""

    def has_room(self):
        return self.room_at_once

    def write(self, pcm):
        self.writes(len(pcm) // 2 // self.channels)
        size = self.period * self.channels * 2
        for start in range(0, len(pcm), size):
            self._write(pcm[start : start + size])

    def _write(self, pcm):
        with self._changed:
            while self._room < len(pcm) and not self._unplugged:
                self._waits = True
                self._changed.notify_all()
                assert self._changed.wait(LIMIT_S), "the test lets nothing play"
            self._waits = False
            if self._unplugged:
                raise HardwareError("The speaker 'fake speaker' is gone.")
            self._room -= len(pcm)
            self._written += pcm

    def close(self):
        self.closed.set()

    def play(self, periods=1):
        """Let so many periods go, and come back when the next one is offered; what was played (int16, channels)."""
        size = self.period * self.channels * 2
        with self._changed:
            assert self._changed.wait_for(lambda: self._waits, LIMIT_S), "nothing is written"
            start = len(self._written)
            self._room += periods * size
            self._waits = False
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._waits or self._unplugged, LIMIT_S), "nothing more is written"
            return np.frombuffer(bytes(self._written[start:]), np.int16).reshape(-1, self.channels)

    def unplug(self):
        with self._changed:
            self._unplugged = True
            self._changed.notify_all()

    def release(self):
        """Let everything go, for the end of a test."""
        with self._changed:
            self._room = 1 << 40
            self._changed.notify_all()


class FakeInput:
    """An input stream that captures what it is given, a period at a time."""

    def __init__(self, rate=16_000, channels=1):
        self.name, self.rate, self.channels = "fake microphone", rate, channels
        self.period = rate // 50
        self.closed = threading.Event()
        self._captured = queue.SimpleQueue()
        self.reads = Recorder()
        """How many periods each read asked for."""

    def read(self, periods=1):
        self.reads(periods)
        return b"".join(self._period() for _ in range(periods))

    def _period(self):
        pcm = self._captured.get(timeout=LIMIT_S)
        if pcm is None:
            raise HardwareError("The microphone 'fake microphone' is gone.")
        return pcm

    def close(self):
        self.closed.set()

    def capture(self, pcm=None):
        self._captured.put(bytes(self.period * self.channels * 2) if pcm is None else pcm)

    def unplug(self):
        self._captured.put(None)


class FakeConnection:
    """A connection whose other end is the test: it says what is received, and reads what was sent."""

    def __init__(self):
        self.sent = Recorder()
        self.closed = threading.Event()
        self.aborted = threading.Event()
        self.broken = False
        """Lever: whatever is sent fails."""
        self.undelivered = 0
        """Lever: so many of the newest messages never arrive at the other end."""
        self._inbox = queue.SimpleQueue()

    def says(self, message):
        """Let the agent say `message`; an exception is what becomes of the connection."""
        self._inbox.put(message)

    def written(self):
        return len(self.sent.items)

    def acknowledged(self):
        return len(self.sent.items) - self.undelivered

    def send(self, message):
        if self.broken or self.aborted.is_set():
            raise NetworkError("connection_lost", "The connection broke.")
        self.sent(message)

    def receive(self):
        try:
            message = self._inbox.get(timeout=0.02)
        except queue.Empty:
            return None
        if isinstance(message, Exception):
            raise message
        return message

    def goodbye(self):
        self.sent(None)

    def close(self):
        self.closed.set()

    def reset(self):
        self.closed.set()

    def abort(self, why=None):
        self.aborted.set()
        self._inbox.put(why or NetworkError("connection_lost", "The connection broke: aborted."))


class Exchange:
    """The way to an agent: each call gives the next of `lines`, or raises it; then new connections. See `connect.connect`."""

    def __init__(self, *lines):
        self.requests = Recorder()
        self.gate = threading.Event()
        """Lever: cleared, whoever connects has to wait."""
        self.gate.set()
        self._lines = list(lines)

    def __call__(self, protocol, told):
        self.requests(protocol.request())
        told("tcp", 0.01)
        assert self.gate.wait(LIMIT_S)
        line = self._lines.pop(0) if self._lines else FakeConnection()
        if isinstance(line, Exception):
            raise line
        return line


def threads(name):
    """The living threads of that name."""
    return [thread for thread in threading.enumerate() if thread.name == name]


def wait_until(condition: Callable[[], object], limit_s=LIMIT_S):
    """For what nobody tells us of: look every millisecond."""
    pause = threading.Event()
    for _ in range(round(limit_s * 1000)):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not come about")


@functools.cache
def said(text, voice="flite:slt"):
    """`text` as speech: int16, mono, 16 kHz, without the silence around it."""
    with tempfile.TemporaryDirectory() as room:
        return trimmed(say(text, voice, Path(room)))


def trimmed(sound):
    """Speech (int16) without the silence around it."""
    loudness = np.abs(sound.astype(np.int32))
    audible, loud = np.flatnonzero(loudness > loudness.max() / 1000), np.flatnonzero(loudness > loudness.max() / 100)
    return sound[audible[0] : loud[-1] + 1]  # words begin softly: an h is a part of the word


def silence(seconds, rate=16_000):
    return np.zeros(round(seconds * rate), np.int16)


def pink_noise(seconds, level=0.05, seed=1, rate=16_000):
    """Noise that falls by 3 dB an octave, as rooms have it; int16, `level` is its RMS as a part of full scale."""
    count = round(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, count)
    return np.clip(noise / noise.std() * level * 32768, -32768, 32767).astype(np.int16)


def tone(hertz, seconds, rate, level=0.5):
    """A sine, int16."""
    return np.rint(level * 32767 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.int16)
