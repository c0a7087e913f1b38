"""OpenAI's protocol without a socket: every message both ways, every verdict, every option, and whatever a server may send."""

import base64
import datetime
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device import events as e
from device.config import Agent
from device.errors import NetworkError, RefusedError, SessionError
from device.session.credentials import Secret
from device.session.protocol import Answer, Audio, Ended, Interrupted, MalformedError, Send
from device.session.protocols.openai import HOPELESS, NO_SUCH_TOOL, OpenAI

KEY = "sk-proj-hunter2"
WHERE = "wss://api.openai.com/v1/realtime"
SECOND = bytes(48_000)
"""A second of sound."""
FORMAT = {"type": "audio/pcm", "rate": 24_000}


def delta(pcm, turn="resp_1", item="item_1", kind="response.output_audio.delta", **more):
    data = base64.b64encode(pcm).decode()
    return {"type": kind, "response_id": turn, "item_id": item, "content_index": 0, "delta": data, **more}


def created(turn="resp_1"):
    return {"type": "response.created", "response": {"id": turn, "status": "in_progress"}}


def done(turn="resp_1", status="completed", **details):
    return {"type": "response.done", "response": {"id": turn, "status": status, "status_details": details or None}}


def error(code=None, message="No.", kind="invalid_request_error", **more):
    return {"type": "error", "event_id": "event_9", "error": {"type": kind, "code": code, "message": message, **more}}


def call(name="get_weather", call_id="call_1", **more):
    kind = "response.function_call_arguments.done"
    return {"type": kind, "item_id": "item_f", "call_id": call_id, "name": name, "arguments": "{}", **more}


CREATED = {"type": "session.created", "event_id": "event_1", "session": {"type": "realtime", "id": "sess_1"}}
UPDATED = {"type": "session.updated", "event_id": "event_2", "session": {"type": "realtime", "id": "sess_1"}}
SPEECH = {"type": "input_audio_buffer.speech_started", "audio_start_ms": 100, "item_id": "item_u"}

EXCHANGE: list[str | bytes] = [
    json.dumps(message)
    for message in (
        CREATED,
        UPDATED,
        SPEECH,
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "item_u"},
        {"type": "input_audio_buffer.committed", "item_id": "item_u"},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_u",
            "content_index": 0,
            "transcript": "What is the weather?",
        },
        created("resp_f"),
        {
            "type": "response.output_item.added",
            "response_id": "resp_f",
            "item": {"id": "item_m", "type": "mcp_call", "name": "forecast"},
        },
        {"type": "response.mcp_call.in_progress", "item_id": "item_m", "output_index": 0},
        {"type": "response.mcp_call.completed", "item_id": "item_m", "output_index": 0},
        call(),
        done("resp_f"),
        created("resp_1"),
        *[delta(bytes(range(240)) * 40, "resp_1", "item_1")] * 3,
        {"type": "response.output_audio_transcript.done", "response_id": "resp_1", "transcript": "Mild."},
        {"type": "response.output_audio.done", "response_id": "resp_1", "item_id": "item_1"},
        done("resp_1"),
        {"type": "rate_limits.updated", "rate_limits": []},
        created("resp_2"),
        *[delta(bytes(range(240)) * 40, "resp_2", "item_2")] * 3,
        SPEECH,
        done("resp_2", "cancelled", type="cancelled", reason="turn_detected"),
        error("session_expired", "Your session hit the maximum duration of 60 minutes."),
    )
]
"""What the agent sent in one conversation: two tools, two replies, the second of them interrupted by speech; its end."""


def protocol(session=3, key=KEY, **agent):
    return OpenAI(Agent(protocol="openai", **agent), Secret(key) if key else None, session)


def facts(message, to=None):
    return list((to or open_session()).receive(json.dumps(message)))


def open_session(**agent):
    talk = protocol(**agent)
    talk.opening()
    facts(CREATED, talk)
    facts(UPDATED, talk)
    return talk


def sent(found):
    return [json.loads(fact.message) for fact in found if isinstance(fact, Send)]


