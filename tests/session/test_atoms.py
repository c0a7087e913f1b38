"""Atoms' protocol: every message both ways, every verdict, whatever a hostile server sends; at last over a real socket."""

import base64
import contextlib
import json
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as open_socket

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.session import session as session_module
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.link import Link
from device.session.protocol import Answer, Audio, Ended, Interrupted, MalformedError
from device.session.protocols.atoms import RESERVED, Atoms
from tests import certificates
from tests.fakes import Recorder, threads, wait_until
from tests.servers.atoms import AGENT, KEY, AtomsServer, delta
from tests.session.test_workbuddy import JSON, survives

CREATED = {"type": "session.created", "session_id": "s-1", "call_id": "CALL-1", "sample_rate": 16_000, "channels": 1}
WCT = "wct_" + "x" * 40
WHERE = "https://api.smallest.ai/atoms/v1/agent/connect"


def words(kind, role, text):
    return {"type": kind, "role": role, "text": text}


EXCHANGE: list[str | bytes] = [
    json.dumps(message)
    for message in [
        CREATED,
        {"type": "agent_start_talking", "timestamp": "2026-08-21T10:00:00.000Z"},
        words("transcript.delta", "assistant", "Hello,"),
        *[delta(b"\x10\x20" * 1600)] * 5,
        words("transcript.delta", "assistant", "Hello, how can I help?"),
        {"type": "agent_stop_talking"},
        words("transcript", "assistant", "Hello, how can I help?"),
        words("transcript.delta", "user", "What time"),
        words("transcript.delta", "user", "What time is it?"),
        words("transcript", "user", "What time is it?"),
        {"type": "agent_start_talking"},
        *[delta(b"\x20\x10" * 1600)] * 8,
        {"type": "error", "code": "invalid_event", "message": "audio is required"},
        words("transcript.delta", "user", "Stop"),
        {"type": "interruption"},
        {"type": "agent_stop_talking"},
        words("transcript", "assistant", "It is"),
        words("transcript", "user", "Stop."),
        {"type": "agent_start_talking"},
        *[delta(b"\x30\x10" * 1600)] * 2,
        {"type": "agent_stop_talking"},
        {"type": "session.closed", "reason": "ended"},
    ]
]
"""What the agent sent in one conversation: a greeting, a reply that was interrupted, a last word; it hangs up."""


def protocol(key=KEY, agent_id=AGENT, **agent):
    return Atoms(Agent(protocol="atoms", agent_id=agent_id, **agent), Secret(key) if key else None, 3)


def begun(**agent):
    """In a session."""
    talk = protocol(**agent)
    talk.credential()
    facts(CREATED, to=talk)
    return talk


def facts(message, to=None):
    return list((to or begun()).receive(json.dumps(message) if isinstance(message, dict) else message))


def verdict_on(message, to):
    with pytest.raises(SessionError) as caught:
        facts(message, to)
    return caught.value


def error(code, message="No."):
    return {"type": "error", "code": code, "message": message}


def granted(token=WCT, **data):
    talk = protocol(access="call")
    talk.credential()
    talk.granted(json.dumps({"status": True, "data": {"access_token": token, "expires_in": 30, **data}}).encode())
    return talk


def is_a(verdict, kind, code):
    return type(verdict) is kind and verdict.code == code


# --- where we connect to, and with what


def query_of(talk):
    return {name: values[0] for name, values in parse_qs(urlsplit(talk.request().url).query).items()}


def test_the_key_goes_into_the_address_unless_told_otherwise():
    talk = protocol()
    assert talk.credential() is None and talk.request().headers == {}
    assert (
        talk.request().url
        == f"wss://api.smallest.ai/atoms/v1/agent/connect?token={KEY}&agent_id={AGENT}&sample_rate=16000&mode=webcall"
    )


def test_with_a_header_the_address_has_no_key():
    talk = protocol(access="header")
    assert talk.request().headers == {"Authorization": f"Bearer {KEY}"}
    assert KEY not in talk.request().url and query_of(talk)["agent_id"] == AGENT


@pytest.mark.parametrize("access", ["query", "header"])
def test_settings_are_percent_encoded(access):
    variables = {"name": "Zoë & Co", "tier": 2, "vip": True}
    talk = protocol(
        access=access, key="sk_/+&?", agent_id="a&b", options={"sample_rate": 24_000, "variables": variables}
    )
    query = query_of(talk)
    assert json.loads(query["variables"]) == variables
    assert query["agent_id"] == "a&b" and query["sample_rate"] == "24000" and talk.hears == talk.speaks == 24_000
    assert query.get("token") == ("sk_/+&?" if access == "query" else None)


@pytest.mark.parametrize(
    ("url", "socket", "call"),
    [
        ("https://voice.example", "wss://voice.example/atoms/v1/agent/connect", "https://voice.example"),
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/atoms/v1/agent/connect", "http://127.0.0.1:8000"),
        ("wss://voice.example:8443/own", "wss://voice.example:8443/own", "https://voice.example:8443"),
        ("wss://api.smallest.ai/atoms/v1/agent/connect", "wss://api.smallest.ai/atoms/v1/agent/connect", "https://api.smallest.ai"),
        ("", "wss://api.smallest.ai/atoms/v1/agent/connect", "https://api.smallest.ai"),
    ],
)  # fmt: skip
def test_scheme_and_host_are_enough(url, socket, call):
    assert protocol(url=url).request().url.partition("?")[0] == protocol(url=url).likely() == socket
    assert protocol(url=url, access="call").credential().url == call + "/atoms/v1/conversation/register-call"


