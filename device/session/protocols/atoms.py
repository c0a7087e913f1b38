"""Atoms' protocol (Smallest AI): flat JSON messages, sound as base64 in them, at one rate both ways.

Order: `session.created`; sound both ways; we send `session.close`; `session.closed`. No message of ours makes it be quiet: it
hears that somebody speaks. A fatal error closes with 4000, with or without a `session.closed` before; others change nothing.
Facts: the vendor's AsyncAPI and OpenAPI files and its mobile guides, as of August 2026.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.session.credentials import Secret
from device.session.protocol import NO_REASON, Answer, Audio, Ended, Fact, Interrupted, Post, Protocol, Request
from device.session.protocols.messages import address, base64_of, error_of, kind_of, parsed, pcm_of, table, token_of
from device.session.protocols.options import ANYTHING, access_problem, key_problem, option_problems

OPTIONS: dict[str, Any] = {"sample_rate": (8000, 16_000, 24_000, 48_000), "variables": ANYTHING}
RESERVED = (
    "call_id", "conversation_type", "agent_number", "user_number", "current_date", "current_time", "current_day",
    "agent_gender", "default_language", "supported_languages", "timezone",
)  # fmt: skip
"""Variables that the server sets; it throws ours away."""
QUERY, HEADER, CALL = "query", "header", "call"
"""How the key is used: in the WebSocket's address, in a header, or for a token that is good for one call."""
_REFUSALS = {
    400: ("not_found", "refuses the call: agent.agent_id or agent.options is wrong, or the account has no credit"),
    401: ("key_refused", "refuses the API key, or does not know the agent of agent.agent_id"),
    403: ("key_refused", "does not let this API key use this agent"),
}
_NO_CREDIT = re.compile("credit|balance|billing|quota|minutes", re.IGNORECASE)
_CROWDED = re.compile("concurren|rate.limit", re.IGNORECASE)


