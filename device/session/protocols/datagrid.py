"""Datagrid's voice protocol: JSON messages `{"type": …, "payload": {…}}`, sound as base64 in them.

Order: we send `start`; `started`, `ready`; sound both ways; we send `stop`; `ended`. No message says that a reply is over.
Facts: the vendor's API reference (Start Voice Session) and its generated SDKs, as of August 2026.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from device import events as e
from device.checks import public_url
from device.config import Agent
from device.errors import NetworkError, SessionError
from device.session.credentials import Secret
from device.session.protocol import (
    NO_REASON,
    Answer,
    Audio,
    Ended,
    Fact,
    Interrupted,
    MalformedError,
    Post,
    Protocol,
    Request,
)
from device.session.protocols.messages import address, base64_of, granted_url, kind_of, parsed, pcm_of, table
from device.session.protocols.options import TEXT, TEXTS, access_problem, key_problem, option_problems

START: dict[str, Any] = {
    "voice_mode": ("orchestrator", "direct_agent"),
    "conversation_id": TEXT,
    "config": {"system_prompt": TEXT, "custom_prompt": TEXT},
    "file_ids": TEXTS,
    "secret_ids": TEXTS,
    "knowledge_ids": TEXTS,
    "page_ids": TEXTS,
    "user": {"first_name": TEXT, "last_name": TEXT, "email": TEXT},
    "initial_context": 2000,
    "initial_message": 2000,
    "ephemeral": bool,
    "voice_config": {
        "voice_preset": TEXT,
        "input_transcription": bool,
        "output_transcription": bool,
        "silent_start": bool,
        "silence_timeout": bool,
        "silence_commit_ms": float,
        "segment_max_duration_ms": float,
        "silence_discard_ratio": (0.0, 1.0),
    },
}
"""The start options: their types, choices, ranges, or the longest text. `agent_id` has a setting of its own."""
DIRECT, HANDOFF = "token", "handoff"
"""How the key is used: in the WebSocket's address, or for a request that answers with an address and the first message."""


