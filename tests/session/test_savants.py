"""The Savants' protocol without a socket: every message both ways, every verdict, and whatever a hostile server sends."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.session.credentials import Secret
from device.session.protocol import Answer, Audio, Ended, MalformedError
from device.session.protocols.savants import Savants
from tests.session.test_workbuddy import FACTS, JSON, survives

KEY = "sk_live_hunter2"
DEVICE = {"deviceId": "kitchen-1"}
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJraXRjaGVuIn0.c2lnbmF0dXJl"
WHERE = "https://api.thesavants.ai/api/websocket-voice/token"
READY = ("savant_voice_connected", "vapi_connected")

EXCHANGE: list[str | bytes] = [
    '{"type": "savant_voice_connected", "message": "Connection established"}',
    *[b"\x10\x20" * 800] * 20,
    *[bytes(3200)] * 10,
    *[b"\x20\x10" * 160] * 50,
    '{"type": "error", "error": {"message": "The model is slow today.", "code": "SLOW"}}',
    *[b"\x20\x10" * 1600] * 5,
]
"""What the agent sent in one conversation: two replies in pieces of 10 to 100 ms, silence between them, a harmless error."""


def protocol(key=KEY, url="", options=DEVICE):
    return Savants(Agent(protocol="savants", url=url, options=options), Secret(key) if key else None, 3)


def connected(token=JWT):
    """A protocol whose connection is open, but not ready."""
    talk = protocol()
    talk.granted(json.dumps({"token": token}).encode())
    talk.opening()
    return talk


def ready():
    talk = connected()
    assert facts({"type": "vapi_connected"}, talk)
    return talk


def facts(message, to=None):
    return list((to or connected()).receive(json.dumps(message) if isinstance(message, dict) else message))


def error(code, message="Sorry."):
    return {"type": "error", "error": {"message": message, "code": code}}


def verdict_on(message, to=None):
    with pytest.raises(SessionError) as caught:
        facts(message, to)
    return caught.value


def denied(status, code=None, retry_after_s=None, **details):
    body = {"error": {"code": code, "message": "Sorry.", "details": details}} if code else {}
    return protocol().denied(Answer(status, json.dumps(body).encode(), WHERE, retry_after_s))


# --- the token


def test_a_token_is_asked_for_with_key_and_device_in_the_body_alone():
    post = protocol().credential()
    assert post.url == WHERE and post.headers == {}
    assert json.loads(post.body) == {"apiKey": KEY, "deviceId": "kitchen-1"}


@pytest.mark.parametrize(
    ("url", "token_url", "socket_url"),
    [
        ("", WHERE, "wss://api.thesavants.ai/voice-stream"),
        ("https://a.example", "https://a.example/api/websocket-voice/token", "wss://a.example/voice-stream"),
        (
            "wss://a.example:8443/",
            "https://a.example:8443/api/websocket-voice/token",
            "wss://a.example:8443/voice-stream",
        ),
        ("http://127.0.0.1:9", "http://127.0.0.1:9/api/websocket-voice/token", "ws://127.0.0.1:9/voice-stream"),
        ("https://a.example/eu", "https://a.example/eu/api/websocket-voice/token", "wss://a.example/eu/voice-stream"),
        ("wss://api.thesavants.ai/voice-stream", WHERE, "wss://api.thesavants.ai/voice-stream"),
        (WHERE, WHERE, "wss://api.thesavants.ai/voice-stream"),
    ],
)
def test_the_address_may_be_given_in_any_form(url, token_url, socket_url):
    talk = protocol(url=url)
    assert talk.credential().url == token_url
    assert talk.request().url == talk.likely() == socket_url and talk.request().headers == {}


def test_the_token_goes_first_and_as_it_is():
    assert connected().opening() == [JWT]


def test_every_connection_has_a_token_of_its_own():
    talk = connected("first")
    talk.granted(b'{"token": "second", "new_field": 1}')
    assert talk.opening() == ["second"]


@pytest.mark.parametrize(
    "answer", [b"", b"no", b"[]", b"{}", b'"token"', {"token": ""}, {"token": None}, {"token": 7}, {"token": "a\nb"},
               {"token": "\ud800"}, {"token": ["x"]}, {"Token": JWT}],
)  # fmt: skip
def test_an_answer_without_a_token_is_malformed(answer):
    with pytest.raises(MalformedError):
        protocol().granted(json.dumps(answer).encode() if isinstance(answer, dict) else answer)


def test_the_key_is_in_no_message_and_no_address():
    talk = connected()
    sent = [*talk.opening(), *talk.interrupt(), *talk.stop(), *talk.heard("", 1.0), talk.request().url, talk.likely()]
    assert "hunter2" not in "".join([*sent, talk.credential().url, repr(talk)])


# --- sound


@given(st.binary(min_size=640, max_size=640))
def test_a_frame_is_sent_as_it_is(pcm):
    assert protocol().audio(pcm) == pcm


def test_both_ways_have_16_khz_and_it_may_never_be_silent():
    assert (Savants.hears, Savants.speaks, Savants.continuous) == (16_000, 16_000, True)


@given(st.binary(max_size=3200))
@example(b"{" + bytes(638) + b"}")
def test_a_binary_message_is_sound_of_whole_samples_at_any_time(pcm):
    assert facts(pcm) == [Audio(pcm[: len(pcm) // 2 * 2])]


def test_it_takes_no_text_no_interruption_and_no_farewell():
    talk = protocol()
    assert talk.text("hello") is None and talk.interrupt() == talk.stop() == talk.heard("", 1.0) == []
    assert talk.health() is None


# --- what the agent says


@pytest.mark.parametrize("kind", READY)
def test_either_of_both_messages_means_ready(kind):
    assert facts({"type": kind}) == [e.SessionStarted(3), e.SessionReady(3)]
    named = {"type": kind, "message": "Established", "timestamp": "2024-01-15T10:30:00.000Z", "sessionId": "s-1"}
    assert facts(named) == [e.SessionStarted(3, "s-1"), e.SessionReady(3)]
    assert facts({"type": kind, "sessionId": 7, "message": None}) == [e.SessionStarted(3), e.SessionReady(3)]


def test_a_connection_becomes_ready_once():
    talk = protocol()
    for _ in range(2):
        talk.opening()
        assert len(facts({"type": READY[0]}, talk)) == 2
        assert facts({"type": READY[1]}, talk) == facts({"type": READY[0]}, talk) == []


@pytest.mark.parametrize(
    "code", ["AUTHENTICATION_FAILED", "INVALID_TOKEN", "TOKEN_EXPIRED", "jwt_expired", "UNAUTHORIZED", "AUTH_ERROR"]
)
def test_before_the_session_begins_an_error_about_who_we_are_is_about_the_token(code):
    verdict = verdict_on(error(code))
    assert isinstance(verdict, NetworkError) and verdict.code == "token_refused" and code in str(verdict)
    assert facts(error(code), ready()) == [e.AgentErred(3, code, "Sorry.")]


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("DEVICE_INACTIVE", RefusedError, "device_inactive"),
        ("RATE_LIMITED", NetworkError, "server_busy"),
        ("CONFIGURATION_ERROR", NetworkError, "server_fault"),
    ],
)
def test_an_error_by_a_name_of_the_token_request_means_the_same(code, kind, expected):
    for talk in (connected(), ready()):
        verdict = verdict_on(error(code), talk)
        assert isinstance(verdict, kind) and verdict.code == expected


def test_an_error_that_we_do_not_know_is_told_and_the_close_decides():
    for talk in (connected(), ready()):
        assert facts(error("odd", "No."), talk) == [e.AgentErred(3, "odd", "No.")]


@pytest.mark.parametrize(
    "fields", [{}, {"error": None}, {"error": "no"}, {"error": []}, {"error": {}}, {"error": {"code": 7, "message": None}},
               {"code": "AUTHENTICATION_FAILED", "message": "flat"}],
)  # fmt: skip
def test_an_error_need_not_say_anything(fields):
    assert facts({"type": "error", **fields}) == [e.AgentErred(3, "agent_error", "The agent gave no reason.")]


def test_a_normal_close_is_an_end():
    assert ready().closed(1000) == Ended("agent")


def test_an_error_may_ask_for_patience():
    details = {"code": "RATE_LIMITED", "message": "Slow down.", "details": {"retryAfter": 9}}
    with pytest.raises(NetworkError) as busy:
        list(ready().receive(json.dumps({"type": "error", "error": details})))
    assert (busy.value.code, busy.value.wait_s) == ("server_busy", 9.0)


@pytest.mark.parametrize("code", [None, 1001, 1005, 1006, 1008, 1011, 1012, 1013, 4000, 4001, 4999])
def test_after_any_other_close_it_is_tried_again(code):
    for talk in (connected(), ready()):
        verdict = talk.closed(code)
        assert isinstance(verdict, NetworkError) and verdict.code in ("connection_lost", "server_fault", "server_busy")


# --- how the token is refused


def test_a_wrong_request_says_which_field():
    verdict = denied(400, "INVALID_REQUEST", field="deviceId", expected="string")
    assert isinstance(verdict, RefusedError) and verdict.code == "options_refused"
    assert "deviceId should be string" in str(verdict)
    assert "deviceId (HTTP 400)" in str(denied(400, "INVALID_REQUEST", field="deviceId"))
    assert denied(400, "INVALID_REQUEST", field=7, expected=[]).code == "options_refused"


def test_a_wrong_key_or_an_unknown_device_is_final():
    verdict = denied(401, "AUTHENTICATION_FAILED")
    assert isinstance(verdict, RefusedError) and verdict.code == "key_refused" and "deviceId" in str(verdict)
    assert denied(401).code == denied(401, "SOMETHING_NEW").code == "key_refused"


@pytest.mark.parametrize("status", [401, 403])
def test_a_deactivated_device_is_final(status):
    verdict = denied(status, "DEVICE_INACTIVE", deviceId="kitchen-1", deactivatedAt="2024-01-15T10:30:00Z")
    assert isinstance(verdict, RefusedError) and verdict.code == "device_inactive" and "deactivated" in str(verdict)


def test_too_many_requests_wait_as_long_as_the_body_or_the_header_says():
    verdict = denied(429, "RATE_LIMITED", retryAfter=60, limit=60, window="1 minute")
    assert isinstance(verdict, NetworkError) and (verdict.code, verdict.wait_s) == ("server_busy", 60.0)
    assert denied(429, "RATE_LIMITED", retry_after_s=5.0, retryAfter=60).wait_s == 60.0
    assert denied(429, "RATE_LIMITED", retry_after_s=5.0).wait_s == denied(429, None, 5.0).wait_s == 5.0
    assert denied(429, "RATE_LIMITED").wait_s is None


@pytest.mark.parametrize("wait", [None, "60", True, 0, -1, 3601, 10**400, float("nan"), float("inf"), [], {}])
def test_an_implausible_wait_is_not_believed(wait):
    assert denied(429, "RATE_LIMITED", retryAfter=wait).wait_s is None


def test_a_server_that_is_set_up_wrongly_is_tried_again():
    verdict = denied(500, "CONFIGURATION_ERROR")
    assert isinstance(verdict, NetworkError) and verdict.code == "server_fault"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, RefusedError, "options_refused"),
        (401, RefusedError, "key_refused"),
        (403, RefusedError, "key_refused"),
        (404, RefusedError, "not_found"),
        (500, NetworkError, "server_fault"),
        (503, NetworkError, "server_busy"),
    ],
)
def test_every_status_of_the_upgrade_has_a_verdict(status, kind, code):
    verdict = protocol().denied(Answer(status, b"<html>", "wss://api.thesavants.ai/voice-stream"))
    assert isinstance(verdict, kind) and verdict.code == code and str(status) in str(verdict)


# --- what is odd


@pytest.mark.parametrize("kind", ["status", "session_ended", "transcript", "", "VAPI_CONNECTED"])
def test_what_we_do_not_know_means_nothing(kind):
    assert facts({"type": kind, "message": "x"}) == []


def test_text_in_a_binary_message_is_understood():
    texts = [message for message in EXCHANGE if isinstance(message, str)]
    assert len(texts) == 2
    for message in texts:
        assert facts(message.encode()) == facts(message) != []


@pytest.mark.parametrize(
    "message", ["", "ready", JWT, "{", "[]", "7", "null", "{}", '{"type":7}', '{"type":null}', "[" * 100_000, b'{"type":7}'],
)  # fmt: skip
def test_what_is_no_message_is_malformed(message):
    with pytest.raises(MalformedError):
        facts(message)


def test_what_the_agent_says_is_logged_on_one_line_without_key_and_token():
    (erred,) = facts(error(f"a {KEY}", f"no\n= {JWT} \x1b[31m {KEY}"))
    assert (erred.code, erred.message) == ("a ***", "no = ***  [31m ***")
    assert JWT not in str(verdict_on(error("AUTH", f"{JWT} is old")))
    talk = connected()
    body = {"error": {"code": "INVALID_REQUEST", "details": {"field": f"{KEY}\n", "expected": JWT}}}
    said = str(talk.denied(Answer(400, json.dumps(body).encode(), WHERE)))
    assert KEY not in said and JWT not in said and "\n" not in said


def test_a_very_long_text_is_cut():
    (erred,) = facts(error("x" * 1_000_000, "y" * 1_000_000))
    assert len(erred.code) < 10_000 and len(erred.message) < 10_000
    assert len(str(denied(400, "INVALID_REQUEST", field="x" * 1_000_000, expected="y" * 1_000_000))) < 20_000


def test_a_whole_conversation_is_understood():
    talk = connected()
    found = [fact for message in EXCHANGE for fact in talk.receive(message)]
    assert found[:2] == [e.SessionStarted(3), e.SessionReady(3)]
    sound = [fact.pcm for fact in found if isinstance(fact, Audio)]
    assert sound == [message for message in EXCHANGE if isinstance(message, bytes)]
    assert [fact for fact in found[2:] if not isinstance(fact, Audio)] == [
        e.AgentErred(3, "SLOW", "The model is slow today.")
    ]


# --- a hostile server

KINDS = st.sampled_from([*READY, "error", "status", "audio"])
CODES = ["AUTHENTICATION_FAILED", "DEVICE_INACTIVE", "RATE_LIMITED", "CONFIGURATION_ERROR", "INVALID_REQUEST", "\ud800"]
WORDS = st.sampled_from(CODES) | JSON
DETAILS = st.fixed_dictionaries({}, optional=dict.fromkeys(("field", "expected", "retryAfter", "deviceId"), JSON))
ERROR = st.fixed_dictionaries({}, optional={"code": WORDS, "message": WORDS, "details": DETAILS | JSON})
NEAR = st.fixed_dictionaries(
    {"type": KINDS | JSON}, optional={"error": ERROR | JSON, "sessionId": JSON, "message": JSON}
)


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b'\xef\xbb\xbf{"type":"vapi_connected"}')
@example(b'{"type":' * 100_000 + b"}" * 100_000)
def test_any_bytes_and_any_text_are_survived(message):
    survives(connected(), message, FACTS)


@given(JSON | NEAR, st.booleans(), st.booleans())
def test_any_json_is_survived(message, binary, begun):
    text = json.dumps(message)
    survives(ready() if begun else connected(), text.encode() if binary else text, FACTS)


@given(JSON | st.fixed_dictionaries({"token": JSON | st.text()}))
def test_any_answer_to_the_token_request_is_taken_or_malformed(answer):
    talk = protocol()
    try:
        talk.granted(json.dumps(answer).encode())
    except MalformedError:
        return
    assert talk.opening()[0].encode("ascii")


@given(st.integers(100, 599), st.binary(max_size=50) | st.fixed_dictionaries({"error": ERROR | JSON}))
def test_any_status_and_body_have_a_verdict(status, body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    verdict = protocol().denied(Answer(status, body, WHERE))
    assert isinstance(verdict, SessionError)
    assert not isinstance(verdict, NetworkError) or verdict.wait_s is None or 0 < verdict.wait_s <= 3600


@given(st.none() | st.integers(0, 65_535), st.booleans())
def test_any_close_code_has_a_verdict(code, begun):
    assert isinstance((ready() if begun else connected()).closed(code), Ended | SessionError)


# --- settings


def problems(key=KEY, access="", **options):
    agent = Agent(protocol="savants", access=access, options=options)
    return Savants.problems(agent, Secret(key) if key else None)


def test_the_key_and_the_device_are_enough():
    assert problems(deviceId="kitchen-1") == []


@pytest.mark.parametrize("options", [{}, {"deviceId": ""}, {"deviceId": "  "}])
def test_a_missing_device_is_told(options):
    (problem,) = problems(**options)
    assert problem.startswith("agent.options.deviceId is missing")


@pytest.mark.parametrize("value", [7, True, ["x"], {"x": 1}])
def test_a_device_of_a_wrong_type_is_told_once(value):
    assert problems(deviceId=value) == ["agent.options.deviceId must be a text."]


def test_all_mistakes_are_told_at_once():
    found = problems(key=None, access="token", deviceID="x")
    assert len(found) == 4
    assert any("deviceID is not an option of The Savants. Did you mean deviceId?" in problem for problem in found)
    assert any("agent.access" in problem for problem in found) and any("API key" in problem for problem in found)