def settings(**agent):
    _, send = facts(CREATED, protocol(**agent))
    message = json.loads(send.message)
    assert message["type"] == "session.update"
    return message["session"]


def verdict_on(message, to=None):
    with pytest.raises(SessionError) as caught:
        facts(message, to)
    return caught.value


def cuts(messages):
    found = [json.loads(message) for message in messages]
    assert all(message["type"] == "conversation.item.truncate" for message in found)
    return [(message["item_id"], message["content_index"], message["audio_end_ms"]) for message in found]


# --- where we connect to


@pytest.mark.parametrize(
    ("url", "agent_id", "expected"),
    [
        ("", "", f"{WHERE}?model=gpt-realtime"),
        ("", "gpt-realtime-2.1-mini", f"{WHERE}?model=gpt-realtime-2.1-mini"),
        ("https://voice.example", "a b", "wss://voice.example/v1/realtime?model=a%20b"),
        ("http://127.0.0.1:9", "", "ws://127.0.0.1:9/v1/realtime?model=gpt-realtime"),
        ("wss://r.example/openai/v1/realtime?x=1", "dep", "wss://r.example/openai/v1/realtime?x=1&model=dep"),
        ("wss://r.example/openai/v1/realtime?model=dep", "", "wss://r.example/openai/v1/realtime?model=dep"),
    ],
)
def test_the_agent_is_the_model_and_an_address_of_ones_own_keeps_path_and_query(url, agent_id, expected):
    assert protocol(url=url, agent_id=agent_id).request().url == expected


def test_the_key_is_in_the_header_alone_and_nothing_says_beta():
    talk = open_session()
    assert talk.request().headers == {"Authorization": f"Bearer {KEY}"}
    assert talk.credential() is None and talk.opening() == [] and talk.stop() == []
    said = [talk.request().url, talk.audio(bytes(960)), *talk.text("x"), json.dumps(settings()), repr(talk)]
    assert not any("hunter2" in text for text in said)


# --- the beginning


def test_created_is_answered_with_the_settings_and_only_updated_is_ready():
    talk = protocol()
    talk.opening()
    started, send = facts(CREATED, talk)
    assert started == e.SessionStarted(3, "sess_1") and isinstance(send, Send)
    assert facts(UPDATED, talk) == [e.SessionReady(3)]
    assert (talk.hears, talk.speaks) == (24_000, 24_000)


def test_nothing_but_updated_after_created_makes_it_ready():
    talk = protocol()
    assert facts(UPDATED, talk) == []
    facts(CREATED, talk)
    assert facts(CREATED, talk) == facts({"type": "rate_limits.updated"}, talk) == []
    assert facts(UPDATED, talk) == [e.SessionReady(3)]
    assert facts(UPDATED, talk) == []


def test_every_connection_begins_anew():
    talk = open_session()
    facts(created(), talk)
    facts(delta(SECOND), talk)
    talk.opening()
    assert talk.interrupt() == talk.heard("resp_1", 0.5) == []
    assert len(facts(CREATED, talk)) == 2 and facts(UPDATED, talk) == [e.SessionReady(3)]


@pytest.mark.parametrize("audio", [None, 7, {}, {"input": None, "output": {"format": "pcm16"}},
                                   {"input": {"format": FORMAT}, "output": {"format": {"type": "audio/pcm"}}}])  # fmt: skip
def test_a_format_that_is_ours_or_not_told_is_fine(audio):
    talk = protocol()
    facts(CREATED, talk)
    assert facts({**UPDATED, "session": {"audio": audio}}, talk) == [e.SessionReady(3)]


@pytest.mark.parametrize("way", ["input", "output"])
@pytest.mark.parametrize("other", [{"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": 16_000}])
def test_a_session_with_another_format_is_not_spoken_to(way, other):
    talk = protocol()
    facts(CREATED, talk)
    verdict = verdict_on({**UPDATED, "session": {"audio": {way: {"format": other}}}}, talk)
    assert isinstance(verdict, RefusedError) and verdict.code == "options_refused" and way in str(verdict)


# --- settings


