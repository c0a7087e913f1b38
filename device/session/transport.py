"""TCP and TLS to a server, with a limit on every call, and what can be told of its failures."""

import contextlib
import fcntl
import functools
import io
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from device.checks import public_url
from device.errors import NetworkError, RefusedError

CONNECT_S = 5.0
"""Limit of the TCP connection to all addresses of the host together, of the TLS handshake, and of each exchange over HTTP."""
LEAST_S = 1.0
"""What each of several addresses gets of that at least: an IPv6 that leads nowhere must not use it all up."""
UNANSWERED_S = 5.0
"""A network that acknowledges nothing for this long, or takes nothing more, is dead (tcp(7), TCP_USER_TIMEOUT)."""
SEND_BUFFER = 32 * 1024
"""Bytes, which Linux doubles: a second and a half of speech, after which the outbox keeps it. By default it is megabytes, and
minutes of speech would wait there, late for a conversation that has gone on."""
_BYTES_ACKED = 120
"""Where tcpi_bytes_acked is in struct tcp_info (linux/tcp.h, from Linux 4.1 on)."""

_MOST_HOSTS = 8
_dead_families: dict[str, int] = {}
"""The kind of address that did not answer, by host: an IPv6 that leads nowhere costs time once, not in every session."""

Told = Callable[[str, float], None]
"""Is told how long each step of a connection took: its name, seconds."""


def nobody(step: str, seconds: float) -> None:
    """Who is told of steps that nobody asks for."""


class Transport:
    """A TCP or TLS socket as websocket-client and http.client use it, made safe for one thread that reads and one that writes.

    OpenSSL forbids two threads in one connection at a time, and Python's ssl does not see to it before 3.13: so the socket
    does not block, a lock is held for the instant of each call, and the waiting is done outside. Reading ends at `until`,
    so that a peer cannot keep us by sending little, but often.
    """

    def __init__(self, tcp: socket.socket) -> None:
        tcp.setblocking(False)
        self._tcp = tcp
        self._alone = threading.Lock()
        self._timeout = CONNECT_S
        self.heard_at = time.monotonic()
        """When something came last."""
        self.until = self.heard_at + CONNECT_S
        self.most: int | None = None
        """How many more bytes may come, where there is a limit."""
        self._last_written = self._last_acknowledged = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tcp, name)

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def gettimeout(self) -> float:
        return self._timeout

    def recv(self, size: int) -> bytes:
        data = bytes(self._do(lambda: self._tcp.recv(size), select.POLLIN, self.until))
        self.heard_at = time.monotonic()
        if self.most is not None:
            self.most -= len(data)
            if self.most < 0:
                raise NetworkError("server_fault", "The server's answer does not end.")
        return data

    def send(self, data: bytes) -> int:
        return int(self._do(lambda: self._tcp.send(data), select.POLLOUT, time.monotonic() + self._timeout))

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest) :]  # type: ignore[arg-type]

    def makefile(self, _: str) -> io.BufferedReader:
        """What http.client reads an answer from."""
        return io.BufferedReader(_Reader(self.recv))

    def written(self) -> int:
        """Bytes that TCP was given so far, those of TLS among them."""
        while True:  # two calls: an acknowledgement may come between them
            acknowledged = self.acknowledged()
            try:
                waiting: int = struct.unpack("i", fcntl.ioctl(self._tcp, termios.TIOCOUTQ, bytes(4)))[0]
            except (OSError, ValueError):  # closed by the other thread
                return self._last_written
            if self.acknowledged() == acknowledged:
                return acknowledged + waiting

    def acknowledged(self) -> int:
        """How many of them the other side's kernel has; of a closed connection, how many it had by then."""
        try:
            info = self._tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
        except OSError:
            return self._last_acknowledged
        return int(struct.unpack_from("Q", info, _BYTES_ACKED)[0])

    def shutdown(self, how: int) -> None:
        """Not by SSLSocket's own, which forgets first that there is TLS: the other thread would go on in the clear."""
        socket.socket.shutdown(self._tcp, how)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._last_written, self._last_acknowledged = self.written(), self.acknowledged()
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)  # from here on nobody sends
        with self._alone:
            self._tcp.close()

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


