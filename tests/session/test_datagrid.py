"""Datagrid's protocol without a socket: every message both ways, every option, and whatever a hostile server sends."""

import base64
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError
from device.session.credentials import Secret
from device.session.protocol import Audio, Ended, Interrupted, MalformedError
from device.session.protocols.datagrid import Datagrid
from device.session.protocols.local import Local

KEY = "sk-hunter2/+&?#%é"[:-1]
PIECE = b"\x10\x20" * 1200
"""50 ms of a reply."""


def message_of(kind, **payload):
    return json.dumps({"type": kind, "payload": payload}, ensure_ascii=False)


def piece(pcm=PIECE):
    return message_of("audio", data=base64.b64encode(pcm).decode())


EXCHANGE: list[str | bytes] = [
    message_of("started", session_id="s-1", conversation_id="c-1", message_id="m-1"),
    json.dumps({"type": "ready"}),
    message_of("transcript", role="user", text="Grüß Gott, what do the files say?"),
    message_of("tool_call", tool_name="search", status="started"),
    message_of("tool_call", tool_name="search", status="failed"),
    message_of("tool_call", tool_name="browse", status="started"),
    message_of("tool_call", tool_name="browse", status="completed"),
    *[piece()] * 4,
    message_of("citation", citations=[{"citation_text": "x", "sources": []}, {"citation_text": "y"}], timestamp_ms=900),
    message_of("transcript", role="agent", text="They say that it rains."),
    piece(),
    json.dumps({"type": "interrupted"}),
    message_of("transcript", role="user", text="Thank you."),
    message_of("error", code="tool_failed", message="One of the tools does not answer."),
    *[piece(PIECE[::-1])] * 3,
    message_of("ended", credits_consumed=1.5, transcript=[]),
]
"""What the agent sent in one conversation: tools, a reply that was interrupted, a harmless error, a last word; its end."""


def protocol(session=3, key=KEY, **agent):
    return Datagrid(Agent(protocol="datagrid", **agent), Secret(key) if key else None, session)


def facts(kind, payload=None, to=None):
    message = {"type": kind} if payload is None else {"type": kind, "payload": payload}
    return list((to or protocol()).receive(json.dumps(message).encode()))


# --- what we send


def test_start_comes_first_and_is_empty_without_settings():
    assert [json.loads(message) for message in protocol().opening()] == [{"type": "start", "payload": {}}]


def test_start_holds_the_agent_and_the_options():
    options = {"ephemeral": True, "voice_config": {"voice_preset": "sage"}, "initial_message": "Grüß Gott"}
    (message,) = protocol(agent_id="a-7", options=options).opening()
    assert json.loads(message) == {"type": "start", "payload": {"agent_id": "a-7", **options}}


def test_every_connection_after_the_first_goes_on_with_the_conversation():
    talk = protocol()
    facts("started", {"session_id": "s", "conversation_id": "c-9"}, to=talk)
    (message,) = talk.opening()
    assert json.loads(message)["payload"] == {"conversation_id": "c-9", "voice_config": {"silent_start": True}}


def test_a_connection_after_the_first_does_not_begin_the_conversation_once_more():
    options = {"initial_message": "hello", "initial_context": "a kitchen", "voice_config": {"voice_preset": "sage"}}
    talk = Datagrid(Agent(options=options), None, 1)
    assert json.loads(talk.opening()[0])["payload"] == options
    facts("started", {}, to=talk)
    assert json.loads(talk.opening()[0])["payload"] == {"voice_config": {"voice_preset": "sage", "silent_start": True}}


def test_what_the_agent_says_is_logged_on_one_line_and_without_the_key():
    talk = Datagrid(Agent(protocol="datagrid"), Secret("s3cret-key"), 1)
    (erred,) = facts("error", {"code": "odd", "message": "no\n= ready \x1b[31m s3cret-key"}, to=talk)
    assert erred.message == "no = ready  [31m ***"


def test_the_conversation_of_one_session_is_not_that_of_the_next():
    agent = Agent(options={"ephemeral": True})
    facts("started", {"conversation_id": "c-9"}, to=Datagrid(agent, None, 1))
    assert "conversation_id" not in Datagrid(agent, None, 2).opening()[0] and agent.options == {"ephemeral": True}


@given(st.binary(min_size=640, max_size=640))
def test_a_frame_is_sent_as_base64(pcm):
    message = json.loads(protocol().audio(pcm))
    assert message == {"type": "audio", "payload": {"data": base64.b64encode(pcm).decode()}}