def test_without_options_it_is_sound_both_ways_and_a_room():
    hearing = {"format": FORMAT, "noise_reduction": {"type": "far_field"}}
    audio = {"input": hearing, "output": {"format": FORMAT}}
    assert settings() == {"type": "realtime", "output_modalities": ["audio"], "audio": audio}


GOOD = {
    "instructions": "Be brief.", "voice": "marin", "speed": 1.25, "noise_reduction": "near_field",
    "turn_detection": {
        "type": "server_vad", "threshold": 0.7, "prefix_padding_ms": 200, "silence_duration_ms": 400,
        "idle_timeout_ms": 6000, "create_response": True, "interrupt_response": False,
    },
    "transcription": {"model": "gpt-4o-transcribe", "language": "de", "prompt": "names"},
    "max_output_tokens": 2000, "reasoning": {"effort": "low"}, "tools": [{"type": "mcp", "server_label": "x"}],
    "tool_choice": "auto", "prompt": {"id": "pmpt_1"},
}  # fmt: skip


def problems(key=KEY, access="", **options):
    return OpenAI.problems(Agent(protocol="openai", options=options, access=access), Secret(key) if key else None)


def test_every_option_is_taken_and_goes_where_it_belongs():
    assert problems(**GOOD) == []
    told = settings(options=GOOD)
    audio = told.pop("audio")
    assert audio["input"] == {
        "format": FORMAT,
        "noise_reduction": {"type": "near_field"},
        "turn_detection": GOOD["turn_detection"],
        "transcription": GOOD["transcription"],
    }
    assert audio["output"] == {"format": FORMAT, "voice": "marin", "speed": 1.25}
    placed = {"voice", "speed", "noise_reduction", "turn_detection", "transcription"}
    assert told == {
        "type": "realtime",
        "output_modalities": ["audio"],
        **{name: value for name, value in GOOD.items() if name not in placed},
    }


def test_noise_reduction_can_be_switched_off():
    assert problems(noise_reduction="none") == []
    assert settings(options={"noise_reduction": "none"})["audio"]["input"]["noise_reduction"] is None


@pytest.mark.parametrize("eagerness", ["low", "medium", "high", "auto"])
def test_turns_may_be_told_by_meaning(eagerness):
    assert problems(turn_detection={"type": "semantic_vad", "eagerness": eagerness, "create_response": True}) == []


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("instructions", 7, "instructions must be a text"),
        ("voice", ["marin"], "voice must be a text"),
        ("speed", 1.6, "speed must be a number from 0.25 to 1.5"),
        ("speed", 0.2, "speed must be a number from 0.25 to 1.5"),
        ("speed", float("nan"), "speed must be a number"),
        ("noise_reduction", "far", 'noise_reduction must be "far_field" or "near_field" or "none"'),
        ("noise_reduction", {"type": "far_field"}, "noise_reduction must be"),
        ("turn_detection", "server_vad", "turn_detection must be a table with type, threshold"),
        ("turn_detection", {"threshold": 0.5}, "turn_detection needs a type: server_vad or semantic_vad"),
        ("turn_detection", {"type": "vad"}, 'turn_detection.type must be "server_vad" or "semantic_vad"'),
        ("turn_detection", {"type": ["server_vad"]}, "turn_detection.type must be"),
        ("turn_detection", {"type": "server_vad", "threshold": 2}, "threshold must be a number from 0 to 1"),
        ("turn_detection", {"type": "server_vad", "eagerness": "low"}, "eagerness is not an option"),
        ("turn_detection", {"type": "semantic_vad", "threshold": 0.5}, "threshold is not an option"),
        ("turn_detection", {"type": "semantic_vad", "eagerness": "eager"}, "eagerness must be"),
        ("turn_detection", {"type": "server_vad", "create_response": 1}, "create_response must be true or false"),
        ("turn_detection", {"type": "server_vad", "prefix_padding_ms": -1}, "prefix_padding_ms must be a number"),
        ("turn_detection", {"type": "server_vad", "idle_timeout_ms": 2.5}, "idle_timeout_ms must be a whole number"),
        ("turn_detection", {"type": "server_vad", "silence_ms": 2}, "silence_ms is not an option"),
        ("transcription", {"modle": "x"}, r"transcription\.modle is not an option.* Did you mean model\?"),
        ("max_output_tokens", 0, "max_output_tokens must be a number from 1 to 4096"),
        ("max_output_tokens", 7.5, "max_output_tokens must be a whole number"),
        ("reasoning", {"since": datetime.date(2026, 1, 1)}, "reasoning holds a date"),
        ("tools", [float("inf")], "tools holds a date, nan or inf"),
        ("instruction", "x", r"instruction is not an option of OpenAI\. Did you mean instructions\?"),
    ],
)
def test_a_wrong_option_is_told_by_name_with_what_it_may_be(option, value, sentence):
    found = problems(**{option: value})
    assert all(problem.startswith("agent.options.") for problem in found)
    assert any(re.search(sentence, problem) for problem in found)