def test_a_call_is_registered_with_the_key_in_the_header_alone():
    post = protocol(access="call", options={"variables": {"name": "Zoë"}}).credential()
    assert post.headers == {"Authorization": f"Bearer {KEY}"} and KEY not in post.url
    assert json.loads(post.body) == {"agent_id": AGENT, "mode": "webcall", "variables": {"name": "Zoë"}}


def test_the_token_of_a_call_is_all_that_is_sent_with_it():
    request = granted("wct_a+b").request()
    assert request.url == f"{WHERE.replace('https', 'wss')}?token=wct_a%2Bb" and request.headers == {}


@pytest.mark.parametrize(
    ("data", "rate"), [({}, 24_000), ({"sample_rate": None}, 24_000), ({"sample_rate": 8000}, 8000)]
)
def test_the_rate_of_a_call_is_the_servers(data, rate):
    talk = granted(**data)
    assert talk.hears == talk.speaks == rate


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"data":null}', b'{"data":{}}', b'{"data":{"access_token":7}}', b'{"data":{"access_token":""}}',
     b'{"data":{"access_token":"\\ud800"}}', b'{"data":{"access_token":"a\\nb"}}', b'{"access_token":"wct_x"}'],
)  # fmt: skip
def test_an_answer_without_a_token_is_malformed(answer):
    with pytest.raises(MalformedError):
        protocol(access="call").granted(answer)


def test_the_server_speaks_first():
    assert protocol().opening() == []


# --- what we send


@given(st.binary(min_size=640, max_size=640))
def test_a_frame_is_sent_as_base64(pcm):
    assert json.loads(begun().audio(pcm)) == {
        "type": "input_audio_buffer.append",
        "audio": base64.b64encode(pcm).decode(),
    }


def test_text_is_a_turn_of_the_user():
    assert [json.loads(sent) for sent in begun().text('say "ü"')] == [{"type": "input_text.send", "text": 'say "ü"'}]
    assert begun().text("") == []


def test_there_is_a_message_to_end_the_session_and_none_to_interrupt():
    assert [json.loads(sent) for sent in begun().stop()] == [{"type": "session.close"}]
    assert begun().interrupt() == []


# --- what we receive


def test_created_is_ready_and_names_the_session_and_the_call():
    assert facts(CREATED, protocol()) == [e.SessionStarted(3, "s-1", "CALL-1"), e.SessionReady(3)]
    assert facts({"type": "session.created"}, protocol()) == [e.SessionStarted(3), e.SessionReady(3)]
    assert facts({**CREATED, "session_id": 7, "call_id": []}, protocol())[0] == e.SessionStarted(3)
    assert facts(CREATED, begun()) == []


@pytest.mark.parametrize(("rate", "taken"), [(8000, 8000), (24_000, 24_000), (48_000, 48_000), (22_050.0, 22_050)])
def test_the_servers_rate_is_taken_both_ways(rate, taken):
    talk = protocol()
    facts({**CREATED, "sample_rate": rate}, talk)
    assert (talk.hears, talk.speaks) == (taken, taken)


@pytest.mark.parametrize(
    "odd", [{"sample_rate": None}, {"sample_rate": "24000"}, {"sample_rate": True}, {"channels": "2"}]
)
def test_without_a_rate_it_is_the_one_we_asked_for(odd):
    talk = protocol(options={"sample_rate": 48_000})
    assert e.SessionReady(3) in facts({"type": "session.created", **odd}, talk)
    assert talk.hears == talk.speaks == 48_000


@pytest.mark.parametrize("odd", [{"sample_rate": 0}, {"sample_rate": 96_000}, {"sample_rate": -1e9}, {"channels": 2}])
def test_sound_that_we_cannot_play_is_a_refusal(odd):
    assert is_a(verdict_on({**CREATED, **odd}, protocol()), RefusedError, "server_fault")
    assert is_a(
        verdict_on(json.dumps({**CREATED, "sample_rate": float("nan")}), protocol()), RefusedError, "server_fault"
    )


@pytest.mark.parametrize("form", [json.dumps, lambda message: json.dumps(message).encode()])
def test_json_may_be_in_text_or_binary_messages(form):
    assert facts(form(delta(b"abcd"))) == [Audio(b"abcd")]


def test_audio_belongs_to_the_turn_that_the_agent_began_last():
    talk = begun()
    assert facts(delta(b"ab"), talk) == [Audio(b"ab", "")]
    assert facts({"type": "agent_start_talking"}, talk) == []
    assert facts(delta(b"ab"), talk) == [Audio(b"ab", "1")]
    assert facts({"type": "agent_stop_talking"}, talk) == []
    assert facts(delta(b"late"), talk) == [Audio(b"late", "1")]
    facts({"type": "agent_start_talking", "timestamp": 7}, talk)
    assert facts(delta(b"abc"), talk) == [Audio(b"ab", "2")]


