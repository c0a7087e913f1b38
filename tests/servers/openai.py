"""An agent that speaks OpenAI's Realtime protocol as a test tells it to, over a real socket, and writes down what it gets.

It is strict. Violations: a key in the address, a header of the beta, another path or query than the model; settings that are
not the first message, come twice, or ask for another format; audio before `session.updated`, or longer than 20 ms; a message
that the vendor's reference does not name; a truncation behind what was sent, or of an item that was not; the output of a
function that was not called, or for the second time; a speaker that comes back after it was refused for good.
"""

import base64
import functools
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers import visit as base
from tests.servers.scripted import ScriptedServer, main

PATH, RATE = "/v1/realtime", 24_000
LONGEST_FRAME = 960
"""Bytes: 20 ms. The first of a connection is shorter, for what its resampler still holds."""
FORMAT = {"type": "audio/pcm", "rate": RATE}
HOPELESS = (
    "insufficient_quota",
    "billing_hard_limit_reached",
    "invalid_api_key",
    "account_deactivated",
    "model_not_found",
)
TOP = {
    "type", "model", "instructions", "output_modalities", "audio", "tools", "tool_choice", "max_output_tokens", "truncation",
    "tracing", "prompt", "include", "reasoning", "parallel_tool_calls",
}  # fmt: skip
"""What a session may have."""


