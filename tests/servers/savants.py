"""An agent that speaks The Savants' protocol as a test tells it to, over a real socket; strict, see `tokens`."""

import json
from typing import Any

from tests.servers.scripted import Post, main
from tests.servers.tokens import TokenServer, Visit


class SavantsServer(TokenServer):
    """The Savants' agent. Its errors of a connection, and its close codes, are not documented: these are made up."""

    TOKEN, SOCKET = "/api/websocket-voice/token", "/voice-stream"
    TOO_LATE, NO_TOKEN, WRONG_TOKEN = "AUTH_TIMEOUT", "INVALID_TOKEN", "AUTHENTICATION_FAILED"

    def __init__(self, **listening: Any) -> None:
        super().__init__(**listening)
        self.says = ("savant_voice_connected",)
        self.life_s = 60.0
        self.first_s = 30.0
        self.device: str | None = None
        """Refuse whoever is another."""
        self.close_code = 1008

    def post(self, request: Post) -> tuple[int, object]:
        status, content = super().post(request)
        if status == 400:
            self.final = "HTTP 400"
        return status, content

    def key_of(self, request: Post) -> str | None:
        fields = json.loads(request.body)
        if sorted(fields) != ["apiKey", "deviceId"]:
            self.violations.append(f"a token request with {sorted(fields)}")
        if "authorization" in request.headers or any(fields["apiKey"] in text for text in request.headers.values()):
            self.violations.append("a key in a header")
        return fields["apiKey"] if self.device in (None, fields["deviceId"]) else None

    def wrong_key(self) -> object:
        return error("AUTHENTICATION_FAILED")

    def grant(self, token: str) -> object:
        return {"token": token}

    def token_in(self, message: str | bytes) -> str | None:
        return message if isinstance(message, str) and not message.startswith(("{", '"')) else None

    def admit(self, visit: Visit) -> Any:
        if "?" in visit.path or "sec-websocket-protocol" in visit.headers:
            visit.violations.append("a parameter or a subprotocol")
        return super().admit(visit)

    def refuse(self, visit: Visit, error: str) -> None:
        if self.tells_errors:
            visit.send({"type": "error", "error": {"message": "as the test wants it", "code": error}})
        if error == "DEVICE_INACTIVE":
            self.final = error
        visit.close(self.close_code)


def error(code: str, **details: object) -> dict[str, Any]:
    """The body of a token request that is refused."""
    return {"error": {"code": code, "message": "as the test wants it", **({"details": details} if details else {})}}


if __name__ == "__main__":
    main(SavantsServer)