class Datagrid(Protocol):
    """See `Protocol`."""

    name = "Datagrid"
    url = "wss://api.datagrid.com/ws/voice"
    handoff_url = "https://api.datagrid.com/v1/voice"

    def __init__(self, agent: Agent, key: Secret | None, session: int, conversation_id: str | None = None) -> None:
        super().__init__(agent, key, session, conversation_id)
        self._payload = dict(agent.options)
        if agent.agent_id:
            self._payload["agent_id"] = agent.agent_id
        if conversation_id:
            self._resume(conversation_id)
        self._handoff: tuple[str, str] | None = None
        """The address and the first message that the last handoff gave."""

    @classmethod
    def problems(cls, agent: Agent, key: Secret | None) -> list[str]:
        """See `Protocol`."""
        options = option_problems(cls.name, agent.options, START)
        return [*options, *access_problem(agent, (DIRECT, HANDOFF)), *key_problem(agent, key)]

    def credential(self) -> Post | None:
        """See `Protocol`. The handoff, where that is chosen; how long its token lives is unknown, so each is used once."""
        if self.agent.access != HANDOFF or self._key is None:
            return None
        headers = {"Authorization": f"Bearer {self._key.reveal()}"}
        return Post(self._address(self.handoff_url), headers, json.dumps(self._payload).encode())

    def granted(self, answer: bytes) -> None:
        """See `Protocol`."""
        match parsed(answer):
            case {"url": url, "start_message": dict(start)}:
                self._handoff = granted_url(url), json.dumps(start)
                values = (pair.partition("=")[2] for pair in urlsplit(url).query.split("&"))
                self.secret(unquote(self.secret(max(values, key=len))))
            case _:
                raise MalformedError("a handoff without url or start_message")

    def likely(self) -> str:
        """See `Protocol`."""
        return self._address(self.url)

    def request(self) -> Request:
        """See `Protocol`."""
        if self._handoff is not None:
            return Request(self._handoff[0], {})
        token = {"token": self._key.reveal()} if self._key else {}
        return Request(self._address(self.url, **token), {})

    def opening(self) -> list[str]:
        """See `Protocol`."""
        return [self._handoff[1] if self._handoff is not None else _message("start", self._payload)]

    def audio(self, pcm: bytes) -> str:
        """See `Protocol`."""
        return '{"type":"audio","payload":{"data":"' + base64_of(pcm) + '"}}'

    def text(self, text: str) -> list[str]:
        """See `Protocol`."""
        return [_message("text", {"text": text})]

    def interrupt(self) -> list[str]:
        """See `Protocol`."""
        return [_message("interrupt")]

    def stop(self) -> list[str]:
        """See `Protocol`."""
        return [_message("stop")]

    def receive(self, message: str | bytes) -> Iterator[Fact]:
        """See `Protocol`. Text and binary messages are the same to us: the vendor's iOS sample takes both."""
        fields = parsed(message)
        yield from self._facts(kind_of(fields), table(fields.get("payload")))

    def denied(self, answer: Answer) -> SessionError:
        """See `Protocol`. What the vendor's SDKs do not ask a second time, we do not either."""
        if self._handoff is not None and answer.status in (401, 403) and answer.where == public_url(self._handoff[0]):
            return NetworkError(
                "token_refused", f"{answer.where} refuses the token of the handoff (HTTP {answer.status})."
            )
        return super().denied(answer)

    def closed(self, code: int | None) -> Ended | SessionError:
        """See `Protocol`. The vendor's guide: reconnect, unless the server goes away (1001)."""
        return Ended("agent") if code == 1001 else super().closed(code)

    def _address(self, default: str, **query: str) -> str:
        """`default` at the owner's host. Of the two that the vendor's documents name, either tells where both are."""
        own = urlsplit(self.agent.url)
        known = [urlsplit(url).path for url in (self.url, self.handoff_url)]
        path = "" if own.path.rstrip("/") in known else own.path
        return address(own._replace(path=path).geturl(), default, **query)

    def _resume(self, conversation_id: str | None) -> None:
        """A later connection goes on with this conversation, and does not begin it once more."""
        for name in ("initial_message", "initial_context"):
            self._payload.pop(name, None)
        settings = self._payload.get("voice_config")
        self._payload["voice_config"] = {**(settings if isinstance(settings, dict) else {}), "silent_start": True}
        if conversation_id and self._payload.get("ephemeral") is not True:  # of which nothing is kept
            self._payload["conversation_id"] = conversation_id

    def _facts(self, kind: str, payload: Mapping[str, Any]) -> Iterator[Fact]:
        """What a message of this kind means."""
        match kind:
            case "audio":
                yield Audio(pcm_of(payload.get("data")))
            case "started":
                conversation_id = self.tidy(payload.get("conversation_id"))
                self._resume(conversation_id)
                yield e.SessionStarted(self.session, self.tidy(payload.get("session_id")), conversation_id)
            case "ready":
                yield e.SessionReady(self.session)
            case "transcript":
                yield e.Transcribed(
                    self.session, self.tidy(payload.get("role")) or "agent", self.tidy(payload.get("text")) or ""
                )
            case "tool_call":
                tool, status = self.tidy(payload.get("tool_name")), self.tidy(payload.get("status"))
                if tool is None or status not in ("started", "completed", "failed"):
                    raise MalformedError("tool_call without tool_name or with an unknown status")
                yield e.ToolCalled(self.session, tool, status)
            case "citation":
                citations = payload.get("citations")
                yield e.Cited(self.session, len(citations) if isinstance(citations, list) else 0)
            case "interrupted":
                yield Interrupted()
            case "error":
                code = self.tidy(payload.get("code")) or "agent_error"
                yield e.AgentErred(self.session, code, self.tidy(payload.get("message")) or NO_REASON)
                if code == "client_silence_timeout":
                    yield Ended("silence")
            case "ended":
                yield Ended("agent")


def _message(kind: str, payload: Mapping[str, object] | None = None) -> str:
    return json.dumps({"type": kind, "payload": payload} if payload is not None else {"type": kind})
