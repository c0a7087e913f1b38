"""Which reply a piece of audio belongs to, and which comes too late to be heard."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.session.replies import LATE_S, PAUSE_S, Replies


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
