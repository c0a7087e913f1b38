"""The WebSocket against a server that sends whatever the test wants: what is said of it, and that it never hangs."""

import base64
import contextlib
import hashlib
import os
import re
import socket
import struct
import threading
import time
import traceback

import pytest

from device.errors import NetworkError, RefusedError
from device.session import socket as module
from device.session.connect import connect
from device.session.protocol import Protocol, Request
from device.session.socket import Closed, Socket
from tests import certificates
from tests.certificates import server_context
from tests.fakes import LIMIT_S, wait_until

TOKEN = "a-very-secret-token"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(payload, opcode=TEXT, fin=True, announced=None, first_bits=0):
    """A frame as a server sends it: not masked."""
    length = len(payload) if announced is None else announced
    head = bytes([(0x80 if fin else 0) | first_bits | opcode])
    if length < 126:
        head += bytes([length])
    elif length < 1 << 16:
        head += struct.pack("!BH", 126, length)
    else:
        head += struct.pack("!BQ", 127, length)
    return head + payload


class Server:
    """Listens on loopback and runs `script(connection)` for each visitor. `upgrade` is the usual beginning of one."""

    def __init__(self, script, tls=None):
        self.connections = []
        self.requests = []
        self.trouble = []
        self.over = threading.Event()
        """Set when the test is over: a script that waits waits for this."""
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="raw-server", daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes a script that is sending
            connection.close()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _accept(self):
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(LIMIT_S)
            try:
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                self.connections.append(connection)
                self._script(self, connection)
            except OSError as error:
                self.trouble.append(error)

    def read_request(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        self.requests.append(head.decode())
        return head.decode()

    def upgrade(self, connection, rest=b""):
        key = re.search(r"Sec-WebSocket-Key: (\S+)", self.read_request(connection))[1]
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + rest
        )

    def request(self, scheme="ws"):
        return Request(f"{scheme}://127.0.0.1:{self.port}/ws/voice?token={TOKEN}", {})


def answering(text):
    def script(server, connection):
        server.read_request(connection)
        connection.sendall(text.encode() if isinstance(text, str) else text)
        connection.close()

    return script


def saying(*parts, pause_s=0.0, then_close=False):
    """Upgrade, then send `parts` with pauses between them."""

    def script(server, connection):
        server.upgrade(connection)
        for part in parts:
            connection.sendall(part)
            server.over.wait(pause_s)
        if then_close:
            connection.close()

    return script


class Plain(Protocol):
    """What `connect` needs of a protocol."""

    def __init__(self, request):
        self._request = request

    def request(self):
        return self._request


def refusal(request):
    """What is raised on the way to a connection. None of it holds the token."""
    began = time.monotonic()
    with pytest.raises((NetworkError, RefusedError)) as raised:
        connect(Plain(request))
    assert time.monotonic() - began < 4
    assert TOKEN not in "".join(traceback.format_exception(raised.value))
    assert raised.value.__suppress_context__
    return raised.value


