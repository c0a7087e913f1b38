"""The reply as the sound card takes it: out of the jitter buffer at its rate, and into periods at the card's."""

from typing import Any

import numpy as np

from device.audio import to_float
from device.speaking.jitter import JitterBuffer

_TAIL_S = 0.004
"""Silence that pushes out what a resampler still holds."""
_SPARE_S = 0.002
"""A resampler gives a little less at first, and then not always a period for a period. With so much silence before the reply
no period is taken out of the jitter buffer before its time."""


class Voice:
    """Periods of the reply at the card's rate."""

    def __init__(self, buffer: JitterBuffer, rate: int) -> None:
        self._buffer = buffer
        self._rate = rate
        self._reply_rate = 0
        """What the resampler is made for; 0 before the first reply."""
        self._ready = np.zeros(0, np.float32)
        self._sounds = False
        """The last period was not silence."""
        self._tail = False
        """The last millisecond is in the resampler still."""
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
            self._ready = np.concatenate((self._ready, self._resampled(samples, length)))
        self._sounds = bool(len(self._ready))
        if not self._sounds:
            return None
        period = np.zeros(length, np.float32)
        now, self._ready = self._ready[:length], self._ready[length:]
        period[: len(now)] = now
        return period

    def _resampled(self, samples: np.ndarray | None, length: int) -> np.ndarray:
        sound = np.zeros(round(self._reply_rate * _TAIL_S), np.float32) if samples is None else to_float(samples)
        if self._resampler is None:
            return sound
        sound = np.asarray(self._resampler.process(sound, self._rate / self._reply_rate))
        if self._sounds:
            return sound
        before = max(0, length + round(self._rate * _SPARE_S) - len(sound))
        return np.concatenate((np.zeros(before, np.float32), sound))

    def drop(self, reply: int) -> None:
        """Forget what is to come of the replies up to number `reply`."""
        if self._buffer.reply <= reply:
            self._cut()
            self._buffer.drop(reply)

    def keep(self, reply: int) -> None:
        """Play no more of the replies up to number `reply`, but keep what is to come of them for `resume`."""
        if self._buffer.reply <= reply:
            self._cut()
            self._buffer.keep(reply)

    def resume(self, reply: int) -> bool:
        """Play on what is kept; False where nothing is left to hear."""
        return self._buffer.resume(reply)

    def _cut(self) -> None:
        self._ready, self._sounds = self._ready[:0], False
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
