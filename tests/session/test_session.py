"""A session with an agent that the test plays by hand: its beginning, its backlog, lost connections, and its end."""

import base64
import itertools
import json

import numpy as np
import pytest

from device.config import Agent
from device.errors import NetworkError, RefusedError
from device.events import (
    AgentErred,
    AgentInterrupted,
    ConnectionLost,
    Dropped,
    FirstAudioSent,
    ReplyStarted,
    SessionEnded,
    SessionReady,
    SessionRefused,
    SessionStarted,
    ToolCalled,
    WorkerDied,
)
from device.session import session as module
from device.session.protocol import Audio, Send
from device.session.protocols.datagrid import Datagrid
from device.session.session import Session
from device.session.socket import Closed
from tests.fakes import LIMIT_S, Exchange, FakeConnection, Recorder, threads, wait_until

LOST = NetworkError("connection_lost", "The connection broke.")


RESUMED = {"voice_config": {"silent_start": True}, "conversation_id": "c-1"}


def frame(number):
    return number.to_bytes(2, "little") * 320


class Bench:
    """A session and all around it; `lines` are what connecting gives, one after the other."""

    def __init__(self, *lines, protocol=Datagrid):
        self.lines = [line for line in lines if isinstance(line, FakeConnection)]
        self.exchange = Exchange(*lines)
        self.events = Recorder()
        self.heard = Recorder()
        self.session = Session(
            7, protocol(Agent(), None, 7), itertools.count(1), self.heard, self.events, connect=self.exchange
        )
        self.session.start()

    def agent(self, kind, line=0, **payload):
        """The agent says this."""
        self.lines[line].says(json.dumps({"type": kind, "payload": payload}).encode())

    def ready(self, line=0, **started):
        self.lines[line].sent.wait(lambda sent: sent)
        self.agent("started", line, **started)
        self.agent("ready", line)
        self.events.wait(lambda events: sum(isinstance(event, SessionReady) for event in events) == line + 1)

    def reply(self, pcm, line=0):
        self.agent("audio", line, data=base64.b64encode(pcm).decode())

    def hear(self, *numbers):
        for number in numbers:
            self.session.hear(frame(number))

    def sent(self, line=0):
        """What the agent got: frames by number, everything else by type."""
        return [short(message) for message in self.lines[line].sent.items]

    def wait_sent(self, *expected, line=0):
        self.lines[line].sent.wait(lambda sent: [short(message) for message in sent] == list(expected))

    def ended(self):
        """The last event, after which all threads are gone."""
        self.events.wait(lambda events: any(isinstance(event, SessionEnded | SessionRefused) for event in events))
        self.session.join()
        wait_until(lambda: not threads("link-receive") and not threads("link-send"))
        assert all(line.closed.is_set() or not line.sent.items for line in self.lines)
        (last,) = self.events.of(SessionEnded, SessionRefused)
        assert self.events.items[-1] == last and not self.events.of(WorkerDied)
        return last


def short(message):
    parsed = json.loads(message)
    if parsed["type"] != "audio":
        return parsed["type"]
    pcm = base64.b64decode(parsed["payload"]["data"])
    assert len(pcm) == 640
    return int.from_bytes(pcm[:2], "little")


@pytest.fixture(autouse=True)
def shorter_limits(monkeypatch):
    monkeypatch.setattr(module, "delay_s", lambda attempt, jitter: 0.01)
    monkeypatch.setattr(module, "FAREWELL_S", 0.3)


@pytest.fixture
def make():
    benches = []

    def make(*lines, protocol=Datagrid):
        benches.append(Bench(*lines or [FakeConnection()], protocol=protocol))
        return benches[-1]

    yield make
    for bench in benches:
        bench.exchange.gate.set()
        bench.session.abandon()
        bench.session.join()
        assert not threads("link-receive") and not threads("link-send")


@pytest.fixture
def bench(make):
    return make()


