"""Waiting for events."""

import time

import pytest

from device.demo.stream import Event, EventStream
from device.errors import EarshotError


def stream(*events: tuple[float, str]) -> EventStream:
    made = EventStream(lambda event: None, lambda: None)
    for t, name in events:
        made.put({"t": t, "event": name})
    return made


def test_events_are_waited_for_in_order() -> None:
    events = stream((1.0, "wake"), (2.0, "reply_started"), (3.0, "wake"))
    assert events.wait_for("wake", 1.0)["t"] == 1.0
    assert events.wait_for("wake", 1.0)["t"] == 3.0


def test_a_time_goes_back_to_what_was_passed_over() -> None:
    events = stream((1.0, "a"), (2.0, "interrupted"), (3.0, "b"), (4.0, "c"))
    events.wait_for("c", 1.0)
    assert events.wait_for("b", 1.0, since=2.0)["t"] == 3.0
    with pytest.raises(EarshotError):
        events.wait_for("a", 0.05, since=2.0)


def test_fields_must_match() -> None:
    events = stream()
    events.put({"t": 1.0, "event": "interrupted", "by": "button"})
    events.put({"t": 2.0, "event": "interrupted", "by": "wake_word"})
    assert events.wait_for("interrupted", 1.0, by="wake_word")["t"] == 2.0


def test_a_missing_event_is_told_with_what_came_instead() -> None:
    events = stream((1.0, "wake"), (2.0, "error"))
    begin = time.monotonic()
    with pytest.raises(
        EarshotError, match=r'"playback_stopped drained" did not come within 0\.1 s; what came: wake, error'
    ):
        events.wait_for("playback_stopped", 0.1, reason="drained")
    assert 0.1 <= time.monotonic() - begin < 1.0


def test_the_end_of_the_firmware_ends_the_wait_after_its_last_event() -> None:
    def dead() -> None:
        raise EarshotError("it died")

    events = EventStream(lambda event: None, dead)
    events.put({"t": 1.0, "event": "wake"})
    assert events.wait_for("wake", 5.0)
    with pytest.raises(EarshotError, match="it died"):
        events.wait_for("wake", 5.0)


def test_every_event_is_watched_once() -> None:
    seen: list[Event] = []
    events = EventStream(seen.append, lambda: None)
    for name in "abc":
        events.put({"t": 1.0, "event": name})
    events.wait_for("b", 1.0)
    events.wait_for("a", 1.0, since=0.0)
    assert [event["event"] for event in events.watch_for(0.05)] == ["b", "c"]
    assert [event["event"] for event in seen] == ["a", "b", "c"] and events.events == seen