def receive(line, limit_s=LIMIT_S):
    """The next message, however many waits it takes."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if (message := line.receive()) is not None:
            return message
    raise AssertionError("no message came")


@pytest.fixture(autouse=True)
def shorter_limits(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_S", 0.4)
    monkeypatch.setattr(module, "WAIT_S", 0.1)


@pytest.fixture
def opened():
    lines = []

    def open_(server, scheme="ws"):
        lines.append(Socket(server.request(scheme)))
        return lines[-1]

    yield open_
    for line in lines:
        line.close()


# --- connecting


def test_where_nobody_listens_it_is_said():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refusal(Request(f"ws://127.0.0.1:{port}/x?token={TOKEN}", {}))
    assert isinstance(error, NetworkError) and error.code == "nobody_there"
    assert str(error) == f"Nobody answers at ws://127.0.0.1:{port}/x."


def test_a_name_that_does_not_exist_is_said(monkeypatch):
    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = refusal(Request(f"ws://voice.example/x?token={TOKEN}", {}))
    assert isinstance(error, NetworkError) and error.code == "name_not_found"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ("401 Unauthorized", RefusedError, "key_refused"), ("403 Forbidden", RefusedError, "key_refused"),
        ("402 Payment Required", RefusedError, "no_credit"), ("404 Not Found", RefusedError, "not_found"),
        ("429 Too Many Requests", NetworkError, "server_busy"), ("503 Service Unavailable", NetworkError, "server_busy"),
        ("500 Internal Server Error", NetworkError, "server_fault"), ("200 OK", NetworkError, "server_fault"),
    ],
)  # fmt: skip
def test_each_answer_but_an_upgrade_says_what_can_be_done_about_it(status, kind, code):
    body = f"sorry, {TOKEN} is no good"
    with Server(
        answering(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nX-Echo: {TOKEN}\r\n\r\n{body}")
    ) as server:
        error = refusal(server.request())
    assert type(error) is kind and error.code == code
    assert status.split()[0] in str(error) and "/ws/voice" in str(error)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect"])
def test_a_redirection_is_not_followed_for_the_key_would_go_along(status):
    with Server(answering("HTTP/1.1 404 Not Found\r\n\r\n")) as elsewhere:
        answer = f"HTTP/1.1 {status}\r\nLocation: ws://127.0.0.1:{elsewhere.port}/?token={TOKEN}\r\n\r\n"
        with Server(answering(answer)) as server:
            refusal(server.request())
        assert elsewhere.connections == []


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff" * 500, b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc def\r\n\r\n", b"",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        b"HTTP/1.1 101 S\r\n" + b"X: y\xff\r\n" * 5 + b"\r\n", b"HTTP/1.1 401 \xff\xfe\r\nno colon\r\n\r\n",
        b"HTTP/1.1 401 No\r\nContent-Length: -5\r\n\r\n", b"HTTP/1.1 401 No\r\nContent-Length: many\r\n\r\nx",
    ],
)  # fmt: skip
def test_garbage_instead_of_an_upgrade_is_a_clear_error(answer):
    with Server(answering(answer)) as server:
        assert "127.0.0.1" in str(refusal(server.request()))


def test_a_server_that_says_nothing_is_not_waited_for_long():
    with Server(lambda server, connection: server.over.wait(LIMIT_S)) as server:
        error = refusal(server.request())
    assert isinstance(error, NetworkError) and error.code == "timeout"


def test_a_server_whose_answer_never_ends_is_not_waited_for_long():
    def script(server, connection):
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        for _ in range(60):
            connection.sendall(b"X-More: to come\r\n")
            server.over.wait(0.1)

    with Server(script) as server:
        assert isinstance(refusal(server.request()), NetworkError)


def test_the_key_travels_in_the_request_and_the_path_is_the_given_one(opened):
    with Server(saying()) as server:
        opened(server)
        assert server.requests[0].startswith(f"GET /ws/voice?token={TOKEN} HTTP/1.1\r\n")


def test_no_cookie_of_one_session_is_brought_to_the_next(opened):
    def script(server, connection):
        key = re.search(r"Sec-WebSocket-Key: (\S+)", server.read_request(connection))[1]
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
        head = (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: who=me; Domain=127.0.0.1\r\n"
        )
        connection.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")

    with Server(script) as server:
        opened(server), opened(server)
        assert len(server.requests) == 2 and not any("ookie" in request for request in server.requests)


def test_a_refusal_without_an_end_is_not_listened_to():
    with Server(answering(b"HTTP/1.1 500 X\r\nContent-Length: 9999999999\r\n\r\n" + bytes(2_000_000))) as server:
        assert refusal(server.request()).code == "server_fault"


def test_a_server_that_hangs_up_in_the_middle_of_the_upgrade_is_no_wrong_address():
    with Server(lambda server, connection: (server.read_request(connection), connection.close())) as server:
        assert refusal(server.request()).code == "connection_lost"


# --- TLS


@pytest.fixture
def trusted(monkeypatch):
    """The authority of `tests.certificates` is one of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority()))


def test_a_server_that_proves_who_it_is_is_talked_to(opened, trusted):
    with Server(saying(frame(b"hello")), server_context()) as server:
        assert receive(opened(server, "wss")) == "hello"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("wrong_host", "not valid for"), ("expired", "expired"), ("unknown_issuer", "unable to get local issuer")],
)
def test_a_server_that_does_not_prove_who_it_is_is_refused_for_good(trusted, name, reason):
    with Server(saying(), server_context(name)) as server:
        error = refusal(server.request("wss"))
        assert isinstance(error, RefusedError) and error.code == "tls_refused"
        assert reason in str(error) and "clock" in str(error)
        assert server.requests == [], "the key was sent to a stranger"