def test_turns_are_numbered_on_over_connections():
    talk = begun()
    facts({"type": "agent_start_talking"}, talk)
    talk.credential()
    facts(CREATED, talk)
    assert facts(delta(b"ab"), talk) == [Audio(b"ab", "")]
    facts({"type": "agent_start_talking"}, talk)
    assert facts(delta(b"ab"), talk) == [Audio(b"ab", "2")]


@pytest.mark.parametrize("fields", [{}, {"audio": None}, {"audio": 7}, {"audio": "QUI"}, {"audio": "QUJD!"}])
def test_audio_that_is_none_is_malformed(fields):
    with pytest.raises(MalformedError):
        facts({"type": "output_audio.delta", **fields})


def test_an_interruption_is_a_fact():
    assert facts({"type": "interruption"}) == [Interrupted()]


def test_what_we_do_not_know_means_nothing():
    assert facts({"type": "node_changed", "anything": {}}) == facts({"type": "input_text.send"}) == []


@pytest.mark.parametrize("message", ["", "x", "[]", "7", "{}", '{"type":7}', b"\xff", b"\0" * 640, "[" * 100_000])
def test_what_is_no_message_is_malformed(message):
    with pytest.raises(MalformedError):
        facts(message)


# --- what was said


@pytest.mark.parametrize(("role", "ours"), [("user", "user"), ("assistant", "agent"), (None, "agent"), ("x", "agent")])
def test_a_final_transcript_is_told_and_drafts_are_not(role, ours):
    talk = begun()
    assert (
        facts(words("transcript.delta", role, "Hel"), talk)
        == facts(words("transcript.delta", role, "Hello"), talk)
        == []
    )
    assert facts(words("transcript", role, "Hello."), talk) == [e.Transcribed(3, ours, "Hello.")]
    assert facts({"type": "session.closed"}, talk) == [Ended("agent")]


def test_a_draft_without_a_final_transcript_is_told_at_the_next_turn():
    talk = begun()
    for message in [
        words("transcript.delta", "user", "What time"),
        words("transcript.delta", "user", "What's the time?"),
        {"type": "agent_start_talking"},
        words("transcript.delta", "user", "What's the time? Please"),
        words("transcript.delta", "assistant", "It is"),
        words("transcript.delta", "assistant", "It is ten."),
        {"type": "agent_stop_talking"},
        {"type": "agent_start_talking"},
    ]:
        assert facts(message, talk) == []
    assert facts(words("transcript.delta", "assistant", "By the way"), talk) == [
        e.Transcribed(3, "agent", "It is ten.")
    ]
    told = e.Transcribed(3, "user", "What's the time? Please")
    assert facts(words("transcript.delta", "user", "Thanks"), talk) == [told]


def test_a_user_who_speaks_after_the_agent_has_begun_begins_a_new_line():
    talk = begun()
    facts(words("transcript.delta", "user", "What's the time?"), talk)
    facts({"type": "agent_start_talking"}, talk)
    assert facts(words("transcript.delta", "user", "Stop"), talk) == [e.Transcribed(3, "user", "What's the time?")]
    assert facts(words("transcript", "user", "Stop."), talk) == [e.Transcribed(3, "user", "Stop.")]


def test_what_is_drafted_at_the_end_is_told_before_it():
    talk = begun()
    facts(words("transcript.delta", "user", "Bye"), talk)
    facts(words("transcript.delta", "assistant", "See you"), talk)
    told = [e.Transcribed(3, "user", "Bye"), e.Transcribed(3, "agent", "See you")]
    assert facts({"type": "session.closed", "reason": "ended"}, talk) == [*told, Ended("agent")]


def test_what_was_drafted_before_the_line_was_lost_is_told_after_it():
    talk = begun()
    facts(words("transcript.delta", "user", "Hello"), talk)
    talk.credential()
    assert facts(CREATED, talk)[0] == e.Transcribed(3, "user", "Hello")


@pytest.mark.parametrize("text", ["", None, 7])
def test_a_final_transcript_without_text_says_that_nothing_was_said(text):
    talk = begun()
    facts(words("transcript.delta", "assistant", "Hel"), talk)
    assert facts(words("transcript", "assistant", text), talk) == []
    assert facts({"type": "session.closed"}, talk) == [Ended("agent")]


def test_however_much_is_drafted_little_is_kept():
    talk = begun()
    for number in range(50):
        facts(words("transcript.delta", f"role {number}", f"{number}" * 100_000), talk)
    (said, _) = facts({"type": "session.closed"}, talk)
    assert len(said.text) <= 4000


# --- errors and ends


@pytest.mark.parametrize("code", ["invalid_event", "no_session", "internal_error", "voice_clone_timeout", "401", "503"])
def test_an_error_within_a_session_is_told_and_does_not_end_it(code):
    assert facts(error(code)) == [e.AgentErred(3, code, "No.")]


