"""Tells systemd that the speaker is ready and alive."""

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends notifications to the socket that systemd names; without one it does nothing. It never waits or raises."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def ready(self) -> None:
        """The start is over."""
        self._send("READY=1")

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        name = self._environ.get("NOTIFY_SOCKET", "")
        if not name:
            return
        address = "\0" + name[1:] if name.startswith("@") else name
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        ):
            sender.sendto(message.encode("utf-8", "replace"), address)
