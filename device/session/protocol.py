"""What an agent's protocol is to the link: messages to facts, orders to messages. Pure; the socket is the link's.

To add an agent, write a class like this in a file of its own under `protocols/`, and name it in `protocols/__init__.py`.
"""

from collections.abc import Iterator
from typing import NamedTuple
from typing import Protocol as Interface

from device.config import Agent
from device.errors import RefusedError
from device.events import Event
from device.session.credentials import Secret


class Request(NamedTuple):
    """What to connect to. `url` may hold the key: it is never logged."""

    url: str
    headers: dict[str, str]


class Audio(NamedTuple):
    """A piece of a reply: s16le, mono, 24 kHz, an even number of bytes."""

    pcm: bytes


class Interrupted(NamedTuple):
    """The agent broke off its reply; audio from now on belongs to another."""


class Ended(NamedTuple):
    """The agent has ended the session."""

    reason: str


Fact = Event | Audio | Interrupted | Ended


class MalformedError(ValueError):
    """A message that cannot be understood; it is counted, logged and survived."""


class Protocol(Interface):
    """Serves one session, over as many connections as it takes."""

    def __init__(self, agent: Agent, key: Secret | None, session: int) -> None: ...

    @staticmethod
    def problems(agent: Agent, key: Secret | None) -> list[str]:
        """What is wrong with the settings of this agent, a sentence each; asked before anything is connected."""

    def request(self) -> Request:
        """What to connect to."""

    def opening(self) -> list[str]:
        """The messages to send first, on every connection."""

    def audio(self, pcm: bytes) -> str | bytes:
        """The message for a frame of the microphone (640 bytes). Called 50 times a second, after `SessionReady` only."""

    def interrupt(self) -> list[str]:
        """The messages that make the agent be quiet."""

    def stop(self) -> list[str]:
        """The messages that end the session; the agent is expected to answer what becomes `Ended`."""

    def receive(self, message: bytes) -> Iterator[Fact]:
        """What a message means; nothing for what we do not know.

        Raises:
            MalformedError: it is not what the protocol says.
        """


def closed(code: int | None) -> Ended | RefusedError | None:
    """What a close code means that no protocol has its own meaning for (RFC 6455 §7.4); None: the connection was lost."""
    if code in (1000, 1001):
        return Ended("agent")
    if code in (4401, 4403):
        return RefusedError("key_refused", f"The agent refused the API key (close code {code}).")
    return None
