"""What the room hears of us: all that is written to the card, as frames like the microphone's, with the time it is heard."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, RATE, Frame, to_float, to_int16

_WINDOW = 50
_AGREE = 3
_JUMP_S = 0.015
"""So many writes in a row must be later than the line by so much: then samples were lost, and it begins anew."""
PAUSE = 25
"""Periods of silence that are told after a sound: where time steps between sounds closer than that, samples were lost."""


class Line:
    """When the card had room, without the lateness of our writes: it plays at its own pace, and cannot be early.

    An echo canceller that is told one time for this reply and another for the next has to find the echo anew.
    """

    def __init__(self) -> None:
        self._periods = 0
        self._offsets: deque[float] = deque(maxlen=_WINDOW)

    def at(self, now: float, periods: int) -> float:
        """The time at which so many periods, whose writing ended at `now`, were in the card's hands."""
        self._periods += periods
        self._offsets.append(now - self._periods * FRAME_S)
        lately = list(self._offsets)[-_AGREE:]
        if min(lately) > min(self._offsets) + _JUMP_S:
            self._offsets = deque(lately, _WINDOW)
        return self._periods * FRAME_S + min(self._offsets)


class Reference:
    """Makes frames of periods at a card's `rate` (hertz), and calls `give` with them. After PAUSE of silence it does nothing.

    `latency_s`: from the end of a write to the time at which its first sample is heard.
    """

    def __init__(self, rate: int, latency_s: float, give: Callable[[Frame], None]) -> None:
        self._ratio = RATE / rate
        self._latency_s = latency_s
        self._give = give
        self._rest = np.zeros(0, np.int16)
        self._kept_s = 0.0
        """How much of the sound is neither given nor in `_rest`: the resampler has it."""
        self._pause = PAUSE
        """Periods of silence since the last sound, up to PAUSE."""
        self._line = Line()
        self._resampler: Any = None
        if rate != RATE:
            import samplerate  # now: the first sound must not wait for it

            self._resampler = samplerate.Resampler("sinc_fastest", channels=1)

    def written(self, period: np.ndarray | None, now: float, count: int = 1) -> None:
        """Take a period (int16, mono; None: `count` of silence) whose writing ended at `now` (seconds, CLOCK_MONOTONIC).

        It wants all that is written, silence too.
        """
        now = self._line.at(now, count)
        if period is not None:
            self._pause = 0
            self._take(to_float(period), now)
            return
        for number in range(min(count, PAUSE - self._pause)):  # silence pushes the end of the sound out, too
            self._take(np.zeros(round(FRAME_SAMPLES / self._ratio), np.float32), now - (count - 1 - number) * FRAME_S)
            self._pause += 1
            if self._pause == PAUSE:
                self._reset()

    def _reset(self) -> None:
        if self._resampler is not None:
            self._resampler.reset()
        self._rest, self._kept_s = self._rest[:0], 0.0

    def _take(self, sound: np.ndarray, now: float) -> None:
        if self._resampler is not None:
            sound = self._resampler.process(sound, self._ratio)
        self._kept_s += FRAME_S - len(sound) / RATE
        self._rest = np.concatenate((self._rest, to_int16(sound)))
        while len(self._rest) >= FRAME_SAMPLES:
            frame, self._rest = self._rest[:FRAME_SAMPLES], self._rest[FRAME_SAMPLES:]
            later_s = len(self._rest) / RATE + self._kept_s
            self._give(Frame(frame.tobytes(), now + self._latency_s + FRAME_S - later_s))