def test_an_error_may_lack_everything_or_be_nested():
    unknown = e.AgentErred(3, "agent_error", "The agent gave no reason.")
    assert facts({"type": "error"}) == facts({"type": "error", "code": None, "message": [], "error": 7}) == [unknown]
    assert facts({"type": "error", "error": {"code": 500, "message": "No."}}) == [e.AgentErred(3, "500", "No.")]


STATUSES = [
    ("400", "Invalid agent id", RefusedError, "not_found"),
    ("400", "Insufficient credits", RefusedError, "no_credit"),
    ("401", "No.", RefusedError, "key_refused"),
    ("402", "No.", RefusedError, "no_credit"),
    ("403", "Forbidden", RefusedError, "key_refused"),
    ("403", "Monthly limit reached", RefusedError, "no_credit"),
    ("404", "No.", RefusedError, "not_found"),
    ("429", "No.", NetworkError, "server_busy"),
    ("500", "No.", NetworkError, "server_fault"),
    ("503", "No.", NetworkError, "server_busy"),
]


@pytest.mark.parametrize(("code", "message", "kind", "ours"), STATUSES)
def test_a_status_before_the_session_is_its_end(code, message, kind, ours):
    assert is_a(verdict_on(error(code, message), protocol()), kind, ours)


@pytest.mark.parametrize(("code", "message", "kind", "ours"), STATUSES)
def test_a_status_within_the_session_is_its_end_when_the_connection_is_closed(code, message, kind, ours):
    talk = begun()
    facts(error(code, message), talk)
    assert is_a(talk.closed(4000), kind, ours)


@pytest.mark.parametrize(("code", "message", "kind", "ours"), STATUSES)
def test_a_fatal_error_may_send_closed_too(code, message, kind, ours):
    talk = begun()
    facts(error(code, message), talk)
    assert is_a(verdict_on({"type": "session.closed", "reason": "setup_failed"}, talk), kind, ours)
    assert is_a(verdict_on({"type": "session.closed", "reason": code}, begun()), kind, ours) or message != "No."


@pytest.mark.parametrize("code", ["internal_error", "no_session", "invalid_event"])
def test_a_fatal_fault_of_the_servers_is_tried_again(code):
    talk = begun()
    facts(error(code), talk)
    assert is_a(talk.closed(4000), NetworkError, "server_fault")


def test_a_fatal_close_without_a_reason_is_final():
    assert is_a(protocol().closed(4000), RefusedError, "server_fault")
    assert is_a(begun().closed(4000), RefusedError, "server_fault")


def test_the_error_of_the_last_connection_does_not_explain_this_one():
    talk = begun()
    facts(error("503"), talk)
    talk.credential()
    assert is_a(talk.closed(4000), RefusedError, "server_fault")


@pytest.mark.parametrize("code", [4401, 4403])
def test_a_close_for_want_of_rights_is_final(code):
    assert is_a(begun().closed(code), RefusedError, "key_refused")
    assert is_a(granted().closed(code), RefusedError, "key_refused")


@pytest.mark.parametrize("code", [None, 1001, 1005, 1006])
def test_a_close_without_a_reason_is_a_lost_connection(code):
    assert is_a(begun().closed(code), NetworkError, "connection_lost")


@pytest.mark.parametrize("code", [1008, 4001, 4999])
def test_any_other_close_is_a_fault_after_which_it_is_tried_again(code):
    assert is_a(begun().closed(code), NetworkError, "server_fault")


def test_a_good_close_is_an_end():
    assert begun().closed(1000) == Ended("agent")


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("client_requested", "agent"),
        ("ended", "agent"),
        (None, "agent"),
        (7, "agent"),
        ("timeout", "timeout"),
        ("x\ny", "x y"),
    ],
)
def test_closed_is_the_end(reason, ours):
    talk = begun()
    facts(error("invalid_event"), talk)
    assert facts({"type": "session.closed", "reason": reason}, talk) == [Ended(ours)]


def test_a_hang_up_is_the_end_whatever_errors_there_were():
    talk = begun()
    facts(error("503"), talk)
    assert facts({"type": "session.closed", "reason": "ended"}, talk) == [Ended("agent")]


@pytest.mark.parametrize("reason", ["websocket_closed", "server_error"])
def test_a_close_that_is_a_failure_is_tried_again(reason):
    assert is_a(verdict_on({"type": "session.closed", "reason": reason}, begun()), NetworkError, "server_fault")


# --- HTTP


@pytest.mark.parametrize(("status", "message", "kind", "ours"), STATUSES)
@pytest.mark.parametrize("form", ["message", "error", "errors", "nested", "none"])
def test_each_status_has_a_verdict_wherever_its_reason_stands(status, message, kind, ours, form):
    nested, errors = {"error": {"message": message}}, {"errors": [message]}
    body = {"nested": nested, "errors": errors, "none": {}}.get(form, {form: message})
    verdict = protocol().denied(Answer(int(status), json.dumps(body).encode(), WHERE))
    if form == "none":
        assert type(verdict) is kind
    else:
        assert is_a(verdict, kind, ours)
        assert message in str(verdict) or status in str(verdict)


