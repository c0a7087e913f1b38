"""The base of the scripted agents: HTTP POST and WebSocket on one port, over real sockets, with or without TLS.

An agent's server is a subclass that overrides `post`, `admit`, `opened` and `take`, and is strict: what a speaker must not
do is a violation. It writes down all that it gets, and answers as its levers tell it to.
"""

import argparse
import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection

from tests import certificates
from tests.servers.visit import LIMIT_S, Message, Visit
from tests.servers.wire import Head, Line, answer, read_body, read_head

END_S = 1.0
"""How long it waits for goodbyes at its end."""


class Post(NamedTuple):
    """An HTTP POST. `headers` have lower-case names, `path` its query; `t` is when it came (seconds, monotonic)."""

    t: float
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """Listens on loopback while its context lasts. `visits` grows by one with each WebSocket connection, once it is open.

    `listener`: a socket that listens elsewhere, where speakers find it by the name `host`.
    A subclass with levers of its own takes and passes on `**listening`.
    """

    FINAL = frozenset({400, 401, 402, 403, 404, 405, 410, 413, 422, 426})
    """To override: HTTP statuses that are a refusal for good."""
    visit_class: type[Visit] = Visit

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        listener: socket.socket | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.tls = tls
        self.port = port
        self.host = host
        self._listener = listener
        self.visits: list[Any] = []
        self.refused: list[Any] = []
        """Those that were not admitted."""
        self.posts: list[Post] = []
        self.violations: list[str] = []
        """Its own and all visits'."""
        self.trouble: list[str] = []
        """TLS handshakes that failed, and connections that broke before their request was whole."""
        self.final = ""
        """What refused a speaker for good: whoever comes again violates it, until a test empties this."""
        self.status: HTTPStatus | None = None
        """Answer the upgrade with this instead."""
        self.retry_after_s: int | None = None
        """What every HTTP answer that is no success asks for, in its Retry-After header."""
        self.ready_after_s = 0.0
        self.on_ready: Callable[[Any], None] = lambda visit: None
        """Runs on a thread of its own once the session is ready."""
        self.over = threading.Event()
        self._arrived = threading.Condition()
        self._open: dict[threading.Thread, Line] = {}

    # --- what a subclass overrides

    def post(self, request: Post) -> tuple[int, object]:
        """HTTP status, and what is sent as JSON; bytes are sent as they are."""
        self.violations.append(f"a POST to {urlsplit(request.path).path}")
        return 404, {"error": "not found"}

    def admit(self, visit: Any) -> HTTPStatus | None:
        """A status that refuses the upgrade."""
        return None

    def opened(self, visit: Any) -> None:
        """The connection is open."""

    def take(self, visit: Any, message: str | bytes) -> None:
        """A message came: `visit.keep` it, or `visit.hear` its sound."""
        visit.keep(message)

    def become_ready(self, visit: Any, *messages: Message) -> None:
        """After `ready_after_s`, not waited for: the session is ready, `messages` say so, and `on_ready` runs."""
        threading.Thread(target=self._ready, args=(visit, messages), name="script", daemon=True).start()

    # --- the server itself

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self) -> Any:
        self._listener = self._listener or socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, name="scripted-server", daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(LIMIT_S)
        self._listener.close()
        talking = [visit for visit in self.visits if not visit.ended.is_set()]
        for visit in talking:  # a goodbye waits for its answer, and for a message that nobody reads
            threading.Thread(target=visit.close, args=(1001,), name="goodbye", daemon=True).start()
        until = time.monotonic() + END_S
        threads = dict(self._open)
        for thread, line in threads.items():
            if any(line is visit.socket.socket for visit in talking):
                thread.join(max(0.0, until - time.monotonic()))
            line.cut()
        for thread in threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive(), "a connection of the scripted server does not end"

    def visit(self, number: int = 1, timeout: float = LIMIT_S) -> Any:
        """WebSocket connection `number`, once it is open."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.visits) >= number, timeout), f"no connection {number}"
        return self.visits[number - 1]

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                tcp, _ = self._listener.accept()
            except OSError:
                return
            # Behind a real round trip, Nagle would hold an answer back until the TLS tickets before it are acknowledged.
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = Line(tcp, LIMIT_S)
            thread = threading.Thread(target=self._serve, args=(line,), name="scripted-connection", daemon=True)
            self._open[thread] = line
            thread.start()

    def _serve(self, line: Line) -> None:
        try:
            alpn = line.encrypt(self.tls) if self.tls else None
            head = read_head(line)
            if head is not None:
                self._answer(line, head, alpn)
        except OSError as error:
            self.trouble.append(f"{type(error).__name__}: {error}")
        except Exception as error:
            self.violations.append(f"a request that is not understood ({type(error).__name__}: {error})")
        finally:
            line.close()
            self._open.pop(threading.current_thread(), None)

    def _answer(self, line: Line, head: Head, alpn: str | None) -> None:
        if self.final:
            self.violations.append(f"a connection after {self.final}")
        if head.method == "POST":
            request = Post(time.monotonic(), head.path, head.headers, read_body(line, head))
            self.posts.append(request)
            status, content = self.post(request)
            self._refuse(status)
            answer(line, status, content, self.retry_after_s)
            return
        visit = self.visit_class(head.path, head.headers, alpn, self.violations)
        refusal = self.admit(visit)  # asked in any case: a token that was brought is used
        refusal = self.status or refusal
        if refusal is None:
            self._converse(visit, line, head)
        else:
            self.refused.append(visit)
            self._refuse(refusal)
            answer(line, refusal, {"error": refusal.phrase}, self.retry_after_s)

    def _refuse(self, status: int) -> None:
        if status in self.FINAL:
            self.final = f"HTTP {int(status)}"

    def _converse(self, visit: Visit, line: Line, head: Head) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(head.raw + head.rest)
        began = protocol.events_received()
        end = SimpleNamespace(socket_closed=self.over)  # all that a connection asks of websockets' own server
        visit.socket = ServerConnection(line, protocol, end, ping_interval=None, close_timeout=END_S)
        for event in began:
            visit.socket.process_event(event)
        with visit.socket:
            visit.socket.handshake(timeout=0)
            if protocol.state is not OPEN:
                self.violations.append(f"a {head.method} that is no WebSocket upgrade")
                return
            with self._arrived:
                self.visits.append(visit)
                self._arrived.notify_all()
            self._hear_out(visit)

    def _hear_out(self, visit: Visit) -> None:
        try:
            self.opened(visit)
            for message in visit.socket:
                self.take(visit, message)
        except ConnectionClosed:
            pass
        except Exception as error:  # the strictest of all: what we cannot take, a speaker must not send
            visit.violations.append(f"a message that is not understood ({type(error).__name__}: {error})")
            visit.close(1011)
        finally:
            with visit.changed:
                visit.ended.set()
                visit.changed.notify_all()

    def _ready(self, visit: Visit, messages: tuple[Message, ...]) -> None:
        with contextlib.suppress(ConnectionClosed):
            if visit.ended.wait(self.ready_after_s):
                return
            with visit.changed:
                visit.ready = True
                visit.changed.notify_all()
            for message in messages:
                Visit.send(visit, message)
            try:
                self.on_ready(visit)
            except AssertionError:
                if not visit.ended.is_set():  # else it waited for what cannot come any more
                    raise


def main(server_class: type[ScriptedServer]) -> None:
    """Serve in a process of its own: print the URL, and end when stdin closes. Exit code 1: there were violations."""
    parser = argparse.ArgumentParser(description=server_class.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any")
    parser.add_argument("--tls", action="store_true", help="print the file of its authority too, on a second line")
    options = parser.parse_args()
    tls = certificates.server_context() if options.tls else None
    with server_class(port=options.port, tls=tls) as server:
        lines = [server.url, str(certificates.authority())] if options.tls else [server.url]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        sys.stdin.read()
    sys.exit("\n".join(server.violations) or 0)
