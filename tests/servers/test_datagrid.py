"""The scripted Datagrid agent: what it lets pass, and that it sees what a speaker must not do."""

import base64
import contextlib
import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.fakes import LIMIT_S
from tests.servers.datagrid import HANDOFF, TALK, DatagridServer
from tests.servers.test_scripted import post

KEY = "a-very-secret-token"
START = {"type": "start", "payload": {"agent_id": "a-1"}}


@pytest.fixture
def server():
    with DatagridServer() as server:
        server.token = KEY
        yield server


def granted(server, fields=START["payload"]):
    """The answer to a handoff."""
    status, body = post(server, HANDOFF, json.dumps(fields).encode(), Authorization=f"Bearer {KEY}")
    assert status == 200
    return json.loads(body)


def audio(pcm=bytes(640)):
    return {"type": "audio", "payload": {"data": base64.b64encode(pcm).decode()}}


@contextlib.contextmanager
def talk(server, first=START, url=None, **settings):
    """A session that is ready."""
    url = url or f"{server.url.replace('http', 'ws', 1)}{TALK}?token={KEY}"
    with connect(url, close_timeout=0.2, **settings) as client:
        client.send(json.dumps(first))
        assert [json.loads(client.recv(LIMIT_S))["type"] for _ in range(2)] == ["started", "ready"]
        yield client


def test_a_conversation_by_the_handoff_is_no_violation(server):
    answer = granted(server)
    assert answer["start_message"]["payload"].items() > START["payload"].items()
    with talk(server, answer["start_message"], answer["url"]) as client:
        client.send(json.dumps(audio()))
        client.send('{"type":"text","payload":{"text":"hello"}}')
        client.send('{"type":"stop"}')
        assert json.loads(client.recv(LIMIT_S))["type"] == "ended"
    visit = server.visit()
    assert visit.kinds() == ["start", "text", "stop"] and visit.messages[1][1]["payload"] == {"text": "hello"}
    assert visit.audio == bytes(640) and server.violations == []


def test_a_token_is_good_for_one_connection(server):
    answer = granted(server)
    with talk(server, answer["start_message"], answer["url"]):
        pass
    with pytest.raises(InvalidStatus), talk(server, answer["start_message"], answer["url"]):
        pass
    assert server.violations == ["a token that was used before"]


def test_a_start_of_ones_own_after_a_handoff_is_seen(server):
    with talk(server, START, granted(server)["url"]):
        pass
    assert server.violations == ["a start that is not the one of the handoff"]


def test_the_key_in_the_address_of_a_handoff_is_seen(server):
    answer = granted(server)
    with talk(server, answer["start_message"], f"{answer['url']}&key={KEY}"):
        pass
    assert server.violations == ["a key in the address"]


def test_a_handoff_that_is_not_used_is_seen(server):
    granted(server)
    with pytest.raises(InvalidStatus), talk(server):
        pass
    assert server.violations == ["a connection without a token of the handoff", "a key in the address"]


def test_a_key_in_a_header_of_the_websocket_is_seen(server):
    with talk(server, additional_headers={"Authorization": f"Bearer {KEY}"}):
        pass
    assert server.violations == ["a key in a header"]


def test_the_handoff_needs_the_key_in_its_header(server):
    assert post(server, HANDOFF)[0] == 401
    server.final = ""
    assert post(server, HANDOFF, Authorization="Bearer another")[0] == 401
    assert post(server, HANDOFF, Authorization=f"Bearer {KEY}")[0] == 200
    assert server.violations == ["a connection after HTTP 401"]


@pytest.mark.parametrize("status", [402, 404, 413, 429, 500])
def test_the_handoff_fails_as_told(server, status):
    server.post_status = status
    assert post(server, HANDOFF, Authorization=f"Bearer {KEY}")[0] == status
    assert bool(server.final) is (status in (402, 404, 413))


@pytest.mark.parametrize(
    ("message", "violation"),
    [
        (json.dumps(START), "another start"),
        (json.dumps(audio(bytes(642))), "a frame of 642 bytes"),
        ('{"type":"mute"}', "a message that is unknown: mute"),
        (b'{"type":"interrupt"}', "a binary message"),
        ("}", "a message that is not understood"),
        ('{"type":"audio","payload":{"data":"?"}}', "a message that is not understood"),
    ],
)
def test_a_message_that_is_not_documented_is_seen(server, message, violation):
    with talk(server) as client, contextlib.suppress(ConnectionClosed):  # which is how it may end
        client.send(message)
        client.send('{"type":"stop"}')
    server.visit().ended.wait(LIMIT_S)
    assert len(server.violations) == 1 and server.violations[0].startswith(violation)


def test_sound_before_start_is_seen(server):
    with connect(f"{server.url.replace('http', 'ws', 1)}{TALK}?token={KEY}") as client:
        client.send(json.dumps(audio()))
        client.send(json.dumps(START))
        visit = server.visit()
    assert visit.violations == ["the first message is audio", "audio before ready"]
