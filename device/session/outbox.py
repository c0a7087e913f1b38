"""What goes out to the agent: orders, and the microphone's frames. Its `work` is the sending thread of a session.

It owns the backlog: what was said before the agent was ready goes out first, in order, and so does what was said while a
connection was lost.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple
from typing import Protocol as Interface

from device.audio import FRAME_S
from device.drops import Drops
from device.errors import NetworkError
from device.events import Event, FirstAudioSent

log = logging.getLogger(__name__)

BACKLOG_S = 10.0
"""Speech that is kept while there is no agent: as long as the brain waits for one."""
_BACKLOG_FRAMES = round(BACKLOG_S / FRAME_S)


class Connection(Interface):
    """See `socket.Socket`."""

    def send(self, message: str | bytes) -> None: ...

    def receive(self) -> bytes | None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class _Orders(NamedTuple):
    """Messages to send now, or never: they mean nothing to another connection."""

    messages: list[str]


class _Ready(NamedTuple):
    """The agent takes sound on this connection from now on."""

    connection: Connection


class _Lost(NamedTuple):
    """There is no connection any more."""


class Outbox:
    """Takes frames and orders from any thread, and sends them while there is a connection that is ready.

    `encode` makes a message of a frame (see `Protocol.audio`).
    """

    def __init__(self, session: int, encode: Callable[[bytes], str | bytes], post: Callable[[Event], None]) -> None:
        self._session = session
        self._encode = encode
        self._post = post
        self._inbox: queue.SimpleQueue[bytes | _Orders | _Ready | _Lost] = queue.SimpleQueue()
        self._backlog: deque[bytes] = deque(maxlen=_BACKLOG_FRAMES)
        self._connection: Connection | None = None
        self._first = True
        self._refused = Drops("link", post)
        """Frames that found the queue full; of the thread that calls `hear`."""
        self._overtaken = Drops("link", post)
        """Frames that left the backlog unsent; of the sending thread."""

    def hear(self, pcm: bytes) -> None:
        """Send a frame, or keep it. Never waits."""
        self._refused.put(self._inbox, pcm, _BACKLOG_FRAMES)

    def order(self, messages: list[str]) -> None:
        """Send these after the frames that came before, if there is a connection."""
        self._inbox.put(_Orders(messages))

    def ready(self, connection: Connection) -> None:
        """The agent is ready: begin with the backlog."""
        self._inbox.put(_Ready(connection))

    def lost(self) -> None:
        """Keep what comes until another connection is ready."""
        self._inbox.put(_Lost())

    def work(self, stopping: threading.Event) -> None:
        """Send until told to stop."""
        while not stopping.is_set():
            try:
                item = self._inbox.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                self._take(item)
                self._flush()
            except NetworkError as error:
                log.debug("x %s", error)
                if self._connection is not None:
                    self._connection.abort()  # wakes the receiving thread, which connects anew
                self._connection = None
            if self._connection is not None:
                self._overtaken.tell()

    def _take(self, item: bytes | _Orders | _Ready | _Lost) -> None:
        match item:
            case bytes():
                if len(self._backlog) == self._backlog.maxlen:
                    self._overtaken.add()
                self._backlog.append(item)
            case _Orders(messages) if self._connection is not None:
                for message in messages:
                    self._connection.send(message)
            case _Ready(connection):
                self._connection, self._first = connection, True
            case _Lost():
                self._connection = None

    def _flush(self) -> None:
        while self._connection is not None and self._backlog:
            self._connection.send(self._encode(self._backlog[0]))
            self._backlog.popleft()  # not before: a frame that was not sent goes to the next connection
            if self._first:
                self._first = False
                self._post(FirstAudioSent(self._session))