def test_a_missing_key_and_a_way_in_that_does_not_exist_are_told():
    missing, = problems(key=None)  # fmt: skip
    assert "needs an API key" in missing
    assert "leave it out" in problems(access="header")[0]


# --- what we send


@given(st.binary(min_size=960, max_size=960))
def test_a_frame_is_sent_as_base64(pcm):
    message = json.loads(protocol().audio(pcm))
    assert message == {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}


def test_a_text_is_an_item_of_the_user_and_asks_for_an_answer():
    item, ask = (json.loads(message) for message in open_session().text("Grüß Gott"))
    content = [{"type": "input_text", "text": "Grüß Gott"}]
    assert item == {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
    assert ask["type"] == "response.create"


def refuses_the_create(talk):
    """It has a response in the making, and so cannot answer the last text yet."""
    ask = json.loads(talk.text("x")[1])
    return error("conversation_already_has_active_response", event_id=ask["event_id"])


def test_a_text_during_a_response_is_answered_after_it():
    talk = open_session()
    facts(created(), talk)
    assert facts(refuses_the_create(talk), talk) == []
    assert sent(facts(done(), talk)) == [{"type": "response.create"}]
    assert facts(done(), talk) == []


def test_where_the_user_speaks_meanwhile_it_is_not_asked_for_twice():
    talk = open_session()
    facts(created(), talk)
    facts(refuses_the_create(talk), talk)
    assert facts(done(status="cancelled", reason="turn_detected"), talk) == []


def test_a_server_that_refuses_for_no_reason_is_not_asked_again_and_again():
    talk = open_session()
    assert facts(refuses_the_create(talk), talk) == facts(done(), talk) == []


def test_only_a_response_that_is_in_the_making_is_cancelled():
    talk = open_session()
    assert talk.interrupt() == []
    facts(created(), talk)
    assert [json.loads(message)["type"] for message in talk.interrupt()] == ["response.cancel"]
    facts(done("resp_0"), talk)
    assert talk.interrupt() != []
    facts(done(), talk)
    assert talk.interrupt() == []


@pytest.mark.parametrize("message", [error("response_cancel_not_active"), error(None, event_id="cancel")])
def test_that_nothing_was_left_to_cancel_is_not_shown(message):
    assert facts(message) == []


# --- what was played


def received(*deltas):
    talk = open_session()
    facts(created(), talk)
    for message in deltas:
        facts(message, talk)
    return talk


def test_the_item_that_was_playing_is_cut_at_what_was_played():
    talk = received(*[delta(SECOND)] * 3)
    assert cuts(talk.heard("resp_1", 1.2345)) == [("item_1", 0, 1234)]


def test_it_is_never_cut_behind_what_was_received():
    talk = received(delta(SECOND), delta(bytes(10)))
    assert cuts(talk.heard("resp_1", 7.0)) == [("item_1", 0, 1000)]


def test_items_before_are_left_and_items_after_were_not_heard():
    talk = received(delta(SECOND, item="a"), delta(SECOND, item="b"), delta(SECOND, item="c"), delta(SECOND, item="d"))
    assert cuts(talk.heard("resp_1", 1.5)) == [("b", 0, 500), ("c", 0, 0), ("d", 0, 0)]


def test_a_response_that_was_played_to_its_end_is_left():
    talk = received(delta(SECOND), done())
    assert talk.heard("resp_1", 1.0) == []
    assert cuts(talk.heard("resp_1", 0.999)) == [("item_1", 0, 999)]


def test_parts_of_an_item_are_told_apart():
    talk = received(delta(SECOND), delta(SECOND, content_index=1))
    assert cuts(talk.heard("resp_1", 1.25)) == [("item_1", 1, 250)]


def test_of_a_response_that_was_not_heard_at_all_nothing_is_left():
    assert cuts(received(delta(SECOND)).heard("resp_1", 0.0)) == [("item_1", 0, 0)]


def test_nothing_is_cut_of_what_never_came():
    talk = received(delta(SECOND, item=None), delta(SECOND, turn=7), delta(b""))
    assert talk.heard("resp_9", 1.0) == talk.heard("", 1.0) == []
    assert cuts(talk.heard("resp_1", 1.0)) == [("item_1", 0, 0)]


@pytest.mark.parametrize("index", [None, -1, 10**9, "0", 0.5])
def test_a_part_without_a_number_is_the_first(index):
    assert cuts(received(delta(SECOND, content_index=index)).heard("resp_1", 0.5)) == [("item_1", 0, 500)]


def test_only_the_last_responses_are_remembered():
    talk = open_session()
    for number in range(50):
        facts(delta(SECOND, turn=f"resp_{number}"), talk)
    assert talk.heard("resp_0", 0.5) == [] and cuts(talk.heard("resp_49", 0.5)) == [("item_1", 0, 500)]


def test_items_without_end_are_not_remembered():
    talk = received(*[delta(b"ab", item=f"item_{number}") for number in range(1000)])
    assert len(talk.heard("resp_1", 0.0)) < 100


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5000)), max_size=12),
    st.floats(0, 60, allow_nan=False),
    st.booleans(),
)
def test_whatever_came_and_was_played_the_cuts_are_within_it(pieces, seconds, finished):
    talk = received(*[delta(bytes(48 * ms), item=item) for item, ms in pieces])
    if finished:
        facts(done(), talk)
    came = {item: sum(ms for other, ms in pieces if other == item) for item, _ in pieces}
    found = cuts(talk.heard("resp_1", seconds))
    for item, _, ms in found:
        assert 0 <= ms <= came[item]
    assert len(found) == len({item for item, _, _ in found})
    heard = sum(came.values()) - sum(came[item] - ms for item, _, ms in found)
    assert heard <= min(sum(came.values()), seconds * 1000 + 1)