# --- the beginning


def test_start_is_sent_first_and_no_sound_before_ready(bench):
    bench.hear(0, 1, 2)
    bench.wait_sent("start")
    bench.agent("started", session_id="s-1", conversation_id="c-1")
    bench.events.wait_for(SessionStarted(7, "s-1", "c-1"))
    bench.hear(3)
    assert bench.sent() == ["start"]
    bench.agent("ready")
    bench.wait_sent("start", 0, 1, 2, 3)


def test_what_was_said_meanwhile_goes_first_then_what_is_said_in_order(bench):
    bench.hear(*range(200))
    bench.ready()
    bench.hear(*range(200, 300))
    bench.wait_sent("start", *range(300))


def test_the_first_frame_is_told_once(bench):
    bench.ready()
    assert bench.events.of(FirstAudioSent) == []
    bench.hear(0, 1, 2)
    bench.wait_sent("start", 0, 1, 2)
    assert bench.events.of(FirstAudioSent) == [FirstAudioSent(7)]


def test_a_second_ready_changes_nothing(bench):
    bench.ready()
    bench.hear(0)
    bench.agent("ready")
    bench.events.wait_kind(SessionReady, 2)
    bench.agent("tool_call", tool_name="clock", status="started")
    bench.events.wait_kind(ToolCalled)
    bench.hear(1, 2)
    bench.wait_sent("start", 0, 1, 2)
    assert len(bench.events.of(FirstAudioSent)) == 1


def test_a_backlog_of_ten_seconds_is_kept_then_the_oldest_goes_and_is_counted(bench):
    for start in range(0, 560, 40):  # in portions, as they come
        bench.hear(*range(start, start + 40))
        wait_until(lambda: bench.session._outbox._inbox.empty())
    bench.ready()
    bench.wait_sent("start", *range(60, 560))
    bench.events.wait(lambda _: sum(event.frames for event in bench.events.of(Dropped)) == 60)
    assert {event.where for event in bench.events.of(Dropped)} == {"link"}


def test_facts_of_the_agent_are_passed_on(bench):
    bench.ready()
    bench.agent("tool_call", tool_name="clock", status="started")
    bench.agent("something_new")
    bench.agent("error", code="x", message="No.")
    bench.events.wait_for(AgentErred(7, "x", "No."))
    assert ToolCalled(7, "clock", "started") in bench.events.items


# --- replies


def test_a_reply_is_announced_then_heard_whole_and_in_order(bench):
    bench.ready()
    for number in range(5):
        bench.reply(bytes([number]) * 100)
    bench.heard.wait(lambda heard: len(heard) == 5)
    assert bench.heard.items == [(1, bytes([number]) * 100, 24_000) for number in range(5)]
    assert bench.events.of(ReplyStarted) == [ReplyStarted(7, 1)]


def test_empty_audio_begins_no_reply(bench):
    bench.ready()
    bench.reply(b"")
    bench.reply(b"x")
    bench.reply(b"ab")
    bench.heard.wait(lambda heard: heard)
    assert bench.heard.items == [(1, b"ab", 24_000)]


def test_after_an_interruption_late_audio_is_dropped_until_the_agent_confirms_it(bench):
    bench.ready()
    bench.reply(b"11")
    bench.heard.wait(lambda heard: heard)
    bench.session.interrupt()
    bench.wait_sent("start", "interrupt")
    for _ in range(3):
        bench.reply(b"11")
    bench.agent("interrupted")
    bench.reply(b"22")
    bench.heard.wait(lambda heard: len(heard) == 2)
    assert bench.heard.items == [(1, b"11", 24_000), (2, b"22", 24_000)]
    assert bench.events.of(ReplyStarted) == [ReplyStarted(7, 1), ReplyStarted(7, 2)]
    assert bench.events.of(AgentInterrupted) == []


