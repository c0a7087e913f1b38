"""WorkBuddy's protocol without a socket: every message both ways, every verdict, and whatever a hostile server sends."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.session.credentials import Secret
from device.session.protocol import Answer, Audio, Ended, MalformedError
from device.session.protocols.workbuddy import WorkBuddy

KEY = "wb-hunter2"
URL = "https://voice.example"
SOCKET_URL = "wss://rooms.example/api/v1/sdk/ws"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJraW9zayJ9.c2lnbmF0dXJl"
WHERE = f"{URL}/api/v1/sdk/token"

EXCHANGE: list[str | bytes] = [
    '{"type": "connected"}',
    '{"type": "agent_ready"}',
    *[bytes(640)] * 10,
    *[b"\x10\x20" * 320] * 25,
    *[bytes(640)] * 40,
    *[b"\x20\x10" * 320] * 25,
    '{"type": "session_ended", "reason": "agent_disconnected"}',
]
"""What the agent sent in one conversation: two replies, the second of them cut off by its own end; silence between them."""


def protocol(key=KEY, url=URL):
    return WorkBuddy(Agent(protocol="workbuddy", url=url), Secret(key) if key else None, 3)


def grant(talk, token=JWT, url=SOCKET_URL):
    talk.granted(json.dumps({"token": token, "ws_url": url}).encode())
    return talk


def facts(message, to=None):
    return list((to or protocol()).receive(json.dumps(message) if isinstance(message, dict) else message))


def verdict_on(message):
    with pytest.raises(SessionError) as caught:
        facts(message)
    return caught.value


# --- the token


def test_a_token_is_asked_for_with_the_key_in_the_header_alone():
    post = protocol().credential()
    assert post.url == WHERE and post.headers == {"Authorization": "Bearer wb-hunter2"}
    assert json.loads(post.body) == {}


@pytest.mark.parametrize(
    ("url", "token_url", "likely"),
    [
        ("https://a.example/", "https://a.example/api/v1/sdk/token", "wss://a.example/api/v1/sdk/ws"),
        ("wss://a.example:8443", "https://a.example:8443/api/v1/sdk/token", "wss://a.example:8443/api/v1/sdk/ws"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9/api/v1/sdk/token", "ws://127.0.0.1:9/api/v1/sdk/ws"),
        ("https://a.example/eu/", "https://a.example/eu/api/v1/sdk/token", "wss://a.example/eu/api/v1/sdk/ws"),
        (WHERE, WHERE, "wss://voice.example/api/v1/sdk/ws"),
        ("wss://voice.example/api/v1/sdk/ws", WHERE, "wss://voice.example/api/v1/sdk/ws"),
        ("https://a.example?r=1", "https://a.example/api/v1/sdk/token?r=1", "wss://a.example/api/v1/sdk/ws?r=1"),
    ],
)
def test_the_api_url_may_be_given_in_any_form(url, token_url, likely):
    assert protocol(url=url).credential().url == token_url
    assert protocol(url=url).likely() == likely


def test_the_answer_says_where_to_connect_to_and_the_token_goes_first():
    talk = grant(protocol())
    assert talk.request().url == SOCKET_URL and talk.request().headers == {}
    assert [json.loads(message) for message in talk.opening()] == [{"token": JWT}]


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("https://rooms.example/api/v1/sdk/ws", SOCKET_URL),
        ("wss://rooms.example/?room=7", "wss://rooms.example/?room=7"),
        ("wss://rooms.example/other?room=7", "wss://rooms.example/other?room=7"),
        ("ws://127.0.0.1:9/api/v1/sdk/ws", "ws://127.0.0.1:9/api/v1/sdk/ws"),
    ],
)
def test_where_to_connect_to_may_be_given_in_any_form(given_url, expected):
    assert grant(protocol(), url=given_url).request().url == expected


def test_every_connection_has_a_token_of_its_own():
    talk = grant(grant(protocol()), token="second", url="wss://other.example/ws")
    assert talk.request().url == "wss://other.example/ws" and json.loads(talk.opening()[0]) == {"token": "second"}


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"no", b"[]", b"{}", b'"token"', {"token": JWT}, {"ws_url": SOCKET_URL}, {"token": "", "ws_url": SOCKET_URL},
        {"token": None, "ws_url": SOCKET_URL}, {"token": 7, "ws_url": SOCKET_URL}, {"token": "a\nb", "ws_url": SOCKET_URL},
        {"token": "\ud800", "ws_url": SOCKET_URL}, {"token": JWT, "ws_url": None}, {"token": JWT, "ws_url": ""},
        {"token": JWT, "ws_url": "ws://rooms.example/ws"}, {"token": JWT, "ws_url": "wss://u:p@rooms.example/ws"},
        {"token": JWT, "ws_url": "file:///etc/passwd"}, {"token": JWT, "ws_url": "wss://["}, {"token": JWT, "ws_url": []},
    ],
)  # fmt: skip
def test_an_answer_without_a_token_and_a_safe_address_is_malformed(answer):
    with pytest.raises(MalformedError) as caught:
        protocol().granted(json.dumps(answer).encode() if isinstance(answer, dict) else answer)
    assert JWT not in str(caught.value)


def test_a_wrong_answer_leaves_the_last_one_as_it_was():
    talk = grant(protocol())
    with pytest.raises(MalformedError):
        talk.granted(b'{"token": "new", "ws_url": "ws://in.the.clear"}')
    assert json.loads(talk.opening()[0]) == {"token": JWT} and talk.request().url == SOCKET_URL


def test_the_heartbeat_shows_whether_the_service_is_there():
    post = protocol().health()
    assert post.url == f"{URL}/api/v1/sdk/heartbeat" and post.headers == {"Authorization": "Bearer wb-hunter2"}


def test_the_key_is_in_no_message_and_no_address():
    talk = grant(protocol())
    sent = [*talk.opening(), *talk.interrupt(), *talk.stop(), *talk.heard("", 1.0), talk.request().url, talk.likely()]
    assert "hunter2" not in "".join([*sent, talk.credential().url, talk.credential().body.decode(), repr(talk)])


# --- sound


@given(st.binary(min_size=640, max_size=640))
def test_a_frame_is_sent_as_it_is(pcm):
    assert protocol().audio(pcm) == pcm


def test_both_ways_have_16_khz_and_it_may_never_be_silent():
    assert (WorkBuddy.hears, WorkBuddy.speaks, WorkBuddy.continuous) == (16_000, 16_000, True)


@given(st.binary(max_size=2000))
@example(b"{")
@example(b"{}")
@example(b'{"a":1}')
@example(b"{" + bytes(638) + b"}")
def test_a_binary_message_is_sound_of_whole_samples(pcm):
    assert facts(pcm) == [Audio(pcm[: len(pcm) // 2 * 2])]


def test_sound_before_the_session_is_ready_is_sound():
    talk = grant(protocol())
    talk.opening()
    assert facts(b"\1\2" * 320, talk) == [Audio(b"\1\2" * 320)]


def test_it_takes_no_text_no_interruption_and_no_farewell():
    talk = protocol()
    assert talk.text("hello") is None and talk.interrupt() == talk.stop() == talk.heard("", 1.0) == []


# --- what the agent says


@pytest.mark.parametrize("kind", ["connected", "agent_ready"])
def test_either_of_both_messages_means_ready(kind):
    assert facts({"type": kind}) == [e.SessionStarted(3), e.SessionReady(3)]
    assert facts({"type": kind, "new": {"field": 1}}) == [e.SessionStarted(3), e.SessionReady(3)]


def test_a_connection_becomes_ready_once():
    talk = grant(protocol())
    for _ in range(2):
        talk.opening()
        assert facts({"type": "connected"}, talk) == [e.SessionStarted(3), e.SessionReady(3)]
        assert facts({"type": "agent_ready"}, talk) == facts({"type": "connected"}, talk) == []


@pytest.mark.parametrize("reason", ["agent_disconnected", "session_closed", "room_closed", "something_new"])
def test_the_end_of_the_session_has_a_reason(reason):
    assert facts({"type": "session_ended", "reason": reason}) == [Ended(reason)]


@pytest.mark.parametrize("reason", [{}, {"reason": None}, {"reason": 7}, {"reason": ""}, {"reason": ["x"]}])
def test_an_end_without_a_reason_is_an_end(reason):
    assert facts({"type": "session_ended", **reason}) == [Ended("agent")]


def test_a_server_that_shuts_down_is_not_the_end():
    verdict = verdict_on({"type": "session_ended", "reason": "server_shutdown"})
    assert isinstance(verdict, NetworkError) and verdict.code == "server_busy"


ERRORS = [
    ("AUTH_TIMEOUT", 4001, "server_fault"),
    ("INVALID_AUTH", 4002, "server_fault"),
    ("AUTH_FAILED", 4003, "token_refused"),
    ("SESSION_SETUP_FAILED", 4500, "server_fault"),
]


@pytest.mark.parametrize(("error", "close", "code"), ERRORS)
def test_an_error_and_the_close_code_that_follows_mean_the_same(error, close, code):
    verdict = verdict_on({"type": "error", "code": error, "message": "Sorry."})
    assert isinstance(verdict, NetworkError) and verdict.code == code
    assert error in str(verdict) and "Sorry." in str(verdict)
    verdict = protocol().closed(close)
    assert isinstance(verdict, NetworkError) and verdict.code == code and str(close) in str(verdict)


@pytest.mark.parametrize(("error", "close", "code"), ERRORS)
def test_an_error_needs_no_message(error, close, code):
    assert verdict_on({"type": "error", "code": error, "message": None}).code == code


def test_an_error_that_we_do_not_know_is_told_and_the_close_decides():
    assert facts({"type": "error", "code": "odd", "message": "No."}) == [e.AgentErred(3, "odd", "No.")]
    for fields in ({}, {"code": 4003}, {"code": None, "message": 7}, {"code": ["AUTH_FAILED"]}):
        assert facts({"type": "error", **fields}) == [e.AgentErred(3, "agent_error", "The agent gave no reason.")]


def test_a_normal_close_ends_the_session():
    assert protocol().closed(1000) == Ended("agent")


@pytest.mark.parametrize("code", [None, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4004, 4999])
def test_after_any_other_close_it_is_tried_again(code):
    verdict = protocol().closed(code)
    assert isinstance(verdict, NetworkError) and verdict.code in ("connection_lost", "server_fault", "server_busy")


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, RefusedError, "key_refused"),
        (403, RefusedError, "device_inactive"),
        (404, RefusedError, "not_found"),
        (429, NetworkError, "server_busy"),
        (500, NetworkError, "server_fault"),
        (503, NetworkError, "server_busy"),
    ],
)
def test_every_status_of_the_token_request_has_a_verdict(status, kind, code):
    verdict = protocol().denied(Answer(status, b"\xff no JSON", WHERE, 7.0))
    assert isinstance(verdict, kind) and verdict.code == code and str(status) in str(verdict) and WHERE in str(verdict)
    assert not isinstance(verdict, NetworkError) or verdict.wait_s == 7.0


def test_an_inactive_kiosk_is_said_of_the_token_request_alone():
    assert "kiosk is inactive" in str(protocol().denied(Answer(403, b"", WHERE)))
    assert protocol().denied(Answer(403, b"", SOCKET_URL)).code == "key_refused"


@pytest.mark.parametrize("kind", ["pong", "transcript", "", "CONNECTED"])
def test_what_we_do_not_know_means_nothing(kind):
    assert facts({"type": kind, "token": "x"}) == []


@pytest.mark.parametrize("message", EXCHANGE[:2] + EXCHANGE[-1:])
def test_text_in_a_binary_message_is_understood(message):
    assert facts(message.encode()) == facts(message) != []


@pytest.mark.parametrize(
    "message", ["", "connected", "{", "[]", "7", "null", "{}", '{"type":7}', '{"type":null}', "[" * 100_000, b'{"type":7}'],
)  # fmt: skip
def test_what_is_no_message_is_malformed(message):
    with pytest.raises(MalformedError):
        facts(message)


def test_what_the_agent_says_is_logged_on_one_line_without_key_and_token():
    talk = grant(protocol())
    (erred,) = facts({"type": "error", "code": f"a {KEY}", "message": f"no\n= {JWT} \x1b[31m {KEY}"}, talk)
    assert (erred.code, erred.message) == ("a ***", "no = ***  [31m ***")
    with pytest.raises(NetworkError) as caught:
        facts({"type": "error", "code": "AUTH_FAILED", "message": f"{JWT} is old"}, talk)
    assert JWT not in str(caught.value)
    assert facts({"type": "session_ended", "reason": f"{KEY}\n"}, talk) == [Ended("*** ")]


def test_a_very_long_text_is_cut():
    (ended,) = facts({"type": "session_ended", "reason": "x" * 1_000_000})
    assert len(ended.reason) < 10_000


def test_a_whole_conversation_is_understood():
    talk = grant(protocol())
    talk.opening()
    found = [fact for message in EXCHANGE for fact in talk.receive(message)]
    assert found[:2] == [e.SessionStarted(3), e.SessionReady(3)] and found[-1] == Ended("agent_disconnected")
    assert [fact.pcm for fact in found[2:-1]] == [message for message in EXCHANGE if isinstance(message, bytes)]


# --- a hostile server

ODD_NUMBERS = st.sampled_from([10**400, -(10**400), 1e308, float("nan"), float("inf"), -0.0, True, 2**63])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | ODD_NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["connected", "agent_ready", "session_ended", "error", "audio"])
WORDS = st.sampled_from([*(error for error, _, _ in ERRORS), "room_closed", "server_shutdown", "\ud800"])
NEAR = st.fixed_dictionaries(
    {"type": KINDS | JSON}, optional=dict.fromkeys(("reason", "code", "message", "token"), WORDS | JSON)
)


def survives(talk, message, plausible):
    """Nothing but the two errors of the interface, nothing but such facts, and sound of whole samples."""
    try:
        found = list(talk.receive(message))
    except (MalformedError, SessionError):
        return
    assert len(found) <= 2
    for fact in found:
        assert isinstance(fact, plausible)
        assert not isinstance(fact, Audio) or len(fact.pcm) % 2 == 0


FACTS = (Audio, Ended, e.SessionStarted, e.SessionReady, e.AgentErred)


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b'\xef\xbb\xbf{"type":"connected"}')
@example('{"type":"connected"}'.encode("utf-16"))
@example(b"{" * 100_000 + b"}" * 100_000)
@example(b'{"type":' * 100_000 + b"}" * 100_000)
def test_any_bytes_and_any_text_are_survived(message):
    survives(protocol(), message, FACTS)


@given(JSON | NEAR, st.booleans())
def test_any_json_is_survived(message, binary):
    text = json.dumps(message)
    survives(protocol(), text.encode() if binary else text, FACTS)


@given(JSON | st.fixed_dictionaries({}, optional={"token": JSON | st.just(JWT), "ws_url": JSON | st.just(SOCKET_URL)}))
def test_any_answer_to_the_token_request_is_taken_or_malformed(answer):
    talk = protocol()
    try:
        talk.granted(json.dumps(answer).encode())
    except MalformedError:
        return
    assert talk.request().url == SOCKET_URL
    talk.opening()[0].encode()


@given(st.integers(100, 599), st.binary(max_size=50))
def test_any_status_and_body_have_a_verdict(status, body):
    assert isinstance(protocol().denied(Answer(status, body, WHERE)), SessionError)


@given(st.none() | st.integers(0, 65_535))
def test_any_close_code_has_a_verdict(code):
    assert isinstance(protocol().closed(code), Ended | SessionError)


# --- settings


def problems(key=KEY, url=URL, access="", **options):
    agent = Agent(protocol="workbuddy", url=url, access=access, options=options)
    return WorkBuddy.problems(agent, Secret(key) if key else None)


def test_the_api_url_and_the_key_are_enough():
    assert problems() == []


def test_a_missing_url_is_told_with_where_it_comes_from():
    (problem,) = problems(url="")
    assert problem.startswith("agent.url is missing") and "WorkBuddy gave you" in problem


def test_all_mistakes_are_told_at_once():
    found = problems(key=None, url="", access="token", kiosk="x", deviceId=7)
    assert len(found) == 5
    assert any("kiosk is not an option of WorkBuddy" in problem for problem in found)
    assert any("agent.access" in problem for problem in found) and any("API key" in problem for problem in found)
