"""OpenAI over real sockets: the speaker's link against an agent that follows the vendor's documents."""

from http import HTTPStatus

import pytest
import websocket

from device.config import Agent
from device.events import (
    AgentErred,
    AgentInterrupted,
    ConnectionLost,
    ReplyStarted,
    SessionEnded,
    SessionReady,
    SessionRefused,
    SessionStarted,
    ToolCalled,
    Transcribed,
)
from device.session import session as module
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.link import Link
from device.session.protocols.openai import OpenAI
from tests.fakes import Recorder, threads, wait_until
from tests.servers.openai import HOPELESS, OpenAIServer

KEY = "sk-proj-a-very-secret-key"
TONE = b"\x10\x20" * 24_000
"""A second."""


class Bench:
    """A speaker without sound: `heard` has (reply, pcm, rate)."""

    def __init__(self, url, **options):
        self.events, self.heard = Recorder(), Recorder()
        agent = Agent(protocol="openai", url=url, options=options)
        self.link = Link(
            lambda session, conversation: OpenAI(agent, Secret(KEY), session, conversation),
            self.heard,
            self.events,
            connect=connect,
        )

    def start(self):
        self.link.start(1, None)
        self.events.wait_kind(SessionReady)

    def sound(self):
        return b"".join(pcm for _, pcm, _ in self.heard.items)


@pytest.fixture
def server():
    with OpenAIServer() as server:
        server.key = KEY
        yield server


@pytest.fixture
def bench(server, monkeypatch):
    monkeypatch.setattr(module, "delay_s", lambda attempt, jitter: 0.05)
    bench = Bench(server.url, instructions="Be brief.")
    yield bench
    bench.link.close()
    wait_until(lambda: not threads("link-receive") and not threads("link-send"))
    assert KEY not in repr(bench.events.items) and server.violations == []


def test_a_conversation_over_a_real_socket(server, bench):
    server.on_ready = lambda visit: visit.reply(TONE, words="Mild.")
    bench.link.start(1, None)
    for number in range(50):
        bench.link.hear(1, number.to_bytes(2, "little") * 320)
    visit = server.visit()
    visit.wait(lambda visit: len(visit.frames) == 50)
    assert 0.99 < len(visit.audio) / 48_000 <= 1.0, "50 frames are a second, but for what the resampler keeps"
    bench.heard.wait(lambda _: bench.sound() == TONE)
    assert {(reply, rate) for reply, _, rate in bench.heard.items} == {(1, 24_000)}
    bench.events.wait_for(Transcribed(1, "agent", "Mild."))
    bench.link.stop("button")
    bench.events.wait_for(SessionEnded(1, "button"))
    assert bench.events.of(SessionStarted) == [SessionStarted(1, "sess_1")]
    assert visit.of("session.update")[0]["session"]["instructions"] == "Be brief." and visit.kinds() == [
        "session.update"
    ]


def test_before_the_settings_are_taken_nothing_is_sent_and_nothing_lost(server, bench):
    server.ready_after_s = 0.3
    bench.link.start(1, None)
    for _ in range(10):
        bench.link.hear(1, bytes(640))
    visit = server.visit()
    visit.wait(lambda visit: len(visit.frames) == 10)


def test_a_server_that_never_takes_the_settings_hears_nothing(server, bench):
    server.answers_settings = False
    bench.link.start(1, None)
    bench.link.hear(1, bytes(640))
    visit = server.visit()
    visit.wait(lambda visit: visit.messages)
    visit.ended.wait(0.3)
    assert visit.frames == [] and bench.events.of(SessionReady) == []


def test_a_server_that_insists_on_another_format_hears_nothing(server, bench):
    server.format = {"type": "audio/pcmu"}
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == "options_refused"
    assert server.visit().frames == []


def test_an_interruption_by_the_button_cancels_the_response_and_takes_back_what_was_not_played(server, bench):
    server.on_ready = lambda visit: visit.reply(TONE, TONE * 4, lead_s=0.4)
    bench.start()
    bench.heard.wait(lambda heard: len(heard) >= 14)  # 1.4 s: the second item has begun
    bench.link.interrupt()
    bench.link.heard(1, 1.1)
    visit = server.visit()
    visit.wait(lambda visit: visit.of("conversation.item.truncate"))
    assert visit.kinds()[1:3] == ["response.cancel", "conversation.item.truncate"]
    cut = visit.of("conversation.item.truncate")
    assert [(message["item_id"], message["audio_end_ms"]) for message in cut] == [("resp_1_item_1", 100)]
    visit.reply(TONE)
    bench.events.wait_for(ReplyStarted(1, 2))


