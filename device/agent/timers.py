"""The agent's own list of timers. They ring on the device; this is what it knows to tell and to cancel."""

from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 20


@dataclass(frozen=True, slots=True)
class Timer:
    """A running timer; `due` is in seconds of the list's clock."""

    name: str
    due: float


class Timers:
    """Running timers, earliest first. `clock` gives monotonic seconds.

    `prefix` begins their names: the device's timers outlive us, and one of ours must not take the place of an older one.
    """

    def __init__(self, clock: Callable[[], float], prefix: str = "") -> None:
        self._prefix = prefix
        self._clock = clock
        self._timers: list[Timer] = []

    def running(self) -> list[Timer]:
        """Those that have not rung yet."""
        now = self._clock()
        self._timers = [timer for timer in self._timers if timer.due > now]
        return list(self._timers)

    def left(self, timer: Timer) -> float:
        """Seconds until it rings."""
        return timer.due - self._clock()

    def add(self, seconds: float) -> Timer | None:
        """A new timer with the lowest free number in its name; None if there are too many."""
        taken = {timer.name for timer in self.running()}
        if len(taken) >= LIMIT:
            return None
        names = (f"{self._prefix}timer {n}" for n in range(1, LIMIT + 1))
        name = next(name for name in names if name not in taken)
        timer = Timer(name, self._clock() + seconds)
        self._timers = sorted([*self._timers, timer], key=lambda each: each.due)
        return timer

    def cancel(self, name: str) -> bool:
        """Take it off the list; False if it is not there."""
        before = self.running()
        self._timers = [timer for timer in before if timer.name != name]
        return len(self._timers) < len(before)
