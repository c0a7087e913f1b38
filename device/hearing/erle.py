"""How much of our own sound was taken out of what the microphone hears: ERLE, echo return loss enhancement. Pure."""

from collections import deque

import numpy as np

_BLOCK = 5
"""Frames: 0.1 s, long against the 10 ms by which cleaning delays."""
_RECENT = 10
"""Blocks with echo: the last second of it."""
_ENOUGH = 3
_REPLY = 6000
"""Blocks of 10 minutes."""
_LOUD_DBFS, _SOFTEST_DBFS = -50.0, -70.0
"""What we play, below which its echo is not looked at, and not even to begin with."""
_ABOVE_DB = 12.0
"""By so much the microphone must be above the noise: less than that cannot be taken out of it."""
_RISE_DB = 0.1
"""A block, by which the noise floor follows."""
_SOFT, _SOFT_ENOUGH = 30, 5
"""Blocks in which we play: if of so many at most a third stand out, there is no echo of ours to be afraid of."""
SILENT_DBFS = -100.0


def dbfs(mean_square: float) -> float:
    """Of a mean square of full scale 1; -100 at least."""
    return max(SILENT_DBFS, 10 * float(np.log10(mean_square + 1e-10)))


class Erle:
    """Compares levels in blocks in which echo is loud. A quarter of the blocks decides, those with the highest ratio: people
    pause between words, so what they say over us does not spoil it."""

    def __init__(self) -> None:
        self._sums = [0.0, 0.0, 0.0]
        self._frames = 0
        self.gain_db = 0.0
        """By how much what we play is made louder for the canceller."""
        self.noise_dbfs = 0.0
        """How loud the room is where nobody speaks and nothing plays; 0 before it was heard."""
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._returns: deque[float] = deque(maxlen=3 * _RECENT)
        self._stands_out: deque[bool] = deque(maxlen=_SOFT)
        """Of each block in which we play: we, or people, are loud against the noise."""
        self.forget_reply()

    def forget_reply(self) -> None:
        """Begin with the next reply."""
        self._whole: deque[float] = deque(maxlen=_REPLY)
        self._loud = 0

    def forget_recent(self) -> None:
        """What was taken out until now says nothing any more."""
        self._recent.clear()

    def hear(self, heard: float, cleaned: float, played: float) -> None:
        """Take mean squares of a frame, of full scale 1; `played`: of that of which `heard` may have the echo."""
        for number, level in enumerate((heard, cleaned, played)):
            self._sums[number] += level / _BLOCK
        self._frames += 1
        if self._frames == _BLOCK:
            self._block(*map(dbfs, self._sums))
            self._sums, self._frames = [0.0, 0.0, 0.0], 0

    def _block(self, heard: float, cleaned: float, played: float) -> None:
        # Digital silence is a microphone that was switched off; where it is a room, it is back at once.
        was_off = self.noise_dbfs <= SILENT_DBFS and played <= SILENT_DBFS
        self.noise_dbfs = heard if was_off else min(heard, self.noise_dbfs + _RISE_DB)
        loud = played + self.gain_db >= _LOUD_DBFS
        stands_out = heard > self.noise_dbfs + _ABOVE_DB
        if stands_out and (loud or (played >= _SOFTEST_DBFS and len(self._returns) < _ENOUGH)):
            self._returns.append(heard - played)
        if not loud:
            return
        self._loud += 1
        self._stands_out.append(stands_out)
        if stands_out:
            self._recent.append(heard - cleaned)
            self._whole.append(heard - cleaned)

    @property
    def db(self) -> float | None:
        """Over the last second with echo; None: never measured."""
        return _quarter(self._recent)

    @property
    def reply_db(self) -> float | None:
        """Over the reply so far; None where less than a third of it was loud enough to tell."""
        return _quarter(self._whole) if 3 * len(self._whole) > self._loud else None

    @property
    def soft_dbfs(self) -> float | None:
        """How loud our echo is at most, where it hardly stands out of the noise and `db` is not measured; else None."""
        known = len(self._stands_out)
        if known < _SOFT_ENOUGH or 3 * sum(self._stands_out) > known:
            return None
        return self.noise_dbfs + _ABOVE_DB

    @property
    def return_db(self) -> float:
        """How much louder we are heard than we play; without people, who only make it louder. 0 before it is known."""
        return sorted(self._returns)[len(self._returns) // 4] if len(self._returns) >= _ENOUGH else 0.0


def _quarter(ratios: deque[float]) -> float | None:
    return sorted(ratios)[len(ratios) * 3 // 4] if len(ratios) >= _ENOUGH else None