class Visit(base.Visit):
    """`active` is the response in the making, `sent` the bytes of each item, `calls` the functions that wait for an answer."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.active: str | None = None
        self.sent: dict[str, int] = {}
        self.calls: set[str] = set()
        self.responses = 0

    def kinds(self) -> list[str]:
        return [message["type"] for _, message in self.messages]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for _, message in self.messages if message["type"] == kind]

    def err(self, code: str | None, kind: str = "invalid_request_error", event_id: str | None = None) -> None:
        error = {"type": kind, "code": code, "message": "No.", "param": None, "event_id": event_id}
        self.send({"type": "error", "event_id": "event_e", "error": error})

    def begin(self) -> str:
        """A response begins; its name."""
        with self.changed:
            self.responses += 1
            self.active = name = f"resp_{self.responses}"
        self.send({"type": "response.created", "response": {"id": name, "status": "in_progress"}})
        return name

    def finish(self, status: str = "completed", **details: object) -> None:
        """The response in the making ends, if there is one."""
        with self.changed:
            name, self.active = self.active, None
        if name is not None:
            self.send({"type": "response.done", "response": {"id": name, "status": status, "status_details": details}})

    def reply(self, *items: bytes, lead_s: float | None = None, words: str = "Yes.") -> None:
        """A response with these items, unless it is cancelled."""
        name = self.begin()
        for number, pcm in enumerate(items):
            item = f"{name}_item_{number}"
            with self.changed:
                self.sent[item] = 0
            self.say(pcm, RATE, functools.partial(self._delta, name, item), lead_s=lead_s)
        if self.active == name:
            self.send({"type": "response.output_audio_transcript.done", "response_id": name, "transcript": words})
            self.finish()

    def call(self, function: str, call_id: str = "call_1") -> None:
        """A response that calls a function."""
        name = self.begin()
        item = {"id": f"{name}_item", "type": "function_call", "name": function, "call_id": call_id}
        self.calls.add(call_id)
        self.send({"type": "response.output_item.added", "response_id": name, "item": item})
        done = {"item_id": item["id"], "call_id": call_id, "name": function, "arguments": "{}"}
        self.send({"type": "response.function_call_arguments.done", "response_id": name, **done})
        self.finish()

    def speech(self) -> None:
        """Somebody speaks, and so the response in the making is cancelled."""
        self.send({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "item_u"})
        self.finish("cancelled", type="cancelled", reason="turn_detected")

    def cut_off(self, begin: float) -> bool:
        return super().cut_off(begin) or self.active is None

    def _delta(self, response: str, item: str, pcm: bytes) -> dict[str, Any]:
        with self.changed:
            self.sent[item] += len(pcm)
        place = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        return {"type": "response.output_audio.delta", **place, "delta": base64.b64encode(pcm).decode()}


class OpenAIServer(ScriptedServer):
    """OpenAI's Realtime API."""

    visit_class = Visit

    def __init__(self, **listening: Any) -> None:
        super().__init__(**listening)
        self.key: str | None = None
        """Refuse whoever does not bring it."""
        self.errors: list[tuple[str, str]] = []
        """Code and type of what is answered to the settings of the next connections, one by one."""
        self.answers_settings = True
        self.format: dict[str, Any] = FORMAT
        """What it says that it takes and gives."""
        self.replies = True
        """Whether `response.create` makes it say a tenth of a second."""

    def admit(self, visit: Visit) -> HTTPStatus | None:
        brought = visit.headers.get("authorization", "")
        if self.key is not None and self.key in visit.path:
            visit.violations.append("a key in the address")
        if "openai-beta" in visit.headers:
            visit.violations.append("a header of the beta")
        address = urlsplit(visit.path)
        if address.path != PATH or [name for name, _ in parse_qsl(address.query)] != ["model"]:
            visit.violations.append(f"a connection to {visit.path}")
        return HTTPStatus.UNAUTHORIZED if self.key and brought != f"Bearer {self.key}" else None

    def opened(self, visit: Visit) -> None:
        visit.send({"type": "session.created", "event_id": "event_1", "session": self._session()})

    def fail(self, visit: Visit, code: str, kind: str = "invalid_request_error", close: int = 1008) -> None:
        """A fatal error."""
        if code in HOPELESS or kind in HOPELESS:
            self.final = f"error {code}"
        visit.err(code, kind)
        visit.close(close)

    def take(self, visit: Visit, message: str | bytes) -> None:
        fields = json.loads(message)
        kind = fields["type"]
        if isinstance(message, bytes):
            visit.violations.append("a binary message")
        if kind == "input_audio_buffer.append":
            self._hear(visit, fields)
            return
        visit.keep(fields)
        match fields:
            case {"type": "session.update", "session": dict(session)}:
                self._set(visit, session)
            case _ if not visit.ready:
                visit.violations.append(f"{kind} before ready")
            case {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [part]}}:
                if set(part) != {"type", "text"} or part["type"] != "input_text":
                    visit.violations.append("a text that is none")
            case {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "output": str()} as item,
            }:
                if item["call_id"] not in visit.calls:
                    visit.violations.append("the output of a function that was not called")
                visit.calls.discard(item["call_id"])
            case {"type": "response.create"}:
                self._answer_text(visit, fields.get("event_id"))
            case {"type": "response.cancel"}:
                if visit.active is None:
                    visit.err("response_cancel_not_active", event_id=fields.get("event_id"))
                visit.finish("cancelled", type="cancelled", reason="client_cancelled")
            case {"type": "conversation.item.truncate"}:
                self._truncate(visit, fields)
            case _:
                visit.violations.append(f"the message {str(fields)[:80]}")

    def _session(self) -> dict[str, Any]:
        audio = {"input": {"format": self.format}, "output": {"format": self.format}}
        return {"type": "realtime", "object": "realtime.session", "id": f"sess_{len(self.visits)}", "audio": audio}

    def _hear(self, visit: Visit, fields: dict[str, Any]) -> None:
        pcm = base64.b64decode(fields["audio"], validate=True)
        if set(fields) - {"type", "audio", "event_id"} or not 0 < len(pcm) <= LONGEST_FRAME or len(pcm) % 2:
            visit.violations.append(f"a frame of {len(pcm)} bytes, with {sorted(fields)}")
        visit.hear(pcm, len(pcm))

    def _set(self, visit: Visit, session: dict[str, Any]) -> None:
        if visit.kinds() != ["session.update"]:
            visit.violations.append("settings that are not the first message")
        asked = [session["audio"][way]["format"] for way in ("input", "output")]
        if session["type"] != "realtime" or set(session) - TOP or asked != [FORMAT, FORMAT]:
            visit.violations.append(f"the settings {session}")
        if self.errors:
            self.fail(visit, *self.errors.pop(0))
        elif self.answers_settings:
            self.become_ready(visit, {"type": "session.updated", "event_id": "event_2", "session": self._session()})

    def _answer_text(self, visit: Visit, event_id: str | None) -> None:
        if visit.active is not None:
            visit.err("conversation_already_has_active_response", event_id=event_id)
        elif self.replies:
            visit.reply(bytes(RATE // 5))

    def _truncate(self, visit: Visit, fields: dict[str, Any]) -> None:
        with visit.changed:
            sent = visit.sent.get(fields["item_id"])
        if sent is None or fields["content_index"] != 0 or not 0 <= fields["audio_end_ms"] <= sent * 500 // RATE:
            visit.violations.append(f"{fields} of {sent} bytes")
            visit.err("invalid_value", event_id=fields.get("event_id"))


if __name__ == "__main__":
    main(OpenAIServer)