def test_an_agent_that_confirms_nothing_is_heard_again_after_a_silence(bench, monkeypatch):
    monkeypatch.setattr("device.session.replies.LATE_S", 0.1)
    bench.ready()
    bench.reply(b"11")
    bench.heard.wait(lambda heard: heard)
    bench.session.interrupt()
    bench.reply(b"11")
    bench.agent("something_new")
    wait_until(lambda: bench.lines[0]._inbox.empty())
    began = module.time.monotonic()
    wait_until(lambda: module.time.monotonic() > began + 0.15)
    bench.reply(b"22")
    bench.heard.wait(lambda heard: (2, b"22", 24_000) in heard)
    assert bench.heard.items == [(1, b"11", 24_000), (2, b"22", 24_000)]


def test_the_agent_may_interrupt_itself(bench):
    bench.ready()
    bench.reply(b"11")
    bench.agent("interrupted")
    bench.reply(b"22")
    bench.heard.wait(lambda heard: len(heard) == 2)
    assert bench.heard.items == [(1, b"11", 24_000), (2, b"22", 24_000)]
    assert bench.events.of(AgentInterrupted) == [AgentInterrupted(7, 1)]


def test_messages_that_cannot_be_understood_are_told_once_and_survived(bench, caplog):
    bench.ready()
    for garbage in (b"\xff\x00", b"{", b"[]", b'{"type":"audio","payload":{"data":"*"}}'):
        bench.lines[0].says(garbage)
    bench.reply(b"ok")
    bench.heard.wait(lambda heard: heard)
    (told,) = bench.events.of(AgentErred)
    assert told.code == "malformed_message" and told.message.startswith("The agent sent no JSON (")
    bench.agent("ended")
    bench.ended()
    assert "4 messages of the agent could not be understood" in caplog.text


# --- what protocols may ask for beyond Datagrid's


class Talkative(Datagrid):
    """Answers what the agent says, names its replies, sends silence, and ends without a word."""

    continuous = True
    speaks = 16_000

    def receive(self, message):
        match json.loads(message):
            case {"type": "ask"}:
                yield Send("answer")
            case {"type": "audio", "turn": turn, "peak": peak}:
                yield Audio(np.full(1600, peak, np.int16).tobytes(), turn)
            case {"type": "stale"}:
                raise NetworkError("token_refused", "The token is old.")
            case {"type": "later"}:
                raise NetworkError("server_busy", "Busy.", 40.0)
            case {"type": "final"}:
                yield AgentErred(7, "odd", "First this.")
                raise RefusedError("no_credit", "Then that.")
            case _:
                yield from super().receive(message)

    def heard(self, turn, seconds):
        return [f"{turn} {seconds}"]

    def stop(self):
        return []


@pytest.fixture
def talkative(make):
    def start(*lines):
        return make(*lines, protocol=Talkative)

    return start


def says(bench, line=0, **fields):
    bench.lines[line].says(json.dumps(fields))


def test_what_the_protocol_wants_sent_is_sent_even_before_it_is_ready(talkative):
    bench = talkative(FakeConnection())
    says(bench, type="ask")
    bench.lines[0].sent.wait(lambda sent: sent[1:] == ["answer"])


def test_without_a_message_that_ends_it_it_is_ended_by_closing_the_connection(talkative, monkeypatch):
    monkeypatch.setattr(module, "FAREWELL_S", 30.0)
    bench = talkative(FakeConnection())
    bench.ready()
    bench.session.stop("button")
    bench.lines[0].sent.wait(lambda sent: sent[-1] is None)
    bench.lines[0].says(Closed(1000))
    assert bench.ended() == SessionEnded(7, "button")


def test_silence_is_no_reply_and_ends_one(talkative):
    bench = talkative(FakeConnection())
    bench.ready()
    for peak in (0, 900, *[0] * 8, 800):
        says(bench, type="audio", turn="", peak=peak)
    bench.heard.wait(lambda heard: len(heard) == 6)
    assert {rate for _, _, rate in bench.heard.items} == {16_000}
    assert np.frombuffer(bench.heard.items[-1][1], np.int16)[0] == 800


