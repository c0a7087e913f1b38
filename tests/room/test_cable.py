"""The cable: it has the round trip it says, carries nothing while it is pulled, and leaves nothing behind."""

import contextlib
import errno
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.fakes import LIMIT_S, wait_until
from tests.room.cable import FAR, NAME, NEAR, Cable, CableError

pytestmark = pytest.mark.slow

DELAY_S = 0.02
TALKER = f"""
import socket, sys
with socket.create_connection(("{NAME}", int(sys.argv[1])), 5) as line:
    line.sendall(b"hello from " + line.getsockname()[0].encode())
    print(line.recv(100).decode())
"""
LISTENER = f"""
import socket
with socket.create_server(("{FAR}", 0)) as server:
    print(server.getsockname()[1], flush=True)
    server.settimeout({LIMIT_S})
    line, _ = server.accept()
    line.sendall(line.recv(100).upper())
    line.recv(1)
"""


OWNER = """
import sys
from tests.room.cable import Cable
with Cable():
    print("plugged", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cable():
    if reason := Cable.why_not():
        pytest.skip(reason)
    with Cable(DELAY_S) as cable:
        yield cable


@pytest.fixture
def line(cable):
    """A connection over the cable: the near socket and the far one."""
    with cable.listener() as listener, cable.dialler() as near:
        near.settimeout(LIMIT_S)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        with far:
            far.settimeout(LIMIT_S)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield near, far


def alive(pid):
    """Whether there is such a process; one that has ended, but that nobody has waited for, is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def descriptors():
    return sorted(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())


def children(parent="self"):
    return {pid for path in Path(f"/proc/{parent}/task").glob("*/children") for pid in path.read_text().split()}


def test_to_connect_takes_one_round_trip(cable):
    took = []
    with cable.listener() as listener:
        for _ in range(5):
            with cable.dialler() as near:
                near.settimeout(LIMIT_S)
                began = time.monotonic()
                near.connect(listener.getsockname())
                took.append(time.monotonic() - began)
    assert min(took) >= 2 * DELAY_S
    assert statistics.median(took) < 2 * DELAY_S + 0.005


def test_an_echo_takes_one_round_trip(line):
    near, far = line

    def echo():
        while data := far.recv(100):
            far.sendall(data)

    echoing = threading.Thread(target=echo)
    echoing.start()
    took = []
    for _ in range(20):
        began = time.monotonic()
        near.sendall(b"x")
        assert near.recv(100) == b"x"
        took.append(time.monotonic() - began)
    near.shutdown(socket.SHUT_WR)
    echoing.join(LIMIT_S)
    assert min(took) >= 2 * DELAY_S
    assert statistics.median(took) < 2 * DELAY_S + 0.005


def test_processes_at_both_ends_find_each_other_by_name(cable):
    with (
        cable.far([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True) as server,
        cable.near(
            [sys.executable, "-c", TALKER, server.stdout.readline()], stdout=subprocess.PIPE, text=True
        ) as client,
    ):
        assert client.communicate(timeout=LIMIT_S)[0] == f"HELLO FROM {NEAR}\n"


def test_a_process_starts_in_the_directory_it_is_given(cable, tmp_path):
    for where, options in (Path.cwd(), {}), (tmp_path, {"cwd": tmp_path}):
        with cable.near(["pwd"], stdout=subprocess.PIPE, text=True, **options) as process:
            assert process.communicate(timeout=LIMIT_S)[0] == f"{where}\n"


def test_the_ends_see_nothing_but_each_other(cable):
    with (
        socket.create_server(("127.0.0.1", 0)) as outside,
        cable.dialler() as near,
        pytest.raises(ConnectionRefusedError),
    ):
        near.connect(outside.getsockname())
    with cable.dialler() as near, pytest.raises(OSError, match="unreachable"):
        near.connect(("192.0.2.1", 80))


def test_what_is_sent_while_the_cable_is_pulled_arrives_whole_when_it_is_plugged(cable, line):
    near, far = line
    near.sendall(b"before ")
    assert far.recv(100) == b"before "
    cable.pull()
    for word in (b"one ", b"two ", b"three"):
        near.sendall(word)
    far.settimeout(3.0)
    with pytest.raises(TimeoutError):
        far.recv(100)
    cable.plug()
    far.settimeout(LIMIT_S)
    arrived = b""
    while len(arrived) < len(b"one two three"):
        arrived += far.recv(100)
    assert arrived == b"one two three"
    far.sendall(b"and back")
    assert near.recv(100) == b"and back"


def test_what_is_on_its_way_when_the_cable_is_pulled_is_lost(cable, line):
    near, far = line
    near.sendall(b"x")
    threading.Event().wait(DELAY_S / 4)  # it is on its way
    cable.pull()
    far.settimeout(5 * DELAY_S)
    with pytest.raises(TimeoutError):
        far.recv(1)


def test_a_pulled_cable_breaks_a_connection_that_waits_no_longer_than_so(cable, line):
    near, _ = line
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000)
    cable.pull()
    began = time.monotonic()
    near.sendall(b"x")
    with pytest.raises(OSError) as caught:
        near.recv(1)
    assert caught.value.errno == errno.ETIMEDOUT
    assert 1.9 < time.monotonic() - began < 4.0


def test_nobody_connects_over_a_pulled_cable(cable):
    with cable.listener() as listener, cable.dialler() as near:
        cable.pull()
        near.settimeout(0.5)
        with pytest.raises(TimeoutError):
            near.connect(listener.getsockname())


def test_nothing_is_left_of_it(cable):
    before, young = descriptors(), children()
    with Cable() as another:
        stubborn = another.near(["sh", "-c", "trap '' TERM; echo here; sleep 60"], stdout=subprocess.PIPE)
        assert stubborn.stdout.readline() == b"here\n"
        assert len(children() - young) == 4
        wait_until(lambda: children(stubborn.pid))
        sleepers = children(stubborn.pid)
    stubborn.stdout.close()
    assert stubborn.poll() is not None and children() == young and descriptors() == before
    wait_until(lambda: not any(map(alive, sleepers)))


def test_nothing_is_left_of_it_when_its_owner_is_killed():
    if reason := Cable.why_not():
        pytest.skip(reason)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "plugged\n"
        pids = children(owner.pid)
        assert len(pids) == 3
        owner.kill()
    wait_until(lambda: not any(map(alive, pids)))


def test_a_machine_that_lacks_a_tool_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(CableError, match="No network cable on this machine: there is no unshare and no nsenter"),
        Cable(),
    ):
        pass


def test_a_kernel_that_forbids_it_is_quoted(monkeypatch, tmp_path):
    forbidden = tmp_path / "unshare"
    forbidden.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2; exit 1\n")
    forbidden.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    before = descriptors()
    with pytest.raises(
        CableError, match="No network cable on this machine: unshare: unshare failed: Operation not permitted"
    ):
        Cable().__enter__()
    assert descriptors() == before
