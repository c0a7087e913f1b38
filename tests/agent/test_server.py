"""The protocol over a real socket, with a fake ear and voice."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from device.agent import session
from device.agent.grammar import Command
from device.agent.hearing import Heard
from device.agent.server import SESSIONS, loopback, serve
from device.errors import EarshotError, UsageError
from tests.agent.conftest import LOUD, SILENT, Agent, Client, Levers

CLEAR = (10.0, 10.0, 0.1)


def closed_with(client: Client) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            client.receive()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def texts(messages: list[dict[str, object]], role: str) -> list[str]:
    return [m["payload"]["text"] for m in messages if m["type"] == "transcript" and m["payload"]["role"] == role]


def test_a_session_keeps_the_conversation_it_was_given(call: Callable[[], Client]) -> None:
    assert call().start(conversation_id="c-7")["conversation_id"] == "c-7"
    names = call().start()
    assert names["session_id"] != names["conversation_id"]


def test_a_spoken_question_is_answered_in_speech(client: Client, levers: Levers) -> None:
    levers.heard = [Heard("hey jarvis what time is it", *CLEAR)]
    client.say()
    messages = client.until("audio")
    assert texts(messages, "user") == ["what time is it"]
    assert [m["payload"]["status"] for m in messages if m["type"] == "tool_call"] == ["started", "completed"]
    assert texts(messages, "agent") == ["It is three oh seven in the afternoon."]
    assert levers.utterances[0].pcm.count(LOUD[:2]) == 16_000


def test_messages_in_binary_frames_are_understood(call: Callable[[], Client]) -> None:
    client = call()
    client.socket.send(b'{"type": "start"}')
    assert [client.receive()["type"], client.receive()["type"]] == ["started", "ready"]


def test_text_is_answered_as_if_it_had_been_spoken(client: Client) -> None:
    client.send("text", text="Set the volume to 30%!")
    messages = client.until("audio")
    assert {"type": "device", "payload": {"action": "volume", "to": 30}} in messages


def test_timers_outlive_the_session_that_set_them(call: Callable[[], Client]) -> None:
    first = call()
    first.start()
    first.send("text", text="set a timer for five minutes")
    order = first.until("device")[-1]["payload"]
    assert order == {"action": "timer_set", "name": "timer 1", "in_s": 300.0}
    first.socket.close()
    second = call()
    second.start(initial_message="list my timers")
    assert texts(second.until("audio"), "agent") == ["Timer one has five minutes left."]


def test_stop_ends_the_session_with_all_that_was_said(client: Client) -> None:
    client.send("text", text="louder")
    client.until("audio")
    client.send("stop")
    ended = client.until("ended")[-1]["payload"]
    said = [{"role": "user", "text": "louder"}, {"role": "agent", "text": "Louder."}]
    assert ended == {"credits_consumed": 0, "transcript": said}
    assert closed_with(client) == 1000


@pytest.mark.slow
def test_goodbye_ends_the_session_after_it_was_heard(client: Client, levers: Levers) -> None:
    levers.sentence_s = 0.8
    client.send("text", text="goodbye")
    client.until("audio")
    began = time.monotonic()
    client.until("ended")
    assert time.monotonic() - began > 1.0
    assert closed_with(client) == 1000


def test_an_interrupted_goodbye_does_not_end_the_session(client: Client, levers: Levers) -> None:
    levers.sentence_s = 5
    client.send("text", text="goodbye")
    client.until("audio")
    client.send("interrupt")
    client.until("interrupted")
    levers.sentence_s = 0.1
    client.send("text", text="louder")
    assert "ended" not in [message["type"] for message in client.until("audio")]
    with pytest.raises(TimeoutError):
        client.receive(0.6)


@pytest.mark.parametrize("after", [1, 3, 6])
def test_nothing_of_a_reply_comes_after_interrupted(client: Client, levers: Levers, after: int) -> None:
    levers.sentence_s = 30
    client.send("text", text="tell me a story")
    for _ in range(after):
        client.until("audio")
    client.send("interrupt")
    client.until("interrupted")
    with pytest.raises(TimeoutError):
        client.receive(0.4)


def test_a_text_cuts_off_the_reply_before_it(client: Client, levers: Levers) -> None:
    levers.sentence_s = 30
    client.send("text", text="tell me a story")
    client.until("audio")
    client.send("text", text="louder")
    client.until("interrupted")
    assert texts(client.until("audio"), "agent") == ["Louder."]


def test_a_reply_is_sent_little_ahead_of_being_heard(client: Client, levers: Levers) -> None:
    levers.sentence_s = 30
    client.send("text", text="tell me a story")
    client.until("audio")
    began, sent = time.monotonic(), 0.1
    while sent < 1.2:
        size = len(base64.b64decode(client.until("audio")[-1]["payload"]["data"]))
        assert size <= 4800
        sent += size / 48_000
        assert sent - (time.monotonic() - began) < 0.45


@pytest.mark.slow
def test_it_does_not_hear_itself(client: Client, levers: Levers) -> None:
    levers.sentence_s = 0.6
    client.send("text", text="louder")
    client.until("audio")
    client.audio(LOUD * 100)
    with pytest.raises(TimeoutError):
        while True:
            assert client.receive(1.0)["type"] == "audio"
    client.audio(SILENT * 50)
    with pytest.raises(TimeoutError):
        client.receive(0.2)
    assert levers.utterances == []


def test_what_was_said_just_before_an_interruption_is_heard(client: Client, levers: Levers) -> None:
    levers.sentence_s = 30
    levers.heard = [Heard("louder", *CLEAR)]
    client.send("text", text="tell me a story")
    client.until("audio")
    client.audio(LOUD * 100)
    client.send("interrupt")
    client.until("interrupted")
    client.audio(bytes(32_000))
    assert texts(client.until("audio"), "agent") == ["Louder."]
    kept = levers.utterances[0].pcm.count(LOUD[:2]) / 16_000
    assert 0.6 < kept <= 0.7


@pytest.mark.parametrize(
    ("heard", "speech_s"),
    [(Heard("hey jarvis", *CLEAR), 1.0), (Heard(""), 0.5), (Heard("stop", overall=90.0), 0.5)],
)
def test_the_wake_word_alone_and_short_noises_get_no_answer(
    client: Client, levers: Levers, heard: Heard, speech_s: float
) -> None:
    levers.heard = [heard, Heard("louder", *CLEAR)]
    client.say(speech_s)
    client.say()
    assert texts(client.until("audio"), "agent") == ["Louder."]


def test_words_that_come_at_once_while_others_are_recognised_are_not_lost(client: Client, levers: Levers) -> None:
    levers.recognition_s = 0.3
    levers.heard = [Heard("hey jarvis", *CLEAR), Heard("louder", *CLEAR)]
    client.say()
    client.say()
    assert texts(client.until("audio"), "agent") == ["Louder."]
    assert levers.utterances[1].pcm.count(LOUD[:2]) == 16_000


@pytest.mark.slow
def test_a_foreign_sentence_is_not_understood_but_not_for_ever(client: Client, levers: Levers) -> None:
    for _ in range(2):
        client.say()
        assert texts(client.until("audio"), "agent") == ["Sorry, I did not understand."]
        with pytest.raises(TimeoutError):
            while True:
                client.receive(0.7)
    client.say()
    levers.heard = []
    with pytest.raises(TimeoutError):
        client.receive(0.5)


def test_a_failing_skill_is_told_and_apologised_for(call: Callable[[], Client], levers: Levers) -> None:
    def broken(words: list[str], context: object) -> str:
        raise RuntimeError("no such thing")

    levers.commands.append(Command("broken", "do something", broken))
    client = call()
    client.start(initial_message="do something")
    messages = client.until("audio")
    assert [m["payload"]["status"] for m in messages if m["type"] == "tool_call"] == ["started", "failed"]
    assert texts(messages, "agent") == ["Sorry, that did not work."]


def test_a_voice_that_fails_is_reported_and_the_session_goes_on(client: Client, levers: Levers) -> None:
    levers.voice_fails = True
    client.send("text", text="louder")
    assert client.until("error")[-1]["payload"]["code"] == "internal"
    levers.voice_fails = False
    client.send("text", text="louder")
    client.until("audio")


def test_audio_before_ready_is_an_error_and_the_session_can_still_start(call: Callable[[], Client]) -> None:
    client = call()
    client.audio(LOUD)
    assert client.receive()["payload"]["code"] == "audio_before_ready"
    client.start()


def test_who_does_not_start_is_told_and_sent_away(call: Callable[[], Client], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "START_S", 0.1)
    client = call()
    assert client.receive()["payload"]["code"] == "start_timeout"
    assert closed_with(client) == 1008


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ("[]", "invalid_message"),
        ('{"type": 5}', "invalid_message"),
        ('{"type": "audio", "payload": []}', "invalid_message"),
        ('{"type": "audio"}', "invalid_audio"),
        ('{"type": "audio", "payload": {"data": "!!!!"}}', "invalid_audio"),
        ('{"type": "audio", "payload": {"data": "AAAA"}}', "invalid_audio"),
        ('{"type": "text", "payload": {"text": 1}}', "invalid_text"),
        ('{"type": "text", "payload": {"text": "' + "a" * 2001 + '"}}', "invalid_text"),
        ('{"type": "start"}', "already_started"),
        ('{"type": "dance"}', "unknown_type"),
    ],
)
def test_a_malformed_message_is_answered_and_survived(client: Client, data: str | bytes, code: str) -> None:
    client.socket.send(data)
    assert client.receive()["payload"]["code"] == code
    client.send("interrupt")
    assert client.receive() == {"type": "interrupted"}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(["start", "audio", "text", "interrupt"]) | JSON},
    optional={"payload": st.dictionaries(st.sampled_from(["data", "text", "conversation_id", "voice_config"]), JSON)},
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=50) | st.text(max_size=50) | (MESSAGES | JSON).map(json.dumps), max_size=8))
def test_no_message_breaks_a_session(agent: Agent, hostile: list[str | bytes]) -> None:
    with connect(agent.url, close_timeout=1) as socket:
        client = Client(socket)
        for data in hostile:
            socket.send(data)
        client.send("start")
        client.send("stop")
        client.until("ended")


def test_a_message_too_long_closes_its_session_only(call: Callable[[], Client]) -> None:
    client, other = call(), call()
    other.start()
    client.start()
    client.audio(bytes(2**20))
    assert closed_with(client) == 1009
    other.send("stop")
    other.until("ended")


def test_one_session_too_many_is_turned_away_until_another_ends(call: Callable[[], Client]) -> None:
    clients = [call() for _ in range(SESSIONS)]
    for client in clients:
        client.start()
    late = call()
    assert late.receive()["payload"]["code"] == "busy"
    assert closed_with(late) == 1013
    clients[0].send("stop")
    assert closed_with(clients[0]) == 1000
    call().start()


def test_a_client_that_vanishes_in_the_middle_of_a_reply_harms_nobody(
    call: Callable[[], Client], levers: Levers
) -> None:
    levers.sentence_s = 30
    for _ in range(SESSIONS + 1):
        client = call()
        client.start(initial_message="tell me a story")
        client.until("audio")
        client.socket.close()


def test_web_pages_are_kept_out_and_other_paths_do_not_exist(agent: Agent) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(agent.url, origin="https://example.com"):
        pass
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as refused, connect(agent.url.replace("/ws/voice", "/other")):
        pass
    assert refused.value.response.status_code == 404
    with connect(agent.url + "?token=any", origin="http://127.0.0.1:8765") as socket:
        Client(socket).start()


def test_a_port_that_is_taken_is_named(agent: Agent, levers: Levers) -> None:
    port = int(agent.url.split(":")[2].split("/")[0])
    with pytest.raises(EarshotError, match=str(port)):
        asyncio.run(serve("127.0.0.1", port, parts=levers.parts()))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com", ""])
def test_others_cannot_reach_it(host: str) -> None:
    with pytest.raises(UsageError, match="this machine only"):
        loopback(host)
    assert loopback("localhost") == "127.0.0.1"


def test_the_process_ends_with_0_when_it_is_told_to() -> None:
    program = (
        "import logging; logging.basicConfig(level='INFO'); from device.agent.server import run; exit(run(port=0))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("The agent listens" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
