"""How much of each item of the last replies has come, so as to tell what of it was not played. Pure.

One thread adds; another may ask at the same time.
"""

from typing import NamedTuple

MOST_TURNS = 8
"""A reply that is that far back is not being played any more."""
MOST_PARTS = 64
"""Of one reply; more are not kept."""


class Cut(NamedTuple):
    """Where a part of an item is to end, in milliseconds from its beginning."""

    item: str
    part: int
    ms: int


class Received:
    """Bytes of s16le mono at `rate` hertz, by reply, and in it by item and part, in the order in which they came."""

    def __init__(self, rate: int) -> None:
        self._bytes_per_s = 2 * rate
        self._turns: dict[str, dict[tuple[str, int], int]] = {}

    def add(self, turn: str, item: str, part: object, size: int) -> None:
        """So many bytes have come. Without names there is nothing to cut."""
        if not (turn and item):
            return
        if turn not in self._turns and len(self._turns) >= MOST_TURNS:
            del self._turns[next(iter(self._turns))]
        parts = self._turns.setdefault(turn, {})
        place = item, part if isinstance(part, int) and 0 <= part < MOST_PARTS else 0
        if place in parts or len(parts) < MOST_PARTS:
            parts[place] = parts.get(place, 0) + size

    def cuts(self, turn: str, seconds: float, more_to_come: bool) -> list[Cut]:
        """Where its parts end if so many seconds of it had been played, later ones at 0; none where all of a part was.

        A cut is never behind what has come, and is made at the end of that where there is `more_to_come`.
        """
        parts = tuple(self._turns.get(turn, {}).items())
        left = round(max(0.0, seconds) * self._bytes_per_s)
        found = []
        for number, ((item, part), size) in enumerate(parts, 1):
            if left < size or (more_to_come and number == len(parts)):
                found.append(Cut(item, part, min(left, size) * 1000 // self._bytes_per_s))
            left = max(0, left - size)
        return found
