"""An agent that speaks Datagrid's protocol as a test tells it to, over a real socket, and writes down what it gets.

It is strict: audio before `ready`, a frame that is not 640 bytes, or a first message that is not `start` is a violation.
"""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

FRAME_BYTES = 640
REPLY_RATE = 24_000


class Visit:
    """One connection of a speaker: what it sent, and when."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.path = socket.request.path if socket.request else ""
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.frames: list[tuple[float, bytes]] = []
        self.violations: list[str] = []
        self.ready = False
        self.ended = threading.Event()
        self.changed = threading.Condition()

    @property
    def audio(self) -> bytes:
        return b"".join(pcm for _, pcm in self.frames)

    def count(self, kind: str) -> int:
        return sum(message.get("type") == kind for _, message in self.messages)

    def wait(self, condition: Callable[["Visit"], bool], timeout: float = 5.0) -> None:
        """Wait until `condition` holds of this visit; fail after `timeout` seconds."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), timeout), f"got only {self.kinds()}"

    def kinds(self) -> list[str]:
        return [str(message.get("type")) for _, message in self.messages]

    def send(self, kind: str, **payload: object) -> None:
        self.socket.send(json.dumps({"type": kind, "payload": payload}))

    def say(self, pcm: bytes, chunk_s: float = 0.1, lead_s: float | None = 0.4) -> None:
        """Send a reply (s16le, 24 kHz) in chunks, `lead_s` ahead of real time; None: as fast as it goes."""
        step, begin = round(chunk_s * REPLY_RATE) * 2, time.monotonic()
        pause = threading.Event()
        for start in range(0, len(pcm), step):
            if lead_s is not None:
                pause.wait(max(0.0, begin + start / 2 / REPLY_RATE - lead_s - time.monotonic()))
            if self.ended.is_set() or self.interrupted_since(begin):
                return
            self.send("audio", data=base64.b64encode(pcm[start : start + step]).decode())

    def interrupted_since(self, begin: float) -> bool:
        return any(t >= begin and message.get("type") == "interrupt" for t, message in self.messages)

    def take(self, raw: str | bytes) -> None:
        """Write down a message of the speaker."""
        now, message = time.monotonic(), json.loads(raw)
        kind = message.get("type")
        with self.changed:
            if not self.messages and kind != "start":
                self.violations.append(f"the first message is {kind}")
            if kind == "audio":
                pcm = base64.b64decode(message["payload"]["data"], validate=True)
                if not self.ready:
                    self.violations.append("audio before ready")
                if len(pcm) != FRAME_BYTES:
                    self.violations.append(f"a frame of {len(pcm)} bytes")
                self.frames.append((now, pcm))
            else:
                self.messages.append((now, message))
            self.changed.notify_all()


class DatagridServer:
    """Listens on loopback while its context lasts. `visits` grows by one with each connection."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.status: HTTPStatus | None = None
        """Answer the upgrade with this instead."""
        self.ready_after_s = 0.0
        self.on_ready: Callable[[Visit], None] = lambda visit: None
        """Runs on a thread of its own once the session is ready."""
        self.answers_stop = True
        self.answers_interrupt = True
        self.token: str | None = None
        """Refuse whoever does not bring it."""
        self._arrived = threading.Condition()
        self._server: Server | None = None

    def __enter__(self) -> "DatagridServer":
        self._server = serve(self._serve, "127.0.0.1", 0, process_request=self._admit, compression=None)
        self.port = int(self._server.socket.getsockname()[1])
        self.url = f"ws://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, name="datagrid", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        for visit in self.visits:
            visit.socket.close()

    def visit(self, number: int = 1, timeout: float = 5.0) -> Visit:
        """Connection `number`, once it has come and said `start`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.visits) >= number, timeout), f"no connection {number}"
        visit = self.visits[number - 1]
        visit.wait(lambda visit: visit.count("start") > 0, timeout)
        return visit

    def _admit(self, socket: ServerConnection, request: Any) -> Any:
        if self.status is not None:
            return socket.respond(self.status, "no\n")
        if self.token is not None and f"token={self.token}" not in request.path:
            return socket.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        return None

    def _serve(self, socket: ServerConnection) -> None:
        visit = Visit(socket)
        with self._arrived:
            self.visits.append(visit)
            self._arrived.notify_all()
        try:
            for raw in socket:
                visit.take(raw)
                self._answer(visit)
        except ConnectionClosed:
            pass
        finally:
            visit.ended.set()

    def _answer(self, visit: Visit) -> None:
        kind = visit.messages[-1][1].get("type") if visit.messages else None
        if kind == "start" and not visit.ready:
            number = len(self.visits)
            visit.send("started", session_id=f"s{number}", conversation_id="c1", message_id="m1")
            visit.ended.wait(self.ready_after_s)
            visit.ready = True
            visit.send("ready")
            threading.Thread(target=self._run, args=(visit,), name="script", daemon=True).start()
        elif kind == "interrupt" and self.answers_interrupt and visit.count("interrupted?") < visit.count("interrupt"):
            visit.messages.append((time.monotonic(), {"type": "interrupted?"}))
            visit.send("interrupted")
        elif kind == "stop" and self.answers_stop:
            visit.send("ended", credits_consumed=0, transcript=[])
            visit.socket.close()

    def _run(self, visit: Visit) -> None:
        with contextlib.suppress(ConnectionClosed):
            self.on_ready(visit)
