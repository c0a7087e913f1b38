"""Skills are functions of words and a context; timers are a list with a clock."""

from datetime import datetime

import pytest

from device.agent.grammar import find, words_of
from device.agent.skills import COMMANDS, Context
from device.agent.timers import LIMIT, Timers


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def context(clock: Clock) -> Context:
    return Context(datetime(2026, 5, 4, 15, 7), Timers(clock))


def ask(context: Context, text: str) -> str:
    found = find(words_of(text), COMMANDS)
    assert found is not None
    reply = found[0].call(found[1], context)
    return reply if isinstance(reply, str) else " ".join(reply)


@pytest.mark.parametrize(
    ("hour", "minute", "answer"),
    [
        (0, 0, "It is twelve in the morning."),
        (7, 30, "It is seven thirty in the morning."),
        (15, 7, "It is three oh seven in the afternoon."),
        (23, 59, "It is eleven fifty nine in the evening."),
    ],
)
def test_the_time_is_told(context: Context, hour: int, minute: int, answer: str) -> None:
    context.now = datetime(2026, 5, 4, hour, minute)
    assert ask(context, "what time is it") == answer


def test_the_date_is_told(context: Context) -> None:
    assert ask(context, "what day is it") == "Today is Monday, May 4, 2026."


def test_a_timer_is_set_on_the_device_and_remembered(context: Context) -> None:
    assert ask(context, "set a timer for five minutes") == "A timer for five minutes is running."
    assert context.orders == [{"action": "timer_set", "name": "timer 1", "in_s": 300.0}]
    assert "as timer two" in ask(context, "set a ten minute timer")


def test_timers_are_listed_with_the_time_they_have_left_and_forgotten_when_they_rang(
    context: Context, clock: Clock
) -> None:
    ask(context, "set a timer for one minute")
    ask(context, "set a timer for ten seconds")
    clock.now += 5
    listed = ask(context, "list my timers")
    assert listed == "Timer two has five seconds left, and timer one has fifty five seconds left."
    clock.now += 6
    assert ask(context, "list my timers") == "Timer one has forty nine seconds left."
    clock.now += 60
    assert ask(context, "list my timers") == "No timer is running."


def test_the_only_timer_needs_no_name_to_be_cancelled(context: Context) -> None:
    ask(context, "set a timer for one minute")
    context.orders.clear()
    assert ask(context, "cancel the timer") == "Timer one is cancelled."
    assert context.orders == [{"action": "timer_cancel", "name": "timer 1"}]
    assert ask(context, "cancel the timer") == "No timer is running."


def test_of_several_timers_the_one_to_cancel_must_be_named(context: Context) -> None:
    for _ in range(3):
        ask(context, "set a timer for one minute")
    context.orders.clear()
    assert "Say which one" in ask(context, "cancel the timer")
    assert ask(context, "cancel timer nine") == "There is no timer nine."
    assert context.orders == []
    assert ask(context, "cancel timer two") == "Timer two is cancelled."
    assert ask(context, "cancel all timers") == "Two timers are cancelled."
    assert [order["name"] for order in context.orders] == ["timer 2", "timer 1", "timer 3"]


def test_a_timer_for_no_time_or_one_too_many_is_refused(context: Context) -> None:
    assert "at least one second" in ask(context, "set a timer for zero minutes")
    for _ in range(LIMIT):
        ask(context, "set a timer for one minute")
    context.orders.clear()
    assert "too many" in ask(context, "set a timer for one minute")
    assert context.orders == []


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("set the volume to fifty percent", {"action": "volume", "to": 50}),
        ("volume zero", {"action": "volume", "to": 0}),
        ("louder", {"action": "volume", "by": 10}),
        ("turn the volume down", {"action": "volume", "by": -10}),
    ],
)
def test_the_volume_is_the_devices(context: Context, text: str, order: dict[str, object]) -> None:
    ask(context, text)
    assert context.orders == [order]


def test_another_story_is_another_one(context: Context) -> None:
    first, second = ask(context, "tell me a story"), ask(context, "tell me another story")
    assert first != second
    assert min(len(first.split()), len(second.split())) > 200


def test_goodbye_ends_the_session_and_stop_does_not(context: Context) -> None:
    ask(context, "stop")
    assert not context.over
    ask(context, "goodbye")
    assert context.over
