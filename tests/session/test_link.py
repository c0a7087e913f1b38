"""The link: one session after the other, and frames to the right one; at last over a real socket."""

import json

import pytest

from device.config import Agent
from device.errors import NetworkError
from device.events import (
    AgentInterrupted,
    Connected,
    ConnectionLost,
    FirstAudioSent,
    ReplyStarted,
    SessionEnded,
    SessionReady,
    SessionRefused,
    SessionStarted,
)
from device.session import session as module
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.link import Link
from device.session.protocols.datagrid import Datagrid
from tests.fakes import Exchange, FakeConnection, Recorder, threads, wait_until
from tests.servers.datagrid import DatagridServer

FRAME = bytes(640)


class Bench:
    def __init__(self, connect, agent=None, key=None):
        self.events = Recorder()
        self.heard = Recorder()
        secret = Secret(key) if key else None
        agent = agent or Agent()

        def protocol(session, conversation):
            return Datagrid(agent, secret, session, conversation)

        self.link = Link(protocol, self.heard, self.events, connect=connect)


def ready(line):
    line.says(b'{"type":"ready"}')


def kinds(line):
    return [json.loads(message)["type"] for message in line.sent.items]


@pytest.fixture
def make():
    benches = []

    def make(connect, **settings):
        benches.append(Bench(connect, **settings))
        return benches[-1]

    yield make
    for bench in benches:
        bench.link.close()
    wait_until(lambda: not threads("link-receive") and not threads("link-send"))


def test_without_a_session_no_order_does_anything(make):
    bench = make(Exchange())
    bench.link.hear(1, FRAME)
    bench.link.interrupt()
    bench.link.stop("button")
    bench.link.close()
    assert bench.events.items == []


def test_frames_go_to_the_session_they_are_for(make):
    line = FakeConnection()
    bench = make(Exchange(line))
    bench.link.start(4, None)
    ready(line)
    bench.link.hear(3, b"\3" * 640)
    bench.link.hear(4, b"\4" * 640)
    bench.link.hear(5, b"\5" * 640)
    bench.events.wait_for(FirstAudioSent(4))
    bench.link.stop("button")
    line.sent.wait(lambda _: kinds(line) == ["start", "audio", "stop"])


def test_a_new_session_cuts_the_farewell_of_the_last_short(make):
    first, second = FakeConnection(), FakeConnection()
    bench = make(Exchange(first, second))
    bench.link.start(1, None)
    ready(first)
    bench.events.wait_for(SessionReady(1))
    bench.link.stop("button")
    bench.link.start(2, None)
    assert first.aborted.is_set()
    ready(second)
    bench.events.wait_for(SessionReady(2))
    assert not bench.events.of(SessionEnded)


def test_numbers_of_replies_go_on_from_session_to_session(make):
    lines = FakeConnection(), FakeConnection()
    bench = make(Exchange(*lines))
    for number, line in enumerate(lines, 1):
        bench.link.start(number, None)
        ready(line)
        line.says(b'{"type":"audio","payload":{"data":"QUJD"}}')
        bench.events.wait_for(ReplyStarted(number, number))
    assert bench.heard.items == [(1, b"AB", 24_000), (2, b"AB", 24_000)]


def test_close_waits_until_nothing_is_left(make):
    bench = make(Exchange())
    bench.link.start(1, None)
    bench.events.wait(lambda _: True)
    bench.link.close()
    assert not threads("link-receive") and not threads("link-send")
    came = list(bench.events.items)
    bench.link.hear(1, FRAME)
    assert bench.events.items == came


def test_close_while_it_connects_does_not_wait_for_ever(make, monkeypatch):
    monkeypatch.setattr("device.worker.JOIN_S", 0.1)
    exchange = Exchange(NetworkError("timeout", "no answer"))
    exchange.gate.clear()
    bench = make(exchange)
    bench.link.start(1, None)
    exchange.requests.wait(lambda requests: requests)
    bench.link.close()
    exchange.gate.set()
    wait_until(lambda: not threads("link-receive"))
    assert bench.events.items == []


# --- over a real socket, against an agent that follows the vendor's documents


@pytest.fixture
def server():
    with DatagridServer() as server:
        yield server


def test_a_conversation_over_a_real_socket(make, server):
    server.token = "a-very-secret-token"
    reply = bytes(range(256)) * 30
    server.on_ready = lambda visit: visit.say(reply, lead_s=None)
    bench = make(connect, agent=Agent(url=server.url, agent_id="a-1"), key="a-very-secret-token")
    bench.link.start(1, None)
    frames = [number.to_bytes(2, "little") * 320 for number in range(50)]
    for frame in frames:
        bench.link.hear(1, frame)
    visit = server.visit()
    visit.wait(lambda visit: len(visit.frames) == 50)
    assert visit.audio == b"".join(frames) and visit.violations == []
    bench.heard.wait(lambda heard: b"".join(pcm for _, pcm, _ in heard) == reply)
    bench.link.stop("button")
    bench.events.wait_for(SessionEnded(1, "button"))
    assert visit.kinds() == ["start", "stop"] and visit.messages[0][1]["payload"] == {"agent_id": "a-1"}
    assert [type(event) for event in bench.events.items[:3]] == [Connected, SessionStarted, SessionReady]
    assert bench.events.items[1] == SessionStarted(1, "s1", "c1")
    assert [step for step, _ in bench.events.items[0].steps] == ["name", "tcp", "upgrade"]


def test_a_wrong_key_is_final_and_not_shown(make, server):
    server.token = "another"
    bench = make(connect, agent=Agent(url=server.url), key="a-very-secret-token")
    bench.link.start(1, None)
    refused = bench.events.wait_kind(SessionRefused)
    assert refused.code == "key_refused" and "a-very-secret-token" not in repr(bench.events.items)
    assert server.visits == []


def test_a_server_that_drops_the_line_is_gone_back_to_and_the_conversation_goes_on(make, server, monkeypatch):
    monkeypatch.setattr(module, "delay_s", lambda attempt, jitter: 0.05)
    bench = make(connect, agent=Agent(url=server.url))
    bench.link.start(1, None)
    first = server.visit(1)
    bench.link.hear(1, b"\1" * 640)
    first.wait(lambda visit: len(visit.frames) == 1)
    first.socket.socket.shutdown(2)  # no goodbye
    bench.events.wait_kind(ConnectionLost)
    bench.link.hear(1, b"\2" * 640)
    second = server.visit(2)
    second.wait(lambda visit: len(visit.frames) == 1)
    assert second.audio == b"\2" * 640
    assert second.messages[0][1]["payload"] == {"conversation_id": "c1", "voice_config": {"silent_start": True}}


def test_an_interruption_reaches_the_agent_and_its_confirmation_us(make, server):
    server.on_ready = lambda visit: visit.say(bytes(48_000 * 5))
    bench = make(connect, agent=Agent(url=server.url))
    bench.link.start(1, None)
    bench.heard.wait(lambda heard: len(heard) >= 3)
    bench.link.interrupt()
    visit = server.visit()
    visit.wait(lambda visit: visit.count("interrupt") == 1)
    assert bench.events.of(AgentInterrupted) == []
    visit.send("audio", data="QUJD")
    bench.heard.wait_for((2, b"AB", 24_000))
