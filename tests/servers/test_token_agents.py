"""WorkBuddy and The Savants over real sockets: the speaker's link against agents that follow the vendors' documents."""

import json
import threading
from http import HTTPStatus
from typing import NamedTuple

import pytest
import websocket

from device.config import Agent
from device.events import (
    AgentErred,
    ConnectionLost,
    ReplyStarted,
    SessionEnded,
    SessionReady,
    SessionRefused,
    SessionStarted,
)
from device.session import http
from device.session import session as module
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.link import Link
from device.session.protocol import Protocol
from device.session.protocols.savants import Savants
from device.session.protocols.workbuddy import WorkBuddy
from tests.fakes import Recorder, threads, wait_until
from tests.servers.savants import SavantsServer, error
from tests.servers.tokens import TokenServer
from tests.servers.workbuddy import CLOSES, HEARTBEAT, WorkBuddyServer
from tests.session.test_savants import EXCHANGE as SAVANTS_EXCHANGE
from tests.session.test_workbuddy import EXCHANGE as WORKBUDDY_EXCHANGE

KEY = "sk-a-very-secret-key"
TONE = b"\x10\x20" * 320


class Kind(NamedTuple):
    server: type[TokenServer]
    protocol: type[Protocol]
    exchange: list[str | bytes]


KINDS = {
    "workbuddy": Kind(WorkBuddyServer, WorkBuddy, WORKBUDDY_EXCHANGE),
    "savants": Kind(SavantsServer, Savants, SAVANTS_EXCHANGE),
}
workbuddy = pytest.mark.parametrize("kind", ["workbuddy"], indirect=True)
savants = pytest.mark.parametrize("kind", ["savants"], indirect=True)


class Bench:
    """A speaker without sound: `heard` has (reply, pcm, rate)."""

    def __init__(self, protocol, url, key=KEY):
        self.events, self.heard = Recorder(), Recorder()
        options = {"deviceId": "kitchen-1"} if protocol is Savants else {}
        self.agent = Agent(protocol=protocol.name, url=url, options=options)
        self.link = Link(
            lambda session, conversation: protocol(self.agent, Secret(key), session, conversation),
            self.heard,
            self.events,
            connect=connect,
        )


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def server(kind):
    with kind.server() as server:
        server.key = KEY
        yield server


@pytest.fixture
def bench(kind, server, monkeypatch):
    monkeypatch.setattr(module, "delay_s", lambda attempt, jitter: 0.05)
    bench = Bench(kind.protocol, server.url)
    yield bench
    bench.link.close()
    wait_until(lambda: not threads("link-receive") and not threads("link-send"))
    assert KEY not in repr(bench.events.items)


def test_a_conversation_over_a_real_socket(server, bench):
    server.on_ready = lambda visit: visit.say(TONE * 20, lead_s=None)
    bench.link.start(1, None)
    frames = [number.to_bytes(2, "little") * 320 for number in range(50)]
    for frame in frames:
        bench.link.hear(1, frame)
    visit = server.visit()
    visit.wait(lambda visit: len(visit.frames) == 50)
    bench.heard.wait(lambda heard: b"".join(pcm for _, pcm, _ in heard) == TONE * 20)
    bench.link.stop("button")
    bench.events.wait_for(SessionEnded(1, "button"))
    assert visit.audio == b"".join(frames) and {rate for _, _, rate in bench.heard.items} == {16_000}
    assert len(visit.messages) == 1 and server.violations == []
    assert len(bench.events.of(SessionStarted)) == len(bench.events.of(SessionReady)) == 1
    wait_until(lambda: visit.ended.is_set() and visit.socket.protocol.close_code == 1000)


@pytest.mark.parametrize("says", [("connected",), ("agent_ready",), ("agent_ready", "connected")])
@workbuddy
def test_either_ready_message_of_workbuddy_is_enough(server, bench, says):
    server.says = says
    ready_once(server, bench)


@pytest.mark.parametrize("says", [("vapi_connected",), ("savant_voice_connected", "vapi_connected")])
@savants
def test_either_ready_message_of_the_savants_is_enough(server, bench, says):
    server.says = says
    ready_once(server, bench)


