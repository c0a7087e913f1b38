"""Counts what had to be thrown away, and tells of it once in a while: a flood must not become a flood of reports."""

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from device.events import Dropped

EVERY = 50
"""A second of frames."""


class Drops:
    """What is dropped at `where`. Used by one thread."""

    def __init__(self, where: str, post: Callable[[Dropped], None]) -> None:
        self._where = where
        self._post = post
        self._count = 0

    def put(self, inbox: SimpleQueue[Any], item: object, limit: int) -> None:
        """Put `item` into `inbox`, or drop it where `limit` items wait already. Never waits."""
        if inbox.qsize() < limit:
            self.tell()
            inbox.put(item)
        else:
            self.add()

    def add(self, frames: int = 1) -> None:
        """So many more were dropped."""
        self._count += frames
        if self._count >= EVERY:
            self.tell()

    def tell(self) -> None:
        """Report now what was not reported yet: it is over."""
        if self._count:
            count, self._count = self._count, 0
            self._post(Dropped(self._where, count))
