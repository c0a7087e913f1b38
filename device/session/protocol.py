"""What an agent's protocol is to the link: messages to facts, orders to messages. Pure; the socket is the link's.

To add an agent, write a `Protocol` in a file of its own under `protocols/`, and name it in `protocols/__init__.py`.

The link asks, for every connection: `credential` (and gives its answer to `granted`), `request`, `opening`; then it gives each
message to `receive`. Sound is sent once `receive` has said `SessionReady`. What goes wrong on the way is judged by `denied`
(HTTP) and `closed` (WebSocket), and by `receive` where a message says so. A verdict is one of:

RefusedError                    the agent does not want us: the session ends, and the speaker says why
NetworkError                    back off, and try again, with a new credential if the protocol has credentials
NetworkError("token_refused")   the same; where the next credential is refused as well, the key is
Ended                           the session is over
"""

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.events import AgentErred, Event
from device.session.credentials import Secret

_ABOUT_US = {"auth", "authentication", "unauthorized", "unauthenticated", "forbidden", "credentials", "key", "token"}
"""Words in the names of errors that have to do with who we are."""
NO_REASON = "The agent gave no reason."
LONGEST_TEXT = 4000
"""Characters of anything we keep of a message."""


class Post(NamedTuple):
    """An HTTP request that gets a credential; `body` is sent as JSON. Nothing of it but the host is ever logged."""

    url: str
    headers: dict[str, str]
    body: bytes


class Request(NamedTuple):
    """What to connect to. `url` may hold the key: it is never logged."""

    url: str
    headers: dict[str, str]


class Answer(NamedTuple):
    """An HTTP answer that is no success. `where` is the public part of the URL, `retry_after_s` what the server asked for."""

    status: int
    body: bytes
    where: str
    retry_after_s: float | None = None


class Audio(NamedTuple):
    """A piece of a reply: s16le, mono, at `Protocol.speaks` hertz, an even number of bytes.

    `turn` names the reply it belongs to, where the agent says so; "": pauses tell replies apart.
    """

    pcm: bytes
    turn: str = ""


class Interrupted(NamedTuple):
    """The agent broke off its reply; audio from now on belongs to another."""


class Ended(NamedTuple):
    """The agent has ended the session."""

    reason: str


class Send(NamedTuple):
    """What the agent said asks for this message from us."""

    message: str


Fact = Event | Audio | Interrupted | Ended | Send


class MalformedError(ValueError):
    """A message that cannot be understood; it is counted, logged and survived."""


class Protocol:
    """Serves one session, over as many connections as it takes. What stands here is what most agents do."""

    name = "the agent"
    """As messages to the owner call it."""
    url = ""
    """The vendor's address, where there is one for all."""
    hears = 16_000
    """Hertz of the sound it is sent. Asked after `SessionReady`."""
    speaks = 24_000
    """Hertz of its `Audio`, from 8,000 to 48,000. Asked after `SessionReady`."""
    continuous = False
    """Whether it may send sound all the time, silence where it says nothing: then silence ends a reply."""

    def __init__(self, agent: Agent, key: Secret | None, session: int, conversation_id: str | None = None) -> None:
        """`conversation_id`: the conversation that this session is to go on with, if the agent can do that."""
        self.agent = agent
        self.session = session
        self._key = key
        self._granted: deque[Secret] = deque(maxlen=4)
        """The newest credentials: an old one may still turn up in an answer."""

    @classmethod
    def problems(cls, agent: Agent, key: Secret | None) -> list[str]:
        """What is wrong with the settings of this agent, a sentence each; asked before anything is connected."""
        raise NotImplementedError

    def credential(self) -> Post | None:
        """How to get a new credential; None if the key is enough."""
        return None

    def granted(self, answer: bytes) -> None:
        """Take the answer to `credential` (HTTP 2xx).

        Raises:
            MalformedError: it is not what the protocol says.
        """

    def likely(self) -> str:
        """The URL that `request` is likely to point to after `granted`: its host is connected to meanwhile. "": unknown."""
        return ""

    def request(self) -> Request:
        """What to connect to."""
        raise NotImplementedError

    def opening(self) -> list[str]:
        """The messages to send first, on every connection."""
        return []

    def audio(self, pcm: bytes) -> str | bytes:
        """The message for 20 ms of the microphone (s16le, mono, `hears` hertz). Called 50 times a second."""
        raise NotImplementedError

    def text(self, text: str) -> list[str] | None:
        """The messages that say `text` as if the user had; None: this agent takes no text."""
        return None

    def interrupt(self) -> list[str]:
        """The messages that make the agent be quiet; none: it has to hear that somebody speaks."""
        return []

    def heard(self, turn: str, seconds: float) -> list[str]:
        """The messages that tell that `turn` was cut off after so many seconds of it had been played."""
        return []

    def stop(self) -> list[str]:
        """The messages that end the session, which it answers with what becomes `Ended`; none: the connection is closed."""
        return []

    def receive(self, message: str | bytes) -> Iterator[Fact]:
        """What a text or binary message means; nothing for what we do not know.

        Raises:
            MalformedError: it is not what the protocol says.
            SessionError: it says that this connection, or the session, is over: see the verdicts above.
        """
        raise NotImplementedError

    def denied(self, answer: Answer) -> SessionError:
        """The verdict on an HTTP answer that is no success, of `credential` or of `request`."""
        return http_verdict(answer)

    def closed(self, code: int | None) -> Ended | SessionError:
        """The verdict on the agent's closing of the connection; None: it gave no code (RFC 6455 §7.4)."""
        return close_verdict(code)

    def health(self) -> Post | None:
        """A request that shows whether the service is there, for `earshot check`."""
        return None

    def healthy(self, answer: bytes) -> bool:
        """Whether the answer to `health` (HTTP 2xx) says that all is well."""
        return True

    def secret(self, value: str) -> str:
        """Remember that `value` must not be shown; returns it."""
        self._granted.append(Secret(value))
        return value

    def tidy(self, value: object) -> str | None:
        """A text of the agent's as it may be logged: of bounded length, on one line, without escape codes or secrets."""
        if not isinstance(value, str):
            return None
        text = value[: 2 * LONGEST_TEXT]  # a secret may lie across the cut
        for secret in (self._key, *self._granted):
            if secret and secret.reveal():
                text = text.replace(secret.reveal(), "***")
        return "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST_TEXT])


