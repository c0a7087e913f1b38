"""A WebSocket whose every call has a limit, and whose failures are told apart by what can be done about them.

websocket-client speaks the protocol. What it leaves open is closed here: the length of a message, and the time that a peer
can keep us waiting by sending a byte now and then.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import websocket
from websocket import ABNF
from websocket._abnf import frame_buffer

from device.checks import public_url
from device.errors import NetworkError, RefusedError
from device.session.protocol import Request

CONNECT_S = 5.0
"""Limit of the TCP connection to each address of the host, of the TLS handshake, and of the upgrade."""
WAIT_S = 1.0
"""Limit of one receive or send."""
UNANSWERED_S = 5.0
"""A network that acknowledges nothing for this long is dead, whatever it said before (tcp(7), TCP_USER_TIMEOUT)."""
SEND_BUFFER = 32 * 1024
"""Bytes, which Linux doubles: a second and a half of speech. What lies there is lost with the connection, and by default
that is megabytes, minutes of speech that we would think heard."""
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
    """An open connection. One thread may send while another receives.

    Raises:
        NetworkError: it cannot be opened now.
        RefusedError: the server does not want us, or is not who it should be.
    """

    def __init__(self, request: Request) -> None:
        self._fragments: tuple[int, bytearray] | None = None
        self._ws: Any = websocket.WebSocket(skip_utf8_validation=True, enable_multithread=True)
        self._ws.frame_buffer = _BoundedFrames(self._ws._recv, True)
        self._ws.settimeout(CONNECT_S)
        try:
            self._tcp = _Patience(_open(request.url))
            try:
                self._ws.connect(request.url, header=request.headers, redirect_limit=0, socket=self._tcp)
            except BaseException:
                self._tcp.close()
                raise
        except Exception as error:
            raise _connect_error(error, request) from None  # the original may quote the URL, and with it the key
        self._ws.settimeout(WAIT_S)

    def send(self, message: str | bytes) -> None:
        """Send a message whole.

        Raises:
            NetworkError: it cannot be sent; part of it may be out, so the connection is of no more use.
        """
        try:
            self._ws.send(message, ABNF.OPCODE_TEXT if isinstance(message, str) else ABNF.OPCODE_BINARY)
        except _FAILURES as error:
            raise _lost(error) from error

    def receive(self) -> bytes | None:
        """Wait for the next message; None when none was complete within `WAIT_S`, however much of one has come.

        Raises:
            Closed: the other side has closed.
            NetworkError: the connection is lost, or the other side does not speak WebSocket.
        """
        self._tcp.until = time.monotonic() + WAIT_S
        try:
            while True:
                message = self._take(self._ws.recv_frame())
                if message is not None:
                    return message
        except websocket.WebSocketTimeoutException:
            return None  # what has arrived of a frame is kept
        except _FAILURES as error:
            raise _lost(error) from error

    def _take(self, frame: Any) -> bytes | None:
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
            return bytes(frame.data)
        opcode, parts = self._fragments or (frame.opcode, bytearray())
        parts += frame.data
        if len(parts) > LARGEST_MESSAGE:
            raise _too_large()
        self._fragments = None if frame.fin else (opcode, parts)
        return bytes(parts) if frame.fin else None

    def close(self, code: int = 1000) -> None:
        """Say goodbye and close; never waits for the other side, never raises."""
        with contextlib.suppress(*_FAILURES):
            self._ws.send_close(code)
        self._ws.shutdown()

    def abort(self) -> None:
        """Break the connection: a `receive` that waits in another thread fails at once. That thread has to close it:
        a file descriptor that is closed under a waiting call may by then belong to another file."""
        with contextlib.suppress(*_FAILURES):
            self._ws.abort()


class _Patience:
    """A TCP or TLS socket as websocket-client uses it, made safe for one thread that reads and one that writes.

    OpenSSL forbids two threads in one connection at a time, and Python's ssl does not see to it before 3.13: so the socket
    does not block, a lock is held for the instant of each call, and the waiting is done outside. Reading ends at `until`,
    so that a peer cannot keep us by sending little, but often.
    """

    def __init__(self, tcp: socket.socket) -> None:
        tcp.setblocking(False)
        self._tcp = tcp
        self._alone = threading.Lock()
        self._timeout = CONNECT_S
        self.until = time.monotonic() + CONNECT_S

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tcp, name)

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def gettimeout(self) -> float:
        return self._timeout

    def recv(self, size: int) -> bytes:
        return bytes(self._do(lambda: self._tcp.recv(size), select.POLLIN, self.until))

    def send(self, data: bytes) -> int:
        return int(self._do(lambda: self._tcp.send(data), select.POLLOUT, time.monotonic() + self._timeout))

    def _do(self, call: Callable[[], Any], wanted: int, until: float) -> Any:
        """`call`, as soon as the socket is ready for it (for TLS, a read may have to write first); TimeoutError at `until`."""
        while True:
            wait = until - time.monotonic()
            if wait <= 0:
                raise TimeoutError
            try:
                with self._alone:
                    return call()
            except ssl.SSLWantReadError:
                ready = select.POLLIN
            except ssl.SSLWantWriteError:
                ready = select.POLLOUT
            except BlockingIOError:
                ready = wanted
            poll = select.poll()
            poll.register(self._tcp, ready)
            poll.poll(wait * 1000)


class _BoundedFrames(frame_buffer):
    """websocket-client believes every length that a server announces; this refuses before anything of it is read."""

    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > LARGEST_MESSAGE:
            raise _too_large()


def _open(url: str) -> socket.socket:
    """A TCP connection to where `url` points, with TLS for wss; the certificate is checked against the system's."""
    parts = urlsplit(url)
    secure, host = parts.scheme == "wss", parts.hostname or ""
    tcp = socket.create_connection((host, parts.port or (443 if secure else 80)), CONNECT_S)
    try:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a frame every 20 ms is not to wait for the next
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNANSWERED_S * 1000))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):  # for when we have nothing to send
            tcp.setsockopt(socket.IPPROTO_TCP, option, round(UNANSWERED_S))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return ssl.create_default_context().wrap_socket(tcp, server_hostname=host) if secure else tcp
    except BaseException:
        tcp.close()
        raise


