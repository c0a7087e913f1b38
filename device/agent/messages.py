"""The agent's side of the Datagrid protocol: what clients send, checked, and what they are sent. Pure.

Beyond the protocol there is one message, `device`, with orders for our own `local` protocol:
`{"action": "volume", "to": 50}`, `{"action": "volume", "by": -10}`, `{"action": "timer_set", "name": "timer 1",
"in_s": 300.0}`, `{"action": "timer_cancel", "name": "timer 1"}`.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

TEXT_LIMIT = 2000


class Malformed(ValueError):
    """A message that cannot be used. `code` goes into the answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Start:
    """What the first message asks for."""

    conversation_id: str | None
    initial_message: str
    greet: bool


def message(kind: str, payload: dict[str, Any] | None = None) -> str:
    """A message as it is sent."""
    return json.dumps({"type": kind} if payload is None else {"type": kind, "payload": payload})


def parse(data: str | bytes) -> tuple[str, dict[str, Any]]:
    """Type and payload of a message, text or binary. Raises Malformed."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed("invalid_json", "The message is not JSON.") from None
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise Malformed("invalid_message", "A message is an object with a type.")
    payload = content.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise Malformed("invalid_message", "A payload is an object.")
    return content["type"], payload or {}


def start_of(payload: dict[str, Any]) -> Start:
    """The fields of `start` that mean something here. Raises Malformed."""
    conversation = payload.get("conversation_id")
    if conversation is not None and (not isinstance(conversation, str) or len(conversation) > TEXT_LIMIT):
        raise Malformed("invalid_start", "conversation_id is a short text.")
    voice = payload.get("voice_config")
    if voice is not None and not isinstance(voice, dict):
        raise Malformed("invalid_start", "voice_config is an object.")
    silent = (voice or {}).get("silent_start")
    return Start(conversation or None, _text(payload.get("initial_message") or ""), silent is False)


def audio_of(payload: dict[str, Any]) -> bytes:
    """The samples of `audio`: s16le, 16 kHz. Raises Malformed."""
    data = payload.get("data")
    if not isinstance(data, str):
        raise Malformed("invalid_audio", "Audio needs data, in base64.")
    try:
        pcm = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("invalid_audio", "The data of audio is not base64.") from None
    if len(pcm) % 2:
        raise Malformed("invalid_audio", "Samples are two bytes long: the number of bytes must be even.")
    return pcm


def text_of(payload: dict[str, Any]) -> str:
    """The words of `text`. Raises Malformed."""
    return _text(payload.get("text"))


def _text(text: object) -> str:
    if not isinstance(text, str) or len(text) > TEXT_LIMIT:
        raise Malformed("invalid_text", f"A text has at most {TEXT_LIMIT} characters.")
    return text


def audio(pcm: bytes) -> str:
    """A piece of a reply: s16le, 24 kHz."""
    return message("audio", {"data": base64.b64encode(pcm).decode(), "mime_type": "audio/pcm;rate=24000"})


def error(code: str, text: str) -> str:
    """An error that, unless the socket is closed after it, does not end the session."""
    return message("error", {"code": code, "message": text})