def test_the_token_of_a_call_that_is_refused_is_worth_another():
    assert is_a(granted().denied(Answer(401, b"", WHERE)), NetworkError, "token_refused")
    assert is_a(verdict_on(error("401"), granted()), NetworkError, "token_refused")
    assert is_a(granted().denied(Answer(403, b"", WHERE)), RefusedError, "key_refused")


def test_a_refusal_within_a_call_is_not_that_of_its_token():
    talk = granted()
    facts(CREATED, talk)
    facts(error("401"), talk)
    assert is_a(talk.closed(4000), RefusedError, "key_refused")


def test_a_key_that_registers_no_call_is_refused():
    talk = granted()
    facts(CREATED, talk)
    talk.credential()
    assert is_a(talk.denied(Answer(401, b"", WHERE)), RefusedError, "key_refused")


def test_a_token_is_refused_on_a_later_connection_as_on_the_first():
    talk = granted()
    facts(CREATED, talk)
    talk.credential()
    talk.granted(json.dumps({"data": {"access_token": "wct_2"}}).encode())
    assert is_a(talk.denied(Answer(401, b"", WHERE)), NetworkError, "token_refused")


@pytest.mark.parametrize(
    ("body", "wait_s"),
    [({"retry_after": 60}, 60.0), ({"retry_after": -1}, 7.0), ({"retry_after": "x"}, 7.0), ({}, 7.0)],
)
def test_a_busy_server_says_how_long_to_wait(body, wait_s):
    verdict = protocol().denied(Answer(429, json.dumps({"code": "RATE_LIMIT_EXCEEDED", **body}).encode(), WHERE, 7.0))
    assert is_a(verdict, NetworkError, "server_busy") and verdict.wait_s == wait_s


def test_no_secret_is_shown():
    talk = granted()
    said = f"{KEY} {WCT} \x1b[31m\n" + "x" * 10_000
    shown = [
        *facts({**CREATED, "session_id": said, "call_id": said}, talk),
        *facts(words("transcript", "user", said), talk),
        *facts(error(said, said), talk),
        talk.closed(4000),
        granted().denied(Answer(403, json.dumps({"message": said}).encode(), WHERE)),
        verdict_on(error("401", said), granted()),
        talk,
    ]
    text = "".join(repr(one) + str(one) for one in shown)
    assert KEY not in text and WCT not in text and "\x1b" not in text and "\\x1b" not in text


# --- hostile servers

PLAUSIBLE = (e.SessionStarted, e.SessionReady, Audio, e.Transcribed, Interrupted, e.AgentErred, Ended)
KINDS = st.sampled_from(
    ["session.created", "output_audio.delta", "agent_start_talking", "agent_stop_talking", "interruption",
     "transcript.delta", "transcript", "session.closed", "error"]
)  # fmt: skip
FIELDS = st.sampled_from(
    [
        "session_id",
        "call_id",
        "sample_rate",
        "channels",
        "audio",
        "timestamp",
        "role",
        "text",
        "reason",
        "code",
        "message",
        "error",
    ]
)
WORDS = st.sampled_from(["user", "assistant", "QUJD", "\ud800", "401", "503", "ended", "server_error"])
NEAR = st.fixed_dictionaries({"type": KINDS | JSON}).flatmap(
    lambda fixed: st.dictionaries(FIELDS, WORDS | JSON, max_size=5).map(lambda more: {**more, **fixed})
)


@given(st.lists(JSON | NEAR, max_size=12), st.booleans(), st.sampled_from(["query", "call"]))
def test_any_json_is_understood_or_malformed(messages, binary, access):
    talk = granted() if access == "call" else protocol()
    for message in messages:
        survives(talk, json.dumps(message).encode() if binary else json.dumps(message), PLAUSIBLE)
        assert 8000 <= talk.hears == talk.speaks <= 48_000 and len(talk._drafts) <= 2


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b'\xef\xbb\xbf{"type":"session.created"}')
@example('{"type":"session.created"}'.encode("utf-16"))
def test_any_bytes_and_text_are_understood_or_malformed(message):
    survives(protocol(), message, PLAUSIBLE)


GRANT = st.dictionaries(st.sampled_from(["access_token", "sample_rate", "channels"]), WORDS | JSON)


@given(JSON | st.fixed_dictionaries({"data": JSON | GRANT}))
def test_any_answer_to_the_registration_is_taken_or_malformed(answer):
    talk = protocol(access="call")
    try:
        talk.granted(json.dumps(answer).encode())
    except (MalformedError, SessionError):
        return
    assert talk.request().url.isascii() and KEY not in talk.request().url


BODY = st.dictionaries(st.sampled_from(["error", "errors", "message", "retry_after", "code"]), JSON | st.text())


@given(st.integers(100, 599), st.binary(max_size=50) | BODY.map(lambda body: json.dumps(body).encode()))
def test_any_answer_has_a_verdict(status, body):
    verdict = protocol().denied(Answer(status, body, WHERE))
    assert isinstance(verdict, SessionError)
    assert not isinstance(verdict, NetworkError) or verdict.wait_s is None or 0 < verdict.wait_s < 100_000


