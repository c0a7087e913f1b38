"""The agent on this machine: Datagrid's protocol, and orders for the speaker itself."""

import json

import pytest

from device import events as e
from device.config import Agent
from device.session.credentials import Secret
from device.session.protocol import MalformedError
from device.session.protocols import PROTOCOLS
from device.session.protocols.datagrid import Datagrid
from device.session.protocols.local import LONGEST_TIMER_S, Local
from tests.session.test_datagrid import EXCHANGE as DATAGRID
from tests.session.test_datagrid import message_of

EXCHANGE: list[str | bytes] = [
    *DATAGRID[:3],
    message_of("device", action="volume", by=10),
    message_of("device", action="timer_set", name="eggs", in_s=300),
    *DATAGRID[7:9],
    message_of("device", action="timer_cancel", name="eggs"),
    DATAGRID[-1],
]
"""What the agent sent in one conversation: orders for the speaker, and a reply."""


def order(kind=Local, **payload):
    return list(kind(Agent(), None, 5).receive(json.dumps({"type": "device", "payload": payload}).encode()))


def test_it_may_change_the_volume():
    assert order(action="volume", to=30) == [e.VolumeAsked(5, to=30)]
    assert order(action="volume", by=-10) == [e.VolumeAsked(5, by=-10)]


def test_it_may_set_and_cancel_timers():
    assert order(action="timer_set", name="eggs", in_s=300) == [e.TimerSet(5, "eggs", 300.0)]
    assert order(action="timer_set", name="eggs", in_s=0.5) == [e.TimerSet(5, "eggs", 0.5)]
    assert order(action="timer_set", name="", in_s=LONGEST_TIMER_S) == [e.TimerSet(5, "", LONGEST_TIMER_S)]
    assert order(action="timer_cancel", name="eggs") == [e.TimerCancelled(5, "eggs")]


@pytest.mark.parametrize(
    "payload",
    [
        {}, {"action": "reboot"}, {"action": "volume"}, {"action": "volume", "to": "30"}, {"action": "volume", "to": 3.5},
        {"action": "volume", "to": True}, {"action": "timer_set"}, {"action": "timer_set", "name": "x"},
        {"action": "timer_set", "in_s": 3}, {"action": "timer_set", "name": 7, "in_s": 3},
        *({"action": "timer_set", "name": "x", "in_s": in_s}
          for in_s in (0, -1, LONGEST_TIMER_S + 1, 10**400, float("nan"), float("inf"), "3", True)),
        {"action": "timer_cancel"}, {"action": "timer_cancel", "name": None},
    ],
)  # fmt: skip
def test_any_other_order_is_malformed(payload):
    with pytest.raises(MalformedError, match="does not know"):
        order(**payload)


def test_the_name_of_a_timer_is_cut_like_any_text():
    (timer,) = order(action="timer_set", name="x" * 1_000_000, in_s=3)
    assert len(timer.name) < 10_000
    assert order(action="timer_cancel", name="x" * 1_000_000) == [e.TimerCancelled(5, timer.name)]


def test_an_agent_elsewhere_has_no_power_over_the_speaker():
    assert order(Datagrid, action="volume", to=100) == []


def test_everything_else_is_as_with_datagrid():
    assert list(Local(Agent(), None, 5).receive(b'{"type":"ready"}')) == [e.SessionReady(5)]
    assert PROTOCOLS["local"] is Local


def test_it_listens_on_this_machine_and_needs_no_key():
    assert Local(Agent(), None, 1).request().url == "ws://127.0.0.1:8765/ws/voice"
    assert Local(Agent(url="ws://127.0.0.1:9000"), None, 1).request().url == "ws://127.0.0.1:9000/ws/voice"
    assert Local.problems(Agent(), None) == [] and Local.problems(Agent(), Secret("k")) == []


def test_wrong_options_are_told_whatever_they_are_called():
    for name in ("volume", "API key"):
        (problem,) = Local.problems(Agent(options={name: 1}), None)
        assert name in problem
