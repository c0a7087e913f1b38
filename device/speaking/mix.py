"""All that sounds, made one: the reply, levelled and ducked, and our own sounds; through the limiter, and at the volume."""

import numpy as np

from device.audio import FRAME_S, to_int16
from device.config import Speaker as Settings
from device.events import StopPlayback
from device.speaking.jitter import JitterBuffer
from device.speaking.loudness import Boost, Leveller, Limiter, from_db
from device.speaking.own import FADE_PART, OwnSounds, fade_out
from device.speaking.voice import Voice

DUCKED = from_db(-18)
DUCK_PART = 2
"""It ducks within this part of a period, 10 ms: a step would be a click."""
RAISE_PERIODS = 3
"""It comes back in 60 ms."""
_BOOST_DB_S = 3.0
"""So fast does it speak up while it speaks; in silence nobody hears it."""


class Mix:
    """Periods of `period` samples at the card's `rate`.

    The reply is taken 5 ms before it is given, for the limiter to see what comes. A stop goes past that: it is no later for it.
    """

    def __init__(self, buffer: JitterBuffer, rate: int, period: int, settings: Settings) -> None:
        self.own = OwnSounds(rate, period, settings)
        self._buffer = buffer
        self._voice = Voice(buffer, rate)
        self._rate, self._period = rate, period
        self._leveller = Leveller(FRAME_S) if settings.level else None
        self._next = np.zeros(0, np.float32)
        """What was taken of the reply and not given: nothing, or `_ahead` samples."""
        self._ahead = period // FADE_PART
        self._limiter = Limiter(rate, self._ahead)
        self._duck = self._duck_target = 1.0
        self._volume = _gain(settings.volume)
        self._boost = Boost() if settings.louder_in_noise else None
        self._boost_db = self._boost_target_db = 0.0
        self._gain = self._volume
        self.played_s = 0.0
        """How much of the reply has been given out."""

    def resume(self, reply: int) -> bool:
        """Play on what was kept of `reply`; False where nothing of it is left."""
        return self._voice.resume(reply)

    def volume(self, percent: int) -> None:
        """Reach this volume by the end of the next period."""
        self._volume = _gain(percent)

    def duck(self, ducked: bool) -> None:
        """Play replies far softer, or no longer. Our own sounds stay as they are."""
        self._duck_target = DUCKED if ducked else 1.0

    def room(self, noise_dbfs: float) -> None:
        """Play as loud as the noise of the room wants it, where that is set."""
        if self._boost is not None:
            self._boost_target_db = self._boost.of(noise_dbfs)

    def period(self, stop: StopPlayback | None) -> np.ndarray | None:
        """The next period as int16, shape (period,); None for silence. With it `stop` takes effect."""
        reply = self._reply() if stop is None else self._stopped(stop)
        samples = self.own.mix(reply, self._ahead)
        if samples is None:
            self._limiter.rest(self._period)
            self._boost_db = self._boost_target_db
            self._gain = self._volume * from_db(self._boost_db)
            return None
        before, self._gain = self._gain, self._next_gain()
        # What is more than the card has is for the limiter.
        samples *= _ramp(max(1.0, before), max(1.0, self._gain), self._period, len(samples))
        samples = self._limiter.limit(samples)
        return to_int16(samples * _ramp(min(1.0, before), min(1.0, self._gain), self._period, self._period))

    def _next_gain(self) -> float:
        """Volume and boost at the end of this period."""
        most = _BOOST_DB_S * FRAME_S
        self._boost_db += max(-most, min(most, self._boost_target_db - self._boost_db))
        return self._volume * from_db(self._boost_db)

    def _reply(self) -> np.ndarray | None:
        """The next period of the reply and what will follow it, at their loudness."""
        if not len(self._next):  # nothing sounds that a step could be heard in
            self._duck = self._duck_target
        new = self._voice.period(self._period)
        if new is None and not len(self._next):
            return None
        whole = np.zeros(self._ahead + self._period, np.float32)
        whole[: len(self._next)] = self._next
        self._next = whole[:0]
        if new is not None:
            whole[self._ahead :] = new if self._leveller is None else self._leveller.level(new)
            self._next = whole[self._period :].copy()
        self.played_s = self._voice.played_s - len(self._next) / self._rate
        self._duck_in(whole)
        return whole

    def _duck_in(self, samples: np.ndarray) -> None:
        before, target = self._duck, self._duck_target
        if target < before:
            self._duck, within = target, self._period // DUCK_PART
        else:
            self._duck, within = min(target, before + (1 - DUCKED) / RAISE_PERIODS), self._period
        samples *= _ramp(before, self._duck, within, len(samples))

    def _stopped(self, stop: StopPlayback) -> np.ndarray | None:
        """The same, where the reply breaks off: what is in hand fades, and no more is taken."""
        if self._buffer.reply > stop.reply:
            return self._reply()
        self.played_s = self._voice.played_s  # all that was taken fades out
        if stop.keep:
            self._voice.keep(stop.reply)
        else:
            self._voice.drop(stop.reply)
        last, self._next = self._next, self._next[:0]
        duck, self._duck, self._duck_target = self._duck, 1.0, 1.0
        if not len(last):
            return None
        whole = np.zeros(self._period + self._ahead, np.float32)
        whole[: len(last)] = last * duck
        fade_out(whole, len(last))
        return whole


def _gain(percent: int) -> float:
    """Loudness is heard in ratios: half the volume is a quarter of the amplitude, -12 dB."""
    return (percent / 100) ** 2


def _ramp(before: float, after: float, within: int, length: int) -> np.ndarray | np.float32:
    """Factors for `length` samples that go from one to the other `within` so many, and stay."""
    if before == after:
        return np.float32(after)
    factors = np.full(length, after, np.float32)
    factors[:within] = np.linspace(before, after, within, dtype=np.float32)
    return factors
