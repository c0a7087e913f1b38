"""What goes out to the agent: orders, and the microphone's frames. Its `work` is the sending thread of a session.

It owns the backlog: what was said before the agent was ready goes out first, in order, and so does what was said while a
connection was lost, together with what that one had taken and not delivered.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple
from typing import Protocol as Interface

import numpy as np

from device.audio import FRAME_S, RATE, to_float, to_int16
from device.drops import Drops
from device.errors import NetworkError
from device.events import Event, FirstAudioSent
from device.session.protocol import Protocol

log = logging.getLogger(__name__)

BACKLOG_S = 10.0
"""Speech that is kept while there is no agent: as long as the brain waits for one."""
_BACKLOG_FRAMES = round(BACKLOG_S / FRAME_S)


class Connection(Interface):
    """See `socket.Socket`."""

    def send(self, message: str | bytes) -> None: ...

    def receive(self) -> str | bytes | None: ...

    def written(self) -> int: ...

    def acknowledged(self) -> int: ...

    def goodbye(self) -> None: ...

    def close(self) -> None: ...

    def reset(self) -> None: ...

    def abort(self, why: NetworkError | None = None) -> None: ...


class _Orders(NamedTuple):
    """Messages to send now, or never: they mean nothing to another connection. None: say goodbye."""

    messages: list[str] | None


class _Ready(NamedTuple):
    """The agent takes sound on this connection from now on."""

    connection: Connection


class _Lost(NamedTuple):
    """There is no connection any more; the other side's kernel has so many bytes of what the last one was given."""

    acknowledged: int


class _Sent(NamedTuple):
    """A frame, and how many bytes the network had been given with it."""

    pcm: bytes
    written: int


class Outbox:
    """Takes frames and orders from any thread, and sends them while there is a connection that is ready."""

    def __init__(self, session: int, protocol: Protocol, post: Callable[[Event], None]) -> None:
        self._session = session
        self._protocol = protocol
        self._post = post
        self._inbox: queue.SimpleQueue[bytes | _Orders | _Ready | _Lost] = queue.SimpleQueue()
        self._backlog: deque[bytes] = deque(maxlen=_BACKLOG_FRAMES)
        self._flying: deque[_Sent] = deque(maxlen=_BACKLOG_FRAMES)
        """Frames that are sent and, for all we know, have not arrived."""
        self._connection: Connection | None = None
        self._convert = _Converter(RATE)
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

    def farewell(self) -> None:
        """End the session by the messages for it, or without any by closing the connection in good form."""
        self._inbox.put(_Orders(self._protocol.stop() or None))

    def ready(self, connection: Connection) -> None:
        """The agent is ready: begin with the backlog."""
        self._inbox.put(_Ready(connection))

    def lost(self, acknowledged: int) -> None:
        """Keep what comes until another connection is ready, and what of it the last one has not delivered."""
        self._inbox.put(_Lost(acknowledged))

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
                    self._connection.abort(error)  # wakes the receiving thread, which connects anew
                self._connection = None
            if self._connection is not None:
                self._overtaken.tell()

    def _take(self, item: bytes | _Orders | _Ready | _Lost) -> None:
        match item:
            case bytes():
                if len(self._backlog) == self._backlog.maxlen:
                    self._overtaken.add()
                self._backlog.append(item)
            case _Orders(None) if self._connection is not None:
                self._connection.goodbye()
            case _Orders(list(messages)) if self._connection is not None:
                for message in messages:
                    self._connection.send(message)
            case _Ready(connection):
                self._connection, self._first = connection, True
                self._convert = _Converter(self._protocol.hears)
            case _Lost(acknowledged):
                self._connection = None
                self._land(acknowledged)
                while self._flying:
                    if len(self._backlog) == self._backlog.maxlen:
                        self._overtaken.add(len(self._flying))
                        self._flying.clear()
                    else:
                        self._backlog.appendleft(self._flying.pop().pcm)

    def _flush(self) -> None:
        while self._connection is not None and self._backlog:
            pcm = self._backlog[0]
            if converted := self._convert(pcm):
                self._connection.send(self._protocol.audio(converted))
            self._flying.append(_Sent(pcm, self._connection.written()))
            self._backlog.popleft()  # not before: a frame that was not sent goes to the next connection
            self._land(self._connection.acknowledged())
            if self._first:
                self._first = False
                self._post(FirstAudioSent(self._session))

    def _land(self, acknowledged: int) -> None:
        while self._flying and self._flying[0].written <= acknowledged:
            self._flying.popleft()


class _Converter:
    """Frames of the microphone as s16le at another rate. A filter's length, up to 6 ms, stays behind at the end."""

    def __init__(self, rate: int) -> None:
        self._ratio = rate / RATE
        self._resampler = None
        if rate != RATE:
            import samplerate

            self._resampler = samplerate.Resampler(
                "sinc_medium", channels=1
            )  # the fastest takes the s and t of speech away

    def __call__(self, pcm: bytes) -> bytes:
        if self._resampler is None:
            return pcm
        samples = to_float(np.frombuffer(pcm, np.int16))
        return to_int16(self._resampler.process(samples, self._ratio)).tobytes()
