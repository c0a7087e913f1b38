"""A reply of the speaker, as people read it."""

import pytest

from device.system.describe import describe, duration, plain


def test_each_field_has_a_line_and_all_values_stand_below_each_other():
    reply = {
        "ok": True, "state": "listening", "agent": "datagrid", "since_s": 754.2, "muted": False, "volume": 60,
        "session": {"number": 3, "id": None}, "counters": {"wakes": 12, "dropped": {"link": 3, "speaker": 0}},
        "last_error": {"code": "unreachable", "message": "The agent cannot be reached."},
    }  # fmt: skip
    assert describe(reply).splitlines() == [
        "state            listening",
        "agent            datagrid",
        "since            12 min",
        "muted            no",
        "volume           60 %",
        "session number   3",
        "session id       none",
        "wakes            12",
        "dropped link     3",
        "dropped speaker  0",
        "last error       unreachable: The agent cannot be reached.",
    ]


def test_fields_it_has_not_heard_of_are_told_as_they_are():
    shown = describe(
        {"ok": True, "last_error": None, "counters": {}, "firmware": "2.0", "seen_by": ["a", 1], "gain": 0.5}
    )
    assert shown.splitlines() == ["last error  none", "firmware    2.0", "seen by     ['a', 1]", "gain        0.5"]


def test_a_reply_without_fields_is_no_line():
    assert describe({"ok": True}) == ""


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (754, "12 min"), (3599, "59 min"), (3600, "1 h 0 min"),
     (86_399, "23 h 59 min"), (86_400, "1 d 0 h"), (100_000.0, "1 d 3 h")],
)  # fmt: skip
def test_times_are_told_as_people_say_them(seconds, told):
    assert duration(seconds) == told


def test_what_an_agent_says_gives_the_terminal_no_orders():
    hostile = "\x1b]0;title\x07\x9b31m\nvolume  100 %\u202e"
    assert plain(hostile).isprintable()
    shown = describe({hostile: {"code": hostile, "message": hostile}, "counters": {hostile: hostile}})
    assert len(shown.splitlines()) == 2 and shown.replace("\n", "").isprintable()