@given(st.none() | st.integers(0, 65_535), st.booleans())
def test_any_close_code_has_a_verdict(code, created):
    assert isinstance((begun() if created else protocol()).closed(code), Ended | SessionError)


# --- settings


def problems(key=KEY, agent_id=AGENT, access="", **options):
    return Atoms.problems(
        Agent(protocol="atoms", agent_id=agent_id, access=access, options=options), Secret(key) if key else None
    )


@pytest.mark.parametrize("access", ["", "query", "header", "call"])
def test_key_and_agent_are_enough(access):
    assert problems(access=access) == []
    assert problems(access=access, variables={"a": "x", "b": 1, "c": 1.5, "d": False}) == []


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_the_documented_rates_are_taken(rate):
    assert problems(sample_rate=rate) == []


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("sample_rate", 44_100, "sample_rate must be 8000 or 16000 or 24000 or 48000"),
        ("sample_rate", "16000", "sample_rate must be 8000 or"),
        ("sample_rate", True, "sample_rate must be 8000 or"),
        ("sample_rat", 8000, "Did you mean sample_rate?"),
        ("mode", "chat", "mode is not an option of Atoms"),
        ("variables", 7, "variables must be a table"),
        ("variables", ["x"], "variables must be a table"),
        ("variables", {"x": [1]}, "variables.x must be a text, a number, or true or false"),
        ("variables", {"x": {}}, "variables.x must be"),
        ("variables", {"x": float("nan")}, "variables.x must be"),
        ("variables", {"x": 10**5000}, "variables.x must be"),
        *[("variables", {name: "x"}, f"variables.{name} is set by the server") for name in RESERVED],
    ],
)
def test_a_wrong_option_is_told_by_name(option, value, sentence):
    (problem,) = problems(**{option: value})
    assert problem.startswith("agent.options.") and sentence in problem


def test_all_mistakes_are_told_at_once():
    found = problems(key=None, agent_id="", access="querry", sample_rate=1, variables=2)
    assert len(found) == 5
    for part in ("agent.agent_id is missing", "API key", "Did you mean query?", "sample_rate", "variables"):
        assert any(part in problem for problem in found)


def test_a_rate_that_a_call_would_ignore_is_told():
    (problem,) = problems(access="call", sample_rate=16_000)
    assert "leave it out" in problem


@given(st.dictionaries(st.sampled_from(["sample_rate", "variables"]), JSON | st.dictionaries(st.text(), JSON)))
def test_whatever_the_options_are_they_are_refused_or_go_into_the_address(options):
    if not problems(**options):
        variables = query_of(protocol(options=options)).get("variables", "{}")
        json.loads(variables, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# --- over a real socket, against an agent that follows the vendor's documents


class Bench:
    def __init__(self, server, key=KEY, agent_id=AGENT, **agent):
        self.events, self.heard = Recorder(), Recorder()
        settings = Agent(protocol="atoms", url=server.url, agent_id=agent_id, access=server.access, **agent)
        self.link = Link(
            lambda session, conversation: Atoms(settings, Secret(key), session, conversation),
            self.heard, self.events, connect=connect,
        )  # fmt: skip
        self.link.start(1, None)

    def say(self, frames):
        for number in range(frames):
            self.link.hear(1, number.to_bytes(2, "little") * 320)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(session_module, "delay_s", lambda attempt, jitter: 0.05)
    benches = []

    def bench(server, **settings):
        benches.append(Bench(server, **settings))
        return benches[-1]

    yield bench
    for one in benches:
        one.link.close()
    wait_until(lambda: not threads("link-receive") and not threads("link-send"))


REPLY = bytes(range(256)) * 40


@pytest.mark.parametrize("access", ["query", "header", "call"])
@pytest.mark.parametrize("binary", [False, True])
def test_a_conversation(bench, access, binary):
    with AtomsServer(access) as server:
        server.binary = binary
        server.on_ready = lambda visit: visit.turn(REPLY, lead_s=None, words="Hello, you.")
        rate = 24_000 if access == "call" else 16_000
        one = bench(server)
        one.say(50)
        visit = server.visit()
        visit.wait(lambda visit: len(visit.audio) >= (rate - 100) * 2)
        one.heard.wait(lambda heard: b"".join(pcm for _, pcm, _ in heard) == REPLY)
        assert {hertz for _, _, hertz in one.heard.items} == {rate}
        one.events.wait_for(e.Transcribed(1, "agent", "Hello, you."))
        one.link.text("What time is it?")
        visit.wait(lambda visit: "input_text.send" in visit.kinds())
        one.link.stop("button")
        one.events.wait_for(e.SessionEnded(1, "button"))
        assert visit.kinds() == ["input_text.send", "session.close"] and server.violations == []
        assert one.events.of(e.SessionStarted) == [e.SessionStarted(1, "s1", "CALL-1")]


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_each_rate_both_ways(bench, rate):
    with AtomsServer() as server:
        server.on_ready = lambda visit: visit.turn(REPLY, lead_s=None)
        one = bench(server, options={"sample_rate": rate})
        one.say(20)
        server.visit().wait(lambda visit: len(visit.audio) >= (0.4 * rate - 300) * 2)
        one.heard.wait(lambda heard: len(b"".join(pcm for _, pcm, _ in heard)) == len(REPLY))
        assert one.heard.items[0][2] == rate and server.violations == []


def test_http_1_1_is_chosen_where_http_2_is_offered(bench, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority()))
    with AtomsServer("call", tls=certificates.server_context()) as server:
        one = bench(server)
        one.events.wait_kind(e.SessionReady)
        assert server.visit().alpn == "http/1.1" and server.violations == []


