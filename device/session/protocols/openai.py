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
from device.errors import RefusedError, SessionError
from device.session.credentials import Secret
from device.session.protocol import Answer, Audio, Fact, Interrupted, MalformedError, Protocol, Request, Send
from device.session.protocols.messages import address, base64_of, kind_of, parsed, pcm_of, table
from device.session.protocols.openai_errors import refused, unready, verdict
from device.session.protocols.openai_options import DEFAULT_MODEL, RATE, other_format, problems_of, settings
from device.session.protocols.options import access_problem, key_problem
from device.session.protocols.played import Received

NO_SUCH_TOOL = "This speaker has no such tool. Answer without it."
_MOST_TOOLS = 32
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
        self._received = Received(RATE)
        self._active: str | None = None
        """The response that is being made."""
        self._wanted = False
        """Whether another response is to be asked for once that one is done: there can only be one at a time."""
        self._tool_names: dict[str, str] = {}

    @classmethod
    def problems(cls, agent: Agent, key: Secret | None) -> list[str]:
        """See `Protocol`."""
        return [*problems_of(cls.name, agent.options), *access_problem(agent, ()), *key_problem(agent, key)]

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
        return [
            _message("conversation.item.truncate", item_id=item, content_index=part, audio_end_ms=ms)
            for item, part, ms in self._received.cuts(turn, seconds, more_to_come=turn == self._active)
        ]

    def receive(self, message: str | bytes) -> Iterator[Fact]:
        """See `Protocol`. Names from before GA are taken too: services that are made alike still use them."""
        fields = parsed(message)
        match kind_of(fields):
            case "session.created" if not self._asked:
                self._asked = True
                yield e.SessionStarted(self.session, self.tidy(table(fields.get("session")).get("id")))
                yield Send(_message("session.update", session=settings(self.agent.options)))
            case "session.updated" if self._asked and not self._ready:
                if way := other_format(table(fields.get("session"))):
                    raise RefusedError("options_refused", f"{self.name} insists on {way} other than PCM at {RATE} Hz.")
                self._ready = True
                yield e.SessionReady(self.session)
            case "response.output_audio.delta" | "response.audio.delta":
                pcm, turn = pcm_of(fields.get("delta")), _name(fields.get("response_id"))
                self._received.add(turn, _name(fields.get("item_id")), fields.get("content_index"), len(pcm))
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
        try:
            error = table(parsed(answer.body).get("error"))
        except MalformedError:
            error = {}
        if found := verdict(self.name, error, self._said(error)):
            return found
        if answer.status == 400 and error.get("type") == "invalid_request_error":
            return refused(self.name, self._said(error))
        return super().denied(answer)

    def _done(self, response: Mapping[str, Any]) -> Iterator[Fact]:
        if response.get("id") in (None, self._active):
            self._active = None
        if (status := response.get("status")) == "failed":
            error = table(table(response.get("status_details")).get("error"))
            if found := verdict(self.name, error, self._said(error)):
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
        if found := verdict(self.name, error, self._said(error)):
            raise found
        code, answered = error.get("code"), error.get("event_id")  # of ours
        if code == "response_cancel_not_active" or answered == _CANCEL:
            return  # it was done before it heard of us
        if code == "conversation_already_has_active_response":
            self._wanted = self._wanted or (answered == _TEXT and self._active is not None)
        elif self._ready:
            yield self._agent_erred(error)
        else:
            raise unready(self.name, error, self._said(error))

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
