"""The control socket, asked by the command line's end and by clients that mean harm, over real sockets."""

import json
import os
import socket
import stat
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import worker
from device.errors import EarshotError, UsageError
from device.system import control
from device.system.control import LINE_BYTES, ORDERS, TEXT_CHARACTERS, Control, ask, problem
from device.system.process import alone, runtime_file
from device.worker import Worker, stop_all
from tests.fakes import LIMIT_S, Recorder, threads

RUBBISH = [
    b"\n", b"status\n", b"{}\n", b"[]\n", b"null\n", b'"status"\n', b'{"order": 1}\n', b'{"order": ["say"]}\n',
    b'{"order": "reboot"}\n', b'{"order": {}}\n', b"\xff\xfe\n", b"\0" * 99 + b"\n", b"[" * 16_000 + b"\n",
    b"9" * 9999 + b"\n", b'{"order": "say"}\n', b'{"order": "say", "text": 3}\n', b'{"order": "say", "text": " "}\n',
    b'{"order": "say", "text": "\\ud800"}\n', b'{"order": "say", "text": "' + b"a" * 2001 + b'"}\n',
    b"x" * LINE_BYTES + b"\n",
]  # fmt: skip


class Speaker:
    """What answers behind the socket: keeps what it was asked, gives `reply`, or fails with it."""

    def __init__(self):
        self.asked = Recorder()
        self.reply = {"ok": True}

    def __call__(self, request):
        self.asked(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


TICK_S = control.TICK_S


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Workers that see at once that they are to stop, for the sake of the tests' time."""
    monkeypatch.setattr(control, "TICK_S", 0.02)


@contextmanager
def serving(answer, path):
    """The worker at work, at least until it listens; no thread of it is left, and it has not died."""
    died = Recorder()
    thread = Worker("control", Control(answer, path).work, died)
    thread.start()
    until = time.monotonic() + LIMIT_S
    while not listens(path):
        assert thread.is_alive() and time.monotonic() < until
        thread.join(0.005)
    try:
        yield thread
        assert thread.is_alive() or thread.stopping.is_set()
    finally:
        assert stop_all([thread])
        assert not thread.is_alive() and died.items == []


def listens(path):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.fixture
def here(tmp_path):
    """The environment of a process whose runtime directory is this test's."""
    return {"RUNTIME_DIRECTORY": str(tmp_path)}


@pytest.fixture
def nowhere(tmp_path):
    return tmp_path / "no-service"


@pytest.fixture
def path(here):
    return runtime_file("sock", here)


@pytest.fixture
def speaker(path):
    speaker = Speaker()
    with serving(speaker, path):
        yield speaker


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(LIMIT_S)
    client.connect(str(path))
    return client


def answer_to(path, line):
    """What the socket says to those bytes, until it closes; it need not read them all."""
    answer = b""
    with connect(path) as client:
        with suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(line)
        with suppress(ConnectionResetError):
            while piece := client.recv(4096):
                answer += piece
    return answer


def test_each_order_reaches_the_speaker_and_its_reply_comes_back_whole(speaker, here):
    speaker.reply = {
        "ok": True,
        "state": "listening",
        "counters": {"wakes": 3},
        "name": "Zoë \N{SLIGHTLY SMILING FACE}",
    }
    for order in ("status", "stop"):
        assert ask(order, environ=here) == speaker.reply
    assert ask("say", "Wie spät ist es?\n", environ=here) == speaker.reply
    assert speaker.asked.items == [
        {"order": "status"}, {"order": "stop"}, {"order": "say", "text": "Wie spät ist es?\n"},
    ]  # fmt: skip


def test_a_refusal_comes_back_with_its_reason(speaker, here):
    speaker.reply = {"ok": False, "message": "There is no session."}
    assert ask("say", "hello", environ=here) == speaker.reply


@pytest.mark.parametrize("character", ["a", "\N{SLIGHTLY SMILING FACE}", "\x01", '"', "\N{LINE SEPARATOR}"])
def test_the_longest_text_fits_a_line_whatever_its_characters(speaker, here, character):
    text = character * (TEXT_CHARACTERS - 1) + "."
    ask("say", text, environ=here)
    assert speaker.asked.items == [{"order": "say", "text": text}]


@pytest.mark.parametrize("text", ["", " \n\t", "x" * (TEXT_CHARACTERS + 1), "half a pair \ud83d"])
def test_a_text_that_cannot_be_said_is_refused_before_anybody_is_asked(speaker, here, text):
    with pytest.raises(UsageError, match="text"):
        ask("say", text, environ=here)
    assert speaker.asked.items == []


def test_only_what_belongs_to_a_request_reaches_the_speaker(speaker, path):
    answer_to(path, b'{"order": "status", "more": [1], "ok": true}\nand {"order": "stop"}\n')
    assert speaker.asked.items == [{"order": "status"}]


# --- Clients that mean harm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", RUBBISH, ids=[line[:24] for line in RUBBISH])
def test_rubbish_is_answered_with_an_error_and_asks_nothing_of_the_speaker(speaker, path, here, line):
    answer = answer_to(path, line)
    reply = json.loads(answer)
    assert answer.endswith(b"\n") and reply["ok"] is False and reply["message"].endswith(".")
    assert speaker.asked.items == []
    assert ask("status", environ=here) == {"ok": True}


@pytest.mark.slow
@given(
    st.binary(max_size=200) | st.recursive(st.text() | st.integers() | st.none(), st.lists).map(repr).map(str.encode)
)
def test_whatever_bytes_come_are_an_order_or_an_error(line):
    speaker = Speaker()
    reply = json.loads(Control(speaker, Path("/nowhere"))._reply(line))
    assert reply["ok"] is bool(speaker.asked.items)


@given(
    st.dictionaries(st.sampled_from(["order", "text", "x"]), st.sampled_from(ORDERS) | st.text() | st.lists(st.text()))
)
def test_a_request_without_a_problem_has_all_that_its_order_needs(request):
    if problem(request) is None:
        assert request["order"] in ORDERS
        assert request["order"] != "say" or (request["text"].strip() and len(request["text"]) <= TEXT_CHARACTERS)


def test_half_a_line_is_answered_with_an_error_when_the_client_says_that_it_is_all(speaker, path):
    with connect(path) as client:
        client.sendall(b'{"order": "stop"}')
        client.shutdown(socket.SHUT_WR)
        assert json.loads(client.recv(4096))["ok"] is False
    assert speaker.asked.items == []


def test_a_line_of_a_megabyte_is_refused_after_the_first_bytes(speaker, path, here):
    assert json.loads(answer_to(path, b'{"order": "say", "text": "' + b"a" * 2**20))["ok"] is False
    assert ask("status", environ=here) == {"ok": True}


@pytest.mark.slow
def test_a_client_that_sends_nothing_more_is_given_up_after_a_second(speaker, path, here):
    with connect(path) as client:
        client.sendall(b'{"order": "st')
        started = time.monotonic()
        assert ask("status", environ=here) == {"ok": True}
        assert time.monotonic() - started < control.CLIENT_S + 0.7
        assert client.recv(4096) == b""


@pytest.mark.slow
def test_a_client_that_dribbles_is_given_up_after_a_second(speaker, path, here):
    with connect(path) as client, ThreadPoolExecutor() as pool:
        left = threading.Event()

        def dribble():
            try:
                while not left.wait(0.02):
                    client.sendall(b" ")
            except OSError:
                return True
            return False

        dribbling = pool.submit(dribble)
        try:
            started = time.monotonic()
            assert ask("status", environ=here) == {"ok": True}
            assert time.monotonic() - started < control.CLIENT_S + 0.7
            assert dribbling.result(LIMIT_S), "its connection is still open"
        finally:
            left.set()


def test_clients_that_do_not_read_keep_nobody_waiting(speaker, path, here):
    speaker.reply = {"ok": True, "name": "x" * (LINE_BYTES - 40)}
    clients = []
    try:
        for _ in range(5):
            clients.append(connect(path))
            clients[-1].sendall(b'{"order": "status"}\n')
        started = time.monotonic()
        assert ask("status", environ=here) == speaker.reply
        assert time.monotonic() - started < control.CLIENT_S
    finally:
        for client in clients:
            client.close()


def files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_thousand_clients_that_come_and_go_leave_nothing_behind(speaker, path, here):
    before = files()
    for number in range(1000):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # without a limit of its own it waits where too many others do
            if number % 2:
                client.sendall(b'{"order": "status"}\n')
    speaker.asked.wait(lambda asked: len(asked) == 500)
    assert ask("status", environ=here) == {"ok": True}
    assert files() <= before + 1, "the last one may be closing"
    assert len(threads("control")) == 1


def test_when_no_file_descriptor_is_left_it_goes_on_as_soon_as_one_is(speaker, path, here, monkeypatch):
    accept, calls = socket.socket.accept, Recorder()

    def scarce(listener):
        calls(listener)
        if len(calls.items) < 3:
            raise OSError(24, "Too many open files")
        return accept(listener)

    monkeypatch.setattr(control, "TICK_S", 0.01)
    monkeypatch.setattr(socket.socket, "accept", scarce)
    calls.wait(lambda items: len(items) >= 3)
    assert ask("status", environ=here) == {"ok": True}


@pytest.mark.parametrize(
    "reply", [KeyError("volume"), {"ok": True, "x": object()}, {"ok": True, "x": "y" * LINE_BYTES}]
)
def test_a_mistake_of_ours_is_logged_and_answered_and_the_next_is_served(speaker, here, caplog, reply):
    speaker.reply = reply
    assert ask("say", "a secret", environ=here) == {
        "ok": False,
        "message": "The speaker has no answer; its log says why.",
    }
    assert "! control" in caplog.text and "a secret" not in caplog.text
    speaker.reply = {"ok": True}
    assert ask("status", environ=here) == {"ok": True}


def test_an_answer_with_half_a_surrogate_pair_is_told_all_the_same(speaker, here):
    speaker.reply = {"ok": False, "message": "from an agent: \ud83d"}
    assert ask("status", environ=here)["message"] == "from an agent: ?"


# --- The file, and who may ask --------------------------------------------------------------------------------------


@pytest.fixture
def open_to_all():
    """A process that masks no mode bits."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_socket_is_its_owners_alone(open_to_all, path):
    with serving(Speaker(), path):
        found = path.stat()
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600 and found.st_uid == os.getuid()


def test_the_socket_is_never_open_to_others_not_even_before_it_listens(open_to_all, path, monkeypatch):
    modes, listen = Recorder(), socket.socket.listen

    def looked_at(listener, backlog):
        modes(stat.S_IMODE(path.stat().st_mode))
        listen(listener, backlog)

    monkeypatch.setattr(socket.socket, "listen", looked_at)
    with serving(Speaker(), path):
        assert modes.items == [0o600]


def test_the_kernel_tells_who_asks():
    for end in socket.socketpair(socket.AF_UNIX):
        with end:
            assert control._user(end) == os.getuid()


@pytest.mark.parametrize(("user", "served"), [(1000, True), (0, True), (4711, False)])
def test_only_the_same_user_and_root_are_answered(speaker, path, monkeypatch, user, served):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(control, "_user", lambda connection: user)
    assert bool(answer_to(path, b'{"order": "status"}\n')) is served is bool(speaker.asked.items)


def test_the_socket_is_removed_at_the_end(path):
    with serving(Speaker(), path):
        assert path.exists()
    assert not path.exists()


@pytest.mark.parametrize("begun", [b"", b'{"order"'])
def test_it_ends_in_time_with_a_client_that_goes_on_for_ever(path, begun, monkeypatch):
    monkeypatch.setattr(control, "TICK_S", TICK_S)
    read_line, reading = control._read_line, Recorder()
    monkeypatch.setattr(control, "_read_line", lambda *given: reading(given) or read_line(*given))
    with serving(Speaker(), path) as thread, connect(path) as client:
        client.sendall(begun)
        reading.wait(lambda items: len(items) == 2)  # the first was `serving`, which saw that it listens
        started = time.monotonic()
        thread.stopping.set()
        thread.join(LIMIT_S)
        assert time.monotonic() - started < worker.JOIN_S - 0.2


def test_the_socket_of_a_dead_speaker_is_replaced(path, here):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with serving(Speaker(), path):
        assert ask("status", environ=here) == {"ok": True}


def put_file(path):
    path.write_text("precious")


def put_link(path):
    """To where a socket of ours could be made."""
    path.symlink_to(path.parent / "elsewhere.sock")


def put_folder(path):
    path.mkdir()


@contextmanager
def without_socket(path, caplog):
    """The worker at work where no socket can be made: it says so and lives on."""
    died = Recorder()
    thread = Worker("control", Control(Speaker(), path).work, died)
    thread.start()
    until = time.monotonic() + LIMIT_S
    while "cannot be made" not in caplog.text:
        assert time.monotonic() < until
        thread.join(0.005)
    try:
        yield caplog.text
        assert thread.is_alive()
    finally:
        assert stop_all([thread]) and died.items == []


@pytest.mark.parametrize("put", [put_file, put_link, put_folder])
def test_what_is_no_socket_of_ours_is_left_alone_and_the_speaker_goes_on_without(path, caplog, put):
    put(path)
    before = path.lstat()
    with without_socket(path, caplog) as said:
        assert str(path) in said and "something else is in its place" in said
    assert path.lstat() == before and not (path.parent / "elsewhere.sock").exists()


def test_a_socket_of_another_user_is_left_alone(path, caplog, monkeypatch):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with without_socket(path, caplog) as said:
        assert "something else is in its place" in said
    assert path.exists()


def test_where_no_file_can_be_made_the_speaker_goes_on_without(tmp_path, caplog):
    with without_socket(tmp_path / "none" / "earshot.sock", caplog) as said:
        assert "No such file or directory" in said and "no earshot say, status, stop" in said


def test_a_path_too_long_for_a_socket_is_a_warning_too(tmp_path, caplog):
    with without_socket(tmp_path / ("x" * 200), caplog) as said:
        assert "too long" in said


# --- Which speaker is asked -----------------------------------------------------------------------------------------


def test_where_no_speaker_runs_it_is_said_how_to_start_one(here, nowhere):
    with pytest.raises(
        EarshotError, match=r"No speaker runs here\. Start it: earshot run, or systemctl start earshot"
    ) as raised:
        ask("status", environ=here, service=nowhere)
    assert raised.value.exit_code == 1


def test_a_socket_that_a_dead_speaker_left_is_none(here, nowhere, path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(EarshotError, match="No speaker runs here"):
        ask("status", environ=here, service=nowhere)


@pytest.fixture
def service(tmp_path):
    """The runtime directory of the service, in which a user of its own has a speaker."""
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "earshot-998.lock").touch()
    speaker = Speaker()
    speaker.reply = {"ok": True, "whose": "the service's"}
    with serving(speaker, folder / "earshot-998.sock"):
        yield folder


def test_the_service_is_asked_where_the_user_has_no_speaker(here, service):
    assert ask("status", environ=here, service=service)["whose"] == "the service's"


def test_the_users_own_speaker_goes_first(speaker, here, service):
    assert ask("status", environ=here, service=service) == {"ok": True}


def test_a_socket_that_another_user_put_into_our_place_is_told_nothing(speaker, here, service, monkeypatch):
    user_of = control._user

    def foreign(connection):
        ours = connection.getpeername() == str(runtime_file("sock", here))
        return 4711 if ours else user_of(connection)

    monkeypatch.setattr(control, "_user", foreign)
    assert ask("say", "private", environ=here, service=service)["whose"] == "the service's"
    assert speaker.asked.items == []


@contextmanager
def as_somebody_else():
    """Without the rights of root, where the tests have them."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared():
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_the_speaker_of_another_user_asks_for_sudo(shared, here):
    path = shared / "earshot-998.sock"
    with serving(Speaker(), path):
        path.chmod(0o000)
        with as_somebody_else(), pytest.raises(EarshotError, match=r"belongs to user \w+: use sudo"):
            ask("status", environ={"RUNTIME_DIRECTORY": "/nowhere"}, service=shared)
        path.chmod(0o600)


def test_a_folder_of_the_service_that_others_may_not_read_asks_for_sudo_too(shared):
    service = shared / "service"
    service.mkdir()
    service.chmod(0o000)
    with as_somebody_else(), pytest.raises(EarshotError, match=r"belongs to user \w+: use sudo"):
        ask("status", environ={"RUNTIME_DIRECTORY": "/nowhere"}, service=service)
    service.chmod(0o700)


@contextmanager
def standing_in(path, answer=None):
    """Something that listens there and sends `answer` to one client, or keeps it waiting where that is None."""
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor() as pool:
        listener.bind(str(path))
        listener.listen(0)
        listener.settimeout(LIMIT_S)

        def serve():
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                with suppress(OSError):  # it has read enough
                    client.sendall(answer)

        served = pool.submit(serve) if answer is not None else None
        yield listener
        if served is not None:
            served.result(LIMIT_S)


@pytest.mark.slow
def test_a_speaker_that_stands_still_is_named_after_two_seconds(path, here, nowhere):
    with standing_in(path):
        started = time.monotonic()
        with pytest.raises(EarshotError, match="gives no answer in 2 s"):
            ask("status", environ=here, service=nowhere)
        assert 1.9 < time.monotonic() - started < 3


def test_a_speaker_that_too_many_ask_is_busy(path, here, nowhere):
    with standing_in(path), connect(path), pytest.raises(EarshotError, match="Too many"):
        ask("status", environ=here, service=nowhere)


@pytest.mark.parametrize(
    "answer", [b"", b"no\n", b"[]\n", b"{}\n", b'{"ok": 1}\n', b'{"ok": tr', b"[" * 9999 + b"\n", b"\xff" * 99_999]
)
def test_what_answers_nonsense_is_no_speaker(path, here, nowhere, answer):
    with standing_in(path, answer), pytest.raises(EarshotError, match="broke off without an answer"):
        ask("status", environ=here, service=nowhere)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"RUNTIME_DIRECTORY": "/run/earshot:/run/more", "XDG_RUNTIME_DIR": "/run/user/1"}, "/run/earshot"),
        ({"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1"),
        ({}, tempfile.gettempdir()),
    ],
)
def test_the_files_of_a_running_speaker_are_where_systemd_or_the_login_says(environ, folder):
    assert runtime_file("sock", environ) == Path(folder) / f"earshot-{os.getuid()}.sock"


def test_lock_and_socket_share_a_folder(tmp_path, here):
    with alone(here):
        assert [file.name for file in tmp_path.iterdir()] == [runtime_file("lock", here).name]
        assert runtime_file("lock", here).parent == runtime_file("sock", here).parent