def test_a_server_without_tls_is_no_encrypted_connection():
    with Server(lambda server, connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        error = refusal(server.request("wss"))
    assert isinstance(error, NetworkError) and error.code == "tls_failed"


def test_over_tls_too_another_thread_can_end_a_wait(opened, trusted, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 5.0)
    with Server(saying(), server_context()) as server:
        assert_abort_wakes(opened(server, "wss"))


def test_a_connection_that_is_broken_off_never_goes_on_without_tls(opened, trusted):
    with Server(saying(), server_context()) as server:
        line = opened(server, "wss")
        tls = line._tcp._tcp
        line.abort()
        assert tls.version() == "TLSv1.3", "what another thread sends now would go out in the clear"
        with pytest.raises(NetworkError):
            line.send("secret" * 1000)
        line.close()
        assert tls.fileno() < 0


# --- receiving


def test_text_and_binary_messages_are_told_apart(opened):
    with Server(saying(frame(b"one"), frame(b"\xff\x00", BINARY), frame(b""))) as server:
        line = opened(server)
        assert [receive(line) for _ in range(3)] == ["one", b"\xff\x00", ""]


def test_text_that_is_not_utf8_is_text_all_the_same(opened):
    with Server(saying(frame(b"\xc3\x28"))) as server:
        assert receive(opened(server)) == "\ufffd("


def test_a_message_that_came_with_the_upgrade_is_not_lost(opened):
    with Server(lambda server, connection: server.upgrade(connection, frame(b"early"))) as server:
        assert receive(opened(server)) == "early"


def test_when_nothing_comes_it_says_so_after_a_while(opened):
    with Server(saying()) as server:
        began = time.monotonic()
        assert opened(server).receive() is None
        assert time.monotonic() - began < 2


def test_a_frame_that_comes_in_pieces_with_pauses_is_whole(opened):
    message = frame(b"x" * 300)
    with Server(saying(message[:1], message[1:3], message[3:100], message[100:], pause_s=0.25)) as server:
        line = opened(server)
        assert line.receive() is None
        assert receive(line) == "x" * 300


def test_a_message_in_fragments_is_whole_with_pings_and_pauses_between_them(opened):
    parts = [frame(b"a", fin=False), frame(b"hi", PING), frame(b"b", 0, fin=False), frame(b"c", 0), frame(b"next")]
    with Server(saying(*parts, pause_s=0.15)) as server:
        line = opened(server)
        assert [receive(line), receive(line)] == ["abc", "next"]


@pytest.fixture
def impatient(monkeypatch):
    """Seconds of waiting become tenths."""
    for name in ("WAIT_S", "PING_S", "SILENT_S"):
        monkeypatch.setattr(module, name, getattr(module, name) / 10)


def test_the_limits_notice_a_silent_agent_within_ten_seconds():
    assert module.PING_S + module.WAIT_S < module.SILENT_S < module.SILENT_S + module.WAIT_S <= 10.0


def test_an_agent_whose_machine_lives_but_which_says_nothing_is_asked_and_given_up(opened, impatient):
    with Server(saying()) as server:
        line = opened(server)
        began = time.monotonic()
        with pytest.raises(NetworkError, match="not been heard of") as raised:
            receive(line)
        assert raised.value.code == "connection_lost" and 0.8 < time.monotonic() - began < 1.2
        assert server.connections[0].recv(4096)[0] & 0x0F == PING


@pytest.mark.slow
def test_an_agent_that_answers_when_asked_is_waited_for(opened, impatient):
    def script(server, connection):
        server.upgrade(connection)
        while data := connection.recv(4096):
            if data[0] & 0x0F == PING:
                connection.sendall(frame(b"", PONG))

    with Server(script) as server:
        line = opened(server)
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            assert line.receive() is None


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_what_has_arrived_at_the_other_side_is_known_to_the_byte(opened, scheme, trusted):
    def script(server, connection):
        server.upgrade(connection)
        server.over.wait(LIMIT_S)

    with Server(script, tls=server_context() if scheme == "wss" else None) as server:
        line = opened(server, scheme)
        before = line.written()
        line.send(b"x" * 1000)
        assert line.written() - before == 1008 + (22 if scheme == "wss" else 0)  # a record of TLS 1.3
        wait_until(lambda: line.acknowledged() == line.written())
        server.over.set()


def test_what_is_on_its_way_when_the_connection_breaks_is_known_to_be_missing(opened, monkeypatch):
    monkeypatch.setattr(module, "UNANSWERED_S", 0.5)

    def script(server, connection):
        server.upgrade(connection)
        server.over.wait(LIMIT_S)

    with Server(script) as server:
        line = opened(server)
        with pytest.raises(NetworkError):
            while True:  # until nothing more fits: nobody reads
                line.send(b"x" * 10_000)
        arrived, written = line.acknowledged(), line.written()
        assert 0 < arrived < written
        line.close()
        assert arrived <= line.acknowledged() < written


def test_pings_are_answered(opened):
    with Server(saying(frame(b"still there?", PING), frame(b"go on"))) as server:
        assert receive(opened(server)) == "go on"
        answer = server.connections[0].recv(100)
        assert answer[0] == 0x80 | PONG and answer[1] == 0x80 | len(b"still there?")


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000, 4401, 4403])
def test_a_close_gives_its_code(opened, code):
    with Server(saying(frame(struct.pack("!H", code) + b"bye", CLOSE))) as server, pytest.raises(Closed) as closed:
        receive(opened(server))
    assert closed.value.code == code


