"""One WebSocket connection of a speaker, as a scripted agent sees it: what came, and what can be said."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.sync.server import ServerConnection

FRAME_BYTES = 640
"""20 ms at 16 kHz."""
LIMIT_S = 5.0
"""How long the server waits for a client within an exchange, and a test for what should happen at once."""

Message = dict[str, Any] | str | bytes


class Visit:
    """One WebSocket connection of a speaker: what it sent, and when (seconds, monotonic)."""

    socket: ServerConnection
    """Once it is admitted."""

    def __init__(self, path: str, headers: dict[str, str], alpn: str | None, violations: list[str]) -> None:
        self.path = path
        self.headers = headers
        self.alpn = alpn
        """What TLS agreed on; None without TLS."""
        self.messages: list[tuple[float, Any]] = []
        """All that came, except audio."""
        self.frames: list[tuple[float, bytes]] = []
        self.violations: list[str] = _Shared(violations)
        self.ready = False
        self.ended = threading.Event()
        self.changed = threading.Condition()

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query))

    @property
    def audio(self) -> bytes:
        return b"".join(pcm for _, pcm in self.frames)

    def keep(self, message: object) -> None:
        """Write down a message."""
        with self.changed:
            self.messages.append((time.monotonic(), message))
            self.changed.notify_all()

    def hear(self, pcm: bytes, frame_bytes: int = FRAME_BYTES) -> None:
        """Write down a frame of sound, which must be so long, and come once the session is ready."""
        with self.changed:
            if not self.ready:
                self.violations.append("audio before ready")
            if len(pcm) != frame_bytes:
                self.violations.append(f"a frame of {len(pcm)} bytes")
            self.frames.append((time.monotonic(), pcm))
            self.changed.notify_all()

    def wait(self, condition: Callable[[Any], bool], timeout: float = LIMIT_S) -> None:
        """Wait until `condition` holds of this visit; fail after `timeout` seconds, or when the visit is over without it."""
        with self.changed:
            self.changed.wait_for(lambda: condition(self) or self.ended.is_set(), timeout)
            got = [str(message)[:80] for _, message in self.messages]
            assert condition(self), f"got only {got} and {len(self.frames)} frames"

    def send(self, message: Message) -> None:
        """Send a dict as JSON, str as text, bytes as binary."""
        self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    def say(
        self,
        pcm: bytes,
        rate: int,
        encode: Callable[[bytes], Message],
        chunk_s: float = 0.1,
        lead_s: float | None = 0.4,
    ) -> None:
        """Send a reply (s16le, mono, `rate` hertz) in chunks, `lead_s` ahead of real time; None: as fast as it goes."""
        step, begin = round(chunk_s * rate) * 2, time.monotonic()
        for start in range(0, len(pcm), step):
            if lead_s is not None:
                self.ended.wait(max(0.0, begin + start / 2 / rate - lead_s - time.monotonic()))
            if self.cut_off(begin):
                return
            Visit.send(self, encode(pcm[start : start + step]))

    def cut_off(self, begin: float) -> bool:
        """To override: whether a reply that began then is to be said no further."""
        return self.ended.is_set()

    def fall_silent(self) -> None:
        """Say nothing more, not even that we are there (pong), on a connection that stays."""
        self.socket.socket.silent = True

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.socket.close(code, reason)

    def cut(self) -> None:
        """Break the connection without a goodbye."""
        with contextlib.suppress(OSError):
            self.socket.socket.shutdown(socket.SHUT_RDWR)


class _Shared(list[str]):
    """A visit's violations, which are the server's too."""

    def __init__(self, whole: list[str]) -> None:
        super().__init__()
        self._whole = whole

    def append(self, what: str) -> None:
        super().append(what)
        self._whole.append(what)
