"""Datagrid's handoff: a request with the key, which answers with an address and the first message to say there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.config import Agent
from device.errors import NetworkError, RefusedError
from device.events import ConnectionLost, SessionEnded, SessionReady, SessionRefused, SessionStarted
from device.session import session as module
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.link import Link
from device.session.protocol import Answer, MalformedError
from device.session.protocols.datagrid import Datagrid
from tests.fakes import Recorder, threads, wait_until
from tests.servers.datagrid import DatagridServer

KEY = "dg-hunter2"
WHERE = "https://api.datagrid.com/v1/voice"
TOKEN = "handoff%2Btoken-0123456789"
SOCKET = f"wss://rooms.example/ws/voice?token={TOKEN}"
START = {"type": "start", "payload": {"agent_id": "a-1", "voice_mode": "direct_agent", "new_field": [1.5, None, "ü"]}}


def protocol(key=KEY, conversation_id=None, access="handoff", **agent):
    agent = Agent(protocol="datagrid", access=access, **agent)
    return Datagrid(agent, Secret(key) if key else None, 3, conversation_id)


def answer(url=SOCKET, start=START, **more):
    return json.dumps(
        {"object": "voice.session", "url": url, "agent_id": "a-1", "start_message": start, **more}
    ).encode()


def grant(talk, **answered):
    talk.credential()
    talk.granted(answer(**answered))
    return talk


# --- what is asked for


def test_the_request_has_the_key_in_its_header_alone_and_the_start_options_as_its_body():
    options = {"ephemeral": True, "voice_config": {"voice_preset": "sage"}}
    post = protocol(agent_id="a-1", options=options).credential()
    assert post.url == WHERE and post.headers == {"Authorization": f"Bearer {KEY}"}
    assert json.loads(post.body) == {"agent_id": "a-1", **options}


def test_without_settings_the_body_is_empty():
    assert json.loads(protocol().credential().body) == {}


@pytest.mark.parametrize("access", ["", "token"])
def test_the_direct_way_asks_for_nothing(access):
    assert protocol(access=access).credential() is None


def test_only_the_ways_that_exist_are_taken():
    for access, problems in (("", 0), ("token", 0), ("handoff", 0), ("handof", 1)):
        assert len(Datagrid.problems(Agent(access=access), Secret(KEY))) == problems
    assert "Did you mean handoff?" in Datagrid.problems(Agent(access="handof"), Secret(KEY))[0]


@pytest.mark.parametrize(
    ("url", "asked", "likely"),
    [
        ("", WHERE, "wss://api.datagrid.com/ws/voice"),
        ("https://v.example", "https://v.example/v1/voice", "wss://v.example/ws/voice"),
        ("ws://127.0.0.1:9/", "http://127.0.0.1:9/v1/voice", "ws://127.0.0.1:9/ws/voice"),
        ("wss://v.example/ws/voice", "https://v.example/v1/voice", "wss://v.example/ws/voice"),
        ("https://v.example/v1/voice/?r=1", "https://v.example/v1/voice?r=1", "wss://v.example/ws/voice?r=1"),
        ("https://v.example/own", "https://v.example/own", "wss://v.example/own"),
    ],
)
def test_either_address_of_the_vendors_documents_tells_where_both_are(url, asked, likely):
    talk = protocol(url=url)
    assert talk.credential().url == asked and talk.likely() == likely


def test_the_direct_way_takes_the_address_of_the_handoff_too():
    assert protocol(url=WHERE, access="token", key="k").request().url == "wss://api.datagrid.com/ws/voice?token=k"


# --- what is answered


def test_the_address_is_gone_to_and_the_message_sent_as_they_are():
    talk = grant(protocol(agent_id="other", options={"ephemeral": True}))
    assert talk.request().url == SOCKET and talk.request().headers == {}
    (message,) = talk.opening()
    assert json.loads(message) == START


@pytest.mark.parametrize(
    ("url", "request_url"),
    [
        ("https://rooms.example/x?token=abc", "wss://rooms.example/x?token=abc"),
        ("http://127.0.0.1:9/ws/voice?token=abc", "ws://127.0.0.1:9/ws/voice?token=abc"),
        ("wss://rooms.example/x?a=%2F&token=a+b%20c=", "wss://rooms.example/x?a=%2F&token=a+b%20c="),
    ],
)
def test_an_address_of_http_is_one_of_a_websocket(url, request_url):
    assert grant(protocol(), url=url).request().url == request_url


def test_the_key_goes_nowhere_but_into_the_request_for_the_handoff():
    talk = grant(protocol())
    sent = [
        talk.request().url,
        *talk.opening(),
        *talk.text("x"),
        *talk.interrupt(),
        *talk.stop(),
        talk.audio(bytes(640)),
    ]
    assert not any("hunter2" in message for message in sent) and "hunter2" not in repr(talk)


def test_what_is_new_in_the_answer_is_let_be():
    assert grant(protocol(), expires_in=60, object=None, agent_id=None).request().url == SOCKET


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_answer_is_malformed(body):
    with pytest.raises(MalformedError):
        protocol().granted(body)


@pytest.mark.parametrize(
    "wrong",
    [{"url": None}, {"url": 7}, {"url": ""}, {"url": "rooms.example"}, {"url": "ftp://rooms.example"},
     {"url": "ws://rooms.example/ws/voice?token=x"}, {"url": "http://rooms.example"}, {"url": "wss://a:b@rooms.example"},
     {"url": "wss://rooms.example:x"}, {"url": "wss://rooms.example/\r\nX: y"}, {"start": None},
     {"start": "{}"}, {"start": []}],
)  # fmt: skip
def test_an_address_that_is_none_or_not_encrypted_and_a_message_that_is_none_are_malformed(wrong):
    with pytest.raises(MalformedError) as caught:
        protocol().granted(answer(**wrong))
    assert "rooms.example" not in str(caught.value)


def test_neither_key_nor_token_are_shown_however_they_are_written():
    url = "wss://rooms.example/ws/voice?region=eu&token=" + TOKEN
    talk = grant(protocol(), url=url)
    said = f"{KEY} {TOKEN} {TOKEN.replace('%2B', '+')} in the eu"
    (erred,) = talk.receive(json.dumps({"type": "error", "payload": {"message": said}}))
    assert erred.message == "*** *** *** in the eu"


def test_an_address_without_a_token_hides_nothing():
    talk = grant(protocol(), url="wss://rooms.example/ws/voice")
    assert talk.tidy("hello") == "hello"


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(SOCKET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["url", "start_message", "type", "payload"]), inner, max_size=4
    ),
    max_leaves=10,
))  # fmt: skip
def test_whatever_is_answered_is_taken_or_malformed(body):
    talk = protocol()
    try:
        talk.granted(json.dumps(body).encode())
    except MalformedError:
        return
    assert talk.request().url.startswith("wss://")
    assert isinstance(json.loads(talk.opening()[0]), dict)


# --- every connection has a handoff of its own


def test_a_handoff_is_used_once():
    talk = grant(protocol())
    assert talk.credential() is not None
    talk.granted(answer(url="wss://rooms.example/2?token=second-token"))
    assert talk.request().url == "wss://rooms.example/2?token=second-token"


def test_the_handoff_of_a_later_connection_goes_on_with_the_conversation():
    options = {"initial_message": "hello", "initial_context": "a kitchen", "voice_config": {"voice_preset": "sage"}}
    talk = grant(protocol(options=options))
    assert list(talk.receive('{"type":"started","payload":{"conversation_id":"c-9"}}'))
    asked = json.loads(talk.credential().body)
    assert asked == {"conversation_id": "c-9", "voice_config": {"voice_preset": "sage", "silent_start": True}}


def test_the_handoff_of_a_later_session_goes_on_with_the_conversation():
    asked = json.loads(protocol(conversation_id="c-8", options={"initial_message": "hello"}).credential().body)
    assert asked == {"conversation_id": "c-8", "voice_config": {"silent_start": True}}


# --- what is refused


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, RefusedError, "options_refused"), (401, RefusedError, "key_refused"), (402, RefusedError, "no_credit"),
        (403, RefusedError, "key_refused"), (404, RefusedError, "not_found"), (408, NetworkError, "server_fault"),
        (409, NetworkError, "server_fault"), (413, RefusedError, "options_refused"),
        (422, RefusedError, "options_refused"), (429, NetworkError, "server_busy"), (500, NetworkError, "server_fault"),
        (503, NetworkError, "server_busy"),
    ],
)  # fmt: skip
def test_every_status_is_a_verdict(status, kind, code):
    verdict = protocol().denied(Answer(status, b'{"message":"dg-hunter2"}', WHERE, 12.0))
    assert type(verdict) is kind and verdict.code == code and WHERE in str(verdict) and "hunter2" not in str(verdict)
    assert kind is RefusedError or verdict.wait_s == 12.0


@pytest.mark.parametrize("status", [401, 403])
def test_a_handoff_whose_token_is_refused_is_followed_by_another(status):
    talk = protocol()
    talk.granted(json.dumps({"url": "wss://rooms.example/ws/voice?token=t", "start_message": {}}).encode())
    verdict = talk.denied(Answer(status, b"", "wss://rooms.example/ws/voice"))
    assert isinstance(verdict, NetworkError) and verdict.code == "token_refused"
    assert isinstance(talk.denied(Answer(status, b"", WHERE)), RefusedError), "the key itself"


# --- over real sockets, against an agent that follows the vendor's documents


class Bench:
    """A speaker without sound."""

    def __init__(self, url, key=KEY, **agent):
        self.events, self.heard = Recorder(), Recorder()
        agent = Agent(protocol="datagrid", access="handoff", url=url, **agent)
        self.link = Link(
            lambda session, conversation: Datagrid(agent, Secret(key), session, conversation),
            self.heard,
            self.events,
            connect=connect,
        )


@pytest.fixture
def server():
    with DatagridServer() as server:
        server.token = KEY
        yield server


@pytest.fixture
def bench(server, monkeypatch):
    monkeypatch.setattr(module, "delay_s", lambda attempt, jitter: 0.05)
    bench = Bench(server.url, agent_id="a-1", options={"initial_message": "hello"})
    yield bench
    bench.link.close()
    wait_until(lambda: not threads("link-receive") and not threads("link-send"))
    assert KEY not in repr(bench.events.items) and server.violations == []


def test_a_conversation_by_handoff(server, bench):
    server.on_ready = lambda visit: visit.say(bytes(range(240)) * 40, lead_s=None)
    bench.link.start(1, None)
    bench.link.hear(1, b"\1" * 640)
    visit = server.visit()
    visit.wait(lambda visit: visit.audio == b"\1" * 640)
    bench.heard.wait(lambda heard: b"".join(pcm for _, pcm, _ in heard) == bytes(range(240)) * 40)
    bench.link.stop("button")
    bench.events.wait_for(SessionEnded(1, "button"))
    assert visit.messages[0][1] == visit.given and visit.kinds() == ["start", "stop"]
    assert visit.given["payload"] == {"voice_mode": "direct_agent", "agent_id": "a-1", "initial_message": "hello"}
    assert bench.events.of(SessionStarted) == [SessionStarted(1, "s1", "c1")]


def test_every_connection_gets_a_handoff_of_its_own_and_goes_on(server, bench):
    bench.link.start(1, None)
    for number in (1, 2, 3):
        bench.events.wait(lambda _, number=number: len(bench.events.of(SessionReady)) == number)
        server.visit(number).cut()
    last = server.visit(4)
    assert len({visit.path for visit in server.visits}) == 4
    assert last.given["payload"] == {
        "voice_mode": "direct_agent", "agent_id": "a-1", "conversation_id": "c1", "voice_config": {"silent_start": True},
    }  # fmt: skip


def test_a_key_that_is_refused_is_final(server, bench):
    server.token = "another"
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == "key_refused"
    assert len(server.posts) == 1 and server.visits == []


@pytest.mark.parametrize(("status", "code"), [(400, "options_refused"), (402, "no_credit"), (404, "not_found")])
def test_a_handoff_that_is_refused_is_final(server, bench, status, code):
    server.post_status = status
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == code and len(server.posts) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_handoff_that_fails_is_asked_for_again(server, bench, status):
    server.post_status = status
    bench.link.start(1, None)
    bench.events.wait_kind(ConnectionLost)
    server.post_status = None
    bench.events.wait_kind(SessionReady)


def test_what_it_asks_to_wait_is_waited(server, bench):
    server.post_status, server.retry_after_s = 429, 1
    bench.link.start(1, None)
    assert bench.events.wait_kind(ConnectionLost).in_s >= 1.0
