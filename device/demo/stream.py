"""The event log of a running firmware, waited for."""

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

from device.errors import EarshotError

Event = dict[str, Any]  # a line of the event log: "t" in seconds, CLOCK_MONOTONIC, "event", and its fields
LOOK_S = 0.2  # how often it is seen to that more can come


class EventStream:
    """Events in the order in which they came.

    `watch` is called with every event, in the thread that waits for one; `check` raises when no more can come.
    """

    def __init__(self, watch: Callable[[Event], None], check: Callable[[], None]) -> None:
        self.events: list[Event] = []
        self._watch = watch
        self._check = check
        self._position = 0
        self._inbox: queue.Queue[Event] = queue.Queue(100_000)  # an hour of the busiest conversation

    def put(self, event: Event) -> None:
        """Add an event; from any thread."""
        self._inbox.put_nowait(event)

    def wait_for(self, event: str, timeout: float, since: float | None = None, **fields: object) -> Event:
        """The next event of this name with these fields, within `timeout` seconds.

        "Next" is after the one that was returned last, or, where `since` is given, not before that time.
        EarshotError says what came instead, or why no more can come.
        """
        if since is not None:
            self._position = next((i for i, e in enumerate(self.events) if e["t"] >= since), len(self.events))
        wanted = {"event": event, **fields}
        begin = self._position
        for found in self._following(timeout):
            if wanted.items() <= found.items() and found["t"] >= (since or 0.0):
                return found
        wish = " ".join(str(value) for value in wanted.values())
        came = ", ".join(e["event"] for e in self.events[begin:][-8:]) or "nothing"
        raise EarshotError(f'"{wish}" did not come within {timeout:g} s; what came: {came}')

    def watch_for(self, seconds: float) -> list[Event]:
        """Let time pass; the events that it brought. EarshotError if no more can come."""
        return list(self._following(seconds))

    def drain(self) -> None:
        """Take up what has come, without waiting."""
        while not self._inbox.empty():
            self._take(LOOK_S)

    def _following(self, seconds: float) -> Iterator[Event]:
        """The events from `_position` on, which follows, until `seconds` from now."""
        end = time.monotonic() + seconds
        while True:
            while self._position < len(self.events):
                self._position += 1
                yield self.events[self._position - 1]
            try:
                self._take(min(max(0.0, end - time.monotonic()), LOOK_S))
            except queue.Empty:
                if time.monotonic() >= end:
                    return
                self._check()

    def _take(self, seconds: float) -> None:
        event = self._inbox.get(timeout=seconds)
        self.events.append(event)
        self._watch(event)