def ready_once(server, bench):
    bench.link.start(1, None)
    bench.link.hear(1, TONE)
    server.visit().wait(lambda visit: visit.audio == TONE)
    assert len(bench.events.of(SessionReady)) == 1 and server.violations == []


def test_before_the_session_is_ready_nothing_is_sent_and_nothing_lost(server, bench):
    server.ready_after_s = 0.3
    bench.link.start(1, None)
    for number in range(10):
        bench.link.hear(1, bytes([number]) * 640)
    visit = server.visit()
    visit.wait(lambda visit: len(visit.frames) == 10)
    assert visit.audio == b"".join(bytes([number]) * 640 for number in range(10)) and server.violations == []


def test_a_connection_that_breaks_is_followed_by_one_with_a_token_of_its_own(server, bench):
    bench.link.start(1, None)
    for number in (1, 2, 3):
        bench.events.wait(lambda _, number=number: len(bench.events.of(SessionReady)) == number)
        bench.link.hear(1, TONE)
        visit = server.visit(number)
        visit.wait(lambda visit: visit.frames)
        visit.cut()
    server.visit(4)
    assert len({visit.messages[0][1] for visit in server.visits[:3]}) == 3
    assert len(server.posts) >= 4 and server.violations == []


@pytest.mark.slow
def test_silence_all_the_time_is_no_reply_and_tells_replies_apart(server, bench):
    silence = bytes(640)

    def script(visit):
        for _ in range(2):
            visit.say(silence * 30, lead_s=None)
            visit.say(TONE * 10, lead_s=None)
            visit.say(silence * 90)  # at the speed of speech: a reply ends by time
        visit.say(TONE, lead_s=None)

    server.on_ready = script
    bench.link.start(1, None)
    bench.events.wait_for(ReplyStarted(1, 3))
    assert [event.reply for event in bench.events.of(ReplyStarted)] == [1, 2, 3]


def test_a_wrong_key_is_final(server, bench):
    server.key = "another"
    bench.link.start(1, None)
    refused = bench.events.wait_kind(SessionRefused)
    assert refused.code == "key_refused" and server.visits == [] and len(server.posts) == 1
    assert server.violations == []


def test_a_token_that_is_refused_is_followed_by_another(server, bench):
    server.errors = [server.WRONG_TOKEN]
    bench.link.start(1, None)
    bench.events.wait_kind(SessionReady)
    assert bench.events.wait_kind(ConnectionLost).code == "token_refused"
    assert len(server.posts) == len(server.visits) == 2 and server.violations == []


def test_where_every_token_is_refused_the_key_is(server, bench):
    server.errors = [server.WRONG_TOKEN] * 100
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == "key_refused"
    assert 2 <= len(server.visits) <= 5 and server.violations == []


@pytest.mark.parametrize(("name", "close"), CLOSES.items())
@pytest.mark.parametrize("told", [True, False], ids=["message", "close"])
@workbuddy
def test_each_error_of_workbuddy_is_followed_by_another_connection(server, bench, name, close, told):
    server.errors, server.tells_errors = [name], told
    bench.link.start(1, None)
    bench.events.wait_kind(SessionReady)
    lost = bench.events.wait_kind(ConnectionLost)
    assert lost.code == ("token_refused" if close == 4003 else "server_fault")
    assert (name if told else str(close)) in lost.why and server.violations == []


@pytest.mark.parametrize("reason", ["agent_disconnected", "session_closed", "room_closed"])
@workbuddy
def test_workbuddy_ends_the_session(server, bench, reason):
    server.on_ready = lambda visit: server.end(visit, reason)
    bench.link.start(1, None)
    bench.events.wait_for(SessionEnded(1, reason))
    assert len(server.visits) == 1


@workbuddy
def test_a_server_of_workbuddy_that_shuts_down_is_gone_back_to(server, bench):
    server.on_ready = lambda visit: server.end(visit, "server_shutdown") if visit is server.visits[0] else None
    bench.link.start(1, None)
    bench.events.wait_kind(SessionReady, 2)
    assert bench.events.wait_kind(ConnectionLost).code == "server_busy" and server.violations == []