def test_interrupt_and_stop_have_no_payload():
    assert [json.loads(message) for message in protocol().interrupt()] == [{"type": "interrupt"}]
    assert [json.loads(message) for message in protocol().stop()] == [{"type": "stop"}]


# --- what we receive


def test_started_names_the_session_and_the_conversation():
    named = {"session_id": "s-1", "conversation_id": "c-1", "message_id": "m-1"}
    assert facts("started", named) == [e.SessionStarted(3, "s-1", "c-1")]
    assert facts("started", {}) == facts("started") == [e.SessionStarted(3, None, None)]
    assert facts("started", {"session_id": 7, "conversation_id": None}) == [e.SessionStarted(3)]


def test_ready_is_ready():
    assert facts("ready") == [e.SessionReady(3)]


def test_audio_is_a_piece_of_a_reply():
    pcm = bytes(range(200))
    assert facts("audio", {"data": base64.b64encode(pcm).decode(), "mime_type": "audio/pcm"}) == [Audio(pcm)]


def test_of_an_odd_number_of_bytes_the_last_is_left_out():
    assert facts("audio", {"data": base64.b64encode(b"abcde").decode()}) == [Audio(b"abcd")]
    assert facts("audio", {"data": ""}) == [Audio(b"")]


@pytest.mark.parametrize("payload", [None, {}, {"data": None}, {"data": 7}, {"data": ["QUJD"]}])
def test_audio_without_data_is_malformed(payload):
    with pytest.raises(MalformedError, match="without data"):
        facts("audio", payload)


@pytest.mark.parametrize("data", ["A", "QUI", "Q=UI", "QUJD!", "ü", "QUJD\x00", "=", "QUJDRA==QUJD", "____"])
def test_audio_that_is_not_base64_is_malformed(data):
    with pytest.raises(MalformedError, match="not base64"):
        facts("audio", {"data": data})


@pytest.mark.parametrize("role", ["user", "agent"])
def test_a_transcript_says_who_said_what(role):
    assert facts("transcript", {"role": role, "text": "Hello"}) == [e.Transcribed(3, role, "Hello")]


@pytest.mark.parametrize("status", ["started", "completed", "failed"])
def test_a_tool_call_has_a_name_and_a_status(status):
    assert facts("tool_call", {"tool_name": "clock", "status": status}) == [e.ToolCalled(3, "clock", status)]


@pytest.mark.parametrize(
    "payload", [{}, {"tool_name": "clock"}, {"status": "started"}, {"tool_name": "clock", "status": "x"}]
)
def test_a_tool_call_without_either_is_malformed(payload):
    with pytest.raises(MalformedError, match="tool_call"):
        facts("tool_call", payload)


def test_interrupted_is_a_fact():
    assert facts("interrupted") == [Interrupted()]


def test_citations_are_counted():
    assert facts("citation", {"citations": [{}, {"url": "x"}], "timestamp_ms": 12}) == [e.Cited(3, 2)]
    assert facts("citation", {}) == facts("citation", {"citations": 7}) == [e.Cited(3, 0)]


def test_an_error_has_a_code_and_a_message_and_need_not_have_either():
    assert facts("error", {"code": "x", "message": "No."}) == [e.AgentErred(3, "x", "No.")]
    assert facts("error") == [e.AgentErred(3, "agent_error", "The agent gave no reason.")]


def test_the_agents_own_silence_timeout_ends_the_session():
    payload = {"code": "client_silence_timeout", "message": "Nobody spoke."}
    assert facts("error", payload) == [e.AgentErred(3, "client_silence_timeout", "Nobody spoke."), Ended("silence")]


def test_ended_ends_the_session():
    assert facts("ended", {"credits_consumed": 3.5, "transcript": [{"role": "user", "text": "x"}]}) == [Ended("agent")]


def test_what_we_do_not_know_means_nothing():
    assert facts("new_message", {"anything": 1}) == facts("device", {"action": "volume", "to": 0}) == []
    assert facts("ready", {"new_field": {}}) == [e.SessionReady(3)]


def test_a_payload_of_another_type_is_as_good_as_none():
    for payload in (7, "x", [], None):
        assert facts("ready", payload) == [e.SessionReady(3)]


def test_a_very_long_text_is_cut():
    (said,) = facts("transcript", {"role": "agent", "text": "x" * 1_000_000})
    assert 1000 < len(said.text) < 10_000


@pytest.mark.parametrize(
    "message",
    [b"", b"ready", b"{", b'"ready"', b"[]", b"7", b"null", b"{}", b'{"type":7}', b'{"type":null}', b"\xff\xfe\x00",
     b'{"type":"ready"', b"[" * 100_000, b'{"a":' * 100_000, b'{"type":"ready","n":' + b"9" * 10_000 + b"}", b"\x00" * 640],
)  # fmt: skip
def test_what_is_no_message_is_malformed(message):
    with pytest.raises(MalformedError):
        list(protocol().receive(message))


