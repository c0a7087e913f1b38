"""OpenAI's Realtime protocol (GA, over WebSocket): flat JSON messages, sound as base64 in them, 24 kHz both ways.

Order: `session.created`; we send `session.update`; `session.updated`, sound both ways; we close. A reply is a response of
some items, and comes faster than it is played: what was not played of it is taken back with `conversation.item.truncate`.
Facts: the vendor's API reference and its Python SDK, as of August 2026.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.session.credentials import Secret
from device.session.protocol import Answer, Audio, Fact, Interrupted, Protocol, Request, Send
from device.session.protocols.messages import address, base64_of, error_of, kind_of, parsed, pcm_of, table
from device.session.protocols.options import ANYTHING, TEXT, access_problem, key_problem, option_problems

DEFAULT_MODEL = "gpt-realtime"
RATE = 24_000
"""Hertz, the only one it has for PCM."""
_LONGEST_MS = 3_600_000.0
_ANSWERS: dict[str, Any] = {"create_response": bool, "interrupt_response": bool}
TURN_DETECTION: dict[str, dict[str, Any]] = {
    "server_vad": {
        "threshold": (0.0, 1.0),
        "prefix_padding_ms": (0.0, _LONGEST_MS),
        "silence_duration_ms": (0.0, _LONGEST_MS),
        "idle_timeout_ms": (0.0, _LONGEST_MS),
        **_ANSWERS,
    },
    "semantic_vad": {"eagerness": ("low", "medium", "high", "auto"), **_ANSWERS},
}
"""What `turn_detection` may hold, by its `type`. To have none is not offered: nobody would tell when a turn is over."""
OPTIONS: dict[str, Any] = {
    "instructions": TEXT,
    "voice": TEXT,
    "speed": (0.25, 1.5),
    "noise_reduction": ("far_field", "near_field", "none"),
    "transcription": {"model": TEXT, "language": TEXT, "prompt": TEXT},
    "max_output_tokens": (1.0, 4096.0),
    "reasoning": ANYTHING,
    "prompt": ANYTHING,
    "tools": ANYTHING,  # those that the server carries out (MCP): this speaker has none
    "tool_choice": ANYTHING,
}
HOPELESS = {
    "insufficient_quota": "no_credit",
    "billing_hard_limit_reached": "no_credit",
    "invalid_api_key": "key_refused",
    "account_deactivated": "key_refused",
    "model_not_found": "not_found",
}
"""Those that another connection does not mend, and what they are to us."""
_SENTENCES = {
    "no_credit": "says that the account has no credit left",
    "key_refused": "refuses the API key",
    "not_found": "has no such model (agent.agent_id)",
}
NO_SUCH_TOOL = "This speaker has no such tool. Answer without it."
_MOST_TOOLS, _MOST_TURNS, _MOST_PARTS = 32, 8, 64
_TEXT, _CANCEL = "text", "cancel"  # names of messages: an error says which of them it answers


class OpenAI(Protocol):
    """See `Protocol`. `receive` belongs to one thread, the orders to another: what both use is written by the first alone."""

    name = "OpenAI"
    url = "wss://api.openai.com/v1/realtime"
    hears = speaks = RATE

    def __init__(self, agent: Agent, key: Secret | None, session: int, conversation_id: str | None = None) -> None:
        super().__init__(agent, key, session, conversation_id)
        self._gives_way = table(agent.options.get("turn_detection")).get("interrupt_response") is not False
        self._forget()

    def _forget(self) -> None:
        """A new connection is a new session, which knows nothing of the last one."""
        self._asked = self._ready = False
        self._received: dict[str, dict[tuple[str, int], int]] = {}
        """Bytes of sound by response, and in it by item and part of that, of the last responses."""
        self._active: str | None = None
        """The response that is being made."""
        self._wanted = False
        """Whether another response is to be asked for once that one is done: there can only be one at a time."""
        self._tool_names: dict[str, str] = {}

    @classmethod
    def problems(cls, agent: Agent, key: Secret | None) -> list[str]:
        """See `Protocol`."""
        return [*_option_problems(cls.name, agent.options), *access_problem(agent, ()), *key_problem(agent, key)]

    def request(self) -> Request:
        """See `Protocol`. An address of the owner's may name its model in a way of its own."""
        named = "model" in parse_qs(urlsplit(self.agent.url).query) and not self.agent.agent_id
        model = {} if named else {"model": self.agent.agent_id or DEFAULT_MODEL}
        headers = {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}
        return Request(address(self.agent.url, self.url, **model), headers)

    def opening(self) -> list[str]:
        """See `Protocol`. The server speaks first."""
        self._forget()
        return []

    def audio(self, pcm: bytes) -> str:
        """See `Protocol`."""
        return '{"type":"input_audio_buffer.append","audio":"' + base64_of(pcm) + '"}'

    def text(self, text: str) -> list[str]:
        """See `Protocol`."""
        content = [{"type": "input_text", "text": text}]
        return [_item(type="message", role="user", content=content), _message("response.create", event_id=_TEXT)]

    def interrupt(self) -> list[str]:
        """See `Protocol`. What is made already, and being played, `heard` takes back."""
        return [_message("response.cancel", event_id=_CANCEL)] if self._active is not None else []

    def heard(self, turn: str, seconds: float) -> list[str]:
        """See `Protocol`."""
        parts = tuple(self._received.get(turn, {}).items())
        left, cuts = round(max(0.0, seconds) * RATE) * 2, []
        for number, ((item, part), size) in enumerate(parts, 1):
            if left < size or (turn == self._active and number == len(parts)):  # more than has come would be an error
                ms = min(left, size) * 1000 // (RATE * 2)
                cuts.append(_message("conversation.item.truncate", item_id=item, content_index=part, audio_end_ms=ms))
            left = max(0, left - size)
        return cuts

    def receive(self, message: str | bytes) -> Iterator[Fact]:
        """See `Protocol`. Names from before GA are taken too: services that are made alike still use them."""
        fields = parsed(message)
        match kind_of(fields):
            case "session.created" if not self._asked:
                self._asked = True
                yield e.SessionStarted(self.session, self.tidy(table(fields.get("session")).get("id")))
                yield Send(_message("session.update", session=_settings(self.agent.options)))
            case "session.updated" if self._asked and not self._ready:
                if way := _other_format(table(fields.get("session"))):
                    raise RefusedError("options_refused", f"{self.name} insists on {way} other than PCM at {RATE} Hz.")
                self._ready = True
                yield e.SessionReady(self.session)
            case "response.output_audio.delta" | "response.audio.delta":
                pcm, turn = pcm_of(fields.get("delta")), _name(fields.get("response_id"))
                self._add(turn, _name(fields.get("item_id")), fields.get("content_index"), len(pcm))
                yield Audio(pcm, turn)
            case "input_audio_buffer.speech_started" if self._gives_way:
                yield Interrupted()
            case "response.created":
                self._active = _name(table(fields.get("response")).get("id"))
            case "response.done":
                yield from self._done(table(fields.get("response")))
            case "response.output_audio_transcript.done" | "response.audio_transcript.done":
                yield e.Transcribed(self.session, "agent", self.tidy(fields.get("transcript")) or "")
            case "conversation.item.input_audio_transcription.completed":
                yield e.Transcribed(self.session, "user", self.tidy(fields.get("transcript")) or "")
            case "error":
                yield from self._erred(table(fields.get("error")))
            case kind:
                yield from self._called(kind, fields)

    def denied(self, answer: Answer) -> SessionError:
        """See `Protocol`."""
        error = table(error_of(answer.body).get("error"))
        if found := self._verdict(error):
            return found
        if answer.status == 400 and error.get("type") == "invalid_request_error":
            return self._refused(error)
        return super().denied(answer)

    def _add(self, turn: str, item: str, part: object, size: int) -> None:
        """So many bytes have come. Without names there is nothing to cut."""
        if not (turn and item):
            return
        if turn not in self._received and len(self._received) >= _MOST_TURNS:
            del self._received[next(iter(self._received))]
        parts = self._received.setdefault(turn, {})
        place = item, part if isinstance(part, int) and 0 <= part < _MOST_PARTS else 0
        if place in parts or len(parts) < _MOST_PARTS:
            parts[place] = parts.get(place, 0) + size

    def _done(self, response: Mapping[str, Any]) -> Iterator[Fact]:
        if response.get("id") in (None, self._active):
            self._active = None
        if (status := response.get("status")) == "failed":
            error = table(table(response.get("status_details")).get("error"))
            if found := self._verdict(error):
                raise found
            yield self._agent_erred(error)
        if status == "cancelled":  # the user has the word: what is said next answers all
            self._wanted = False
        if self._wanted and self._active is None:
            self._wanted = False
            yield Send(_message("response.create"))

    def _called(self, kind: str, fields: Mapping[str, Any]) -> Iterator[Fact]:
        """Tools: functions would be ours to carry out, and we have none; MCP's are the server's."""
        item = _name(fields.get("item_id"))
        match kind:
            case "response.output_item.added":
                added = table(fields.get("item"))
                if tool := self.tidy(added.get("name")):
                    self._tool_names[_name(added.get("id"))] = tool
                    if len(self._tool_names) > _MOST_TOOLS:
                        del self._tool_names[next(iter(self._tool_names))]
            case "response.function_call_arguments.done":
                tool = self.tidy(fields.get("name")) or self._tool_names.get(item, "function")
                yield e.ToolCalled(self.session, tool, "started")
                yield e.ToolCalled(self.session, tool, "failed")
                if call := _name(fields.get("call_id")):
                    self._wanted = True
                    yield Send(_item(type="function_call_output", call_id=call, output=NO_SUCH_TOOL))
            case "response.mcp_call.in_progress":
                yield e.ToolCalled(self.session, self._tool_names.get(item, "mcp"), "started")
            case "response.mcp_call.completed" | "response.mcp_call.failed":
                yield e.ToolCalled(self.session, self._tool_names.get(item, "mcp"), kind.rpartition(".")[2])

    def _erred(self, error: Mapping[str, Any]) -> Iterator[Fact]:
        """Most errors change nothing; before the session is ready, all of them mean that it will not be."""
        if found := self._verdict(error):
            raise found
        code, answered = error.get("code"), error.get("event_id")  # of ours
        if code == "response_cancel_not_active" or answered == _CANCEL:
            return  # it was done before it heard of us
        if code == "conversation_already_has_active_response":
            self._wanted = self._wanted or (answered == _TEXT and self._active is not None)
        elif self._ready:
            yield self._agent_erred(error)
        else:
            raise self._unready(error)

    def _verdict(self, error: Mapping[str, Any]) -> SessionError | None:
        """What an error means that ends the session; None if it does not. Some have their name in `type`, and no code."""
        for kind in (error.get("code"), error.get("type")):
            if kind == "session_expired":
                return NetworkError("connection_lost", f"{self.name} lets no session last longer; a new one begins.")
            if isinstance(kind, str) and (code := HOPELESS.get(kind)):
                why = f"{self.name} {_SENTENCES[code]} ({kind})"
                # What it says of a key holds parts of that key.
                return RefusedError(code, f"{why}." if code == "key_refused" else f"{why}: {self._said(error)}")
        return None

    def _unready(self, error: Mapping[str, Any]) -> SessionError:
        """What any other means before the session is ready: that it will not be."""
        if error.get("type") == "invalid_request_error":
            return self._refused(error)
        code = "server_busy" if error.get("code") == "rate_limit_exceeded" else "server_fault"
        return NetworkError(code, f"{self.name}: {self._said(error)}")

    def _refused(self, error: Mapping[str, Any]) -> RefusedError:
        """It cannot do what we ask for, and we ask for nothing but what the settings say."""
        said = f"{self.name} refuses the settings: {self._said(error)} See agent.options and agent.url."
        return RefusedError("options_refused", said)

    def _agent_erred(self, error: Mapping[str, Any]) -> e.AgentErred:
        code = self.tidy(error.get("code")) or self.tidy(error.get("type")) or "agent_error"
        return e.AgentErred(self.session, code, self._said(error))

    def _said(self, error: Mapping[str, Any]) -> str:
        return self.tidy(error.get("message")) or "no reason given."


