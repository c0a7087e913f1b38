"""The base of the scripted agents: that it sees what comes, answers as told, and ends in time whatever a client does."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from tests import certificates
from tests.fakes import LIMIT_S, threads, wait_until
from tests.servers.scripted import ScriptedServer
from tests.servers.wire import Line


class Echo(ScriptedServer):
    """Ready after "hello"; binary messages are sound, and one that is a number asks for what cannot be done."""

    def __init__(self, **listening):
        super().__init__(**listening)
        self.answer = 200, {"token": "t-1"}

    def post(self, request):
        return self.answer if request.path == "/token" else super().post(request)

    def admit(self, visit):
        return HTTPStatus.FORBIDDEN if visit.query.get("token") == "wrong" else None

    def opened(self, visit):
        visit.send({"type": "created"})

    def take(self, visit, message):
        if isinstance(message, bytes):
            visit.hear(message)
        else:
            visit.keep(message)
            if message == "hello":
                self.become_ready(visit, {"type": "ready"})
            elif message.isdecimal():
                1 / int(message)


@pytest.fixture
def server():
    with Echo() as server:
        yield server


@pytest.fixture
def secure():
    with Echo(tls=certificates.server_context()) as server:
        yield server


def trusting(authority=None):
    return ssl.create_default_context(cafile=str(authority or certificates.authority()))


def line_to(port, tls=None):
    """A connection for websockets' client, which by itself reads and writes at once over TLS: see `Line`."""
    tcp = socket.create_connection(("127.0.0.1", port), LIMIT_S)
    return Line(tls.wrap_socket(tcp, server_hostname="127.0.0.1") if tls else tcp, LIMIT_S)


@contextlib.contextmanager
def dial(server, path="/talk", **settings):
    line = line_to(server.port, trusting() if server.tls else None)
    with connect(f"ws://127.0.0.1{path}", sock=line, close_timeout=0.2, **settings) as client:
        assert json.loads(client.recv(LIMIT_S)) == {"type": "created"}
        yield client


def post(server, path="/token", body=b"{}", **headers):
    """Status and body of the answer."""
    request = urllib.request.Request(server.url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S, context=trusting() if server.tls else None) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read() + (error.headers.get("Retry-After") or "").encode()


# --- HTTP


@pytest.mark.parametrize("kind", ["server", "secure"])
def test_a_post_is_written_down_and_answered(kind, request):
    server = request.getfixturevalue(kind)
    status, body = post(server, body=b"x" * 100_000, Authorization="Bearer k")
    assert (status, json.loads(body)) == (200, {"token": "t-1"})
    (got,) = server.posts
    assert got.path == "/token" and got.headers["authorization"] == "Bearer k" and got.body == b"x" * 100_000
    assert server.violations == [] and server.final == ""


def test_an_error_may_say_when_to_come_again_and_need_not_be_json(server):
    server.answer, server.retry_after_s = (429, b"<html>"), 7
    assert post(server) == (429, b"<html>7")


def test_a_post_to_a_path_that_is_not_documented_is_a_violation(server):
    assert post(server, "/elsewhere?key=k")[0] == 404
    assert server.violations == ["a POST to /elsewhere"]


@pytest.mark.parametrize(
    "raw",
    [b"POST /token HTTP/1.1\r\n\r\n", b"POST /token HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"\r\n\r\n", b"GET",
     b"POST /token HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 70_000, b""],
)  # fmt: skip
def test_after_a_client_that_talks_nonsense_the_next_is_served(server, raw):
    with socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as line, contextlib.suppress(OSError):
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)
        while line.recv(4096):
            pass
    assert post(server)[0] == 200


# --- WebSocket


@pytest.mark.parametrize("kind", ["server", "secure"])
def test_a_visit_holds_what_the_speaker_sent(kind, request):
    server = request.getfixturevalue(kind)
    with dial(server, "/talk?token=a%20b", additional_headers={"X-Device": "kitchen"}) as client:
        client.send("hello")
        assert json.loads(client.recv(LIMIT_S)) == {"type": "ready"}
        client.send(b"\1" * 640)
        client.send(b"\2" * 640)
        visit = server.visit()
        visit.wait(lambda visit: len(visit.frames) == 2)
    assert (
        visit.query == {"token": "a b"} and visit.path.startswith("/talk?") and visit.headers["x-device"] == "kitchen"
    )
    assert [message for _, message in visit.messages] == ["hello"] and visit.audio == b"\1" * 640 + b"\2" * 640
    assert visit.ended.wait(LIMIT_S) and server.violations == []


def test_sound_too_early_or_of_another_size_is_a_violation(server):
    server.ready_after_s = 0.2
    with dial(server) as client:
        client.send("hello")
        client.send(b"\1" * 640)
        client.recv(LIMIT_S)
        client.send(b"\1" * 639)
        server.visit().wait(lambda visit: len(visit.frames) == 2)
    assert server.visits[0].violations == server.violations == ["audio before ready", "a frame of 639 bytes"]


def test_a_message_that_the_server_stumbles_over_is_a_violation(server):
    with dial(server) as client:
        client.send("0")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(LIMIT_S)
    assert closed.value.rcvd.code == 1011
    assert "ZeroDivisionError" in server.violations[0]