class Atoms(Protocol):
    """See `Protocol`."""

    name = "Atoms"
    hears = speaks = 16_000  # not the server's 24,000: what the microphone gives needs no resampling
    url = "wss://api.smallest.ai/atoms/v1/agent/connect"
    call_url = "https://api.smallest.ai/atoms/v1/conversation/register-call"

    def __init__(self, agent: Agent, key: Secret | None, session: int, conversation_id: str | None = None) -> None:
        super().__init__(agent, key, session, conversation_id)
        self._tune(agent.options)
        self._token = ""
        """Of the call that is registered, in place of the key."""
        self._created = False
        self._error: tuple[str, str] | None = None
        """Code and message of this connection's last error: it tells why the connection is closed."""
        self._turns = 0
        self._turn = ""
        self._drafts: dict[str, tuple[int, str]] = {}
        """By role: words of which no final transcript has come, and how many turns the agent had begun by then."""

    @classmethod
    def problems(cls, agent: Agent, key: Secret | None) -> list[str]:
        """See `Protocol`."""
        found = [*option_problems(cls.name, agent.options, OPTIONS), *_variable_problems(agent)]
        if agent.access == CALL and "sample_rate" in agent.options:
            found.append(f'agent.options.sample_rate: with agent.access = "{CALL}" the server sets it; leave it out.')
        if not agent.agent_id:
            found.append("agent.agent_id is missing: put there the id of the agent, as the console of Atoms shows it.")
        return [*found, *access_problem(agent, (QUERY, HEADER, CALL)), *key_problem(agent, key)]

    def credential(self) -> Post | None:
        """See `Protocol`. A token lives for 30 s, and is good for one connection."""
        self._token, self._created, self._error, self._turn = "", False, None, ""  # a new connection knows nothing
        if self.agent.access != CALL:
            return None
        own = urlsplit(self.agent.url)  # its path is that of the WebSocket
        url = address(f"{own.scheme}://{own.netloc}" if own.netloc else "", self.call_url)
        return Post(url, self._bearer(), json.dumps({"agent_id": self.agent.agent_id, **self._call()}).encode())

    def granted(self, answer: bytes) -> None:
        """See `Protocol`."""
        data = table(parsed(answer).get("data"))
        self._token = self.secret(token_of(data.get("access_token")))
        self.hears = self.speaks = 24_000
        self._tune(data)

    def likely(self) -> str:
        """See `Protocol`."""
        return address(self.agent.url, self.url)

    def request(self) -> Request:
        """See `Protocol`. The server does not take a key that comes both ways."""
        if self._token:
            return Request(address(self.agent.url, self.url, token=self._token), {})
        by_query = {"token": self._key.reveal()} if self._key and self.agent.access != HEADER else {}
        settings = {"agent_id": self.agent.agent_id, "sample_rate": str(self.hears)}
        settings |= {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in self._call().items()
        }
        return Request(address(self.agent.url, self.url, **by_query, **settings), {} if by_query else self._bearer())

    def audio(self, pcm: bytes) -> str:
        """See `Protocol`."""
        return '{"type":"input_audio_buffer.append","audio":"' + base64_of(pcm) + '"}'

    def text(self, text: str) -> list[str]:
        """See `Protocol`. An empty one would be an error."""
        return [json.dumps({"type": "input_text.send", "text": text})] if text else []

    def stop(self) -> list[str]:
        """See `Protocol`."""
        return ['{"type":"session.close"}']

    def receive(self, message: str | bytes) -> Iterator[Fact]:
        """See `Protocol`."""
        fields = parsed(message)
        match kind_of(fields):
            case "session.created" if not self._created:
                self._tune(fields)
                self._created = True
                yield from self._undrafted()
                # The call's name finds its recording; a conversation cannot be gone on with.
                name, call = self.tidy(fields.get("session_id")), self.tidy(fields.get("call_id"))
                yield e.SessionStarted(self.session, name, call)
                yield e.SessionReady(self.session)
            case "output_audio.delta":
                yield Audio(pcm_of(fields.get("audio")), self._turn)
            case "agent_start_talking":
                self._error = None  # it has changed nothing
                self._next_turn()
            case "interruption":
                yield Interrupted()
                self._next_turn()  # which agent_start_talking begins "typically": without one it is to be heard too
            case ("transcript.delta" | "transcript") as kind:
                role = "user" if fields.get("role") == "user" else "agent"
                yield from self._heard(role, self.tidy(fields.get("text")) or "", final=kind == "transcript")
            case "error":
                yield self._erred(table(fields.get("error")) or fields)  # the vendor's own test reads it nested
            case "session.closed":
                yield from self._undrafted()
                yield self._ended(self.tidy(fields.get("reason")) or "ended")

    def denied(self, answer: Answer) -> SessionError:
        """See `Protocol`."""
        body = error_of(answer.body)
        error, errors, wait_s = body.get("error"), body.get("errors"), body.get("retry_after")
        found = [body.get("message"), error, table(error).get("message"), *(errors if isinstance(errors, list) else [])]
        words = self.tidy("; ".join(text for text in found if isinstance(text, str))) or ""
        said = f' It says: "{words[:200]}"' if words else ""
        if answer.status == 401 and self._token and not self._created:
            return NetworkError("token_refused", f"{answer.where} refuses the token of the call (HTTP 401).{said}")
        if answer.status == 403 and _CROWDED.search(words):
            return NetworkError("server_busy", f"{answer.where} is busy (HTTP 403).{said}")
        if answer.status in _REFUSALS:
            code, why = _REFUSALS[answer.status]
            spent = _NO_CREDIT.search(words) or (answer.status == 403 and "limit" in words.lower())
            if answer.status != 401 and spent:
                code, why = "no_credit", "says that the account has nothing left"
            return RefusedError(code, f"{answer.where} {why} (HTTP {answer.status}).{said}")
        if isinstance(wait_s, int | float) and 0 < wait_s < 100_000:
            answer = answer._replace(retry_after_s=float(wait_s))
        return super().denied(answer)

    def closed(self, code: int | None) -> Ended | SessionError:
        """See `Protocol`."""
        if code == 4000:  # fatal, whatever it was
            unsaid = RefusedError("server_fault", f"{self.name} gave up without a reason (close code 4000).")
            return self._failure(*self._error) if self._error else unsaid
        return super().closed(code)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}

    def _call(self) -> dict[str, Any]:
        variables = self.agent.options.get("variables")
        return {"mode": "webcall", **({"variables": variables} if variables else {})}

    def _tune(self, fields: Mapping[str, Any]) -> None:
        """Take the rate that stands there, if one does."""
        rate, channels = fields.get("sample_rate"), fields.get("channels")
        if isinstance(rate, bool) or not isinstance(rate, int | float):
            rate = self.hears
        if not 8000 <= rate <= 48_000 or (isinstance(channels, int) and channels > 1):
            raise RefusedError("server_fault", f"{self.name} has sound of another form than mono at 8 to 48 kHz.")
        self.hears = self.speaks = int(rate)

    def _next_turn(self) -> None:
        self._turns += 1
        self._turn = str(self._turns)

    def _heard(self, role: str, text: str, final: bool) -> Iterator[Fact]:
        """All words of a turn so far. Final ones do not always come: then the next turn makes them so."""
        turns, draft = self._drafts.pop(role, (self._turns, ""))
        over = turns != self._turns and not text.startswith(draft)
        if said := text if final else draft if over else "":
            yield e.Transcribed(self.session, role, said)
        if text and not final:
            self._drafts[role] = self._turns, text

    def _undrafted(self) -> Iterator[Fact]:
        drafts, self._drafts = self._drafts, {}
        yield from (e.Transcribed(self.session, role, text) for role, (_, text) in drafts.items())

    def _erred(self, fields: Mapping[str, Any]) -> Fact:
        """Without a session, an HTTP status is the end; within one, the close tells whether it was."""
        code = fields.get("code")
        name = self.tidy(str(code) if isinstance(code, int) else code) or "agent_error"
        self._error = name, self.tidy(fields.get("message")) or NO_REASON
        if _status(name) and not self._created:
            raise self._failure(*self._error)
        return e.AgentErred(self.session, *self._error)

    def _ended(self, reason: str) -> Ended:
        """What `session.closed` means: the end of a session, or what comes of an error."""
        if reason in ("client_requested", "ended"):
            return Ended("agent")
        code, message = self._error or ("", NO_REASON)
        if _status(reason) or _status(code) or reason in ("server_error", "websocket_closed"):
            raise self._failure(reason if _status(reason) else code or reason, message)
        return Ended(reason)

    def _failure(self, code: str, message: str) -> SessionError:
        if status := _status(code):
            return self.denied(Answer(status, json.dumps({"message": message}).encode(), self.name))
        return NetworkError("server_fault", f"{self.name} failed ({code}): {message}")


def _status(code: str) -> int | None:
    """The HTTP status that a code is, if it is one."""
    return int(code) if re.fullmatch("[45][0-9][0-9]", code) else None


def _variable_problems(agent: Agent) -> Iterator[str]:
    variables = agent.options.get("variables", {})
    if not isinstance(variables, Mapping):
        yield "agent.options.variables must be a table."
        return
    for name, value in variables.items():
        number = isinstance(value, int | float) and -1e300 < value < 1e300
        if name in RESERVED:
            yield f"agent.options.variables.{name} is set by the server, which throws ours away; leave it out."
        elif not number and not isinstance(value, str):
            yield f"agent.options.variables.{name} must be a text, a number, or true or false."
