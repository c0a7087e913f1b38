"""What the scripted agents have in common that grant a token by HTTP, want it as the first message, and send sound as binary.

Violations: a token that was not granted, was used before, or is too old; none in time, or something else first; audio before
the session is ready; a frame that is not 640 bytes; any other text; a key or a token in an address, or in a header where none
belongs; a connection after a refusal for good.
"""

import contextlib
import secrets
import threading
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed

from tests.servers import visit as base
from tests.servers.scripted import Post, ScriptedServer

RATE = 16_000


class Visit(base.Visit):
    """`messages` holds the token message, and what else came as text."""

    def say(self, pcm: bytes, chunk_s: float = 0.02, lead_s: float | None = 0.4) -> None:  # type: ignore[override]
        """Send a reply (s16le, 16 kHz) in chunks, `lead_s` ahead of real time; None: as fast as it goes."""
        super().say(pcm, RATE, bytes, chunk_s, lead_s)


class TokenServer(ScriptedServer):
    """See the module. A subclass says where things are, and how they look."""

    visit_class = Visit
    TOKEN, SOCKET = "", ""
    """Paths."""

    def __init__(self, **listening: Any) -> None:
        super().__init__(**listening)
        self.key: str | None = None
        """Refuse whoever does not bring it."""
        self.post_error: tuple[int, object] | None = None
        """Answer the token request with this."""
        self.errors: list[str] = []
        """What is said of the tokens of the next connections, one by one, whatever they are."""
        self.tells_errors = True
        """Whether an error comes as a message before the close."""
        self.first_s = 10.0
        """When the first message must have come."""
        self.life_s = 300.0
        """How long a token is good for."""
        self.says: tuple[str, ...] = ()
        """The messages that say that the session is ready."""
        self._granted: dict[str, float] = {}
        self._used: set[str] = set()

    # --- what a subclass overrides

    def key_of(self, request: Post) -> str | None:
        """The API key of a token request."""
        raise NotImplementedError

    def wrong_key(self) -> object:
        """What is answered to a wrong one."""
        raise NotImplementedError

    def grant(self, token: str) -> object:
        """What is answered to the right one."""
        raise NotImplementedError

    def token_in(self, message: str | bytes) -> str | None:
        """The token that a first message brings."""
        raise NotImplementedError

    def refuse(self, visit: Visit, error: str) -> None:
        """Say what is wrong with it, and close."""
        raise NotImplementedError

    TOO_LATE, NO_TOKEN, WRONG_TOKEN = "", "", ""
    """The names of those errors."""

    # --- what they share

    def post(self, request: Post) -> tuple[int, object]:
        if urlsplit(request.path).path != self.TOKEN:
            return super().post(request)
        key = self.key_of(request)
        if key and key in request.path:
            self.violations.append("a key in the address")
        if self.post_error is not None:
            return self.post_error
        if not key or self.key not in (None, key):
            return 401, self.wrong_key()
        token = secrets.token_urlsafe(24)
        self._granted[token] = time.monotonic()
        return 200, self.grant(token)

    def admit(self, visit: Visit) -> HTTPStatus | None:
        if urlsplit(visit.path).path != self.SOCKET:
            return HTTPStatus.NOT_FOUND
        sent = [visit.path, *visit.headers.values()]
        hidden = [*self._granted, *([self.key] if self.key else [])]
        if "authorization" in visit.headers or any(secret in text for secret in hidden for text in sent):
            visit.violations.append("a key or a token in the address or a header")
        return None

    def opened(self, visit: Visit) -> None:
        threading.Thread(target=self._hurry, args=(visit,), name="hurry", daemon=True).start()

    def take(self, visit: Visit, message: str | bytes) -> None:
        if not visit.messages:
            visit.keep(message)
            self._judge(visit, self.token_in(message))
        elif isinstance(message, bytes):
            visit.hear(message)
        else:
            visit.violations.append(f"a message that is unknown: {message[:40]}")
            visit.keep(message)

    def _judge(self, visit: Visit, token: str | None) -> None:
        if token is None:
            visit.violations.append("a first message that is no token")
            self.refuse(visit, self.NO_TOKEN)
            return
        wrong = self._wrong(token)
        self._used.add(token)
        if wrong:
            visit.violations.append(wrong)
        if wrong or self.errors:
            self.refuse(visit, self.errors.pop(0) if self.errors else self.WRONG_TOKEN)
        else:
            self.become_ready(visit, *({"type": kind} for kind in self.says))

    def _wrong(self, token: str) -> str:
        if token not in self._granted:
            return "a token that was not granted"
        if token in self._used:
            return "a token that was used before"
        return "a token that is too old" if time.monotonic() - self._granted[token] > self.life_s else ""

    def _hurry(self, visit: Visit) -> None:
        with visit.changed:
            in_time = visit.changed.wait_for(lambda: visit.messages or visit.ended.is_set(), self.first_s)
        if not in_time:
            visit.violations.append(f"no token within {self.first_s:g} s")
            with contextlib.suppress(ConnectionClosed):
                self.refuse(visit, self.TOO_LATE)