def test_a_close_without_a_code_is_a_close(opened):
    with Server(saying(frame(b"", CLOSE))) as server, pytest.raises(Closed) as closed:
        receive(opened(server))
    assert closed.value.code is None


def test_the_code_of_a_close_is_not_lost_when_the_server_is_gone_at_once(opened):
    def script(server, connection):
        server.upgrade(connection)
        connection.sendall(frame(struct.pack("!H", 4401), CLOSE))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # resets the connection, as a server does that leaves our sound unread
        server.gone = True

    with Server(script) as server:
        line = opened(server)
        wait_until(lambda: getattr(server, "gone", False))
        with pytest.raises(Closed) as closed:
            receive(line)
    assert closed.value.code == 4401


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 64, b"\xff" * 64, b"HTTP/1.1 400 Bad\r\n\r\n", frame(b"x", 3), frame(b"x", 11), frame(b"x", 0),
        frame(b"x", first_bits=0x40), frame(b"x" * 126, PING), frame(b"", PING, fin=False), frame(b"\x03", CLOSE),
        frame(struct.pack("!H", 1005), CLOSE), frame(struct.pack("!H", 1000) + b"\xff", CLOSE),
        frame(b"a", fin=False) + frame(b"b"),
    ],
)  # fmt: skip
def test_what_is_no_websocket_is_a_lost_connection(opened, garbage):
    with Server(saying(garbage, then_close=True)) as server:
        line = opened(server)
        with pytest.raises((NetworkError, Closed)) as lost:
            receive(line)
    assert TOKEN not in "".join(traceback.format_exception(lost.value))


def test_a_connection_that_ends_without_a_word_is_lost(opened):
    with Server(saying(frame(b"half a mess", announced=100), then_close=True)) as server:
        line = opened(server)
        with pytest.raises(NetworkError) as lost:
            receive(line)
    assert lost.value.code == "connection_lost"


@pytest.mark.parametrize("announced", [2**62, 2**63 + 1, 10 * 2**20])
def test_a_message_that_is_announced_too_large_is_not_waited_for(opened, announced):
    with Server(saying(frame(b"x" * 100, announced=announced))) as server:
        line = opened(server)
        with pytest.raises(NetworkError, match="more than 4 MiB") as lost:
            receive(line)
    assert lost.value.code == "message_too_large"


def test_a_message_of_10_mb_is_refused_and_not_kept(opened):
    with Server(saying(frame(b"x" * 10_000_000))) as server, pytest.raises(NetworkError, match="more than 4 MiB"):
        receive(opened(server))


