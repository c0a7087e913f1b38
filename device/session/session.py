"""One session with the agent, over as many connections as it takes: a thread that receives, and one that sends.

The receiving thread, which is here, owns the connection's life: connect, open, listen, try again. The other is `outbox`.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from device.errors import NetworkError, RefusedError, SessionError
from device.events import (
    AgentErred,
    AgentInterrupted,
    Connected,
    ConnectionLost,
    Event,
    ReplyStarted,
    SessionEnded,
    SessionReady,
    SessionRefused,
)
from device.session.outbox import Connection, Outbox
from device.session.protocol import Audio, Ended, Fact, Interrupted, MalformedError, Protocol, Send, early_verdict
from device.session.replies import Quiet, Replies
from device.session.retry import PROVEN_S, delay_s
from device.session.socket import Closed
from device.session.transport import Told
from device.worker import Worker, stop_all

log = logging.getLogger(__name__)

FAREWELL_S = 2.0
"""How long the agent may take to answer our `stop`; the brain waits as long, from a little earlier on."""
MOST_ERRORS = 20
"""Errors of the agent that are told of, a session."""
OUR_SIDE, LONGEST_ON_OUR_SIDE_S = ("no_network", "name_not_found"), 2.0
"""Tries that no server sees need not spare it: whoever plugs the cable in again is heard soon."""
LONGEST_CODE = 64
"""Characters of an error's name."""
MOST_REFUSED_TOKENS = 2
"""In a row: then it is the key."""

Connect = Callable[[Protocol, Told], Connection]
"""See `connect.connect`."""
Feed = Callable[[int, bytes, int], None]
"""Takes a reply's number, a piece of its sound, and the rate of that (see `Speaker.feed`)."""