class _Reader(io.RawIOBase):
    def __init__(self, recv: Callable[[int], bytes]) -> None:
        self._recv = recv

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def open_transport(url: str, told: Told) -> Transport:
    """A connection to where `url` points, with TLS for wss and https; the certificate is checked against the system's.

    Raises:
        OSError, ValueError: it cannot be had; `failure` tells what that means.
    """
    parts = urlsplit(url)
    secure, host = parts.scheme in ("wss", "https"), parts.hostname or ""
    began = time.monotonic()
    addresses = socket.getaddrinfo(host, parts.port or (443 if secure else 80), type=socket.SOCK_STREAM)
    named = time.monotonic()
    told("name", named - began)
    addresses.sort(key=lambda address: address[0] == _dead_families.get(host))
    tcp = _first_to_answer(addresses)
    if tcp.family != addresses[0][0]:
        if len(_dead_families) >= _MOST_HOSTS:
            _dead_families.clear()
        _dead_families[host] = addresses[0][0]
    try:
        connected = time.monotonic()
        told("tcp", connected - named)
        if secure:
            tcp = _context(_certificates()).wrap_socket(tcp, server_hostname=host)
            told("tls", time.monotonic() - connected)
        return Transport(tcp)
    except BaseException:
        tcp.close()
        raise


def _first_to_answer(addresses: list[Any]) -> socket.socket:
    until = time.monotonic() + CONNECT_S
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        tcp = socket.socket(family, kind, protocol)
        try:
            tcp.settimeout(max(LEAST_S, (until - time.monotonic()) / (len(addresses) - number)))
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a frame every 20 ms is not to wait for the next
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNANSWERED_S * 1000))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):  # for when we have nothing to send
                tcp.setsockopt(socket.IPPROTO_TCP, option, round(UNANSWERED_S))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            tcp.connect(address)
            tcp.settimeout(CONNECT_S)
            return tcp
        except OSError as error:
            tcp.close()
            if number == len(addresses) - 1 or time.monotonic() > until:
                raise error from None
    raise OSError("the name has no address")


def _certificates() -> tuple[object, ...]:
    """What the system's certificates are read from, and of when: a speaker runs for years, and they are renewed."""
    paths = ssl.get_default_verify_paths()  # None where there is no such file
    return tuple((path, Path(path).stat().st_mtime_ns) for path in (paths.cafile, paths.capath) if path)


@functools.lru_cache(maxsize=1)
def _context(_: tuple[object, ...]) -> ssl.SSLContext:
    """Reading a hundred certificates takes a Pi Zero longer than a handshake."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])  # over HTTP/2, Atoms answers with another service
    return context


def read_certificates() -> None:
    """Have them before they are needed: that takes as long as a round trip, on a Pi Zero several."""
    _context(_certificates())


def failure(error: Exception, url: str) -> NetworkError | RefusedError:
    """What went wrong on the way to `url`, in words that hold nothing but its public part."""
    where = public_url(url)
    match error:
        case NetworkError() | RefusedError():
            return error
        case ssl.SSLCertVerificationError():
            reason = error.verify_message
            return RefusedError("tls_refused", f"{where} does not prove who it is ({reason}). Is the clock right?")
        case ssl.SSLError():
            return NetworkError("tls_failed", f"No encrypted connection to {where} ({error.reason}).")
        case socket.gaierror():
            return NetworkError("name_not_found", f"The name of {where} cannot be found. Is there a network?")
        case ConnectionRefusedError():
            return NetworkError("nobody_there", f"Nobody answers at {where}.")
        case ConnectionError():
            return NetworkError("connection_lost", f"{where} closed the connection.")
        case TimeoutError():
            return NetworkError("timeout", f"{where} does not answer.")
        case OSError():
            return NetworkError("no_network", f"No way to {where} ({error.strerror or 'network error'}).")
    return NetworkError("not_a_websocket", f"What answers at {where} does not speak the agent's protocol.")