def test_a_message_of_just_under_the_limit_is_taken(opened, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_MESSAGE", 1000)
    with Server(saying(frame(b"x" * 1000), frame(b"x" * 1001))) as server:
        line = opened(server)
        assert len(receive(line)) == 1000
        with pytest.raises(NetworkError):
            receive(line)


def test_a_message_whose_fragments_never_end_is_refused(opened, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_MESSAGE", 100_000)

    def script(server, connection):
        server.upgrade(connection)
        connection.sendall(frame(b"x" * 1000, fin=False))
        while not server.over.is_set():
            connection.sendall(frame(b"x" * 1000, 0, fin=False))

    with Server(script) as server:
        line = opened(server)
        with pytest.raises(NetworkError) as lost:
            receive(line)
    assert lost.value.code == "message_too_large"


@pytest.mark.parametrize(
    "first, more",
    [(b"", frame(b"are you there", PING)), (frame(b"x", fin=False), frame(b"", 0, fin=False)),
     (frame(b"", announced=100_000), b"x")],
    ids=["pings", "empty fragments", "a byte now and then"],
)  # fmt: skip
def test_a_server_that_says_nothing_at_length_does_not_keep_us_from_anything_else(opened, first, more):
    def script(server, connection):
        server.upgrade(connection)
        connection.sendall(first)
        for _ in range(60):
            connection.sendall(more)
            server.over.wait(0.05)

    with Server(script) as server:
        line = opened(server)
        began = time.monotonic()
        assert line.receive() is None
        assert time.monotonic() - began < 1.5


# --- sending


def received_by(connection, count):
    """The payloads of `count` frames of a client."""
    for _ in range(count):
        first, second = connection.recv(2, socket.MSG_WAITALL)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
        mask = connection.recv(4, socket.MSG_WAITALL)
        data = connection.recv(length, socket.MSG_WAITALL) if length else b""
        yield first & 15, bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))


def test_text_is_sent_as_text_and_bytes_as_binary(opened):
    with Server(saying()) as server:
        line = opened(server)
        line.send('{"type":"start"}')
        line.send(b"\x00\x01")
        line.send("x" * 1000)
        expected = [(TEXT, b'{"type":"start"}'), (BINARY, b"\x00\x01"), (TEXT, b"x" * 1000)]
        assert list(received_by(server.connections[0], 3)) == expected


def test_a_peer_that_stops_reading_is_noticed_and_not_waited_for(opened, monkeypatch):
    monkeypatch.setattr(module, "UNANSWERED_S", 0.5)
    with Server(saying()) as server:
        line = opened(server)
        began = time.monotonic()
        with pytest.raises(NetworkError) as lost:
            for _ in range(200):
                line.send("x" * 1_000_000)
        assert time.monotonic() - began < 5 and lost.value.code == "connection_lost"
        assert TOKEN not in str(lost.value)


def test_sending_to_a_peer_that_is_gone_is_an_error_and_closing_is_none(opened):
    def script(server, connection):
        server.upgrade(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with Server(script) as server:
        line = opened(server)
        with pytest.raises(NetworkError):
            for _ in range(1000):
                line.send("x" * 1000)
        line.abort()
        line.close()
        line.abort()


# --- the end


def test_close_says_goodbye_and_does_not_wait(opened):
    with Server(saying()) as server:
        line = opened(server)
        began = time.monotonic()
        line.close()
        assert time.monotonic() - began < 1
        assert list(received_by(server.connections[0], 1)) == [(CLOSE, struct.pack("!H", 1000))]
        assert server.connections[0].recv(1) == b""


def assert_abort_wakes(line):
    ended = []

    def wait():
        try:
            line.receive()
        except Exception as error:
            ended.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    line.abort()
    waiting.join(2)
    assert not waiting.is_alive()
    assert [type(error) for error in ended] == [NetworkError]


def test_another_thread_can_end_a_wait(opened, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 5.0)
    with Server(saying()) as server:
        assert_abort_wakes(opened(server))


def test_after_the_end_every_call_is_an_error_of_the_network(opened):
    with Server(saying()) as server:
        line = opened(server)
        line.close()
        with pytest.raises(NetworkError):
            line.send("x")
        with pytest.raises(NetworkError):
            line.receive()


def test_connections_that_fail_leave_no_file_open():
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with Server(answering("HTTP/1.1 401 No\r\n\r\n")) as server:
        for _ in range(5):
            refusal(server.request())
    for connection in server.connections:
        connection.close()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