def test_a_close_in_good_form_ends_the_session(server, bench):
    server.on_ready = lambda visit: visit.close()
    bench.link.start(1, None)
    bench.events.wait_for(SessionEnded(1, "agent"))


@workbuddy
def test_an_inactive_kiosk_is_final(server, bench):
    server.post_error = 403, {"detail": "kiosk inactive"}
    bench.link.start(1, None)
    refused = bench.events.wait_kind(SessionRefused)
    assert refused.code == "device_inactive" and len(server.posts) == 1 and server.violations == []


@pytest.mark.parametrize("status", [500, 503])
def test_a_token_request_that_fails_is_made_again(server, bench, status):
    server.post_error = status, error("CONFIGURATION_ERROR")
    bench.link.start(1, None)
    bench.events.wait_kind(ConnectionLost, 2)
    server.post_error = None
    bench.events.wait_kind(SessionReady)
    assert bench.events.of(ConnectionLost)[0].code == ("server_fault" if status == 500 else "server_busy")


@pytest.mark.parametrize("answer", [{}, b"not JSON", {"token": ""}, {"token": None, "ws_url": None}, [1]])
def test_an_answer_that_makes_no_sense_is_asked_for_again(server, bench, answer):
    server.post_error = 200, answer
    bench.link.start(1, None)
    assert bench.events.wait_kind(ConnectionLost).code == "server_fault"
    server.post_error = None
    bench.events.wait_kind(SessionReady)


@pytest.mark.parametrize("status", [HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE])
def test_an_upgrade_that_fails_is_tried_again_with_a_new_token(server, bench, status):
    server.status = status
    bench.link.start(1, None)
    bench.events.wait_kind(ConnectionLost)
    server.status = None
    bench.events.wait_kind(SessionReady)
    assert len(server.posts) >= 2 and server.violations == []


@pytest.mark.parametrize("status", [HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND])
def test_an_upgrade_that_is_refused_is_not_tried_again(server, bench, status):
    server.status = status
    bench.link.start(1, None)
    bench.events.wait_kind(SessionRefused)
    assert len(server.posts) == 1 and server.violations == []


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        (400, "INVALID_REQUEST", "options_refused"),
        (401, "AUTHENTICATION_FAILED", "key_refused"),
        (401, "DEVICE_INACTIVE", "device_inactive"),
    ],
)
@savants
def test_the_savants_refuse_for_good(server, bench, status, name, code):
    server.post_error = status, error(name, field="deviceId", expected="string")
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == code
    assert len(server.posts) == 1 and server.violations == []


@savants
def test_too_many_requests_wait_as_long_as_the_savants_say(server, bench):
    server.post_error = 429, error("RATE_LIMITED", retryAfter=0.7, limit=60, window="1 minute")
    bench.link.start(1, None)
    lost = bench.events.wait_kind(ConnectionLost)
    server.post_error = None
    bench.events.wait_kind(SessionReady)
    assert (lost.code, lost.in_s) == ("server_busy", 0.7) and server.posts[1].t - server.posts[0].t >= 0.7


@savants
def test_a_device_that_is_deactivated_is_final_once_connected_too(server, bench):
    server.errors = ["DEVICE_INACTIVE"]
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == "device_inactive"
    assert len(server.visits) == 1 and server.violations == []


@savants
def test_another_device_is_refused(server, bench):
    server.device = "bathroom"
    bench.link.start(1, None)
    assert bench.events.wait_kind(SessionRefused).code == "key_refused"


def test_a_recorded_conversation_is_heard_in_full(kind, server, bench):
    def script(visit):
        for message in kind.exchange[len(server.says) :]:
            visit.send(message)
        visit.close()

    server.on_ready = script
    bench.link.start(1, None)
    bench.events.wait_kind(SessionEnded)
    said = b"".join(message for message in kind.exchange if isinstance(message, bytes)).replace(b"\0", b"")
    assert b"".join(pcm for _, pcm, _ in bench.heard.items).replace(b"\0", b"") == said
    assert len(bench.events.of(AgentErred)) == (kind.protocol is Savants)


