"""Which reply a piece of audio belongs to, and which comes too late to be heard."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.session.replies import LATE_S, PAUSE_S, QUIET_S, Quiet, Replies


@pytest.fixture
def replies():
    return Replies(itertools.count(1))


def test_the_first_audio_begins_the_first_reply(replies):
    assert replies.number == 0
    assert replies.audio(10.0) is True and replies.number == 1
    assert replies.audio(10.1) is False and replies.number == 1


def test_a_pause_of_the_network_ends_a_reply_a_hesitation_does_not(replies):
    replies.audio(10.0)
    assert replies.audio(10.0 + PAUSE_S) is False
    assert replies.audio(10.0 + 2 * PAUSE_S + 0.01) is True and replies.number == 2


def test_after_an_interruption_late_audio_is_dropped_until_it_is_confirmed(replies):
    replies.audio(10.0)
    replies.interrupt(10.1)
    assert replies.audio(10.2) is None and replies.number == 1
    assert replies.interrupted() is False, "it answers us: no news"
    assert replies.audio(10.3) is True and replies.number == 2


def test_without_a_confirmation_it_is_dropped_until_there_was_none_for_a_moment(replies):
    replies.audio(10.0)
    replies.interrupt(10.0)
    times = [10.0 + 0.5 * n for n in range(1, 8)]
    assert [replies.audio(t) for t in times] == [None] * 7
    assert replies.audio(times[-1] + LATE_S + 0.01) is True and replies.number == 2


def test_an_interruption_by_the_agent_is_news_and_what_follows_is_another_reply(replies):
    replies.audio(10.0)
    assert replies.interrupted() is True
    assert replies.audio(10.01) is True and replies.number == 2


def test_a_second_confirmation_is_news(replies):
    replies.audio(10.0)
    replies.interrupt(10.1)
    assert [replies.interrupted(), replies.interrupted()] == [False, True]


def test_an_interruption_before_any_reply_drops_what_is_on_its_way(replies):
    replies.interrupt(10.0)
    assert replies.audio(10.1) is None and replies.number == 0


def test_sessions_never_share_a_number():
    numbers = itertools.count(1)
    first, second = Replies(numbers), Replies(numbers)
    first.audio(1.0)
    second.audio(1.0)
    first.audio(9.0)
    assert (first.number, second.number) == (3, 2)


@given(st.lists(st.tuples(st.sampled_from(["audio", "interrupt", "interrupted"]), st.floats(0, 2)), max_size=40))
def test_numbers_rise_by_one_with_each_beginning_and_nothing_else(steps):
    replies, now, begun = Replies(itertools.count(1)), 0.0, 0
    for step, pause in steps:
        now += pause
        if step == "audio":
            begun += replies.audio(now) is True
        elif step == "interrupt":
            replies.interrupt(now)
        else:
            replies.interrupted()
        assert replies.number == begun


# --- agents that name their replies


def test_a_reply_with_a_name_goes_on_after_any_pause_and_ends_with_another_name(replies):
    assert replies.audio(10.0, "a") is True
    assert replies.audio(30.0, "a") is False
    assert replies.audio(30.1, "b") is True and replies.number == 2


def test_after_an_interruption_a_reply_is_late_by_its_name_for_however_long(replies):
    replies.audio(10.0, "a")
    replies.interrupt(10.1)
    assert replies.audio(10.2, "a") is None
    assert replies.audio(20.0, "a") is None
    assert replies.audio(20.1, "b") is True


def test_what_the_agent_broke_off_itself_is_late_as_well(replies):
    replies.audio(10.0, "a")
    assert replies.interrupted() is True
    assert replies.audio(10.2, "a") is None
    assert replies.audio(10.3, "b") is True


def test_replies_from_one_on_are_known_by_name_the_newest_eight_of_them(replies):
    for number in range(12):
        replies.audio(10.0 + number, f"turn {number + 1}")
    assert replies.turns_from(11) == ["turn 11", "turn 12"]
    assert len(replies.turns_from(0)) == 8


# --- agents that send silence


def test_a_pause_that_is_sent_is_a_pause_all_the_same(replies):
    replies.audio(10.0)
    replies.interrupt(10.1)
    for n in range(2, 8):
        assert replies.audio(10.0 + n / 10, silent=True) is None
    assert replies.audio(10.8) is True


def pieces(*loudness, seconds=0.1, rate=16_000):
    """Which pieces of sound are hidden, in a stream of pieces of that peak."""
    quiet = Quiet()
    return [quiet.hides(np.full(round(seconds * rate), peak, np.int16).tobytes(), rate) for peak in loudness]


def test_silence_before_the_first_sound_is_no_reply():
    assert pieces(0, 3, -60, 500) == [True, True, True, False]


def test_a_short_pause_belongs_to_a_reply_a_long_one_does_not():
    loud, silent = 500, 0
    hidden = pieces(loud, *[silent] * 10, -loud, silent)
    assert hidden.index(True) == round(QUIET_S / 0.1) and hidden[-2:] == [False, False]