# --- what we receive


@pytest.mark.parametrize("kind", ["response.output_audio.delta", "response.audio.delta"])
def test_audio_belongs_to_its_response(kind):
    assert facts(delta(b"abcdef", kind=kind)) == [Audio(b"abcdef", "resp_1")]


@pytest.mark.parametrize("turn", [None, 7, {}, "x" * 1000])
def test_audio_of_a_response_without_a_name_is_audio(turn):
    assert facts(delta(b"ab", turn=turn)) == [Audio(b"ab", "")]


@pytest.mark.parametrize("data", [None, 7, "A", "Q=UI", "QUJD!"])
def test_audio_that_is_not_base64_is_malformed(data):
    with pytest.raises(MalformedError):
        facts({"type": "response.output_audio.delta", "delta": data})


def test_speech_interrupts_unless_the_owner_says_that_it_does_not():
    assert facts(SPEECH) == [Interrupted()]
    options = {"turn_detection": {"type": "server_vad", "interrupt_response": False}}
    assert facts(SPEECH, open_session(options=options)) == []


@pytest.mark.parametrize("kind", ["response.output_audio_transcript.done", "response.audio_transcript.done"])
def test_a_transcript_of_the_agent_is_told_when_it_is_whole(kind):
    assert facts({"type": kind, "transcript": "Mild.\n"}) == [e.Transcribed(3, "agent", "Mild. ")]
    assert facts({"type": kind.replace("done", "delta"), "delta": "Mi"}) == []


