"""Writes what happens as JSON lines, for people and tests. Used by the main thread only."""

import json
import logging
import math
import os
import select
from pathlib import Path

from device.errors import UsageError

log = logging.getLogger(__name__)


class EventLog:
    """Appends a line per event to a file, or to standard output for "-"; to nothing for None.

    A disk that is full or a reader that is gone or slow costs lines, never the conversation: they are counted, and the
    count is the first line written when writing works again.

    Raises:
        UsageError: the file cannot be opened.
    """

    def __init__(self, target: str | Path | None) -> None:
        self._name = "standard output" if target == "-" else str(target)
        self._lost = 0
        self._torn = False
        """Whether the last line written lacks its end."""
        self._fd: int | None = None
        if target is None:
            return
        try:
            # O_NONBLOCK: a FIFO that nobody reads is an error at once, not a wait.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            self._fd = os.dup(1) if target == "-" else os.open(target, flags, 0o600)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"the event log {self._name} cannot be written: {reason}.") from None
        self._writable = select.poll()
        self._writable.register(self._fd, select.POLLOUT)

    def write(self, t: float, event: str, **fields: object) -> None:
        """Append one line. `t` in seconds (CLOCK_MONOTONIC); fields that are None or no finite number are left out."""
        if self._fd is None:
            return
        try:
            if self._lost:
                self._put(_line(t, "dropped", {"where": "events", "frames": self._lost}))
                log.warning("the event log %s can be written again; %d lines are lost", self._name, self._lost)
                self._lost = 0
            self._put(_line(t, event, fields))
        except OSError as error:
            if not self._lost:
                log.warning("the event log %s cannot be written (%s); lines are lost", self._name, error.strerror)
            self._lost += 1

    def close(self) -> None:
        """Close the file; what is written later goes nowhere."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _put(self, line: bytes) -> None:
        """Write it all without waiting, or raise OSError."""
        assert self._fd is not None
        rest = b"\n" + line if self._torn else line
        while rest:
            # A pipe that polls as writable takes PIPE_BUF bytes at once, even if it is a blocking one.
            if not self._writable.poll(0):
                raise BlockingIOError(0, "its reader is too slow")
            written = os.write(self._fd, rest[: select.PIPE_BUF])
            self._torn = not rest[:written].endswith(b"\n")
            rest = rest[written:]


def _line(t: float, event: str, fields: dict[str, object]) -> bytes:
    kept = {name: value for name, value in fields.items() if value is not None and not _is_odd(value)}
    text = json.dumps({"t": round(t, 6), "event": event, **kept}, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"  # an agent's text may hold half a surrogate pair


def _is_odd(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