def test_how_much_was_heard_is_told_of_the_reply_that_played_and_nothing_of_later_ones(talkative):
    bench = talkative(FakeConnection())
    bench.ready()
    for turn in ("a", "b", "c"):
        says(bench, type="audio", turn=turn, peak=900)
    bench.heard.wait(lambda heard: len(heard) == 3)
    bench.session.heard(2, 1.5)
    bench.lines[0].sent.wait(lambda sent: sent[1:] == ["b 1.5", "c 0.0"])


def test_a_token_that_is_refused_twice_means_the_key(talkative):
    bench = talkative(FakeConnection(), FakeConnection(), FakeConnection())
    says(bench, 0, type="stale")
    says(bench, 1, type="stale")
    assert bench.ended() == SessionRefused(7, "key_refused", "The token is old.")
    assert len(bench.exchange.requests.items) == 2


def test_a_token_that_was_good_for_a_while_may_grow_old(talkative):
    bench = talkative(*(FakeConnection() for _ in range(4)))
    for line in range(3):
        bench.ready(line)
        says(bench, line, type="stale")
    bench.ready(3)


def test_a_server_that_names_a_time_is_not_asked_before(talkative):
    bench = talkative(FakeConnection())
    says(bench, type="later")
    assert bench.events.wait_kind(ConnectionLost) == ConnectionLost(7, 40.0, "server_busy", "Busy.")


@pytest.mark.parametrize("end", [b'{"type":"ended"}', Closed(1000), Closed(1001), Closed(1008), Closed(None)])
@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (None, ConnectionLost, None),
        ({"code": "overloaded", "message": "Too much."}, ConnectionLost, "server_fault"),
        ({"code": "unauthorized", "message": "Who are you?"}, ConnectionLost, "token_refused"),
        ({"code": "keyboard_on_fire", "message": "Hot."}, ConnectionLost, "server_fault"),
    ],
)
def test_what_ends_before_it_is_ready_does_not_end_in_good_form(make, end, said, kind, code):
    bench = make(FakeConnection(), FakeConnection())
    if said:
        bench.agent("error", **said)
    bench.lines[0].says(end)
    verdict = bench.events.wait_kind(kind)
    assert bench.events.of(SessionEnded) == []
    assert said is None or verdict.code == code


@pytest.mark.parametrize(("code", "longest"), [("no_network", 2.0), ("name_not_found", 2.0), ("timeout", 30.0)])
def test_only_servers_are_spared_long(make, monkeypatch, code, longest):
    monkeypatch.setattr(module, "delay_s", lambda attempt, jitter: 30.0)
    bench = make(NetworkError(code, "No."))
    assert bench.events.wait_kind(ConnectionLost).in_s == longest


def test_what_came_before_a_verdict_in_the_same_message_is_told(talkative):
    bench = talkative(FakeConnection())
    says(bench, type="final")
    assert bench.ended() == SessionRefused(7, "no_credit", "Then that.")
    assert bench.events.of(AgentErred) == [AgentErred(7, "odd", "First this.")]


def test_text_is_sent_like_speech(bench):
    bench.ready()
    bench.session.text("what time is it")
    bench.lines[0].sent.wait(
        lambda sent: json.loads(sent[-1]) == {"type": "text", "payload": {"text": "what time is it"}}
    )


# --- lost connections