def test_after_an_interruption_another_reply_begins_whether_the_agent_says_so_or_not(bench):
    with AtomsServer() as server:
        one = bench(server)
        visit = server.visit()
        one.events.wait_kind(e.SessionReady)
        visit.send({"type": "agent_start_talking"})
        visit.send(delta(b"\1\1" * 100))
        one.heard.wait(lambda heard: len(heard) == 1)
        visit.send({"type": "interruption"})
        one.events.wait_kind(e.AgentInterrupted)
        visit.send(delta(b"\2\2" * 100))
        visit.send({"type": "agent_start_talking"})
        visit.send(delta(b"\3\3" * 100))
        one.heard.wait(lambda heard: len(heard) == 3)
        assert [(reply, pcm[0]) for reply, pcm, _ in one.heard.items] == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("access", ["query", "header"])
@pytest.mark.parametrize("wrong", [{"key": "sk_another"}, {"agent_id": "another"}])
def test_a_wrong_key_or_agent_is_final_and_the_key_is_not_shown(bench, access, wrong):
    with AtomsServer(access) as server:
        one = bench(server, **wrong)
        refused = one.events.wait_kind(e.SessionRefused)
        assert refused.code == "key_refused" and "sk_" not in repr(one.events.items)
        assert server.violations == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [((400, {"errors": ["Invalid body"]}), "not_found"), ((400, {"message": "no credits"}), "no_credit"),
     ((401, {}), "key_refused"), ((403, {}), "key_refused"), ((404, {}), "not_found")],
)  # fmt: skip
def test_a_call_that_cannot_be_registered_is_final(bench, answer, code):
    with AtomsServer("call") as server:
        server.call_answer = answer
        assert bench(server).events.wait_kind(e.SessionRefused).code == code
        assert len(server.posts) == 1 and server.violations == []


@pytest.mark.parametrize(
    "answer", [(500, {}), (503, {}), (200, {}), (201, {"data": {"access_token": ""}}), (200, b"<html>")]
)
def test_a_call_that_cannot_be_registered_now_is_tried_again(bench, answer):
    with AtomsServer("call") as server:
        server.call_answer = answer
        one = bench(server)
        one.events.wait_kind(e.ConnectionLost)
        server.call_answer = None
        one.events.wait_kind(e.SessionReady)
        assert server.violations == []


def test_an_expired_token_is_replaced_and_if_that_does_not_help_the_key_is_refused(bench):
    with AtomsServer("call") as server:
        server.token_life_s = -1.0
        assert bench(server).events.wait_kind(e.SessionRefused).code == "key_refused"
        assert len(server.posts) > 1 and server.visits == [] and server.violations == []


def test_each_connection_of_a_call_has_a_token_of_its_own(bench):
    with AtomsServer("call") as server:
        one = bench(server)
        one.events.wait_kind(e.SessionReady)
        server.visit().cut()
        one.events.wait_kind(e.SessionReady, 2)
        assert len(server.posts) == 2 and server.violations == []


@pytest.mark.parametrize("status", [500, 503])
def test_a_draining_server_is_tried_again(bench, status):
    with AtomsServer() as server:
        server.status = HTTPStatus(status)
        one = bench(server)
        one.events.wait_kind(e.ConnectionLost)
        server.status = None
        one.events.wait_kind(e.SessionReady)
        assert server.violations == []


@pytest.mark.parametrize("says_closed", [False, True])
@pytest.mark.parametrize(("code", "ours"), [("401", "key_refused"), ("403", "key_refused"), ("404", "not_found")])
def test_a_fatal_error_of_the_setup_is_final(bench, says_closed, code, ours):
    with AtomsServer() as server:
        server.setup_error, server.says_closed = (code, "No."), says_closed
        one = bench(server)
        assert one.events.wait_kind(e.SessionRefused).code == ours
        assert len(server.visits) == 1 and server.violations == []


@pytest.mark.parametrize("says_closed", [False, True])
@pytest.mark.parametrize(("code", "ours"), [("401", "key_refused"), ("403", "key_refused")])
def test_a_fatal_error_within_the_session_is_final(bench, says_closed, code, ours):
    with AtomsServer() as server:
        server.says_closed = says_closed
        server.on_ready = lambda visit: server.fail(visit, code)
        one = bench(server)
        assert one.events.wait_kind(e.SessionRefused).code == ours
        assert one.events.of(e.AgentErred) and server.violations == []


