"""What was seen in the virtual Pi's room: sound with times, and lights."""

import asyncio
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from device.agent.skills import Context, time
from device.agent.speaking import RATE, synthesise
from device.agent.timers import Timers
from device.demo.voices import resample
from device.hearing.speech import CHUNK_SAMPLES, Silero

FRAME_S = 0.02
LOUD = 200.0
"""RMS of 32768: the speaker is silent below."""
PAUSE_S = 0.7
"""What is parted by more than this are two things said."""


class Scene:
    """What `room.py observe` has seen; times of the guest's clock."""

    def __init__(self, found: dict[str, Any], pcm: bytes) -> None:
        self.begin, self.played, self.ended = found["begin"], found["played"], found["ended"]
        self.pressed: float | None = found["pressed"]
        self.end = found["end"]
        self.said: str = found["said"]
        self.lights: list[tuple[float, str]] = [(t, levels) for t, levels in found["lights"]]
        self.samples = np.frombuffer(pcm, "<i2").astype(np.float64)
        arrived, counts = np.array(found["chunks"] or [(self.begin, 0)]).T
        # The card's clock runs evenly, what is read arrives late at times: the earliest arrivals are right.
        self._start = float(np.min(arrived - counts / RATE))

    def frames(self) -> np.ndarray:
        """RMS of each 20 ms."""
        size = int(RATE * FRAME_S)
        whole = len(self.samples) // size * size
        rms: np.ndarray = np.sqrt(np.mean(self.samples[:whole].reshape(-1, size) ** 2, axis=1))
        return rms

    def loud(self) -> list[tuple[float, float]]:
        """From when to when it was loud, without pauses of up to `PAUSE_S`."""
        spans: list[tuple[float, float]] = []
        for index in np.flatnonzero(self.frames() > LOUD):
            t = self._start + float(index) * FRAME_S
            if spans and t - spans[-1][1] <= PAUSE_S:
                spans[-1] = (spans[-1][0], t + FRAME_S)
            else:
                spans.append((t, t + FRAME_S))
        return spans

    def longest(self) -> tuple[float, float] | None:
        """The longest of them: the answer, where there is one; chimes are short."""
        return max(self.loud(), key=lambda span: span[1] - span[0], default=None)

    def silent_after(self, t: float) -> float:
        """How long after `t` the last loud sound of what was going on then ended; 0 if it was silent."""
        return max((end - t for start, end in self.loud() if start <= t), default=0.0)

    def cut(self, start: float, end: float) -> np.ndarray:
        """The samples between two times."""
        return self.samples[max(0, round((start - self._start) * RATE)) : round((end - self._start) * RATE)]

    def shares(self, light: int, start: float, end: float) -> float:
        """The share of the time between `start` and `end` in which the line of a light (0, 1, 2) was high."""
        if end <= start:
            return 0.0
        high = 0.0
        for (t, levels), (until, _) in pairwise([*self.lights, (self.end, "")]):
            if levels[light] == "1":
                high += max(0.0, min(until, end) - max(t, start))
        return high / (end - start)

    def first(self, light: int, after: float) -> float | None:
        """When it was first lit after a time."""
        return next((t for t, levels in self.lights if t >= after and levels[light] == "1"), None)


def speech_share(sound: np.ndarray) -> float:
    """The share of it that a speech detector takes for speech."""
    detector = Silero()
    pcm = resample(sound.astype(np.int16), RATE, 16_000)
    chunks = [pcm[i : i + CHUNK_SAMPLES] for i in range(0, len(pcm) - CHUNK_SAMPLES + 1, CHUNK_SAMPLES)]
    return sum(detector(chunk) > 0.5 for chunk in chunks) / max(1, len(chunks))


def answer_s(now: datetime) -> float:
    """How long the built-in agent speaks when it is asked for the time."""
    sentence = time([], Context(now, Timers(lambda: 0.0)))
    assert isinstance(sentence, str)
    samples = np.frombuffer(asyncio.run(synthesise(sentence)), "<i2").astype(np.float64)
    loud = np.flatnonzero(np.abs(samples) > LOUD)
    return float(loud[-1] - loud[0]) / RATE
