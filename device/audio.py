"""The shape of sound in here, and arithmetic on it. Pure.

Everywhere between the microphone and the agent, sound is frames of 20 ms: 320 samples, s16le, mono, 16 kHz, 640 bytes.
"""

from typing import NamedTuple

import numpy as np

RATE = 16_000
FRAME_S = 0.02
FRAME_SAMPLES = 320
FRAME_BYTES = 640
SILENT_FRAME = bytes(FRAME_BYTES)
FULL_SCALE = 32_768


class Frame(NamedTuple):
    """20 ms of sound (640 bytes) whose last sample was captured at `t` (seconds, CLOCK_MONOTONIC)."""

    pcm: bytes
    t: float


def to_mono(samples: np.ndarray, channels: int, channel: int | str) -> np.ndarray:
    """One channel of interleaved int16 `samples`, or with "mix" the mean of all; int16, a view where it can be."""
    if channels == 1:
        return samples
    columns = samples.reshape(-1, channels)
    if channel == "mix":
        mean: np.ndarray = columns.mean(axis=1, dtype=np.float32).astype(np.int16)
        return mean
    return columns[:, int(channel)]


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Floats of -1..1 as int16, clipped."""
    clipped: np.ndarray = np.clip(samples * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return clipped


def to_float(samples: np.ndarray) -> np.ndarray:
    """int16 as float32 of -1..1."""
    floats: np.ndarray = samples.astype(np.float32) / np.float32(FULL_SCALE)
    return floats


class Chunks:
    """Gathers frames until they make a chunk of `length` samples, which is a multiple of a frame's."""

    def __init__(self, length: int) -> None:
        self._samples = np.zeros(length, np.int16)
        self._filled = 0

    def add(self, pcm: bytes) -> np.ndarray | None:
        """The chunk (int16, shape (length,), overwritten by the next) that is whole with this frame, if one is."""
        samples = np.frombuffer(pcm, np.int16)
        self._samples[self._filled : self._filled + len(samples)] = samples
        self._filled = (self._filled + len(samples)) % len(self._samples)
        return None if self._filled else self._samples

    def clear(self) -> None:
        """Begin a chunk anew."""
        self._filled = 0


class LostTime:
    """Sees by the clock what the sound card does not tell: time that passed while no sample was captured or played.

    PyAudio either closes the stream on an overflow or hides it. But periods come at a fixed pace, so `now` minus their count
    has a floor that only moves when samples were lost, or, far slower, when the card's clock drifts. A sound server moves in
    blocks of its own, and when another program begins or ends, the blocks' edges move against our periods: with 10 ms
    blocks the floor steps by half a period, up or down, and nothing is lost.
    """

    WINDOW = 50
    """Periods over which the floor is taken: late periods in one window do not raise it."""
    LOST = 0.75
    """The part of a period by which the floor has risen when a period is lost: well above what a block's edge can do."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._count = 0
        self._floor: float | None = None
        self._lowest = float("inf")

    def tick(self, now: float, periods: int = 1) -> int:
        """Note that so many periods ended at `now`; returns how many are known to be lost since the last call."""
        return sum(self._tick(now) for _ in range(periods))

    def _tick(self, now: float) -> int:
        self._lowest = min(self._lowest, now - self._count * self._period_s)
        self._count += 1
        if self._count % self.WINDOW:
            return 0
        risen = 0.0 if self._floor is None else self._lowest - self._floor
        self._floor, self._lowest = self._lowest, float("inf")
        return max(0, int(risen / self._period_s + 1 - self.LOST))
