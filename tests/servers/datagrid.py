"""An agent that speaks Datagrid's protocol as a test tells it to, over a real socket, and writes down what it gets.

It is strict. Violations: a first message that is not `start`, or another `start`; audio before `ready`; a frame that is not
640 bytes; a message that the vendor's reference does not name; a key in a header of the WebSocket; with the handoff, a key in
the address, a token that is used twice, and a `start` that is not the one that was given.
"""

import base64
import json
import secrets
from http import HTTPStatus
from typing import Any

from tests.servers import visit as base
from tests.servers.scripted import Post, ScriptedServer, main
from tests.servers.visit import FRAME_BYTES as FRAME_BYTES
from tests.servers.visit import LIMIT_S

REPLY_RATE = 24_000
HANDOFF, TALK = "/v1/voice", "/ws/voice"
"""The paths of the vendor's two ways in."""
KINDS = ("start", "audio", "text", "interrupt", "stop")


class Visit(base.Visit):
    """`messages` holds them as they are in JSON."""

    given: dict[str, Any] | None = None
    """The first message that the handoff asked for."""

    def count(self, kind: str) -> int:
        return self.kinds().count(kind)

    def kinds(self) -> list[str]:
        return [str(message.get("type")) for _, message in self.messages]

    def send(self, kind: str, **payload: object) -> None:
        super().send({"type": kind, "payload": payload})

    def say(self, pcm: bytes, chunk_s: float = 0.1, lead_s: float | None = 0.4) -> None:
        """Send a reply (s16le, 24 kHz) in chunks, `lead_s` ahead of real time; None: as fast as it goes."""
        super().say(pcm, REPLY_RATE, spoken, chunk_s, lead_s)

    def cut_off(self, begin: float) -> bool:
        return super().cut_off(begin) or self.interrupted_since(begin)

    def interrupted_since(self, begin: float) -> bool:
        return any(t >= begin and message.get("type") == "interrupt" for t, message in self.messages)


class DatagridServer(ScriptedServer):
    """Datagrid's agent, by the direct way and by the handoff."""

    visit_class = Visit

    def __init__(self, **listening: Any) -> None:
        super().__init__(**listening)
        self.answers_stop = True
        self.answers_interrupt = True
        self.token: str | None = None
        """The API key: refuse whoever does not bring it."""
        self.post_status: int | None = None
        """Answer the handoff with this error."""
        self._unused: dict[str, dict[str, Any]] = {}
        """The first message that belongs to each token of a handoff."""
        self._used: set[str] = set()

    def visit(self, number: int = 1, timeout: float = LIMIT_S) -> Visit:
        """Connection `number`, once it has come and said `start`."""
        visit: Visit = super().visit(number, timeout)
        visit.wait(lambda visit: visit.count("start") > 0, timeout)
        return visit

    def post(self, request: Post) -> tuple[int, object]:
        """The handoff: an address that can be used once, and what is to be said first there."""
        if request.path != HANDOFF:
            return super().post(request)
        if self.post_status is not None:
            return self.post_status, {"error": {"message": "as the test wants it"}}
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key or self.token not in (None, key):
            return 401, {"error": {"message": "wrong API key"}}
        fields = json.loads(request.body)
        token, agent_id = secrets.token_urlsafe(16), fields.get("agent_id")
        mode = "direct_agent" if agent_id else "orchestrator"
        start = {"type": "start", "payload": {"voice_mode": mode, **fields}}  # not what the speaker would have said
        self._unused[token] = start
        url = f"{self.url.replace('http', 'ws', 1)}{TALK}?token={token}"
        return 200, {"object": "voice.session", "url": url, "agent_id": agent_id, "start_message": start}

    def admit(self, visit: Visit) -> HTTPStatus | None:
        token = visit.query.get("token")
        if "authorization" in visit.headers:
            visit.violations.append("a key in a header")
        if self._unused or self._used:
            return self._admit_handoff(visit, token or "")
        return HTTPStatus.UNAUTHORIZED if self.token not in (None, token) else None

    def _admit_handoff(self, visit: Visit, token: str) -> HTTPStatus | None:
        if token in self._used:
            visit.violations.append("a token that was used before")
        elif token not in self._unused:
            visit.violations.append("a connection without a token of the handoff")
        if self.token is not None and self.token in visit.path:
            visit.violations.append("a key in the address")
        visit.given = self._unused.pop(token, None)
        self._used.add(token)
        return HTTPStatus.UNAUTHORIZED if visit.given is None else None

    def take(self, visit: Visit, message: str | bytes) -> None:
        if isinstance(message, bytes):
            visit.violations.append("a binary message")
        fields = json.loads(message)
        kind = fields.get("type")
        if kind not in KINDS:
            visit.violations.append(f"a message that is unknown: {kind}")
        if not visit.messages:
            self._check_first(visit, fields)
        elif kind == "start":
            visit.violations.append("another start")
        if kind == "audio":
            visit.hear(base64.b64decode(fields["payload"]["data"], validate=True))
        else:
            visit.keep(fields)
            self._respond(visit, kind)

    def _check_first(self, visit: Visit, fields: dict[str, Any]) -> None:
        if fields.get("type") != "start":
            visit.violations.append(f"the first message is {fields.get('type')}")
        if visit.given not in (None, fields):
            visit.violations.append("a start that is not the one of the handoff")

    def _respond(self, visit: Visit, kind: str) -> None:
        if kind == "start" and visit.count("start") == 1:
            number = self.visits.index(visit) + 1
            visit.send("started", session_id=f"s{number}", conversation_id="c1", message_id="m1")
            self.become_ready(visit, {"type": "ready"})
        elif kind == "interrupt" and self.answers_interrupt:
            visit.keep({"type": "interrupted?"})
            visit.send("interrupted")
        elif kind == "stop" and self.answers_stop:
            visit.send("ended", credits_consumed=0, transcript=[])
            visit.close()


def spoken(pcm: bytes) -> dict[str, Any]:
    """A piece of a reply as a message."""
    return {"type": "audio", "payload": {"data": base64.b64encode(pcm).decode()}}


if __name__ == "__main__":
    main(DatagridServer)