class Session:
    """Ends with exactly one `SessionEnded` or `SessionRefused`, unless it is abandoned before."""

    def __init__(
        self,
        number: int,
        protocol: Protocol,
        numbers: Iterator[int],
        feed: Feed,
        post: Callable[[Event], None],
        *,
        connect: Connect,
    ) -> None:
        self.number = number
        self.replies = Replies(numbers)
        self._protocol = protocol
        self._feed = feed
        self._post = post
        self._connect = connect
        self._outbox = Outbox(number, protocol, post)
        self._quiet = Quiet()
        self._connection: Connection | None = None
        """Written by the receiving thread alone; `abandon` may abort it."""
        self._ending = threading.Event()
        self._reason = ""
        """Why we end the session; written before `_ending` is set."""
        self._malformed = 0
        self._errors = 0
        self._erred: AgentErred | None = None
        """The last error of the agent's on a connection that is not ready yet."""
        self._began = math.inf
        """When the present connection was open; one that never was has not lasted."""
        self._refused_tokens = 0
        self._receiver = Worker("link-receive", self._receive, post)
        self._sender = Worker("link-send", self._outbox.work, post)

    def start(self) -> None:
        """Begin; returns at once."""
        self._receiver.start()
        self._sender.start()

    def hear(self, pcm: bytes) -> None:
        """Send a frame, or keep it; after our farewell, neither."""
        if not self._ending.is_set():
            self._outbox.hear(pcm)

    def interrupt(self) -> None:
        """Make the agent be quiet."""
        self.replies.interrupt(time.monotonic())
        self._outbox.order(self._protocol.interrupt())

    def text(self, text: str) -> None:
        """Say `text` as if the user had."""
        self._outbox.order(self._protocol.text(text) or [])

    def heard(self, reply: int, seconds: float) -> None:
        """So much of `reply`, which was cut off, had been played, and nothing of later ones."""
        for turn in self.replies.turns_from(reply):
            self._outbox.order(self._protocol.heard(turn, seconds))
            seconds = 0.0

    def stop(self, reason: str) -> None:
        """End in good form: the agent is told, and has `FAREWELL_S` to answer."""
        if not self._ending.is_set():
            self._reason = reason
            self._ending.set()
            self._outbox.farewell()

    def abandon(self) -> None:
        """End at once, without a last event and without waiting; a thread that is just connecting ends when that ends."""
        for worker in (self._receiver, self._sender):
            worker.stopping.set()
        self._ending.set()
        self._outbox.lost(0)  # wakes the sending thread
        if (connection := self._connection) is not None:
            connection.abort()

    def join(self) -> None:
        """Wait for the threads."""
        stop_all((self._receiver, self._sender))

    # --- the receiving thread -----------------------------------------------------------------------------------------

    def _receive(self, stopping: threading.Event) -> None:
        last = self._live()
        if self._malformed > 1:
            log.warning("! %d messages of the agent could not be understood", self._malformed)
        self._sender.stopping.set()
        if not stopping.is_set():
            stopping.set()  # a thread that has done its work has not died
            self._post(last)

    def _live(self) -> SessionEnded | SessionRefused:
        """Converse, over one connection after the other, until it is over."""
        attempt = 0
        while True:
            self._began = math.inf
            try:
                ended = self._converse()
                return SessionEnded(self.number, self._reason or ended.reason)
            except RefusedError as error:
                return SessionRefused(self.number, error.code, str(error))
            except NetworkError as error:
                if error.code == "token_refused" and self._too_often_refused():
                    return SessionRefused(self.number, "key_refused", str(error))
                if error.code != "token_refused":
                    self._refused_tokens = 0
                attempt = 0 if time.monotonic() - self._began >= PROVEN_S else attempt
                delay = delay_s(attempt, random.random())
                if error.code in OUR_SIDE:
                    delay = min(delay, LONGEST_ON_OUR_SIDE_S)
                delay = max(delay, error.wait_s or 0.0)
                attempt += 1
                if not self._ending.is_set():
                    log.log(logging.WARNING if attempt == 1 else logging.DEBUG, "x %s", error)
                    self._post(ConnectionLost(self.number, delay, error.code, str(error)))
            if self._ending.wait(delay):
                return SessionEnded(self.number, self._reason)

    def _too_often_refused(self) -> bool:
        self._refused_tokens += 1
        return self._refused_tokens >= MOST_REFUSED_TOKENS

    def _converse(self) -> Ended:
        """Converse over one connection.

        Raises:
            NetworkError: another connection may help.
            RefusedError: it will not.
        """
        steps: list[tuple[str, float]] = []
        self._connection = connection = self._connect(self._protocol, lambda *step: steps.append(step))
        broken, self._erred, self._began = False, None, time.monotonic()
        try:
            if self._ending.is_set():
                return Ended("no farewell")
            self._post(Connected(self.number, tuple(steps)))
            for message in self._protocol.opening():
                connection.send(message)
            return self._listen(connection)
        except NetworkError:
            broken = True
            connection.abort()  # so that no more is sent from here on
            raise
        finally:
            self._outbox.lost(connection.acknowledged())
            # What was not delivered is said again on another connection: the network must not deliver it on this one too.
            (connection.reset if broken else connection.close)()

    def _listen(self, connection: Connection) -> Ended:
        ready, farewell = False, None
        while True:
            if self._ending.is_set():
                now = time.monotonic()
                farewell = farewell or now + FAREWELL_S
                if now >= farewell or not ready or self._receiver.stopping.is_set():
                    return Ended("no farewell")
            try:
                message = connection.receive()
            except Closed as close:
                return self._closed(close.code, ready)
            if message is None:
                continue
            for fact in self._understand(message):
                if isinstance(fact, SessionReady) and not ready:
                    ready = True
                    self._refused_tokens = 0
                    self._outbox.ready(connection)
                    if self._ending.is_set():  # before there was a connection to say it on
                        self._outbox.farewell()
                if isinstance(fact, Ended):
                    return self._ended(fact, ready)
                if isinstance(fact, AgentErred) and not ready:
                    self._erred = fact
                self._pass_on(fact, connection)

    def _closed(self, code: int | None, ready: bool) -> Ended:
        return self._ended(Ended("agent") if self._ending.is_set() else self._protocol.closed(code), ready)

    def _ended(self, verdict: Ended | SessionError, ready: bool) -> Ended:
        """What has not begun does not end in good form."""
        if not ready and not self._ending.is_set():
            verdict = early_verdict(verdict, self._erred)
        if isinstance(verdict, Ended):
            return verdict
        raise verdict

    def _understand(self, message: str | bytes) -> Iterator[Fact]:
        try:
            yield from self._protocol.receive(message)
        except MalformedError as error:
            self._malformed += 1
            if self._malformed == 1:
                log.warning("< a message of the agent could not be understood: %s", error)
                yield AgentErred(self.number, "malformed_message", f"The agent sent {error}.")

    def _pass_on(self, fact: Fact, connection: Connection) -> None:
        match fact:
            case Audio() if self._ending.is_set():
                pass  # nobody waits for it any more
            case AgentErred():
                self._errors += 1
                if self._errors <= MOST_ERRORS:
                    self._post(replace(fact, code=fact.code[:LONGEST_CODE]))
            case Audio():
                self._play(fact)
            case Send(message):
                connection.send(message)
            case Interrupted():
                if self.replies.interrupted():
                    self._post(AgentInterrupted(self.number, self.replies.number))
            case Ended():
                pass  # `_listen` has seen to it
            case _:
                self._post(fact)

    def _play(self, audio: Audio) -> None:
        rate = self._protocol.speaks
        if not audio.pcm or (self._protocol.continuous and self._quiet.hides(audio.pcm, rate)):
            return
        silent = self._protocol.continuous and self._quiet.silent
        begins = self.replies.audio(time.monotonic(), audio.turn, silent)
        if begins:
            self._post(ReplyStarted(self.number, self.replies.number))
        if begins is not None:
            self._feed(self.replies.number, audio.pcm, rate)
