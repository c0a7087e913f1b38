"""From a protocol to an open connection: its credential, TCP, TLS, WebSocket; what can overlap does."""

import queue
import threading
import time
from urllib.parse import urlsplit

from device.errors import NetworkError
from device.session import http
from device.session.http import DeniedError
from device.session.protocol import MalformedError, Protocol
from device.session.socket import Socket
from device.session.transport import CONNECT_S, Told, Transport, failure, nobody, open_transport

LONGEST_S = 3 * CONNECT_S
"""For name, TCP and TLS. Only the name's has no limit of its own."""


def connect(protocol: Protocol, told: Told = nobody, told_for_token: Told = nobody) -> Socket:
    """A new connection for `protocol`, with a new credential where it needs one. `told` hears of the steps.

    Raises:
        NetworkError, RefusedError: it cannot be had; trying again helps, or not.
    """
    try:
        ahead = _grant(protocol, told, told_for_token)
        request = protocol.request()
        return Socket(request, told, ahead.take(request.url) if ahead else None)
    except DeniedError as denied:
        raise protocol.denied(denied.answer) from None
    except MalformedError as error:
        raise NetworkError("server_fault", f"The server of {protocol.name} sent {error}.") from None


def _grant(protocol: Protocol, told: Told, told_for_token: Told) -> "_Ahead | None":
    """Get a credential, and connect meanwhile to where it will lead."""
    post = protocol.credential()
    if post is None:
        return None
    ahead = _Ahead(url, told) if (url := protocol.likely()) else None
    began = time.monotonic()
    try:
        protocol.granted(http.send(post, told_for_token))
    except BaseException:
        if ahead:
            ahead.drop()
        raise
    told("token", time.monotonic() - began)
    return ahead


class _Ahead:
    """Connects to `url` on a thread of its own, which ends within the limits of `open_transport`."""

    def __init__(self, url: str, told: Told) -> None:
        self._url = url
        self._steps: list[tuple[str, float]] = []
        self._told = told
        self._opened: queue.SimpleQueue[Transport | Exception] = queue.SimpleQueue()
        self._unwanted = threading.Event()
        threading.Thread(target=self._open, name="link-ahead", daemon=True).start()

    def take(self, url: str) -> Transport | None:
        """The connection if it leads to where `url` does; None where another is needed."""
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            self.drop()
            return None
        try:
            opened = self._opened.get(timeout=LONGEST_S)
        except queue.Empty:
            self.drop()
            raise failure(TimeoutError(), url) from None
        for step in self._steps:
            self._told(*step)
        if isinstance(opened, Exception):
            raise failure(opened, url) from None
        return opened

    def drop(self) -> None:
        """Close it, now or as soon as it is open."""
        self._unwanted.set()
        self._close_opened()

    def _open(self) -> None:
        try:
            self._opened.put(open_transport(self._url, lambda *step: self._steps.append(step)))
        except Exception as error:
            self._opened.put(error)
        if self._unwanted.is_set():  # either we or `drop` find it in the queue
            self._close_opened()

    def _close_opened(self) -> None:
        try:
            opened = self._opened.get_nowait()
        except queue.Empty:
            return
        if isinstance(opened, Transport):
            opened.close()