def _too_large() -> NetworkError:
    return NetworkError("message_too_large", f"The agent sent a message of more than {LARGEST_MESSAGE >> 20} MiB.")


def _lost(error: Exception) -> NetworkError:
    if isinstance(error, NetworkError):
        return error
    reason = "timed out" if isinstance(error, websocket.WebSocketTimeoutException | TimeoutError) else str(error)
    return NetworkError("connection_lost", f"The connection broke: {reason.rstrip('.')}.")


def _connect_error(error: Exception, request: Request) -> NetworkError | RefusedError:
    """What went wrong, in words that hold no part of the request but its public URL."""
    where = public_url(request.url)
    match error:
        case websocket.WebSocketBadStatusException(status_code=status):
            return _status_error(int(status), where)
        case ssl.SSLCertVerificationError():
            reason = error.verify_message
            return RefusedError("tls_refused", f"{where} does not prove who it is ({reason}). Is the clock right?")
        case ssl.SSLError():
            return NetworkError("tls_failed", f"No encrypted connection to {where} ({error.reason}).")
        case socket.gaierror():
            return NetworkError("name_not_found", f"The name of {where} cannot be found. Is there a network?")
        case ConnectionRefusedError():
            return NetworkError("nobody_there", f"Nobody answers at {where}.")
        case TimeoutError() | websocket.WebSocketTimeoutException():
            return NetworkError("timeout", f"{where} does not answer.")
        case OSError():
            return NetworkError("no_network", f"No way to {where} ({error.strerror or 'network error'}).")
    return NetworkError("not_a_websocket", f"What answers at {where} does not speak WebSocket.")


def _status_error(status: int, where: str) -> NetworkError | RefusedError:
    match status:
        case 401 | 403:
            return RefusedError("key_refused", f"{where} refuses the API key (HTTP {status}).")
        case 402:
            return RefusedError("no_credit", f"The account at {where} has no credit left (HTTP 402).")
        case 404:
            return RefusedError("not_found", f"There is no agent at {where} (HTTP 404). See agent.url.")
        case 429 | 503:
            return NetworkError("server_busy", f"{where} is busy (HTTP {status}).")
    return NetworkError("server_fault", f"{where} answers HTTP {status}.")
