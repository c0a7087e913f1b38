"""What the first session would otherwise wait for, loaded beforehand on a thread of its own."""

import socket
import threading
from contextlib import suppress

from device.session import transport


def prepare(*, encrypted: bool) -> None:
    """Begin; returns at once. `encrypted`: the system's certificates too."""
    threading.Thread(target=_load, args=(encrypted,), name="link-prepare", daemon=True).start()


def _load(encrypted: bool) -> None:
    import samplerate  # noqa: F401  for agents and cards at other rates

    with suppress(OSError):  # where nothing says who that is
        socket.getaddrinfo("localhost", 0)  # the resolver's modules, and Python's for names
    if encrypted:
        transport.read_certificates()