def test_a_transcript_of_the_user_is_told_when_it_is_whole():
    kind = "conversation.item.input_audio_transcription"
    assert facts({"type": f"{kind}.completed", "transcript": "Hello"}) == [e.Transcribed(3, "user", "Hello")]
    assert facts({"type": f"{kind}.completed", "transcript": None}) == [e.Transcribed(3, "user", "")]
    assert facts({"type": f"{kind}.delta", "delta": "He"}) == facts({"type": f"{kind}.failed", "error": {}}) == []


def test_a_function_is_answered_and_the_model_is_asked_to_go_on_once_its_response_is_done():
    talk = open_session()
    facts(created(), talk)
    started, failed, answer = facts(call(), talk)
    assert (started, failed) == (e.ToolCalled(3, "get_weather", "started"), e.ToolCalled(3, "get_weather", "failed"))
    output = {"type": "function_call_output", "call_id": "call_1", "output": NO_SUCH_TOOL}
    assert sent([answer]) == [{"type": "conversation.item.create", "item": output}]
    facts(call(call_id="call_2"), talk)
    assert sent(facts(done(), talk)) == [{"type": "response.create"}]


def test_a_function_call_that_was_interrupted_asks_for_nothing():
    talk = open_session()
    facts(created(), talk)
    facts(call(), talk)
    assert facts(done(status="cancelled"), talk) == []


def test_a_function_may_be_named_by_its_item_or_not_at_all():
    talk = open_session()
    assert facts(call(name=None), talk)[0].tool == "function"
    facts({"type": "response.output_item.added", "item": {"id": "item_f", "name": "clock"}}, talk)
    assert facts(call(name=None), talk)[0].tool == "clock"
    assert [type(fact) for fact in facts(call(call_id=None), talk)] == [e.ToolCalled, e.ToolCalled]


@pytest.mark.parametrize(
    ("event", "status"), [("in_progress", "started"), ("completed", "completed"), ("failed", "failed")]
)
def test_tools_of_the_server_are_told_of(event, status):
    talk, message = open_session(), {"type": f"response.mcp_call.{event}", "item_id": "item_m"}
    assert facts(message, talk) == [e.ToolCalled(3, "mcp", status)]
    facts({"type": "response.output_item.added", "item": {"id": "item_m", "name": "search"}}, talk)
    assert facts(message, talk) == [e.ToolCalled(3, "search", status)]


def test_names_of_tools_without_end_are_not_remembered():
    talk = open_session()
    for number in range(1000):
        facts({"type": "response.output_item.added", "item": {"id": f"item_{number}", "name": "x"}}, talk)
    assert facts({"type": "response.mcp_call.failed", "item_id": "item_0"}, talk)[0].tool == "mcp"
    assert facts({"type": "response.mcp_call.failed", "item_id": "item_999"}, talk)[0].tool == "x"


UNTOLD = (
    "conversation.item.added", "conversation.item.done", "conversation.item.created", "conversation.item.retrieved",
    "conversation.item.truncated", "conversation.item.deleted", "input_audio_buffer.committed",
    "input_audio_buffer.cleared", "input_audio_buffer.speech_stopped", "input_audio_buffer.timeout_triggered",
    "response.output_item.done", "response.content_part.added", "response.content_part.done",
    "response.output_audio.done", "response.output_text.delta", "response.output_text.done",
    "response.function_call_arguments.delta", "mcp_list_tools.completed", "rate_limits.updated", "response.done",
    "response.created", "conversation.item.input_audio_transcription.segment", "something.new",
)  # fmt: skip


@pytest.mark.parametrize("kind", UNTOLD)
def test_other_messages_mean_nothing_to_us(kind):
    assert facts({"type": kind}) == facts({"type": kind, "item": None, "response": 7, "item_id": []}) == []


# --- errors


@pytest.mark.parametrize("place", ["code", "type"])
@pytest.mark.parametrize("name", HOPELESS)
def test_a_hopeless_error_is_a_refusal_wherever_it_stands(name, place):
    wrong = {"message": "No.", place: name}
    failed = done(status="failed", error=wrong)
    answer = Answer(429, json.dumps({"error": wrong}).encode(), WHERE)
    verdicts = [verdict_on({"type": "error", "error": wrong}, to) for to in (open_session(), protocol())]
    for verdict in (*verdicts, verdict_on(failed), protocol().denied(answer)):
        assert isinstance(verdict, RefusedError) and verdict.code == HOPELESS[name]
        assert name in str(verdict) and "OpenAI" in str(verdict)


