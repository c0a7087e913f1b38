"""An agent that speaks WorkBuddy's protocol as a test tells it to, over a real socket; strict, see `tokens`."""

import json
from http import HTTPStatus
from typing import Any

from tests.servers.scripted import Post, main
from tests.servers.tokens import TokenServer, Visit

HEARTBEAT = "/api/v1/sdk/heartbeat"
CLOSES = {"AUTH_TIMEOUT": 4001, "INVALID_AUTH": 4002, "AUTH_FAILED": 4003, "SESSION_SETUP_FAILED": 4500}


class WorkBuddyServer(TokenServer):
    """WorkBuddy's agent."""

    TOKEN, SOCKET = "/api/v1/sdk/token", "/api/v1/sdk/ws"
    TOO_LATE, NO_TOKEN, WRONG_TOKEN = "AUTH_TIMEOUT", "INVALID_AUTH", "AUTH_FAILED"

    def __init__(self, **listening: Any) -> None:
        super().__init__(**listening)
        self.says = "connected", "agent_ready"
        self.heartbeat = HTTPStatus.OK, {"status": "ok"}

    def post(self, request: Post) -> tuple[int, object]:
        if request.path != HEARTBEAT:
            return super().post(request)
        if self.key not in (None, self.key_of(request)):
            return 401, self.wrong_key()
        return self.heartbeat

    def key_of(self, request: Post) -> str | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if key and key.encode() in request.body:
            self.violations.append("a key in the body")
        return key if scheme == "Bearer" else None

    def wrong_key(self) -> object:
        return {"detail": "Invalid API key"}

    def grant(self, token: str) -> object:
        return {"token": token, "ws_url": self.url.replace("http", "ws", 1) + self.SOCKET}

    def token_in(self, message: str | bytes) -> str | None:
        try:
            fields = json.loads(message) if isinstance(message, str) else None
        except ValueError:
            return None
        match fields:
            case {"token": str(token)} if len(fields) == 1:
                return token
        return None

    def refuse(self, visit: Visit, error: str) -> None:
        if self.tells_errors:
            visit.send({"type": "error", "code": error, "message": "as the test wants it"})
        visit.close(CLOSES[error])

    def end(self, visit: Visit, reason: str) -> None:
        """End the session as the service does."""
        visit.send({"type": "session_ended", "reason": reason})
        visit.close()


if __name__ == "__main__":
    main(WorkBuddyServer)
