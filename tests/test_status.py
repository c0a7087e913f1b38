"""What the control socket answers: the state and the counts, and what becomes of orders."""

import json

import pytest

from device.config import Agent
from device.events import QuietAsked, TextTyped
from device.state import CONVERSING, Phase, State
from device.status import Status


def status(takes_text=True, **agent):
    return Status(Agent(**agent), "wss://vendor.example/voice", takes_text, started=100.0)


def told(kept, state=None, now=160.0):
    reply, event = kept.answer({"order": "status"}, state or State(), now)
    assert event is None and reply["ok"] is True
    return json.loads(json.dumps(reply))


def test_it_says_what_goes_on_and_since_when():
    kept = status(protocol="datagrid", agent_id="a-1")
    kept.note(130.0, "state", {"from": "idle", "to": "listening"})
    reply = told(kept, State(phase=Phase.LISTENING, volume=40, session=3))
    assert reply["state"] == reply["light"] == "listening" and reply["since_s"] == 30.0 and reply["up_s"] == 60.0
    assert reply["agent"] == {"protocol": "datagrid", "url": "wss://vendor.example/voice", "id": "a-1"}
    assert reply["volume"] == 40 and reply["muted"] is False and reply["last_error"] is None


def test_it_counts():
    kept = status()
    for name in ("wake", "wake", "near_miss", "retry", "speech_started"):
        kept.note(101.0, name, {})
    kept.note(102.0, "dropped", {"where": "link", "frames": 3})
    kept.note(102.0, "dropped", {"where": "link", "frames": 4})
    counters = told(kept, State(session=2))["counters"]
    assert counters["wakes"] == 2 and counters["near_misses"] == 1 and counters["retries"] == 1
    assert counters["sessions"] == 2 and counters["errors"] == 0
    assert counters["dropped"] == {"link": 7}


def test_the_last_error_is_kept():
    kept = status()
    kept.note(110.0, "error", {"code": "old", "message": "Old."})
    kept.note(140.0, "error", {"code": "no_credit", "message": "No credit."})
    reply = told(kept)
    assert reply["last_error"] == {"code": "no_credit", "message": "No credit."} and reply["last_error_ago_s"] == 20.0


def test_a_reply_too_short_to_tell_about_the_echo_leaves_the_figures_of_the_last_one():
    kept = status()
    kept.note(110.0, "echo", {"reply": 1, "erle_db": 41.0, "delay_ms": 4.0})
    kept.note(120.0, "echo", {"reply": 2, "erle_db": None, "delay_ms": None})
    assert told(kept)["echo"] == {"erle_db": 41.0, "delay_ms": 4.0, "hears_itself": False}


def test_where_the_echo_is_not_cancelled_any_more_older_figures_are_forgotten():
    kept = status()
    kept.note(110.0, "echo", {"reply": 1, "erle_db": 41.0, "delay_ms": 4.0})
    kept.note(120.0, "echo", {"reply": 2, "erle_db": None, "delay_ms": None})
    kept.note(120.0, "error", {"code": "echo_no_reference", "message": "Nothing was told."})
    assert told(kept)["echo"]["erle_db"] is None


def test_the_url_is_told_without_what_may_be_secret():
    assert told(status(url="wss://voice.example/x?token=secret"))["agent"]["url"] == "wss://voice.example/x"


@pytest.mark.parametrize("phase", Phase)
def test_text_is_taken_in_a_conversation_only(phase):
    reply, event = status().answer({"order": "say", "text": "hello"}, State(phase=phase), 160.0)
    assert (reply["ok"], event) == ((True, TextTyped("hello")) if phase in CONVERSING else (False, None))


def test_an_agent_that_takes_no_text_is_said_to():
    reply, event = status(takes_text=False).answer({"order": "say", "text": "x"}, State(phase=Phase.LISTENING), 160.0)
    assert not reply["ok"] and "text" in reply["message"] and event is None


def test_stop_is_for_the_brain():
    assert status().answer({"order": "stop"}, State(), 160.0) == ({"ok": True}, QuietAsked())
