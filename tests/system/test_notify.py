"""Notifications, received by a real socket."""

import socket
import uuid

import pytest

from device.system.notify import Notifier


@pytest.fixture
def listen():
    """Opens a datagram socket at an address and gives a function that reads what came."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:

        def at(address):
            server.bind(address)
            server.settimeout(5)
            return lambda: server.recv(4096).decode()

        yield at


def test_each_notification_is_a_datagram(tmp_path, listen):
    read = listen(str(tmp_path / "notify"))
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    for send in (notifier.ready, notifier.watchdog, notifier.stopping):
        send()
    assert [read() for _ in range(3)] == ["READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_an_address_with_an_at_sign_is_abstract(listen):
    name = f"earshot-{uuid.uuid4()}"
    read = listen("\0" + name)
    Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
    assert read() == "READY=1"


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere"}, {"NOTIFY_SOCKET": "x" * 999}]
)
def test_without_somebody_who_listens_nothing_happens(environ):
    Notifier(environ).ready()


def test_a_listener_that_does_not_read_never_makes_us_wait(tmp_path, listen):
    listen(str(tmp_path / "notify"))
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    for _ in range(5000):
        notifier.watchdog()