def test_what_it_says_of_a_key_is_not_shown():
    message = "Incorrect API key provided: sk-pr***ter2."
    assert "ter2" not in str(verdict_on(error("invalid_api_key", message)))
    assert "ter2" not in str(protocol().denied(Answer(401, json.dumps({"error": error()["error"]}).encode(), WHERE)))


@pytest.mark.parametrize("talk", [protocol, open_session])
def test_a_session_that_has_expired_is_followed_by_a_new_one(talk):
    verdict = verdict_on(error("session_expired", "60 minutes"), talk())
    assert isinstance(verdict, NetworkError) and verdict.code == "connection_lost" and verdict.wait_s is None


def test_any_other_error_changes_nothing():
    assert facts(error("rate_limit_exceeded", "Slow\ndown.")) == [e.AgentErred(3, "rate_limit_exceeded", "Slow down.")]
    assert facts(error(None, f"x {KEY}")) == [e.AgentErred(3, "invalid_request_error", "x ***")]
    assert facts({"type": "error"}) == [e.AgentErred(3, "agent_error", "no reason given.")]


def test_a_response_that_failed_is_told_of():
    wrong = {"type": "server_error", "code": "overloaded", "message": "Sorry."}
    assert facts(done(status="failed", error=wrong)) == [e.AgentErred(3, "overloaded", "Sorry.")]
    assert facts({"type": "response.done", "response": {"status": "failed"}})[0].code == "agent_error"


@pytest.mark.parametrize("status", ["completed", "cancelled", "incomplete", None, 7])
def test_a_response_that_ended_otherwise_is_not(status):
    assert facts(done(status=status, reason="max_output_tokens")) == []


@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [
        (error("unknown_parameter", "Unknown parameter: 'session.x'."), RefusedError, "options_refused"),
        (error("rate_limit_exceeded", kind="requests"), NetworkError, "server_busy"),
        (error("internal", kind="server_error"), NetworkError, "server_fault"),
        ({"type": "error"}, NetworkError, "server_fault"),
    ],
)
def test_an_error_before_it_is_ready_means_that_it_will_not_be(message, kind, code):
    talk = protocol()
    facts(CREATED, talk)
    verdict = verdict_on(message, talk)
    assert type(verdict) is kind and verdict.code == code


