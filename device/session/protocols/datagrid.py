"""Datagrid's voice protocol: JSON messages `{"type": …, "payload": {…}}`, sound as base64 in them.

Order: we send `start`; `started`, `ready`; sound both ways; we send `stop`; `ended`. No message says that a reply is over.
Facts: the vendor's API reference (Start Voice Session) and its generated SDKs, as of August 2026.
"""

import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from device import events as e
from device.config import Agent
from device.session.credentials import Secret
from device.session.protocol import Audio, Ended, Fact, Interrupted, MalformedError, Request
from device.settings import did_you_mean

_TEXT, _TEXTS = "text", "list of texts"
_START: dict[str, Any] = {
    "voice_mode": ("orchestrator", "direct_agent"),
    "conversation_id": _TEXT,
    "config": {"system_prompt": _TEXT, "custom_prompt": _TEXT},
    "file_ids": _TEXTS,
    "secret_ids": _TEXTS,
    "knowledge_ids": _TEXTS,
    "page_ids": _TEXTS,
    "user": {"first_name": _TEXT, "last_name": _TEXT, "email": _TEXT},
    "initial_context": 2000,
    "initial_message": 2000,
    "ephemeral": bool,
    "voice_config": {
        "voice_preset": _TEXT,
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
_LARGEST = 1e300
LONGEST_TEXT = 4000
"""Characters of anything we keep of a message."""


class Datagrid:
    """See `Protocol`."""

    url = "wss://api.datagrid.com/ws/voice"

    def __init__(self, agent: Agent, key: Secret | None, session: int) -> None:
        self._session = session
        self._key = key
        self._request = Request(_url(agent.url, self.url, key), {})
        self._payload = dict(agent.options)
        if agent.agent_id:
            self._payload["agent_id"] = agent.agent_id

    @staticmethod
    def problems(agent: Agent, key: Secret | None) -> list[str]:
        """See `Protocol`."""
        found = option_problems(agent)
        if key is None:
            found.append(
                f'agent.protocol = "{agent.protocol}" needs an API key: put it into the systemd credential api-key, '
                "the variable EARSHOT_API_KEY, or a file that agent.api_key_file names."
            )
        return found

    def request(self) -> Request:
        """See `Protocol`."""
        return self._request

    def opening(self) -> list[str]:
        """See `Protocol`."""
        return [_message("start", self._payload)]

    def audio(self, pcm: bytes) -> str:
        """See `Protocol`."""
        data = binascii.b2a_base64(pcm, newline=False).decode("ascii")
        return '{"type":"audio","payload":{"data":"' + data + '"}}'

    def interrupt(self) -> list[str]:
        """See `Protocol`."""
        return [_message("interrupt")]

    def stop(self) -> list[str]:
        """See `Protocol`."""
        return [_message("stop")]

    def receive(self, message: bytes) -> Iterator[Fact]:
        """See `Protocol`. Text and binary messages are the same to us: the vendor's iOS sample takes both."""
        try:
            parsed = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise MalformedError(f"no JSON ({type(error).__name__})") from error
        kind = parsed.get("type") if isinstance(parsed, dict) else None
        if not isinstance(kind, str):
            raise MalformedError("no message with a type")
        payload = parsed.get("payload")
        yield from self._facts(kind, payload if isinstance(payload, dict) else {})

    def _resume(self, conversation_id: str | None) -> None:
        """A later connection goes on with this conversation, and does not begin it once more."""
        for name in ("initial_message", "initial_context"):
            self._payload.pop(name, None)
        settings = self._payload.get("voice_config")
        self._payload["voice_config"] = {**(settings if isinstance(settings, dict) else {}), "silent_start": True}
        if conversation_id:
            self._payload["conversation_id"] = conversation_id

    def _text(self, payload: Mapping[str, Any], name: str) -> str | None:
        """A text of the agent's as it may be logged: of bounded length, on one line, without escape codes or the key."""
        value = payload.get(name)
        if not isinstance(value, str):
            return None
        text = "".join(letter if letter.isprintable() else " " for letter in value[:LONGEST_TEXT])
        return text.replace(self._key.reveal(), "***") if self._key else text

    def _facts(self, kind: str, payload: Mapping[str, Any]) -> Iterator[Fact]:
        """What a message of this kind means."""
        match kind:
            case "audio":
                yield Audio(_pcm(payload.get("data")))
            case "started":
                conversation_id = self._text(payload, "conversation_id")
                self._resume(conversation_id)
                yield e.SessionStarted(self._session, self._text(payload, "session_id"), conversation_id)
            case "ready":
                yield e.SessionReady(self._session)
            case "transcript":
                yield e.Transcribed(
                    self._session, self._text(payload, "role") or "agent", self._text(payload, "text") or ""
                )
            case "tool_call":
                tool, status = self._text(payload, "tool_name"), self._text(payload, "status")
                if tool is None or status not in ("started", "completed", "failed"):
                    raise MalformedError("tool_call without tool_name or with an unknown status")
                yield e.ToolCalled(self._session, tool, status)
            case "citation":
                citations = payload.get("citations")
                yield e.Cited(self._session, len(citations) if isinstance(citations, list) else 0)
            case "interrupted":
                yield Interrupted()
            case "error":
                code = self._text(payload, "code") or "agent_error"
                yield e.AgentErred(self._session, code, self._text(payload, "message") or "The agent gave no reason.")
                if code == "client_silence_timeout":
                    yield Ended("silence")
            case "ended":
                yield Ended("agent")


def option_problems(agent: Agent) -> list[str]:
    """What is wrong with `agent.options`, a sentence each."""
    return list(_problems("agent.options", agent.options, _START))


def _message(kind: str, payload: Mapping[str, object] | None = None) -> str:
    return json.dumps({"type": kind, "payload": payload} if payload is not None else {"type": kind})


def _url(url: str, default: str, key: Secret | None) -> str:
    """The address to connect to: scheme and host from `url` where given, what it lacks from `default`."""
    vendor, own = urlsplit(default), urlsplit(url or default)
    scheme = {"http": "ws", "https": "wss"}.get(own.scheme, own.scheme)
    path = own.path if own.path not in ("", "/") else vendor.path
    token = f"token={quote(key.reveal(), safe='')}" if key else ""
    query = "&".join(part for part in (own.query, token) if part)
    return f"{scheme}://{own.netloc}{path}" + (f"?{query}" if query else "")


def _pcm(data: object) -> bytes:
    """Sound out of base64. A last odd byte is dropped: kept for the next message it would turn all that follows to noise."""
    if not isinstance(data, str):
        raise MalformedError("audio without data")
    try:
        pcm = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise MalformedError("audio that is not base64") from error
    return pcm[: len(pcm) & ~1]


def _problems(where: str, options: Mapping[str, object], known: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if name not in known:
            yield f"{where}.{name} is not an option of Datagrid.{did_you_mean(name, known)}"
            continue
        match known[name]:
            case dict() as inner if isinstance(value, Mapping):
                yield from _problems(f"{where}.{name}", value, inner)
            case expected if not _fits(value, expected):
                yield f"{where}.{name} must be {_describe(expected)}."


def _fits(value: object, expected: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match expected:
        case "text":
            return isinstance(value, str)
        case "list of texts":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case int():
            return isinstance(value, str) and len(value) <= expected
        case (float(), float()):
            return number and expected[0] <= value <= expected[1]
        case tuple():
            return value in expected
        case dict():
            return False  # a table was looked into already
    if expected is float:  # JSON has neither nan nor infinity
        return number and -_LARGEST < value < _LARGEST  # type: ignore[operator]
    return isinstance(value, bool)


def _describe(expected: Any) -> str:
    match expected:
        case int():
            return f"a text of at most {expected} characters"
        case (float(), float()):
            return f"a number from {expected[0]:g} to {expected[1]:g}"
        case tuple():
            return " or ".join(f'"{choice}"' for choice in expected)
        case dict():
            return f"a table with {', '.join(expected)}"
        case str():
            return f"a {expected}"
    return "true or false" if expected is bool else "a number"
