"""HTTP/1.1 as far as the scripted servers need it, over TCP or TLS, with a limit on every wait."""

import contextlib
import functools
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.client import responses
from typing import Any, NamedTuple

LARGEST_HEAD = 64 * 1024
LARGEST_BODY = 1024 * 1024


class Line:
    """A connection that one thread may read while others write, none of them for longer than `limit_s` at a time.

    OpenSSL forbids two calls into one connection at a time, and Python's ssl does not see to it before 3.13: so the socket
    does not block, a lock is held for the instant of each call, and the waiting is done outside.
    """

    def __init__(self, tcp: socket.socket, limit_s: float) -> None:
        tcp.setblocking(False)
        self._tcp = tcp
        self._limit_s = limit_s
        self._alone = threading.Lock()
        self._is_cut = False
        self.silent = False
        """Nothing that is sent goes out: the other side finds a machine that runs, and nobody there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tcp, name)

    def encrypt(self, tls: ssl.SSLContext) -> str | None:
        """Shake hands; the protocol that ALPN agreed on, if any."""
        encrypted = tls.wrap_socket(self._tcp, server_side=True, do_handshake_on_connect=False)
        self._tcp = encrypted
        self._do(encrypted.do_handshake, select.POLLIN)
        return encrypted.selected_alpn_protocol()

    def settimeout(self, _: float | None) -> None:
        """websockets sets one before its goodbye: the limit stays."""

    def recv(self, size: int) -> bytes:
        return bytes(self._do(lambda: self._tcp.recv(size), select.POLLIN))

    def sendall(self, data: bytes) -> None:
        rest = memoryview(b"" if self.silent else data)
        while rest:
            rest = rest[self._do(functools.partial(self._tcp.send, rest), select.POLLOUT) :]

    def shutdown(self, how: int) -> None:
        """Of the TCP connection: after SSLSocket's own, whoever still reads gets what is encrypted."""
        socket.socket.shutdown(self._tcp, how)

    def cut(self) -> None:
        """Whoever waits in another thread waits no longer."""
        self._is_cut = True  # for `encrypt`, which may just be between two sockets
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut before: a thread that waits for a file descriptor does not notice that it is closed."""
        self.cut()
        self._tcp.close()

    def _do(self, call: Callable[[], Any], wanted: int) -> Any:
        until = time.monotonic() + self._limit_s
        while not self._is_cut:
            try:
                with self._alone:
                    return call()
            except ssl.SSLWantReadError:
                ready = select.POLLIN
            except ssl.SSLWantWriteError:
                ready = select.POLLOUT
            except BlockingIOError:
                ready = wanted
            wait = until - time.monotonic()
            if wait <= 0:
                raise TimeoutError("the client keeps us waiting")
            poll = select.poll()
            poll.register(self._tcp, ready)
            poll.poll(wait * 1000)
        raise ConnectionAbortedError("the line was cut")


class Head(NamedTuple):
    """The beginning of a request. `headers` have lower-case names; `raw` is all of it, `rest` what came after it."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    rest: bytes


def read_head(line: Line) -> Head | None:
    """The request's head; None from a client that says nothing and leaves.

    Raises:
        OSError: it does not come whole.
    """
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = line.recv(4096)
        if not piece and not raw:
            return None
        raw += piece
        if not piece or len(raw) > LARGEST_HEAD:
            raise ConnectionError("a request whose head is not whole")
    raw, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, path, *_ = [*first.split(" "), "", ""]
    named = (text.partition(":") for text in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in named}
    return Head(method, path, headers, raw + b"\r\n\r\n", rest)


def read_body(line: Line, head: Head) -> bytes:
    """As many bytes as Content-Length says.

    Raises:
        OSError: it says nothing sensible, or they do not come.
    """
    announced = head.headers.get("content-length", "")
    if not announced.isdecimal() or int(announced) > LARGEST_BODY:
        raise ConnectionError(f"a body of {announced[:20] or 'unknown'} bytes")
    body = head.rest
    while len(body) < int(announced):
        piece = line.recv(65536)
        if not piece:
            raise ConnectionError("a body that is not whole")
        body += piece
    return body


def answer(line: Line, status: int, content: object, retry_after_s: int | None = None) -> None:
    """Answer a request with JSON, or with bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    fields = [f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}", "Content-Type: application/json"]
    fields += [f"Content-Length: {len(body)}", "Connection: close"]
    if retry_after_s is not None and status >= 300:
        fields.append(f"Retry-After: {retry_after_s}")
    line.sendall("\r\n".join([*fields, "", ""]).encode() + body)
