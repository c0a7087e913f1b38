"""The Savants' voice protocol: sound as binary messages, and JSON `{"type": …}` as text beside it.

Order: we fetch a token, and send it as it is; `savant_voice_connected` or, in other documents, `vapi_connected`; sound both
ways. A token is good for a minute and for one connection. No message is known that interrupts a reply, tells where one ends, or
ends the session from either side: the connection is closed. Facts: the vendor's API reference, as of October 2026.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.session.credentials import Secret
from device.session.protocol import NO_REASON, Answer, Audio, Fact, Post, Protocol, Request
from device.session.protocols.messages import endpoint, error_of, fields_or_pcm, kind_of, parsed, table, token_of
from device.session.protocols.options import TEXT, access_problem, key_problem, option_problems

TOKEN, SOCKET = "/api/websocket-voice/token", "/voice-stream"
LONGEST_WAIT_S = 3600.0
"""A server that asks for more is not believed."""


class Savants(Protocol):
    """See `Protocol`."""

    name = "The Savants"
    hears = speaks = 16_000
    continuous = True  # whether it sends silence is not documented
    url = "https://api.thesavants.ai"

    def __init__(self, agent: Agent, key: Secret | None, session: int, conversation_id: str | None = None) -> None:
        super().__init__(agent, key, session, conversation_id)
        self._token = ""
        """What the last `granted` gave."""
        self._ready = False
        """Whether this connection is."""

    @classmethod
    def problems(cls, agent: Agent, key: Secret | None) -> list[str]:
        """See `Protocol`."""
        options = option_problems(cls.name, agent.options, {"deviceId": TEXT})
        found = [*options, *access_problem(agent, ()), *key_problem(agent, key)]
        if not str(agent.options.get("deviceId", "")).strip():
            found.append(f"agent.options.deviceId is missing: put there the device's name at {cls.name}.")
        return found

    def credential(self) -> Post:
        """See `Protocol`."""
        body = {"apiKey": self._key.reveal() if self._key else "", "deviceId": self.agent.options.get("deviceId")}
        return Post(self._endpoint("https", TOKEN), {}, json.dumps(body).encode())

    def granted(self, answer: bytes) -> None:
        """See `Protocol`."""
        self._token = self.secret(token_of(parsed(answer).get("token")))

    def likely(self) -> str:
        """See `Protocol`."""
        return self._endpoint("wss", SOCKET)

    def request(self) -> Request:
        """See `Protocol`."""
        return Request(self._endpoint("wss", SOCKET), {})

    def opening(self) -> list[str]:
        """See `Protocol`."""
        self._ready = False
        return [self._token]

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
            case "savant_voice_connected" | "vapi_connected" if not self._ready:
                self._ready = True
                yield e.SessionStarted(self.session, self.tidy(fields.get("sessionId")))
                yield e.SessionReady(self.session)
            case "error":
                error = table(fields.get("error"))
                yield self._erred(
                    self.tidy(error.get("code")), self.tidy(error.get("message")), table(error.get("details"))
                )

    def denied(self, answer: Answer) -> SessionError:
        """See `Protocol`."""
        error = table(error_of(answer.body).get("error"))
        details = table(error.get("details"))
        match answer.status, error.get("code"):
            case 400, "INVALID_REQUEST":
                field, expected = self.tidy(details.get("field")), self.tidy(details.get("expected"))
                which = f": {field} should be {expected}" if field and expected else f": {field}" if field else ""
                said = f"{answer.where} cannot use what it was sent{which} (HTTP 400)."
                return RefusedError("options_refused", f"{said} See agent.options.deviceId and the API key.")
            case _, "DEVICE_INACTIVE":
                return self._inactive()
            case 401, "AUTHENTICATION_FAILED":
                said = f"{answer.where} refuses the API key, or does not know agent.options.deviceId (HTTP 401)."
                return RefusedError("key_refused", said)
            case 429, _:
                answer = answer._replace(retry_after_s=_seconds(details.get("retryAfter")) or answer.retry_after_s)
        return super().denied(answer)

    def _endpoint(self, scheme: str, path: str) -> str:
        return endpoint(self.agent.url or self.url, scheme, path, (TOKEN, SOCKET))

    def _inactive(self) -> RefusedError:
        return RefusedError(
            "device_inactive", f"{self.name} say that this device is deactivated. See agent.options.deviceId."
        )

    def _erred(self, code: str | None, message: str | None, details: Mapping[str, Any]) -> e.AgentErred:
        """What the code means. Those of a connection are not documented; the same names as for the token mean the same."""
        said = f"{self.name}: {message or 'no reason given'} ({code})"
        match code:
            case "DEVICE_INACTIVE":
                raise self._inactive()
            case "RATE_LIMITED":
                raise NetworkError("server_busy", said, _seconds(details.get("retryAfter")))
            case "CONFIGURATION_ERROR":
                raise NetworkError("server_fault", said)
        # What is wrong before the session begins, and has to do with who we are, is the token: it is all that we have sent.
        if not self._ready and code and any(word in code.upper() for word in ("AUTH", "TOKEN", "JWT", "EXPIRED")):
            raise NetworkError("token_refused", said)
        return e.AgentErred(self.session, code or "agent_error", message or NO_REASON)


def _seconds(value: object) -> float | None:
    plausible = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_WAIT_S
    return float(value) if plausible else None  # type: ignore[arg-type]