@pytest.mark.parametrize("setup", [True, False])
@pytest.mark.parametrize("code", ["503", "500", "429"])
def test_a_fatal_error_that_passes_is_tried_again(bench, setup, code):
    with AtomsServer() as server:
        if setup:
            server.setup_error = code, "Later."
        else:
            server.on_ready = lambda visit: server.fail(visit, code) if visit is server.visits[0] else None
        one = bench(server)
        lost = one.events.wait_kind(e.ConnectionLost)
        server.setup_error = None
        one.events.wait_kind(e.SessionReady, 1 if setup else 2)
        assert lost and server.violations == []


@pytest.mark.parametrize(("code", "ours"), [(4401, "key_refused"), (4403, "key_refused"), (4000, "server_fault")])
def test_a_final_close_code_is_final(bench, code, ours):
    with AtomsServer() as server:
        server.shuts_with = code
        assert bench(server).events.wait_kind(e.SessionRefused).code == ours
        assert len(server.visits) == 1 and server.violations == []


def test_an_error_that_is_not_fatal_changes_nothing(bench):
    with AtomsServer() as server:
        one = bench(server)
        one.events.wait_kind(e.SessionReady)
        server.visit().err("503")
        one.events.wait_for(e.AgentErred(1, "503", "No."))
        one.say(3)
        server.visit().wait(lambda visit: len(visit.frames) == 3)
        assert not one.events.of(e.SessionEnded, e.SessionRefused, e.ConnectionLost)


def test_the_agent_hangs_up(bench):
    with AtomsServer() as server:
        server.on_ready = lambda visit: (visit.send({"type": "session.closed", "reason": "ended"}), visit.close())
        one = bench(server)
        one.events.wait_for(e.SessionEnded(1, "agent"))
        assert len(server.visits) == 1 and server.violations == []


def test_an_agent_without_a_farewell_does_not_keep_us(bench, monkeypatch):
    monkeypatch.setattr("device.session.session.FAREWELL_S", 0.2)
    monkeypatch.setattr("device.session.socket.WAIT_S", 0.2)
    with AtomsServer() as server:
        server.answers_close = False
        one = bench(server)
        one.events.wait_kind(e.SessionReady)
        one.link.stop("button")
        one.events.wait_for(e.SessionEnded(1, "button"))


# --- the server is strict


def violations(access, talk):
    """What the server says of a speaker that connects as `talk` wants, and does what `talk` does."""
    with AtomsServer(access) as server:
        talk(server)
        wait_until(lambda: server.violations)
        return server.violations


def raw(server, path, headers=None):
    return open_socket(f"ws://127.0.0.1:{server.port}{path}", additional_headers=headers or {}, compression=None)


CONNECT = "/atoms/v1/agent/connect"
RIGHT = f"{CONNECT}?token={KEY}&agent_id={AGENT}&sample_rate=16000"


@pytest.mark.parametrize(
    ("path", "headers", "violation"),
    [
        (RIGHT, {"Authorization": f"Bearer {KEY}"}, "in the header and in the address"),
        (RIGHT + "&mode=chat", {}, "mode chat"),
        (RIGHT.replace("16000", "44100"), {}, "sample_rate 44100"),
        (RIGHT + "&speed=2", {}, "the settings"),
        (RIGHT + "&token=x", {}, "the settings"),
        (RIGHT + "&variables=[]", {}, "no table"),
        (RIGHT + '&variables={"call_id":"x"}', {}, "reserved"),
        (f"/?token={KEY}&agent_id={AGENT}", {}, "a connection to /"),
    ],
)
def test_the_server_sees_a_wrong_address(path, headers, violation):
    def talk(server):
        with contextlib.suppress(InvalidStatus), raw(server, path, headers):
            pass

    assert any(violation in one for one in violations("query", talk))


@pytest.mark.parametrize(
    ("message", "violation"),
    [
        (json.dumps({"type": "input_audio_buffer.append", "audio": ""}), "a frame of 0 bytes"),
        ('{"type":"input_text.send","text":""}', "input_text.send"),
        ('{"type":"response.cancel"}', "response.cancel"),
        ('{"type":"session.close","why":1}', "session.close"),
        ("hello", "not understood"),
    ],
)
def test_the_server_sees_a_wrong_message(message, violation):
    def talk(server):
        with raw(server, RIGHT) as socket:
            socket.recv(timeout=5)
            socket.send(message)
            wait_until(lambda: server.violations)

    assert any(violation in one for one in violations("query", talk))


def test_the_server_sees_audio_before_created():
    def talk(server):
        server.ready_after_s = 5.0
        with raw(server, RIGHT) as socket:
            socket.send(begun().audio(bytes(640)))
            wait_until(lambda: server.violations)

    assert violations("query", talk) == ["audio before ready"]


def test_the_server_sees_a_token_that_is_used_twice():
    def talk(server):
        server._tokens["wct_1"] = 1e12
        with raw(server, f"{CONNECT}?token=wct_1"):
            pass
        with pytest.raises(InvalidStatus):
            raw(server, f"{CONNECT}?token=wct_1")

    assert violations("call", talk) == ["a token that was used before, or never granted"]


def test_the_server_sees_who_comes_back_after_a_refusal():
    def talk(server):
        for _ in range(2):
            with pytest.raises(InvalidStatus):
                raw(server, RIGHT.replace(KEY, "x"))

    assert violations("query", talk) == ["a connection after HTTP 401"]
