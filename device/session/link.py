"""The link: the present session with the agent, if there is one, and the orders to it."""

import itertools
from collections.abc import Callable

from device.events import Event
from device.session.protocol import Protocol
from device.session.session import Connect, Feed, Session


class Link:
    """The way to the agent. Its methods never wait for the network; `hear` is called on the ear's thread, the others on main.

    `make_protocol` makes a protocol object for a session number and the conversation to go on with, if any.
    """

    def __init__(
        self,
        make_protocol: Callable[[int, str | None], Protocol],
        feed: Feed,
        post: Callable[[Event], None],
        *,
        connect: Connect,
    ) -> None:
        self._make_protocol = make_protocol
        self._feed = feed
        self._post = post
        self._connect = connect
        self._session: Session | None = None
        self._replies = itertools.count(1)

    def start(self, number: int, conversation_id: str | None) -> None:
        """Begin session `number`; one that is still saying goodbye is cut short."""
        if self._session is not None:
            self._session.abandon()
        protocol = self._make_protocol(number, conversation_id)
        self._session = Session(number, protocol, self._replies, self._feed, self._post, connect=self._connect)
        self._session.start()

    def hear(self, session: int, pcm: bytes) -> None:
        """Send a frame of the microphone (640 bytes) to that session, or keep it until it can be sent."""
        current = self._session
        if current is not None and current.number == session:
            current.hear(pcm)

    def interrupt(self) -> None:
        """Make the agent be quiet; what of its reply is on its way will not be heard."""
        if self._session is not None:
            self._session.interrupt()

    def text(self, text: str) -> None:
        """Say `text` to the agent as if the user had."""
        if self._session is not None:
            self._session.text(text)

    def heard(self, reply: int, seconds: float) -> None:
        """Tell the agent that so much of `reply`, which was cut off, had been played."""
        if self._session is not None:
            self._session.heard(reply, seconds)

    def stop(self, reason: str) -> None:
        """End the session in good form; `SessionEnded` follows, with `reason`."""
        if self._session is not None:
            self._session.stop(reason)

    def close(self) -> None:
        """End the session at once, and wait for its threads; for when the speaker stops."""
        if self._session is not None:
            self._session.abandon()
            self._session.join()
            self._session = None