def test_an_interruption_by_speech_is_told_and_needs_no_cancel(server, bench):
    server.on_ready = lambda visit: visit.reply(TONE * 5, lead_s=0.4)
    bench.start()
    bench.heard.wait(lambda heard: len(heard) >= 3)
    visit = server.visit()
    visit.speech()
    bench.events.wait_for(AgentInterrupted(1, 1))
    bench.link.heard(1, 0.2)
    visit.wait(lambda visit: visit.of("conversation.item.truncate"))
    visit.reply(TONE)
    bench.events.wait_for(ReplyStarted(1, 2))
    assert visit.kinds() == ["session.update", "conversation.item.truncate"] and bench.events.of(AgentErred) == []


def test_a_response_in_the_making_is_cut_at_what_came_of_it_at_most(server, bench):
    server.on_ready = lambda visit: visit.reply(TONE * 5, lead_s=0.4)
    bench.start()
    bench.heard.wait(lambda heard: len(heard) >= 3)
    bench.link.heard(1, 1000.0)
    visit = server.visit()
    visit.wait(lambda visit: visit.of("conversation.item.truncate"))
    assert 300 <= visit.of("conversation.item.truncate")[0]["audio_end_ms"] <= 4900


def test_a_reply_that_came_whole_is_still_cut_where_it_was_interrupted(server, bench):
    server.on_ready = lambda visit: visit.reply(TONE * 3)
    bench.start()
    bench.heard.wait(lambda _: len(bench.sound()) == 3 * len(TONE))
    bench.events.wait_kind(Transcribed)
    visit = server.visit()
    wait_until(lambda: visit.active is None)
    visit.speech()
    bench.events.wait_for(AgentInterrupted(1, 1))
    bench.link.heard(1, 0.75)
    visit.wait(lambda visit: visit.of("conversation.item.truncate"))
    assert visit.of("conversation.item.truncate")[0]["audio_end_ms"] == 750


def test_a_text_is_answered_even_if_it_comes_during_a_response(server, bench):
    server.on_ready = lambda visit: visit.begin()
    bench.start()
    visit = server.visit()
    bench.link.text("What time is it?")
    visit.wait(lambda visit: visit.of("response.create"))
    wait_until(lambda: visit.active == "resp_1")
    visit.finish()
    bench.events.wait_kind(ReplyStarted)
    assert visit.kinds()[1:] == ["conversation.item.create", "response.create", "response.create"]
    assert bench.events.of(AgentErred) == []


def test_a_function_is_answered_and_the_model_goes_on(server, bench):
    server.on_ready = lambda visit: visit.call("get_weather")
    bench.start()
    bench.events.wait_kind(ReplyStarted)
    assert [event.status for event in bench.events.of(ToolCalled)] == ["started", "failed"]
    visit = server.visit()
    assert visit.kinds()[1:] == ["conversation.item.create", "response.create"] and visit.calls == set()


@pytest.mark.parametrize("code", HOPELESS)
@pytest.mark.parametrize("place", ["settings", "later", "type"])
def test_a_hopeless_error_ends_it_for_good(server, bench, code, place):
    if place == "later":
        server.on_ready = lambda visit: server.fail(visit, code)
    else:
        server.errors = [(code, "invalid_request_error")] if place == "settings" else [("other", code)]
    bench.link.start(1, None)
    refused = bench.events.wait_kind(SessionRefused)
    assert refused.code in ("no_credit", "key_refused", "not_found") and len(server.visits) == 1


def test_settings_that_are_refused_are_told_and_not_tried_again(server, bench):
    server.errors = [("unknown_parameter", "invalid_request_error")]
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == "options_refused" and len(server.visits) == 1


@pytest.mark.parametrize("end", ["error", "close", "both"])
def test_at_the_end_of_its_hour_a_new_session_goes_on(server, bench, end):
    def expire(visit):
        if visit is not server.visits[0]:
            return
        if end != "close":
            visit.err("session_expired")
        if end != "error":
            visit.close(1001, "Your session hit the maximum duration of 60 minutes.")

    server.on_ready = expire
    bench.link.start(1, None)
    bench.events.wait(lambda _: len(bench.events.of(SessionReady)) == 2)
    assert bench.events.wait_kind(ConnectionLost).code == "connection_lost"
    bench.link.hear(1, bytes(640))
    server.visit(2).wait(lambda visit: visit.frames)


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013])
def test_a_close_that_means_no_harm_is_followed_by_another_session(server, bench, code):
    server.on_ready = lambda visit: visit.close(code) if visit is server.visits[0] else None
    bench.link.start(1, None)
    bench.events.wait(lambda _: len(bench.events.of(SessionReady)) == 2)