def test_after_a_lost_connection_it_goes_on_with_the_conversation_and_sends_what_was_said_meanwhile(make):
    bench = make(FakeConnection(), FakeConnection())
    bench.ready(conversation_id="c-1")
    bench.hear(0, 1)
    bench.wait_sent("start", 0, 1)
    bench.exchange.gate.clear()
    bench.lines[0].says(LOST)
    bench.events.wait_for(ConnectionLost(7, 0.01, "connection_lost", "The connection broke."))
    bench.hear(2, 3)
    bench.exchange.gate.set()
    bench.lines[1].sent.wait(lambda sent: sent)
    assert json.loads(bench.lines[1].sent.items[0]) == {"type": "start", "payload": RESUMED}
    bench.hear(4)
    assert bench.sent(1) == ["start"]
    bench.ready(1)
    bench.hear(5)
    bench.wait_sent("start", 2, 3, 4, 5, line=1)
    assert bench.sent(0) == ["start", 0, 1] and bench.lines[0].closed.is_set()
    assert bench.events.of(FirstAudioSent) == [FirstAudioSent(7)] * 2


def test_a_connection_that_breaks_while_we_send_is_replaced_and_the_frame_is_sent_again(make):
    bench = make(FakeConnection(), FakeConnection())
    bench.ready()
    bench.hear(0)
    bench.wait_sent("start", 0)
    bench.lines[0].broken = True
    bench.hear(1, 2)
    bench.ready(1)
    bench.wait_sent("start", 1, 2, line=1)
    assert bench.lines[0].aborted.is_set()


def test_a_close_that_is_no_end_is_a_lost_connection(make):
    bench = make(FakeConnection(), FakeConnection())
    bench.ready()
    bench.lines[0].says(Closed(1011))
    (lost,) = [bench.events.wait_kind(ConnectionLost)]
    assert "1011" in lost.why
    bench.ready(1)


def test_who_cannot_be_reached_is_tried_again_with_growing_delays(make, monkeypatch):
    attempts = Recorder()

    def delay(attempt, jitter):
        assert 0 <= jitter < 1
        attempts(attempt)
        return 0.001

    monkeypatch.setattr(module, "delay_s", delay)
    bench = make(LOST, LOST, LOST, FakeConnection())
    bench.ready()
    assert attempts.items == [0, 1, 2]
    assert bench.events.of(ConnectionLost) == [ConnectionLost(7, 0.001, "connection_lost", "The connection broke.")] * 3


@pytest.mark.parametrize(("proven_s", "expected"), [(0.0, [0, 0]), (10.0, [0, 1])])
def test_only_a_connection_that_has_lasted_starts_the_count_anew(make, monkeypatch, proven_s, expected):
    attempts = Recorder()
    monkeypatch.setattr(module, "delay_s", lambda attempt, jitter: attempts(attempt) or 0.001)
    monkeypatch.setattr(module, "PROVEN_S", proven_s)
    bench = make(FakeConnection(), FakeConnection(), FakeConnection())
    for line in (0, 1):
        bench.ready(line)
        bench.lines[line].says(LOST)
    bench.ready(2)
    assert attempts.items == expected


def test_a_refusal_is_final(make):
    bench = make(RefusedError("key_refused", "The agent refuses the API key (HTTP 401)."))
    assert bench.ended() == SessionRefused(7, "key_refused", "The agent refuses the API key (HTTP 401).")
    assert len(bench.exchange.requests.items) == 1 and not bench.events.of(ConnectionLost)


@pytest.mark.parametrize("code", [4401, 4403])
def test_a_refusal_by_close_code_is_final_too(bench, code):
    bench.ready()
    bench.lines[0].says(Closed(code))
    last = bench.ended()
    assert (type(last), last.code) == (SessionRefused, "key_refused")


def test_a_refusal_after_a_lost_connection_is_final_too(make):
    bench = make(FakeConnection(), RefusedError("no_credit", "No credit."))
    bench.ready()
    bench.lines[0].says(LOST)
    assert bench.ended() == SessionRefused(7, "no_credit", "No credit.")


# --- the end


@pytest.mark.parametrize("message", [b'{"type":"ended"}', Closed(1000), Closed(1001)])
def test_the_agent_may_end_it(bench, message):
    bench.ready()
    bench.lines[0].says(message)
    assert bench.ended() == SessionEnded(7, "agent")