def _message(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields})


def _item(**item: object) -> str:
    return _message("conversation.item.create", item=item)


def _name(value: object) -> str:
    """The name that the agent gives to a response, an item or a call; "" if it is none."""
    return value if isinstance(value, str) and len(value) <= 200 else ""


def _option_problems(vendor: str, options: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with `options`, a sentence each."""
    turns = table(options.get("turn_detection"))
    kind = turns.get("type")
    # A wrong type is told of; its fields are then not measured by either.
    fields = TURN_DETECTION.get(kind) if isinstance(kind, str) else None
    fields = fields or {name: ANYTHING for known in TURN_DETECTION.values() for name in known}
    yield from option_problems(
        vendor, options, {**OPTIONS, "turn_detection": {"type": tuple(TURN_DETECTION), **fields}}
    )
    if turns and "type" not in turns:
        yield f"agent.options.turn_detection needs a type: {' or '.join(TURN_DETECTION)}."
    whole = {"max_output_tokens": options.get("max_output_tokens")}
    whole |= {f"turn_detection.{name}": value for name, value in turns.items() if name.endswith("_ms")}
    for name, value in whole.items():
        if isinstance(value, float):
            yield f"agent.options.{name} must be a whole number."
    for name, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            yield f"agent.options.{name} holds a date, nan or inf, which cannot be sent."


def _settings(options: Mapping[str, object]) -> dict[str, Any]:
    """The `session` of `session.update`."""
    rest = dict(options)
    noise = rest.pop("noise_reduction", "far_field")  # nobody holds a speaker to the mouth
    sound = {"format": {"type": "audio/pcm", "rate": RATE}}
    hearing: dict[str, Any] = {**sound, "noise_reduction": None if noise == "none" else {"type": noise}}
    hearing |= {name: rest.pop(name) for name in ("turn_detection", "transcription") if name in rest}
    speaking = sound | {name: rest.pop(name) for name in ("voice", "speed") if name in rest}
    audio = {"input": hearing, "output": speaking}
    return {"type": "realtime", "output_modalities": ["audio"], "audio": audio, **rest}


def _other_format(session: Mapping[str, Any]) -> str | None:
    """The input or output that is told to have another format, which would be noise. What is not told is as we asked."""
    for way in ("input", "output"):
        told = table(table(table(session.get("audio")).get(way)).get("format"))
        if told.get("type") not in (None, "audio/pcm") or told.get("rate") not in (None, RATE):
            return way
    return None