def test_refused_settings_are_told_with_what_is_wrong_about_them():
    verdict = verdict_on(error("invalid_value", f"Invalid 'voice' {KEY}\n."), protocol())
    assert "Invalid 'voice' *** ." in str(verdict) and "agent.options" in str(verdict)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, RefusedError, "options_refused"), (401, RefusedError, "key_refused"), (403, RefusedError, "key_refused"),
        (402, RefusedError, "no_credit"), (404, RefusedError, "not_found"), (429, NetworkError, "server_busy"),
        (500, NetworkError, "server_fault"), (503, NetworkError, "server_busy"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":7}', b'{"error":{"code":[],"type":{}}}', b"\xff"])
def test_the_status_of_the_upgrade_is_a_verdict(status, kind, code, body):
    verdict = protocol().denied(Answer(status, body, WHERE, 7.0))
    assert type(verdict) is kind and verdict.code == code and WHERE in str(verdict)
    assert kind is RefusedError or verdict.wait_s == 7.0


def test_a_request_that_makes_no_sense_is_not_repeated():
    verdict = protocol().denied(Answer(400, json.dumps(error("missing_model", "No model.")).encode(), WHERE))
    assert isinstance(verdict, RefusedError) and verdict.code == "options_refused" and "No model." in str(verdict)


@pytest.mark.parametrize("code", [1001, None, 1005, 1006, 1011, 1012, 1013, 1015, 4000])
def test_a_close_is_followed_by_another_connection(code):
    assert isinstance(protocol().closed(code), NetworkError)


def test_a_close_in_good_form_is_the_end_and_one_for_want_of_rights_a_refusal():
    assert protocol().closed(1000) == Ended("agent")
    assert isinstance(protocol().closed(4401), RefusedError)


# --- hostile servers

KINDS = (
    "session.created", "session.updated", "response.output_audio.delta", "response.audio.delta", "response.created",
    "input_audio_buffer.speech_started", "response.done", "response.output_audio_transcript.done", "error",
    "conversation.item.input_audio_transcription.completed", "response.output_item.added",
    "response.function_call_arguments.done", "response.mcp_call.in_progress", "response.mcp_call.failed",
)  # fmt: skip
FIELDS = (
    "session", "id", "audio", "input", "output", "format", "type", "rate", "delta", "response_id", "item_id", "item",
    "content_index", "response", "status", "status_details", "error", "code", "message", "event_id", "transcript",
    "name", "call_id",
)  # fmt: skip
WORDS = st.sampled_from(
    ["resp_1", "item_1", "failed", "cancelled", "QUJDRA==", "\ud800", "cancel", "text", "session_expired",
     "conversation_already_has_active_response", "invalid_request_error", "insufficient_quota", "audio/pcm"]
)  # fmt: skip
ODD_NUMBERS = st.sampled_from([10**400, -(10**400), 1e308, float("nan"), float("inf"), -0.0, True, 2**63, -1])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | ODD_NUMBERS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
    ),
    max_leaves=12,
)
NEAR = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6),
)
PLAUSIBLE = (e.SessionStarted, e.SessionReady, Audio, e.Transcribed, e.ToolCalled, Interrupted, e.AgentErred, Send)


def survives(message, to):
    try:
        found = list(to.receive(message))
    except (MalformedError, SessionError) as error:
        assert "hunter2" not in str(error) and len(str(error)) < 5000
        return
    for fact in found:
        assert isinstance(fact, PLAUSIBLE) and "hunter2" not in repr(fact)
        assert not isinstance(fact, Audio) or (len(fact.pcm) % 2 == 0 and len(fact.turn) <= 200)
        if isinstance(fact, Send):
            json.loads(fact.message)
    for order in (*to.interrupt(), *to.heard("resp_1", 0.5), *to.heard("", 0.5)):
        json.loads(order)


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b'\xef\xbb\xbf{"type":"session.created"}')
@example('{"type":"session.created"}'.encode("utf-16"))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
def test_any_bytes_and_any_text_are_understood_or_malformed(message):
    survives(message, open_session())


@given(st.lists(JSON | NEAR, max_size=8), st.booleans())
def test_any_json_is_understood_or_malformed(messages, ready):
    talk = open_session() if ready else protocol()
    for message in messages:
        survives(json.dumps(message), talk)


@given(JSON)
def test_any_body_of_an_answer_is_a_verdict(body):
    for status in (400, 401, 429, 500):
        verdict = protocol().denied(Answer(status, json.dumps(body).encode(), WHERE))
        assert isinstance(verdict, SessionError) and "hunter2" not in str(verdict)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*GOOD, "x"]), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON)))
def test_whatever_the_options_are_they_are_refused_or_make_a_message_of_json(options):
    if not problems(**options):
        _, send = facts(CREATED, protocol(options=options))
        json.loads(send.message, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_recorded_conversation_is_understood():
    talk = protocol()
    talk.opening()
    found = [fact for message in EXCHANGE[:-1] for fact in talk.receive(message)]
    kinds = [type(fact) for fact in found if not isinstance(fact, Audio)]
    assert kinds == [
        e.SessionStarted, Send, e.SessionReady, Interrupted, e.Transcribed, e.ToolCalled, e.ToolCalled, e.ToolCalled,
        e.ToolCalled, Send, Send, e.Transcribed, Interrupted,
    ]  # fmt: skip
    assert [fact.turn for fact in found if isinstance(fact, Audio)] == ["resp_1"] * 3 + ["resp_2"] * 3
    assert cuts(talk.heard("resp_2", 0.25)) == [("item_2", 0, 250)]
    with pytest.raises(NetworkError):
        list(talk.receive(EXCHANGE[-1]))