def test_stop_is_sent_after_all_that_was_said_and_the_farewell_waited_for(bench):
    bench.ready()
    bench.hear(*range(100))
    bench.session.stop("button")
    bench.wait_sent("start", *range(100), "stop")
    assert bench.events.of(SessionEnded) == []
    bench.agent("ended")
    assert bench.ended() == SessionEnded(7, "button")


def test_an_agent_without_a_farewell_is_not_waited_for_long(bench):
    bench.ready()
    began = module.time.monotonic()
    bench.session.stop("idle")
    assert bench.ended() == SessionEnded(7, "idle")
    assert 0.25 < module.time.monotonic() - began < 1.5
    assert bench.sent() == ["start", "stop"]


def test_an_agent_that_talks_on_instead_of_a_farewell_is_not_waited_for_long(bench):
    bench.ready()
    bench.session.stop("idle")
    for _ in range(1000):
        bench.reply(b"ab")
    assert bench.ended() == SessionEnded(7, "idle")


def test_a_close_or_a_lost_connection_during_the_farewell_is_the_end(make):
    for message in (Closed(1011), Closed(4401), LOST):
        bench = make()
        bench.ready()
        bench.session.stop("max_s")
        bench.wait_sent("start", "stop")
        bench.lines[0].says(message)
        assert bench.ended() == SessionEnded(7, "max_s")
        assert not bench.events.of(ConnectionLost)


def test_stop_twice_is_one_stop_with_the_first_reason(bench):
    bench.ready()
    bench.session.stop("button")
    bench.session.stop("idle")
    assert bench.ended() == SessionEnded(7, "button")
    assert bench.sent() == ["start", "stop"]


def test_stop_before_it_is_ready_ends_it_at_once(bench):
    bench.wait_sent("start")
    bench.session.stop("button")
    assert bench.ended() == SessionEnded(7, "button")


def test_stop_while_it_connects_ends_it_when_that_is_over(make):
    line = FakeConnection()
    bench = make(LOST, line)
    bench.exchange.gate.clear()
    bench.exchange.requests.wait(lambda requests: len(requests) == 2)
    bench.session.stop("button")
    assert bench.events.of(SessionEnded) == []
    bench.exchange.gate.set()
    assert bench.ended() == SessionEnded(7, "button")


def test_stop_between_two_tries_does_not_wait_for_the_next(make, monkeypatch):
    monkeypatch.setattr(module, "delay_s", lambda attempt, jitter: 30.0)
    bench = make(LOST)
    bench.events.wait_for(ConnectionLost(7, 30.0, "connection_lost", "The connection broke."))
    bench.session.stop("button")
    assert bench.ended() == SessionEnded(7, "button")


def test_an_abandoned_session_ends_at_once_without_a_last_event(bench):
    bench.ready()
    began = module.time.monotonic()
    bench.session.abandon()
    bench.session.join()
    assert module.time.monotonic() - began < LIMIT_S / 2
    assert bench.lines[0].aborted.is_set() and bench.lines[0].closed.is_set()
    assert not bench.events.of(SessionEnded, SessionRefused, WorkerDied)


def test_a_session_abandoned_while_it_connects_ends_when_that_is_over(make):
    bench = make(FakeConnection())
    bench.exchange.gate.clear()
    bench.exchange.requests.wait(lambda requests: requests)
    bench.session.abandon()
    bench.exchange.gate.set()
    bench.session.join()
    assert not bench.events.of(SessionEnded, SessionRefused, SessionStarted, ConnectionLost, WorkerDied)
    assert bench.lines[0].closed.is_set()


def test_nothing_is_heard_of_the_agent_after_the_end(bench):
    bench.ready()
    bench.agent("ended")
    bench.reply(b"ab")
    bench.ended()
    assert bench.heard.items == []
