"""How late what we play is heard: by the clock, and by likeness. Pure.

Positions are counts of samples (16 kHz), of frames that came from the microphone and of frames that went to the card. The
delay is by how much the microphone's count is ahead when both mean the same sound.
"""

import functools
from typing import NamedTuple

import numpy as np

from device.audio import FRAME_S, RATE

WINDOW = 8192
"""Samples of the microphone (0.5 s) that are looked for in what was played."""
AROUND = 512
"""Samples (32 ms) in which it is looked for where it was last found: a quarter of the work of"""
EARLIER, LATER = round(-0.3 * RATE), round(1.236 * RATE)
"""the delays that are looked at, less the one that the driver tells, where it was not found yet, or not there."""
FARTHER = round(3.284 * RATE)
"""What is heard later than LATER is out of reach, but the owner shall be told. With WINDOW, either makes a power of 2."""
_LOWEST_HZ, _HIGHEST_HZ = 200, 3500
_CLEAR = 9.0
"""Peak over RMS of the correlation; where nothing is alike, the highest of 12,000 values reaches 4.5."""


_PART, _DRIFT_PART, _FASTEST = 0.4, 0.08, 0.001
"""How much of an error corrects the delay, and how much of it its drift, which is 0.1 % at most."""
_APART = 3840
"""Samples between two measurements. What comes sooner, when the clock has just set the delay, says little of its drift."""
_MOSTLY = 0.08
"""Of the power of what we left so much must be explained by what we played, room and loudspeaker aside, to be called ours."""


class Pace:
    """When frames of 20 ms would come, were no thread ever late: a floor over 0.5 to 1 s. `sure_frames`: what comes later
    than that is another sound."""

    WINDOW = 25
    SURE = 5
    """So many that are late one after the other are not late: something is missing before them."""

    def __init__(self, sure_frames: int) -> None:
        self.sure_frames = sure_frames
        self._ticks = 0
        self._late, self._least = 0, 0
        """How many were late one after the other, and by how many frames each was at least."""
        self._old = self._new = float("inf")

    def missing(self, t: float, frame: int) -> int:
        """How many frames are missing before one that ends at `t` and would be number `frame`."""
        late = int((t - self.zero) / FRAME_S - frame + 0.35) if self._ticks else 0
        if late <= 0:
            self._late = 0
            return 0
        if not self._late or late < self._least:  # it catches up: after a stall frames come in a burst
            self._late, self._least = 0, late
        self._late += 1
        if late < self.sure_frames and self._late < self.SURE:
            return 0
        self._late = 0
        return late if late >= self.sure_frames else self._least

    def tick(self, t: float, frame: int) -> None:
        """Frame number `frame` ended at `t`."""
        if self._late:
            return
        self._new = min(self._new, t - frame * FRAME_S)
        self._ticks += 1
        if self._ticks % self.WINDOW == 0:
            self._old, self._new = self._new, float("inf")

    @property
    def zero(self) -> float:
        """When frame 0 would have ended (seconds)."""
        return min(self._old, self._new)


class Drifting:
    """A delay (samples) that grows or shrinks: two cards' clocks drift apart by as much as 0.02 %, 3 samples a second."""

    def __init__(self) -> None:
        self.known = False
        """It was set."""
        self._delay, self._set_at, self._drift = 0.0, 0, 0.0

    def set(self, delay: float, now: int) -> None:
        """This is the delay at the count `now`; it drifts as before."""
        self.known, self._delay, self._set_at = True, delay, now

    def at(self, now: int) -> float:
        """What it is by now."""
        return self._delay + self._drift * (now - self._set_at)

    def follow(self, delay: float, now: int) -> None:
        """So it was measured now, with some error."""
        error = delay - self.at(now)
        delay = self.at(now) + _PART * error
        self._drift += _DRIFT_PART * error / max(now - self._set_at, _APART)
        self._drift = min(max(self._drift, -_FASTEST), _FASTEST)
        self.set(delay, now)


class Likeness(NamedTuple):
    """`lag`: where in the longer sound (samples, with parts) the shorter begins. `clear`: it is sure."""

    lag: float
    clear: bool


def likeness(played: np.ndarray, heard: np.ndarray) -> Likeness:
    """Find `heard` in `played` (int16, longer by the lags that are looked at): GCC-PHAT, at half the rate.

    Only phases count, so neither the loudspeaker's colour nor the level matters.
    """
    size = len(played) // 2
    cross = np.fft.rfft(_halved(played)) * np.fft.rfft(_halved(heard), size).conj()
    correlation = np.fft.irfft(cross * (_band(size) / (np.abs(cross) + 1e-9)))
    rms = np.sqrt(np.mean(np.square(correlation)))
    correlation = correlation[: (len(played) - len(heard)) // 2]
    top = int(correlation.argmax())
    height = correlation[top]
    part = 0.0
    if 0 < top < len(correlation) - 1:  # the summit of the parabola through three points
        before, after = correlation[top - 1], correlation[top + 1]
        part = float((before - after) / (2 * (before - 2 * height + after)))
    return Likeness(2 * (top + part), bool(height > _CLEAR * rms))


def explains(ours: np.ndarray, left: np.ndarray) -> bool:
    """Whether most of what was `left` is `ours`; both int16, of the same time."""
    played, rest = ours.astype(np.float32), left.astype(np.float32)
    alike = float(np.dot(played, rest)) ** 2
    return alike > _MOSTLY * float(np.dot(played, played)) * float(np.dot(rest, rest))


def _halved(sound: np.ndarray) -> np.ndarray:
    halved: np.ndarray = sound.reshape(-1, 2).sum(axis=1, dtype=np.float32)
    return halved


@functools.cache
def _band(size: int) -> np.ndarray:
    hertz = np.fft.rfftfreq(size, 2 / RATE)
    return ((hertz > _LOWEST_HZ) & (hertz < _HIGHEST_HZ)).astype(np.float32)
