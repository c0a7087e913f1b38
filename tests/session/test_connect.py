"""From a protocol to an open connection: a credential over HTTP, what overlaps with it, and what is said of each failure."""

import json
import socket
import threading
import time
import traceback

import pytest

from device.config import Agent
from device.errors import NetworkError, RefusedError
from device.session import http, transport
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.protocol import MalformedError, Post, Protocol, Request
from tests import certificates
from tests.fakes import threads, wait_until
from tests.servers.scripted import ScriptedServer

KEY = "a-very-secret-key"


class TokenServer(ScriptedServer):
    """Gives a token for a POST."""

    def __init__(self, **listening):
        super().__init__(**listening)
        self.answer = 200, {"token": "t-1"}
        self.before_answer = lambda: None

    def post(self, request):
        self.before_answer()
        return self.answer


class Asking(Protocol):
    """A protocol with a token, and nothing else to it."""

    name = "Asking"

    def __init__(self, url, lead=None):
        super().__init__(Agent(), Secret(KEY), 1)
        self.url = url.replace("http", "ws", 1)
        self.lead = self.url if lead is None else lead
        self.token = None

    def credential(self):
        return Post(f"{self.url.replace('ws', 'http', 1)}/token?a=b", {"Authorization": f"Bearer {KEY}"}, b"{}")

    def granted(self, answer):
        try:
            self.token = json.loads(answer)["token"]
        except (ValueError, KeyError, TypeError):
            raise MalformedError("no token") from None

    def likely(self):
        return self.lead

    def request(self):
        return Request(f"{self.url}/voice?token={self.token}", {})


@pytest.fixture
def server():
    with TokenServer() as server:
        yield server
        assert server.violations == []


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    wait_until(lambda: not threads("link-ahead"))


def refusal(protocol):
    with pytest.raises((NetworkError, RefusedError)) as raised:
        connect(protocol)
    assert KEY not in "".join(traceback.format_exception(raised.value))
    return raised.value


def test_the_token_is_asked_for_with_the_key_and_brought_to_the_connection(server):
    steps = []
    connect(Asking(server.url), lambda *step: steps.append(step)).close()
    (post,) = server.posts
    assert post.path == "/token?a=b" and post.headers["authorization"] == f"Bearer {KEY}" and post.body == b"{}"
    assert post.headers["content-type"] == "application/json" and post.headers["host"] == f"127.0.0.1:{server.port}"
    assert server.visit().path == "/voice?token=t-1"
    assert {name for name, _ in steps} == {"token", "name", "tcp", "upgrade"}
    assert all(0 <= seconds < 1 for _, seconds in steps)


def test_while_the_token_is_on_its_way_the_connection_is_made_ready(server):
    connected = threading.Event()
    opened = transport.open_transport

    def watching(url, told):
        result = opened(url, told)
        if url.startswith("ws"):
            connected.set()
        return result

    server.before_answer = lambda: connected.wait(5) or pytest.fail("it waits for the token first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("device.session.connect.open_transport", watching)
        connect(Asking(server.url)).close()


def test_a_token_that_leads_elsewhere_is_followed_there(server):
    with TokenServer() as elsewhere:
        connect(Asking(server.url, lead=elsewhere.url.replace("http", "ws", 1))).close()
        assert server.visit().path == "/voice?token=t-1" and elsewhere.visits == []


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(401, RefusedError, "key_refused"), (402, RefusedError, "no_credit"), (404, RefusedError, "not_found"),
     (429, NetworkError, "server_busy"), (500, NetworkError, "server_fault"), (503, NetworkError, "server_busy"),
     (302, RefusedError, "not_found"), (400, RefusedError, "options_refused")],
)  # fmt: skip
def test_without_a_token_the_verdict_is_the_protocols_and_nothing_stays_open(status, kind, code):
    with TokenServer() as server:
        server.answer, server.retry_after_s = (status, {"error": KEY}), 7
        error = refusal(Asking(server.url))
        assert type(error) is kind and error.code == code
        assert kind is RefusedError or error.wait_s == 7.0
        assert server.visits == [] and len(server.posts) == 1


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"\xff", b'{"token":'])
def test_an_answer_that_is_no_token_is_the_servers_fault(server, answer):
    server.answer = 200, answer
    error = refusal(Asking(server.url))
    assert isinstance(error, NetworkError) and error.code == "server_fault" and "Asking" in str(error)


def test_where_nobody_listens_both_ways_are_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refusal(Asking(f"http://127.0.0.1:{port}")).code == "nobody_there"


@pytest.mark.parametrize("name", ["wrong_host", "expired", "unknown_issuer"])
def test_a_token_is_asked_of_nobody_who_does_not_prove_who_he_is(monkeypatch, name):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority()))
    with TokenServer(tls=certificates.server_context(name)) as server:
        assert refusal(Asking(server.url)).code == "tls_refused"
        assert server.posts == []


def test_over_tls_only_http_1_is_spoken(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority()))
    with TokenServer(tls=certificates.server_context()) as server:
        steps = []
        connect(Asking(server.url), lambda *step: steps.append(step[0])).close()
        assert server.visit().alpn == "http/1.1" and "tls" in steps


# --- a server that does not behave


def misbehaving(*parts, pause_s=0.0):
    """A server that sends these, whatever it is asked; its URL, and how to end it."""
    over, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def serve():
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while not request.endswith(b"\r\n\r\n{}"):
                    request += connection.recv(65536)
                for part in parts:
                    try:
                        connection.sendall(part)
                    except OSError:
                        break
                    over.wait(pause_s)
                over.wait(0 if pause_s == 0 else 5)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def end():
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        assert not thread.is_alive()

    return f"http://127.0.0.1:{listener.getsockname()[1]}", end


@pytest.mark.parametrize(
    "parts",
    [(b"",), (b"SSH-2.0-OpenSSH\r\n",), (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,),
     (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",)],
)  # fmt: skip
def test_what_is_no_http_is_said_to_be_none(parts):
    url, end = misbehaving(*parts)
    try:
        assert isinstance(refusal(Asking(url, lead="")), NetworkError)
    finally:
        end()


def test_a_server_that_dribbles_is_given_up_in_time(monkeypatch):
    for module in (transport, http):
        monkeypatch.setattr(module, "CONNECT_S", 0.5)
    url, end = misbehaving(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100, pause_s=0.1)
    try:
        began = time.monotonic()
        assert refusal(Asking(url, lead="")).code == "timeout" and time.monotonic() - began < 1.5
    finally:
        end()


def test_an_endless_answer_is_cut():
    url, end = misbehaving(b"HTTP/1.1 200 OK\r\n\r\n" + b'{"token":"t"' + b" " * 400_000)
    try:
        assert refusal(Asking(url, lead="")).code == "server_fault"
    finally:
        end()