PLAUSIBLE = (
    e.SessionStarted, e.SessionReady, Audio, e.Transcribed, e.ToolCalled, Interrupted, e.Cited, e.AgentErred, Ended,
)  # fmt: skip


def survives(message, to):
    try:
        found = list(to.receive(message))
    except MalformedError:
        return
    for fact in found:
        assert isinstance(fact, (*PLAUSIBLE, e.VolumeAsked, e.TimerSet, e.TimerCancelled))
        assert not isinstance(fact, Audio) or len(fact.pcm) % 2 == 0
    for sent in to.opening():
        json.loads(sent)


ODD_NUMBERS = st.sampled_from([10**400, -(10**400), 1e308, float("nan"), float("inf"), -0.0, True, 2**63])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | ODD_NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(
    ["started", "ready", "audio", "transcript", "tool_call", "interrupted", "citation", "error", "ended", "device"]
)
FIELDS = st.sampled_from(
    ["data", "session_id", "conversation_id", "role", "text", "tool_name", "status", "citations", "code", "message",
     "action", "to", "by", "name", "in_s"]
)  # fmt: skip
WORDS = st.sampled_from(["volume", "timer_set", "timer_cancel", "started", "QUJD", "\ud800", "client_silence_timeout"])
NEAR = st.fixed_dictionaries({"type": KINDS}, optional={"payload": st.dictionaries(FIELDS, WORDS | JSON, max_size=4)})


@pytest.mark.parametrize("kind", [Datagrid, Local])
@given(message=st.binary(max_size=200))
@example(message=b'\xef\xbb\xbf{"type":"ready"}')
@example(message='{"type":"ready"}'.encode("utf-16"))
def test_any_bytes_are_understood_or_malformed(kind, message):
    survives(message, kind(Agent(), None, 1))


@pytest.mark.parametrize("kind", [Datagrid, Local])
@given(message=JSON | NEAR)
def test_any_json_is_understood_or_malformed(kind, message):
    survives(json.dumps(message).encode(), kind(Agent(), None, 1))


@given(st.binary(max_size=100), st.integers(0, 5), st.integers(0, 133))
def test_audio_that_was_damaged_on_its_way_is_even_or_malformed(pcm, cut, place):
    data = base64.b64encode(pcm).decode()
    damaged = data[: len(data) - cut] if cut else data[:place] + "*" + data[place + 1 :]
    survives(json.dumps({"type": "audio", "payload": {"data": damaged}}).encode(), protocol())


# --- where we connect to


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "wss://api.datagrid.com/ws/voice?token=k"),
        ("https://voice.example", "wss://voice.example/ws/voice?token=k"),
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws/voice?token=k"),
        ("ws://localhost:1/", "ws://localhost:1/ws/voice?token=k"),
        ("wss://voice.example:8443/own/path", "wss://voice.example:8443/own/path?token=k"),
        ("wss://voice.example?region=eu", "wss://voice.example/ws/voice?region=eu&token=k"),
        ("https://voice.example/v2?a=1&b=2", "wss://voice.example/v2?a=1&b=2&token=k"),
        ("ws://[::1]:9/x", "ws://[::1]:9/x?token=k"),
        ("wss://voice.example/x#part", "wss://voice.example/x?token=k"),
    ],
)
def test_scheme_and_host_are_enough_and_what_is_given_stays(url, expected):
    request = protocol(key="k", url=url).request()
    assert request.url == expected and request.headers == {}


def test_without_a_key_the_url_has_none():
    assert protocol(key=None, url="ws://127.0.0.1").request().url == "ws://127.0.0.1/ws/voice"


def test_the_key_is_in_the_url_alone_and_percent_encoded():
    talk = protocol(agent_id="a", options={"ephemeral": True})
    assert talk.request().url.endswith("?token=sk-hunter2%2F%2B%26%3F%23%25")
    sent = [*talk.opening(), *talk.interrupt(), *talk.stop(), talk.audio(bytes(640)), *talk.request().headers.values()]
    assert not any("hunter2" in message for message in sent)
    assert "hunter2" not in repr(talk)


# --- settings


def problems(key=KEY, **options):
    return Datagrid.problems(Agent(protocol="datagrid", options=options), Secret(key) if key else None)


