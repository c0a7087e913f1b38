"""WorkBuddy's voice protocol: sound as binary messages, and JSON `{"type": …}` as text beside it.

Order: we fetch a token, and send it; `connected`, sound both ways; `agent_ready`; `session_ended`. A token is good for five
minutes, and each connection gets its own. No message interrupts a reply, tells where one ends, or ends the session from our
side: we close. Facts: the vendor's documentation (Authentication, WebSocket, Troubleshooting), as of October 2026.
"""

import json
from collections.abc import Iterator

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.session.credentials import Secret
from device.session.protocol import NO_REASON, Answer, Audio, Ended, Fact, Post, Protocol, Request
from device.session.protocols.messages import (
    endpoint,
    error_of,
    fields_or_pcm,
    granted_url,
    kind_of,
    parsed,
    token_of,
)
from device.session.protocols.options import access_problem, key_problem, option_problems

TOKEN, HEARTBEAT, SOCKET = "/api/v1/sdk/token", "/api/v1/sdk/heartbeat", "/api/v1/sdk/ws"

CLOSES = {"AUTH_TIMEOUT": 4001, "INVALID_AUTH": 4002, "AUTH_FAILED": 4003, "SESSION_SETUP_FAILED": 4500}
"""Its errors, and the close codes that follow them."""


class WorkBuddy(Protocol):
    """See `Protocol`."""

    name = "WorkBuddy"
    hears = speaks = 16_000
    continuous = True  # whether it sends silence is not documented

    def __init__(self, agent: Agent, key: Secret | None, session: int, conversation_id: str | None = None) -> None:
        super().__init__(agent, key, session, conversation_id)
        self._token = self._url = ""
        """What the last `granted` gave."""
        self._ready = False
        """Whether this connection is: `connected` and `agent_ready` both say so."""

    @classmethod
    def problems(cls, agent: Agent, key: Secret | None) -> list[str]:
        """See `Protocol`. It has no options, and no address that all customers share."""
        found = [*option_problems(cls.name, agent.options, {}), *access_problem(agent, ()), *key_problem(agent, key)]
        if not agent.url:
            found.append(f"agent.url is missing: put there the API URL that {cls.name} gave you, https://….")
        return found

    def credential(self) -> Post:
        """See `Protocol`."""
        return self._post(TOKEN)

    def granted(self, answer: bytes) -> None:
        """See `Protocol`."""
        fields = parsed(answer)
        token, url = token_of(fields.get("token")), granted_url(fields.get("ws_url"))
        self._token, self._url = self.secret(token), url

    def likely(self) -> str:
        """See `Protocol`."""
        return endpoint(self.agent.url, "wss", SOCKET, (TOKEN, SOCKET))

    def request(self) -> Request:
        """See `Protocol`."""
        return Request(self._url, {})

    def opening(self) -> list[str]:
        """See `Protocol`. The service waits ten seconds for it."""
        self._ready = False
        return [json.dumps({"token": self._token})]

    def audio(self, pcm: bytes) -> bytes:
        """See `Protocol`."""
        return pcm

    def receive(self, message: str | bytes) -> Iterator[Fact]:
        """See `Protocol`."""
        fields = fields_or_pcm(message)
        if isinstance(fields, bytes):
            yield Audio(fields)
            return
        match kind_of(fields):
            case "connected" | "agent_ready" if not self._ready:
                self._ready = True
                yield e.SessionStarted(self.session)
                yield e.SessionReady(self.session)
            case "session_ended":
                yield self._ended(self.tidy(fields.get("reason")) or "agent")
            case "error":
                yield self._erred(self.tidy(fields.get("code")), self.tidy(fields.get("message")))

    def denied(self, answer: Answer) -> SessionError:
        """See `Protocol`."""
        if answer.status == 403 and answer.where.endswith(TOKEN):
            return RefusedError(
                "device_inactive",
                f"{answer.where} says that this kiosk is inactive or disabled (HTTP 403). See your {self.name} account.",
            )
        return super().denied(answer)

    def closed(self, code: int | None) -> Ended | SessionError:
        """See `Protocol`."""
        return _verdict(code, f"{self.name} closed the connection (close code {code}).") or super().closed(code)

    def health(self) -> Post:
        """See `Protocol`."""
        return self._post(HEARTBEAT)

    def healthy(self, answer: bytes) -> bool:
        """See `Protocol`."""
        return error_of(answer).get("status") == "ok"

    def _post(self, path: str) -> Post:
        headers = {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}
        # It wants no body, but some servers take an empty one for broken JSON.
        return Post(endpoint(self.agent.url, "https", path, (TOKEN, SOCKET)), headers, b"{}")

    def _ended(self, reason: str) -> Ended:
        """agent_disconnected, session_closed and room_closed are ends; after server_shutdown there are other servers."""
        if reason == "server_shutdown":
            raise NetworkError("server_busy", f"{self.name} shuts this server down.")
        return Ended(reason)

    def _erred(self, code: str | None, message: str | None) -> e.AgentErred:
        """What the code means; of one that we do not know, the close that follows tells."""
        if verdict := _verdict(CLOSES.get(code or ""), f"{self.name}: {message or 'no reason given'} ({code})"):
            raise verdict
        return e.AgentErred(self.session, code or "agent_error", message or NO_REASON)


def _verdict(code: int | None, said: str) -> NetworkError | None:
    match code:
        case 4003:
            return NetworkError("token_refused", said)
        case 4001 | 4002 | 4500:  # each connection has a token of its own in any case
            return NetworkError("server_fault", said)
    return None
