"""The reply as the sound card takes it: out of the jitter buffer at its rate, and into periods at the card's."""

from typing import Any

import numpy as np

from device.audio import to_float
from device.speaking.jitter import PERIOD_S, JitterBuffer


class Voice:
    """Periods of the reply at the card's rate."""

    def __init__(self, buffer: JitterBuffer, rate: int) -> None:
        self._buffer = buffer
        self._rate = rate
        self._reply_rate = 0
        """What the resampler is made for; 0 before the first reply."""
        self._ready = np.zeros(0, np.float32)
        self._tail = False
        """The last millisecond is in the resampler still: silence pushes it out."""
        self._resampler: Any = None

    @property
    def played_s(self) -> float:
        """How much of the reply has been given out."""
        return self._buffer.played_s - len(self._ready) / self._rate

    def period(self, length: int) -> np.ndarray | None:
        """`length` samples (float32 of -1..1), None while the reply is silent."""
        while len(self._ready) < length:
            samples = self._buffer.pull()
            if samples is None and not self._tail:
                break
            if samples is not None:
                self._prepare(self._buffer.rate)
            self._tail = samples is not None and self._resampler is not None
            sound = np.zeros(round(self._reply_rate * PERIOD_S), np.float32) if samples is None else to_float(samples)
            if self._resampler is not None:
                sound = self._resampler.process(sound, self._rate / self._reply_rate)
            self._ready = np.concatenate((self._ready, sound))
        if not len(self._ready):
            return None
        period = np.zeros(length, np.float32)
        now, self._ready = self._ready[:length], self._ready[length:]
        period[: len(now)] = now
        return period

    def drop(self, reply: int) -> None:
        """Forget what is to come of the replies up to number `reply`."""
        if self._buffer.reply <= reply:
            self._ready = self._ready[:0]
            self._buffer.drop(reply)
            if self._resampler is not None:
                self._resampler.reset()
                self._tail = False

    def _prepare(self, rate: int) -> None:
        if rate == self._reply_rate:
            return
        self._reply_rate, self._resampler = rate, None
        if rate != self._rate:
            import samplerate

            self._resampler = samplerate.Resampler("sinc_fastest", channels=1)
