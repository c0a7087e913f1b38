"""A WebSocket whose every call has a limit, and whose failures are told apart by what can be done about them.

websocket-client speaks the protocol. What it leaves open is closed here: the length of a message, and the time that a peer
can keep us waiting by sending a byte now and then.
"""

import contextlib
import socket
import struct
import time
from typing import Any

import websocket
from websocket import ABNF
from websocket._abnf import frame_buffer

from device.checks import public_url
from device.errors import NetworkError, RefusedError
from device.session.http import LARGEST_ANSWER, DeniedError, retry_after
from device.session.protocol import Answer, Request
from device.session.transport import CONNECT_S, UNANSWERED_S, Told, Transport, failure, nobody, open_transport

WAIT_S = 1.0
"""Limit of one receive."""
PING_S, SILENT_S = 4.0, 8.5
"""After so many seconds without a byte we ask whether the other side is there; after so many more or less it is not. Its
kernel may acknowledge what we send for as long as the machine runs."""
LARGEST_MESSAGE = 4 * 1024 * 1024
"""Bytes. Over a minute of speech as base64; a server that sends more is broken or hostile."""

_FAILURES = (OSError, ValueError, websocket.WebSocketException)
"""ValueError: what Python's TLS sockets raise when another thread has broken the connection."""


class Closed(Exception):
    """The other side closed the connection in good form, with a close code or without."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"close code {code}")
        self.code = code


class Socket:
    """An open connection. One thread may send while another receives. `tcp`: a transport that leads there already.

    Raises:
        NetworkError: it cannot be opened now.
        RefusedError: the server is not who it should be.
        DeniedError: the server answers with an HTTP status.
    """

    def __init__(self, request: Request, told: Told = nobody, tcp: Transport | None = None) -> None:
        self._fragments: tuple[int, bytearray] | None = None
        self._ws: Any = websocket.WebSocket(skip_utf8_validation=True, enable_multithread=True)
        self._ws.frame_buffer = _BoundedFrames(self._read, True)
        self._ws.settimeout(CONNECT_S)
        try:
            self._tcp = tcp or open_transport(request.url, told)
            began = time.monotonic()
            self._tcp.until, self._tcp.most = began + CONNECT_S, LARGEST_ANSWER
            websocket._handshake.CookieJar.jar.clear()  # of all connections of the process, for ever: nothing for a kitchen
            try:
                self._ws.connect(request.url, header=request.headers, redirect_limit=0, socket=self._tcp)
            except BaseException:
                self._tcp.close()
                raise
        except Exception as error:
            raise _connect_error(error, request.url) from None  # the original may quote the URL, and with it the key
        self._ws.settimeout(UNANSWERED_S)
        self._why: NetworkError | None = None
        """What `abort` was told."""
        self._asked_at = 0.0
        """When we last sent a ping."""
        self._tcp.most = None
        told("upgrade", time.monotonic() - began)

    def send(self, message: str | bytes) -> None:
        """Send a message whole.

        Raises:
            NetworkError: it cannot be sent; part of it may be out, so the connection is of no more use.
        """
        try:
            self._ws.send(message, ABNF.OPCODE_TEXT if isinstance(message, str) else ABNF.OPCODE_BINARY)
        except _FAILURES as error:
            raise _lost(error) from error

    def written(self) -> int:
        """Bytes given to the network so far."""
        return self._tcp.written()

    def acknowledged(self) -> int:
        """How many of them have arrived, as far as is known."""
        return self._tcp.acknowledged()

    def receive(self) -> str | bytes | None:
        """Wait for the next message; None when none was complete within `WAIT_S`, however much of one has come.

        Raises:
            Closed: the other side has closed.
            NetworkError: the connection is lost, or the other side does not speak WebSocket, or is silent for `SILENT_S`.
        """
        self._tcp.until = time.monotonic() + WAIT_S
        try:
            while True:
                message = self._take(self._ws.recv_frame())
                if message is not None:
                    return message
        except _FAILURES as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                self._ask()
                return None  # what has arrived of a frame is kept
            raise self._why or _lost(error) from error

    def _read(self, size: int) -> bytes:
        """In place of websocket-client's own, which at the end closes a socket that another thread may be sending on."""
        data = self._tcp.recv(size)
        if not data:
            raise websocket.WebSocketConnectionClosedException("the other side has gone")
        return data

    def _ask(self) -> None:
        """See whether the other side is still there."""
        now, heard_at = time.monotonic(), self._tcp.heard_at
        if now - heard_at > SILENT_S:
            raise NetworkError("connection_lost", f"The agent has not been heard of for {SILENT_S:g} s.")
        if now - heard_at > PING_S and self._asked_at < heard_at:
            self._asked_at = now
            try:
                self._ws.ping()
            except _FAILURES as error:
                raise self._why or _lost(error) from error

    def _take(self, frame: Any) -> str | bytes | None:
        """Do what a frame asks for; the message that it completes, if any."""
        match frame.opcode:
            case ABNF.OPCODE_PING:
                self._ws.pong(frame.data)
                return None
            case ABNF.OPCODE_PONG:
                return None
            case ABNF.OPCODE_CLOSE:  # `close` answers it
                raise Closed(int.from_bytes(frame.data[:2], "big") if len(frame.data) >= 2 else None)
        if (frame.opcode == ABNF.OPCODE_CONT) is (self._fragments is None):
            raise websocket.WebSocketProtocolException("a fragment out of order")
        if self._fragments is None and frame.fin:
            return _message(frame.opcode, frame.data)
        opcode, parts = self._fragments or (frame.opcode, bytearray())
        parts += frame.data
        if len(parts) > LARGEST_MESSAGE:
            raise _too_large()
        self._fragments = None if frame.fin else (opcode, parts)
        return _message(opcode, parts) if frame.fin else None

    def goodbye(self) -> None:
        """Say that we are done; the other side is to answer, which `receive` raises as `Closed`.

        Raises:
            NetworkError: it cannot be said.
        """
        try:
            self._ws.send_close(1000)
        except _FAILURES as error:
            raise _lost(error) from error

    def close(self) -> None:
        """Say goodbye and close; never waits for the other side, never raises."""
        with contextlib.suppress(NetworkError):
            self.goodbye()
        self._ws.shutdown()

    def reset(self) -> None:
        """Close without a goodbye; what has not left this machine never will."""
        with contextlib.suppress(*_FAILURES):
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._ws.shutdown()

    def abort(self, why: NetworkError | None = None) -> None:
        """Break the connection: a `receive` that waits in another thread fails at once, by `why` if that is known. That thread
        has to close it: a file descriptor that is closed under a waiting call may by then belong to another file."""
        self._why = why
        with contextlib.suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)


