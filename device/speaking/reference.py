"""What the room hears of us: all that is written to the card, as frames like the microphone's, with the time it is heard."""

from collections.abc import Callable
from typing import Any

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, RATE, Frame, to_float, to_int16


class Reference:
    """Makes frames of periods at a card's `rate` (hertz), and calls `give` with them. In silence it does nothing.

    `latency_s`: from the end of a write to the time at which its first sample is heard.
    """

    def __init__(self, rate: int, latency_s: float, give: Callable[[Frame], None]) -> None:
        self._ratio = RATE / rate
        self._latency_s = latency_s
        self._give = give
        self._rest = np.zeros(0, np.int16)
        self._kept_s = 0.0
        """How much of the sound is neither given nor in `_rest`: the resampler has it."""
        self._sounds = False
        self._resampler: Any = None
        if rate != RATE:
            import samplerate  # now: the first sound must not wait for it

            self._resampler = samplerate.Resampler("sinc_fastest", channels=1)

    def written(self, period: np.ndarray | None, now: float) -> None:
        """Take a period (int16, mono; None: silence) whose writing ended at `now` (seconds, CLOCK_MONOTONIC)."""
        if period is not None:
            self._sounds = True
            self._take(to_float(period), now)
        elif self._sounds:  # silence pushes the end of the sound out
            self._sounds = False
            if self._resampler is not None:
                self._take(np.zeros(round(FRAME_SAMPLES / self._ratio), np.float32), now)
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
