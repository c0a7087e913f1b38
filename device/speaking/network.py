"""What the network does to replies on their way, and how much of a reply is therefore held back before it is played. Pure.

All times are in periods of 20 ms: the clock is the sound card's, for what comes after a period was taken is late, however
little. Sound that comes faster than it is played needs nothing held back.
"""

from collections import deque

PERIOD_S = 0.02
LEAST = 2
"""Periods that are held back at least, 40 ms: one to play, one for the next to come."""
MOST = 15
"""And at the most, 300 ms: what is later is a stall, for which all replies would have to wait too long."""
_SECOND = 50
_SECONDS = 10
"""So many seconds of speech are remembered, over all replies and sessions."""
_HALF = 12.5
"""What is assumed while nothing is known halves with each quarter of a second of speech: a calm network pays for it once."""


class Network:
    """Sees chunks come, and says how many periods to hold back: `start_s` (seconds) as long as it knows nothing."""

    def __init__(self, start_s: float) -> None:
        self._assumed = start_s / PERIOD_S
        self._seconds: deque[tuple[float, float]] = deque(maxlen=_SECONDS)
        """The longest delay and the longest pause of each second of speech."""
        self._late = self._pause = self._length = 0.0
        """The same of the present second, and how much speech it has so far."""
        self._came = 0.0
        """How much of the present reply has come."""
        self._first: float | None = None
        """How late its first chunk was, compared with the reply's own time; None before it came."""
        self._least = 0.0
        """How late the most punctual was, but not much less than the first: a lead is no better for being longer."""
        self._last = 0
        """When the last one came."""
        self._stalled = False
        self.held = self._assumed
        """Periods to hold back."""
        self.pause = 0.0
        """Periods that pass between two chunks, beyond one: what is sent at the pace of speech in large chunks has to last."""

    def begin(self) -> None:
        """Another reply begins."""
        self._came, self._first = 0.0, None
        self._judge()

    def came(self, now: int, periods: float) -> None:
        """A chunk with so many periods has come in time for period number `now`."""
        delay = now - self._came
        if self._first is None or now - self._last > _SECOND:  # it begins, or goes on after a pause
            self._first, self._least, self._stalled, self._last = delay, delay, False, now
        ahead = delay <= self._first - MOST
        if now != self._last and not ahead:  # what waited behind a late one says nothing
            self._note(delay - self._least, now - self._last - 1)
        self._least = max(min(self._least, delay), self._first - MOST)
        self._last = now
        self._came += periods
        self._length += 0 if ahead or self._stalled else periods
        self._assumed *= 0.5 ** (periods / _HALF)
        if self._length >= _SECOND:
            self._seconds.append((self._late, self._pause))
            self._late = self._pause = self._length = 0.0
            self._judge()

    def _note(self, late: float, pause: float) -> None:
        self._stalled = late > (MOST / 2 if self._stalled else MOST)
        if not self._stalled:
            self._late, self._pause = max(self._late, late), max(self._pause, pause)

    def _judge(self) -> None:
        """Of the seconds the second worst counts, for once is chance, and a quarter more, for the worst is yet to come."""
        late, pause = zip(*(self._seconds or [(self._late, self._pause)]), strict=True)
        place = -2 if len(late) > 1 else -1
        self.held = max(self._assumed, min(LEAST + round(sorted(late)[place] * 1.25), MOST))
        self.pause = min(sorted(pause)[place], MOST)