def test_a_status_refuses_the_upgrade_and_who_comes_again_after_a_final_one_violates_it(server):
    for token, final in (("right", ""), ("wrong", "HTTP 403")):
        server.status = HTTPStatus.SERVICE_UNAVAILABLE if token == "right" else None
        with pytest.raises(InvalidStatus), dial(server, f"/talk?token={token}"):
            pass
        wait_until(lambda final=final: server.final == final)
    assert server.visits == [] and len(server.refused) == 2 and server.violations == []
    post(server)
    assert server.violations == ["a connection after HTTP 403"]


def test_a_reply_is_sent_ahead_of_real_time_by_the_lead_and_no_more(server):
    server.on_ready = lambda visit: visit.say(bytes(16_000), 16_000, bytes, chunk_s=0.1, lead_s=0.2)
    with dial(server) as client:
        began = time.monotonic()
        client.send("hello")
        client.recv(LIMIT_S)
        came = []
        for _ in range(5):
            assert len(client.recv(LIMIT_S)) == 3_200
            came.append(time.monotonic() - began)
    assert came[2] < 0.1 and 0.19 < came[4] < 0.4


def test_a_visit_can_be_closed_with_a_code_or_cut_without_a_word(server):
    with dial(server) as client:
        server.visit(1).close(4401, "no")
        with pytest.raises(ConnectionClosedError) as closed:
            client.recv(LIMIT_S)
    assert closed.value.rcvd.code == 4401
    with dial(server) as client:
        server.visit(2).cut()
        with pytest.raises(ConnectionClosedError) as closed:
            client.recv(LIMIT_S)
    assert closed.value.rcvd is None


def test_a_visit_that_falls_silent_answers_no_ping_and_keeps_the_connection(server):
    with dial(server) as client:
        assert client.ping().wait(LIMIT_S)
        visit = server.visit()
        visit.fall_silent()
        assert not client.ping().wait(0.2)
        client.send("still there?")
        visit.wait(lambda visit: len(visit.messages) == 1)


def test_a_test_does_not_wait_for_what_a_visit_that_is_over_did_not_bring(server):
    with dial(server):
        pass
    began = time.monotonic()
    with pytest.raises(AssertionError):
        server.visit().wait(lambda visit: len(visit.frames) > 0)
    assert time.monotonic() - began < LIMIT_S / 2


@pytest.mark.slow
def test_both_ways_at_once_over_tls_nothing_is_lost(secure):
    secure.on_ready = lambda visit: visit.say(bytes(3_200_000), 16_000, bytes, chunk_s=0.02, lead_s=None)
    with dial(secure, max_queue=None) as client:
        client.send("hello")
        client.recv(LIMIT_S)
        speaking = threading.Thread(target=lambda: [client.send(bytes(640)) for _ in range(3000)], daemon=True)
        speaking.start()
        assert sum(len(client.recv(LIMIT_S)) for _ in range(5000)) == 3_200_000
        secure.visit().wait(lambda visit: len(visit.frames) == 3000)
    assert secure.violations == [] and secure.trouble == []


# --- TLS


def test_alpn_is_seen_and_a_client_that_offers_http2_gets_it(secure):
    for number, (offered, agreed) in enumerate(((["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "h2")), 1):
        context = trusting()
        context.set_alpn_protocols(offered)
        with connect("ws://127.0.0.1", sock=line_to(secure.port, context)):
            assert secure.visit(number).alpn == agreed


@pytest.mark.parametrize("name", ["wrong_host", "expired", "unknown_issuer"])
def test_a_client_that_does_not_believe_the_certificate_leaves_and_the_next_is_served(name):
    with Echo(tls=certificates.server_context(name)) as server:
        with pytest.raises(ssl.SSLCertVerificationError), dial(server):
            pass
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no TLS at all
        wait_until(lambda: len(server.trouble) == 2)
        server.tls = certificates.server_context()
        assert post(server)[0] == 200 and server.violations == []


# --- the end


def test_it_ends_at_once_with_clients_that_say_nothing_and_says_goodbye_to_those_that_talk():
    with contextlib.ExitStack() as clients:
        with Echo() as server, Echo(tls=certificates.server_context()) as secure:
            for port in (server.port, secure.port):
                clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            client = clients.enter_context(dial(server))
            began = time.monotonic()
        assert time.monotonic() - began < 0.5
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(LIMIT_S)
    assert closed.value.rcvd.code == 1001


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_it_ends_in_time_with_a_client_that_does_not_read(kind):
    with contextlib.ExitStack() as clients:
        with Echo(tls=certificates.server_context() if kind == "tls" else None) as server:
            server.on_ready = lambda visit: visit.say(bytes(40_000_000), 16_000, bytes, chunk_s=10, lead_s=None)
            clients.enter_context(dial(server, max_queue=1)).send("hello")
            visit = server.visit()
            visit.wait(lambda visit: visit.ready)
            began = time.monotonic()
        assert time.monotonic() - began < 3 and visit.ended.is_set()
        wait_until(lambda: not threads("script") and not threads("goodbye"))


def test_in_a_process_of_its_own_it_says_where_it_is_and_ends_with_its_input():
    command = [sys.executable, "-m", "tests.servers.datagrid", "--tls"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        url, authority = process.stdout.readline().strip(), process.stdout.readline().strip()
        line = line_to(urlsplit(url).port, trusting(authority))
        with connect("ws://127.0.0.1/ws/voice", sock=line) as client:
            client.send('{"type":"start","payload":{}}')
            assert json.loads(client.recv(LIMIT_S))["type"] == "started"
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0
