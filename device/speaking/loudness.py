"""How loud it plays: a leveller, which makes every voice equally loud, and a limiter, which lets nothing clip. Pure.

Sounds are float32 of -1..1. All arithmetic is on whole periods: a Pi has 20 ms for each.
"""

import numpy as np

TARGET_DBFS = -20.0
"""Speech (RMS, without its pauses) is brought here: its peaks, some 16 dB higher, need the limiter now and then only."""
MOST_DB = 12.0
"""By no more than this is a voice changed: what is softer is not meant to be loud, or is no voice."""
RISE_DB_S, FALL_DB_S = 3.0, 6.0
"""So fast may the level change: slower than what is heard as a change within a word."""
AUDIBLE = 10 ** (-55 / 10)
"""Power below which a period is a pause whatever the voice."""
_LOUD_PART = 0.1
"""A period 10 dB below the mean is a pause too."""
_MEMORY = 500
"""Periods that count, 10 s of sound: an odd word does not move the level, and another voice does so in a few seconds."""
_SURE = 100
"""Periods after which the measure is believed: one syllable tells little of a voice."""
_MEASURE_EVERY = 10

CEILING = 10 ** (-1 / 20)
"""No sample is greater: between samples the wave of a DAC goes a little higher."""
RELEASE_DB_S = 20.0
"""So fast does the limiter let go: within a word that is too slow to be heard as breathing."""
_TINY = 1e-9

QUIET_LIMIT_DBFS = -75.0
"""A microphone's own noise: quieter is no room."""
_NOISE_BEARABLE_DB = 6.0
"""By so much may the noise exceed that of the quiet room before anything is done."""
_BOOST_PER_DB = 0.5
"""People who speak up against noise do as much."""
MOST_BOOST_DB = 9.0


def from_db(db: float) -> float:
    """The factor that is `db` decibels of amplitude."""
    return float(10 ** (db / 20))


class Leveller:
    """Brings voices to one loudness, slowly, and remembers from one reply to the next. `period_s` is that of its periods."""

    def __init__(self, period_s: float) -> None:
        self.gain_db = 0.0
        self._rise_db, self._fall_db = RISE_DB_S * period_s, FALL_DB_S * period_s
        self._powers = np.zeros(_MEMORY)
        self._heard = 0
        """Audible periods so far."""
        self._wanted_db = 0.0

    def level(self, samples: np.ndarray) -> np.ndarray:
        """The next period of a reply, made louder or softer; what was given is not changed."""
        power = float(np.dot(samples, samples)) / len(samples)
        if power > AUDIBLE:
            self._powers[self._heard % _MEMORY] = power
            self._heard += 1
            if self._heard % _MEASURE_EVERY == 0:
                self._wanted_db = self._measure()
        before = self.gain_db
        self.gain_db += min(self._rise_db, max(-self._fall_db, self._wanted_db - before))
        if before == self.gain_db == 0.0:
            return samples
        gain, last = np.float32(from_db(before)), np.float32(from_db(self.gain_db))
        return samples * (gain if gain == last else np.linspace(gain, last, len(samples), dtype=np.float32))

    def _measure(self) -> float:
        powers = self._powers[: self._heard]
        loud = powers[powers >= powers.mean() * _LOUD_PART].mean()
        wanted_db = (TARGET_DBFS - 10 * float(np.log10(loud))) * min(1.0, self._heard / _SURE)
        return min(MOST_DB, max(-MOST_DB, wanted_db))


class Limiter:
    """Keeps every sample within `CEILING`, at `rate` hertz. It sees a peak `ahead` samples before, and so needs no step."""

    def __init__(self, rate: int, ahead: int) -> None:
        self._ahead = ahead
        self._release = RELEASE_DB_S / (20 * np.log10(2)) / rate
        """Octaves of gain by which it lets go with each sample."""
        self._gain = 0.0
        """What the last sample may have at the most, in octaves, before it is smoothed."""
        self._last = np.ones(ahead)
        """The same of the last samples, as factors."""
        self._rests = True

    def limit(self, samples: np.ndarray) -> np.ndarray:
        """The next period. `samples` has `ahead` more at its end, which will, as far as is known, be the next beginning."""
        count = len(samples) - self._ahead
        level = np.abs(samples)
        if self._rests and level.max() <= CEILING:
            return samples[:count]
        allowed = np.minimum(0.0, np.log2(CEILING / np.maximum(level, _TINY)))
        letting_go = np.arange(1, count + 1) * self._release
        held = np.minimum.accumulate(_lowest_of(allowed, self._ahead + 1) - letting_go)
        held = np.minimum(held, self._gain) + letting_go
        held = np.minimum(held, 0.0)
        # Each of `ahead` + 1 neighbours is low enough for the sample between them, so their mean is, and it has no steps.
        factors = np.concatenate((self._last, np.exp2(held)))
        sums = np.concatenate(((0.0,), np.cumsum(factors)))
        gain = (sums[self._ahead + 1 :] - sums[: -self._ahead - 1]) / (self._ahead + 1)
        # What was not foreseen, as a chime that begins, is held by this alone.
        gain = np.minimum(gain, np.exp2(allowed[:count]))
        self._remember(float(held[-1]), factors[count:])
        limited: np.ndarray = samples[:count] * gain.astype(np.float32)
        return limited

    def rest(self, count: int) -> None:
        """So many samples of silence."""
        if not self._rests:
            gain = min(0.0, self._gain + count * self._release)
            self._remember(gain, np.full(self._ahead, 2.0**gain))

    def _remember(self, gain: float, last: np.ndarray) -> None:
        self._gain, self._last = gain, last
        self._rests = bool(np.all(last == 1.0))


def _lowest_of(values: np.ndarray, width: int) -> np.ndarray:
    """The lowest of each `width` neighbours, in as few passes as their count has digits in binary."""
    span = 1
    while span * 2 <= width:
        values = np.minimum(values[:-span], values[span:])
        span *= 2
    rest = width - span
    return np.minimum(values[:-rest], values[rest:]) if rest else values


class Boost:
    """How much louder to play in noise. Microphones differ, so the quietest that this one has heard counts as a quiet room."""

    def __init__(self) -> None:
        self._quietest_dbfs = 0.0

    def of(self, noise_dbfs: float) -> float:
        """Decibels (0 to `MOST_BOOST_DB`) for a room of that noise."""
        self._quietest_dbfs = max(QUIET_LIMIT_DBFS, min(self._quietest_dbfs, noise_dbfs))
        return min(MOST_BOOST_DB, max(0.0, noise_dbfs - self._quietest_dbfs - _NOISE_BEARABLE_DB) * _BOOST_PER_DB)