@workbuddy
def test_the_heartbeat_answers_whoever_has_the_key(kind, server, bench):
    for key, alive in ((KEY, True), ("another", False)):
        post = kind.protocol(bench.agent, Secret(key), 1).health()
        assert post.url == server.url + HEARTBEAT
        if alive:
            assert json.loads(http.send(post, lambda step, seconds: None)) == {"status": "ok"}
        else:
            with pytest.raises(http.DeniedError):
                http.send(post, lambda step, seconds: None)


# --- that the servers are strict


@pytest.fixture
def line(kind, server):
    """A client that does what it should not, on a connection of its own."""
    lines = []

    def open_line(path=kind.server.SOCKET, **options):
        url = server.url.replace("http", "ws", 1) + path
        lines.append(websocket.create_connection(url, timeout=5.0, **options))
        return lines[-1]

    yield open_line
    for line in lines:
        line.close()


def token_message(kind, server):
    """What is to be sent first, with a token that was just granted."""
    protocol = kind.protocol(Agent(url=server.url, options={"deviceId": "d"}), Secret(KEY), 1)
    protocol.granted(http.send(protocol.credential(), lambda step, seconds: None))
    return protocol.opening()[0]


def violates(server, what):
    wait_until(lambda: any(what in violation for violation in server.violations))


def test_a_token_twice_is_a_violation(kind, server, line):
    token = token_message(kind, server)
    line().send(token)
    wait_until(lambda: server.visit().ready)
    assert server.violations == []
    line().send(token)
    violates(server, "used before")


def test_an_old_token_is_a_violation(kind, server, line):
    server.life_s = 0.0
    line().send(token_message(kind, server))
    violates(server, "too old")


@pytest.mark.parametrize("first", ['{"token": "made-up"}', "made-up", "{}", '{"token": 7}', b"\0" * 640])
def test_anything_but_a_granted_token_first_is_a_violation(server, line, first):
    line().send(first, opcode=websocket.ABNF.OPCODE_BINARY if isinstance(first, bytes) else websocket.ABNF.OPCODE_TEXT)
    wait_until(lambda: len(server.violations) == 1)
    assert server.violations[0] in ("a token that was not granted", "a first message that is no token")


def test_no_token_in_time_is_a_violation(server, line):
    server.first_s = 0.05
    line()
    violates(server, "no token within")


@pytest.mark.parametrize(("frame", "what"), [(bytes(638), "638 bytes"), (bytes(642), "642 bytes")])
def test_a_frame_of_another_length_is_a_violation(kind, server, line, frame, what):
    client = line()
    client.send(token_message(kind, server))
    wait_until(lambda: server.visit().ready)
    client.send_binary(frame)
    violates(server, what)


def test_sound_before_ready_and_other_text_are_violations(kind, server, line):
    server.ready_after_s = 5.0
    client = line()
    client.send(token_message(kind, server))
    client.send_binary(bytes(640))
    violates(server, "audio before ready")
    client.send('{"type": "stop"}')
    violates(server, "unknown")


def test_a_key_where_none_belongs_is_a_violation(kind, server, line):
    line(header=[f"Authorization: Bearer {KEY}"])
    violates(server, "a header")
    server.violations.clear()
    line(f"{kind.server.SOCKET}?token={KEY}")
    violates(server, "the address or a header")


def test_whoever_comes_again_after_a_refusal_is_a_violation(kind, server):
    for count in (1, 2):
        protocol = kind.protocol(Agent(url=server.url, options={"deviceId": "d"}), Secret("wrong-key"), 1)
        with pytest.raises(http.DeniedError):
            http.send(protocol.credential(), lambda step, seconds: None)
        assert len(server.violations) == count - 1


def test_no_thread_of_a_server_outlives_it(kind):
    with kind.server() as server:
        pass
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name in ("hurry", "scripted-server")])
    assert server.violations == []