class _BoundedFrames(frame_buffer):
    """websocket-client believes every length that a server announces; this refuses before anything of it is read."""

    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > LARGEST_MESSAGE:
            raise _too_large()


def _message(opcode: int, data: bytes | bytearray) -> str | bytes:
    return data.decode("utf-8", "replace") if opcode == ABNF.OPCODE_TEXT else bytes(data)


def _too_large() -> NetworkError:
    return NetworkError("message_too_large", f"The agent sent a message of more than {LARGEST_MESSAGE >> 20} MiB.")


def _lost(error: Exception) -> NetworkError:
    if isinstance(error, NetworkError):
        return error
    reason = "timed out" if isinstance(error, websocket.WebSocketTimeoutException | TimeoutError) else str(error)
    return NetworkError("connection_lost", f"The connection broke: {reason.rstrip('.')}.")


def _connect_error(error: Exception, url: str) -> Exception:
    match error:
        case websocket.WebSocketBadStatusException():
            headers, body = error.resp_headers or {}, error.resp_body or b""
            answer = Answer(
                int(error.status_code), bytes(body), public_url(url), retry_after(headers.get("retry-after"))
            )
            return DeniedError(answer)
        case websocket.WebSocketTimeoutException():
            return failure(TimeoutError(), url)
        case websocket.WebSocketConnectionClosedException():
            return failure(ConnectionError(), url)
        case websocket.WebSocketException() if "edirect" in str(error):
            return RefusedError(
                "not_found", f"{public_url(url)} sends us elsewhere, where the key must not go. See agent.url."
            )
    return failure(error, url)