def http_verdict(answer: Answer) -> SessionError:
    """What an HTTP status means that a protocol has no meaning of its own for."""
    where = answer.where
    asks = f" It asks for {answer.retry_after_s:.0f} s of patience." if answer.retry_after_s else ""
    match answer.status:
        case 401 | 403:
            return RefusedError("key_refused", f"{where} refuses the API key (HTTP {answer.status}).")
        case 402:
            return RefusedError("no_credit", f"The account at {where} has no credit left (HTTP 402).")
        case 400 | 413 | 422:
            see = "See agent.agent_id and agent.options."
            return RefusedError("options_refused", f"{where} cannot use the settings (HTTP {answer.status}). {see}")
        case 404 | 405 | 410 | 426:
            see = "See agent.url and agent.agent_id."
            return RefusedError("not_found", f"There is no agent at {where} (HTTP {answer.status}). {see}")
        case status if 300 <= status < 400:
            return RefusedError("not_found", f"{where} sends us elsewhere, where the key must not go. See agent.url.")
        case 429 | 503:
            return NetworkError("server_busy", f"{where} is busy (HTTP {answer.status}).{asks}", answer.retry_after_s)
    return NetworkError("server_fault", f"{where} answers HTTP {answer.status}.{asks}", answer.retry_after_s)


def close_verdict(code: int | None) -> Ended | SessionError:
    """What a close code means that a protocol has no meaning of its own for."""
    match code:
        case 1000:
            return Ended("agent")
        case 4401 | 4403:
            return RefusedError("key_refused", f"The agent refused the API key (close code {code}).")
        case 1012 | 1013:
            return NetworkError("server_busy", f"The agent is busy (close code {code}).")
        case None | 1001 | 1005 | 1006:
            return NetworkError("connection_lost", f"The agent closed the connection (close code {code or 'none'}).")
    return NetworkError("server_fault", f"The agent failed (close code {code}).")


def early_verdict(verdict: Ended | SessionError, erred: AgentErred | None) -> SessionError:
    """The verdict on the end of a session that had not begun, after this error of the agent's if there was one."""
    if not isinstance(verdict, Ended) and (erred is None or verdict.code not in ("connection_lost", "server_fault")):
        return verdict
    if erred is None:
        return NetworkError("server_fault", "The agent ended the session before it began.")
    said = f"The agent: {erred.message.rstrip('.')} ({erred.code})."
    about_us = _ABOUT_US & set(re.split("[^a-z]+", erred.code.lower()))
    return NetworkError("token_refused" if about_us else "server_fault", said)
