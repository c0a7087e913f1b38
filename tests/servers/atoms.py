"""An agent that speaks Atoms' protocol as a test tells it to, over a real socket, and writes down what it gets.

It is strict: a key that comes two ways or where it does not belong, a token that is used twice or too late, settings that are
not documented, audio before `session.created`, a frame of nothing, of half samples or of over 100 ms, an unknown message, and
a speaker that comes back after it was refused for good, are violations.
"""

import base64
import json
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.scripted import Post, ScriptedServer, main
from tests.servers.visit import Visit

CONNECT, REGISTER = "/atoms/v1/agent/connect", "/atoms/v1/conversation/register-call"
RATES = ("8000", "16000", "24000", "48000")
SETTINGS = {"agent_id", "token", "mode", "sample_rate", "variables"}
RESERVED = {
    "call_id", "conversation_type", "agent_number", "user_number", "current_date", "current_time", "current_day",
    "agent_gender", "default_language", "supported_languages", "timezone",
}  # fmt: skip
KEY = "sk_a-very-secret-key"
AGENT = "69da0b4c20c0e03cfa4ee258"


def delta(pcm: bytes) -> dict[str, Any]:
    return {"type": "output_audio.delta", "audio": base64.b64encode(pcm).decode()}


class AtomsVisit(Visit):
    """See `Visit`. `rate`: hertz, both ways."""

    rate = 0
    binary = False
    """Send JSON in binary frames."""

    def send(self, message: Any) -> None:
        text = json.dumps(message) if isinstance(message, dict) else message
        super().send(text.encode() if self.binary and isinstance(text, str) else text)

    def turn(self, pcm: bytes, lead_s: float | None = 0.4, words: str = "") -> None:
        """Say a whole turn of the agent."""
        self.send({"type": "agent_start_talking", "timestamp": "2026-08-21T10:00:00Z"})
        if words:
            self.send({"type": "transcript.delta", "role": "assistant", "text": words[: len(words) // 2]})
        self.say(pcm, self.rate, delta, lead_s=lead_s)
        self.send({"type": "agent_stop_talking"})
        if words:
            self.send({"type": "transcript", "role": "assistant", "text": words})

    def err(self, code: str, message: str = "No.") -> None:
        self.send({"type": "error", "code": code, "message": message})

    def kinds(self) -> list[str]:
        return [message["type"] for _, message in self.messages]


class AtomsServer(ScriptedServer):
    """See `ScriptedServer`. `access` is the way in that it lets through: query, header or call."""

    visit_class = AtomsVisit

    def __init__(self, access: str = "query", **listening: Any) -> None:
        super().__init__(**listening)
        self.access = access
        # The 401 to a call's token may be about that token, and another is worth a try.
        self.FINAL = frozenset({400, 401, 402, 403, 404} - ({401} if access == "call" else set()))
        self.rate: int | None = None
        """The rate it chooses, whatever was asked for."""
        self.channels = 1
        self.binary = False
        self.token_life_s = 30.0
        self.call_answer: tuple[int, object] | None = None
        """Answer the registration of a call with this instead."""
        self.setup_error: tuple[str, str] | None = None
        """Code and message of a fatal error in place of `session.created`."""
        self.says_closed = False
        """Whether a fatal error also sends `session.closed`: the vendor's documents say both."""
        self.shuts_with: int | None = None
        """Close with this code in place of `session.created`."""
        self.answers_close = True
        self._tokens: dict[str, float] = {}
        """When each was granted; taken out when used."""

    def post(self, request: Post) -> tuple[int, object]:
        if request.path != REGISTER:
            return super().post(request)
        if KEY in request.path or KEY.encode() in request.body:
            self.violations.append("the key is not in the header alone")
        body = json.loads(request.body)
        if set(body) - {"agent_id", "mode", "variables"} or body.get("mode", "webcall") != "webcall":
            self.violations.append(f"a call is registered with {sorted(body)}")
        self._check_variables(body.get("variables", {}))
        if self.call_answer is not None:
            if self.call_answer[0] == 401:
                self.final = "HTTP 401"
            return self.call_answer
        if request.headers.get("authorization") != f"Bearer {KEY}":
            self.final = "HTTP 401"
            return 401, {"error": "Unauthorized"}
        if body.get("agent_id") != AGENT:
            return 404, {"status": False, "errors": ["Agent not found"]}
        token = f"wct_{len(self._tokens)}-{len(self.posts)}"
        self._tokens[token] = time.monotonic()
        data = {"access_token": token, "expires_in": self.token_life_s, "sample_rate": self.rate or 24_000}
        return 201, {"status": True, "data": data}

    def admit(self, visit: AtomsVisit) -> HTTPStatus | None:
        if urlsplit(visit.path).path != CONNECT:
            self.violations.append(f"a connection to {urlsplit(visit.path).path}")
        pairs = parse_qsl(urlsplit(visit.path).query, keep_blank_values=True)
        query, header = dict(pairs), visit.headers.get("authorization")
        if len(query) != len(pairs) or set(query) - SETTINGS:
            self.violations.append(f"the settings {[name for name, _ in pairs]}")
        if header and "token" in query:
            self.violations.append("a key in the header and in the address")
        if visit.alpn not in (None, "http/1.1"):
            self.violations.append(f"ALPN {visit.alpn}")
        brought = query.get("token") or (header or "").removeprefix("Bearer ")
        if self.access == "call":
            return self._admit_call(visit, query, brought)
        if bool(header) != (self.access == "header"):
            self.violations.append("a key by the other way")
        if query.get("mode", "webcall") != "webcall" or query.get("sample_rate", "24000") not in RATES:
            self.violations.append(f"mode {query.get('mode')}, sample_rate {query.get('sample_rate')}")
        self._check_variables(json.loads(query.get("variables", "{}")))
        visit.rate = self.rate or int(query.get("sample_rate", "24000"))
        return None if brought == KEY and query.get("agent_id") == AGENT else HTTPStatus.UNAUTHORIZED

    def _admit_call(self, visit: AtomsVisit, query: dict[str, str], token: str) -> HTTPStatus | None:
        if set(query) != {"token"} or not token.startswith("wct_"):
            self.violations.append(f"a call with {sorted(query)}, or without its token")
        visit.rate = self.rate or 24_000
        granted = self._tokens.pop(token, None)
        if granted is None:
            self.violations.append("a token that was used before, or never granted")
        fresh = granted is not None and time.monotonic() - granted <= self.token_life_s
        return None if fresh else HTTPStatus.UNAUTHORIZED

    def _check_variables(self, variables: Any) -> None:
        if not isinstance(variables, dict) or not all(
            isinstance(value, str | int | float) for value in variables.values()
        ):
            self.violations.append("variables that are no table of texts, numbers, true and false")
        elif RESERVED & set(variables):
            self.violations.append(f"the reserved variables {RESERVED & set(variables)}")

    def opened(self, visit: AtomsVisit) -> None:
        visit.binary = self.binary
        number = len(self.visits)
        if self.shuts_with is not None:
            self.final = f"close code {self.shuts_with}" if self.shuts_with in (4401, 4403, 4000) else ""
            visit.close(self.shuts_with)
        elif self.setup_error is not None:
            self.fail(visit, *self.setup_error)
        else:
            named = {"session_id": f"s{number}", "call_id": f"CALL-{number}"}
            created = {"type": "session.created", **named, "sample_rate": visit.rate, "channels": self.channels}
            self.become_ready(visit, json.dumps(created).encode() if self.binary else created)

    def fail(self, visit: AtomsVisit, code: str, message: str = "No.") -> None:
        """A fatal error."""
        if code in ("400", "402", "403", "404") or (code == "401" and (self.access != "call" or visit.ready)):
            self.final = f"error {code}"
        visit.err(code, message)
        if self.says_closed:
            visit.send({"type": "session.closed", "reason": "setup_failed"})
        visit.close(4000)

    def take(self, visit: AtomsVisit, message: str | bytes) -> None:
        fields = json.loads(message)
        match fields:
            case {"type": "input_audio_buffer.append", "audio": str(audio)} if len(fields) == 2:
                pcm = base64.b64decode(audio, validate=True)
                plausible = 0 < len(pcm) <= visit.rate // 5 and len(pcm) % 2 == 0
                visit.hear(pcm, len(pcm) if plausible else visit.rate // 50 * 2)
            case {"type": "input_text.send", "text": str(text)} if len(fields) == 2 and text and visit.ready:
                visit.keep(fields)
            case {"type": "session.close"} if len(fields) == 1:
                visit.keep(fields)
                if self.answers_close:
                    visit.send({"type": "session.closed", "reason": "client_requested"})
                    visit.close()
            case _:
                visit.violations.append(f"the message {str(fields)[:80]}")
                visit.err("invalid_event", "unknown or incomplete")


if __name__ == "__main__":
    main(AtomsServer)