GOOD = {
    "voice_mode": "orchestrator", "conversation_id": "c", "config": {"system_prompt": "x", "custom_prompt": ""},
    "file_ids": [], "secret_ids": ["a"], "knowledge_ids": ["a", "b"], "page_ids": ["p"],
    "user": {"first_name": "A", "last_name": "B", "email": "a@example.com"}, "initial_context": "x" * 2000,
    "initial_message": "", "ephemeral": False,
    "voice_config": {
        "voice_preset": "sage", "input_transcription": True, "output_transcription": False, "silent_start": True,
        "silence_timeout": True, "silence_commit_ms": 30_000, "segment_max_duration_ms": 1.5,
        "silence_discard_ratio": 0.9,
    },
}  # fmt: skip


def test_all_options_of_the_protocol_are_taken():
    assert problems(**GOOD) == []
    for option, value in GOOD.items():
        assert problems(**{option: value}) == []


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("voice_mode", "agent", r'voice_mode must be "orchestrator" or "direct_agent"'),
        ("voice_mode", 7, "voice_mode must be"),
        ("conversation_id", 7, "conversation_id must be a text"),
        ("config", "x", "config must be a table with system_prompt, custom_prompt"),
        ("config", {"system_prompt": True}, r"config\.system_prompt must be a text"),
        ("file_ids", "x", "file_ids must be a list of texts"),
        ("file_ids", ["x", 7], "file_ids must be a list of texts"),
        ("initial_context", "x" * 2001, "initial_context must be a text of at most 2000 characters"),
        ("initial_message", 7, "initial_message must be a text of at most 2000"),
        ("ephemeral", 1, "ephemeral must be true or false"),
        ("ephemeral", "true", "ephemeral must be true or false"),
        ("voice_config", {"silent_start": 0}, r"voice_config\.silent_start must be true or false"),
        ("voice_config", {"silence_commit_ms": "30"}, "silence_commit_ms must be a number"),
        ("voice_config", {"silence_commit_ms": True}, "silence_commit_ms must be a number"),
        ("voice_config", {"silence_commit_ms": float("nan")}, "silence_commit_ms must be a number"),
        ("voice_config", {"segment_max_duration_ms": float("inf")}, "segment_max_duration_ms must be a number"),
        ("voice_config", {"silence_discard_ratio": 1.1}, "silence_discard_ratio must be a number from 0 to 1"),
        ("voice_config", {"silence_discard_ratio": float("nan")}, "silence_discard_ratio must be a number from 0 to 1"),
        ("voice_config", {"silence_discard_ratio": 10**400}, "silence_discard_ratio must be a number from 0 to 1"),
        ("voice_config", {"silence_discard_ratio": True}, "silence_discard_ratio must be a number from 0 to 1"),
        ("voice_confg", {}, r"voice_confg is not an option of Datagrid\. Did you mean voice_config\?"),
        ("voice_config", {"silent_strat": True}, r"silent_strat is not an option.* Did you mean silent_start\?"),
        ("user", {"mail": "x"}, r"user\.mail is not an option.* Did you mean email\?"),
        ("language", "en", "language is not an option"),
    ],
)
def test_a_wrong_option_is_told_by_name_with_what_it_may_be(option, value, sentence):
    (problem,) = problems(**{option: value})
    assert problem.startswith("agent.options.")
    assert re.search(sentence, problem)


def test_all_mistakes_are_told_at_once_and_the_missing_key_too():
    found = problems(key=None, voice_mode="x", nothing=1, voice_config={"silent_start": 1, "silence_timeout": 2})
    assert len(found) == 5 and "needs an API key" in found[-1] and "EARSHOT_API_KEY" in found[-1]


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from([*GOOD, "x"]), JSON | st.dictionaries(st.sampled_from(list(GOOD["voice_config"])), JSON)
    )
)
def test_whatever_the_options_are_they_are_refused_or_make_a_message_of_json(options):
    agent = Agent(protocol="datagrid", options=options)
    if not Datagrid.problems(agent, Secret("k")):
        (message,) = Datagrid(agent, None, 1).opening()
        json.loads(message, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# --- how connections end


@pytest.mark.parametrize("code", [1000, 1001])
def test_a_close_in_good_form_ends_the_session(code):
    assert protocol().closed(code) == Ended("agent")


@pytest.mark.parametrize("code", [4401, 4403])
def test_a_close_for_want_of_rights_is_a_refusal(code):
    verdict = protocol().closed(code)
    assert isinstance(verdict, RefusedError) and verdict.code == "key_refused" and str(code) in str(verdict)


@pytest.mark.parametrize("code", [None, 1002, 1005, 1006, 1009, 1011, 1012, 1013, 4000, 4999])
def test_after_any_other_close_another_connection_is_tried(code):
    assert isinstance(protocol().closed(code), NetworkError)