def test_a_line_that_breaks_is_followed_by_another_session_which_knows_nothing_of_the_last(server, bench):
    server.on_ready = lambda visit: visit.reply(TONE) if visit is server.visits[0] else None
    bench.start()
    bench.heard.wait(lambda _: bench.sound() == TONE)
    server.visit().cut()
    bench.events.wait(lambda _: len(bench.events.of(SessionReady)) == 2)
    bench.link.heard(1, 0.5)
    bench.link.interrupt()
    bench.link.text("Still there?")
    visit = server.visit(2)
    visit.wait(lambda visit: visit.of("response.create"))
    assert visit.kinds() == ["session.update", "conversation.item.create", "response.create"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (HTTPStatus.UNAUTHORIZED, "key_refused"),
        (HTTPStatus.FORBIDDEN, "key_refused"),
        (HTTPStatus.NOT_FOUND, "not_found"),
    ],
)
def test_an_upgrade_that_is_refused_is_final(server, bench, status, code):
    server.status = status
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == code and len(server.refused) == 1


@pytest.mark.parametrize(
    "status", [HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY]
)
def test_an_upgrade_that_fails_is_tried_again(server, bench, status):
    server.status = status
    bench.link.start(1, None)
    bench.events.wait_kind(ConnectionLost)
    server.status = None
    bench.events.wait_kind(SessionReady)


def test_a_wrong_key_is_final_and_not_shown(server, bench):
    server.key = "another"
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == "key_refused" and server.visits == []


# --- the server is strict


def speak(server, *messages, path="/v1/realtime?model=gpt-realtime", headers=()):
    """Send these as they are, each after something has come from the server."""
    line = websocket.create_connection(
        server.url.replace("http", "ws") + path, header=[f"Authorization: Bearer {KEY}", *headers], timeout=5
    )
    for message in messages:
        line.recv()
        line.send(message)
    line.close()


SETTINGS = (
    '{"type":"session.update","session":{"type":"realtime","audio":{"input":{"format":{"type":"audio/pcm","rate":%d}},'
    '"output":{"format":{"type":"audio/pcm","rate":24000}}}}}'
)
GOOD = SETTINGS % 24_000


@pytest.mark.parametrize(
    ("messages", "violation"),
    [
        (['{"type":"input_audio_buffer.append","audio":"QUJD"}'], "audio before ready"),
        ([GOOD, '{"type":"input_audio_buffer.append","audio":"QUJD"}'], "a frame of 3 bytes"),
        ([SETTINGS % 16_000], "the settings"),
        ([GOOD, GOOD], "not the first"),
        (['{"type":"response.create"}'], "before ready"),
        ([GOOD, '{"type":"output_audio_buffer.clear"}'], "the message"),
        ([GOOD, '{"type":"conversation.item.truncate","item_id":"x","content_index":0,"audio_end_ms":0}'], "of None bytes"),
        ([GOOD, '{"type":"conversation.item.create","item":{"type":"function_call_output","call_id":"x","output":""}}'],
         "not called"),
    ],
)  # fmt: skip
def test_it_notices_messages_that_must_not_be(server, messages, violation):
    speak(server, *messages)
    wait_until(lambda: any(violation in found for found in server.violations))


@pytest.mark.parametrize(
    ("address", "violation"),
    [
        ({"path": f"/v1/realtime?model=x&key={KEY}"}, "a key in the address"),
        ({"path": "/v1/realtime"}, "a connection to"),
        ({"path": "/v1/live?model=x"}, "a connection to"),
        ({"headers": ("OpenAI-Beta: realtime=v1",)}, "a header of the beta"),
    ],
)
def test_it_notices_addresses_and_headers_that_must_not_be(server, address, violation):
    speak(server, **address)
    assert any(violation in found for found in server.violations)


def test_it_notices_a_truncation_behind_what_it_sent(server):
    server.on_ready = lambda visit: visit.reply(TONE)
    speak(
        server,
        GOOD,
        '{"type":"conversation.item.truncate","item_id":"resp_1_item_0","content_index":0,"audio_end_ms":1001}',
    )
    wait_until(lambda: any("truncate" in found for found in server.violations))


def test_it_notices_who_comes_back_after_a_refusal(server):
    server.errors = [("insufficient_quota", "invalid_request_error")]
    speak(server, GOOD)
    wait_until(lambda: server.final != "")
    assert server.violations == []
    speak(server)
    assert server.violations != []
