"""The jitter buffer: when a reply begins, goes on and is over, and that no byte of it goes astray."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.speaking.jitter import HANGOVER_PERIODS, MAX_PERIODS, JitterBuffer, Phase

RATE = 24_000
SAMPLES = 480


def sound(periods, value=1):
    return np.full(round(periods * SAMPLES), value, np.int16).tobytes()


def pulled(buffer, count):
    return [buffer.pull() for _ in range(count)]


@pytest.fixture
def buffer():
    return JitterBuffer(0.06)


def test_it_waits_until_the_prefill_is_there(buffer):
    buffer.push(1, sound(2.9), RATE)
    assert buffer.pull() is None
    buffer.push(1, sound(0.1), RATE)
    period = buffer.pull()
    assert period.dtype == np.int16 and period.shape == (480,)
    assert buffer.playing and buffer.reply == 1


def test_a_reply_shorter_than_the_prefill_is_played_when_the_prefill_time_is_over(buffer):
    buffer.push(1, sound(0.5), RATE)
    periods = pulled(buffer, 4)
    assert [period is None for period in periods] == [True, True, True, False]
    assert periods[3].sum() == SAMPLES / 2
    assert np.all(periods[3][SAMPLES // 2 :] == 0)


def test_a_gap_is_silence_and_the_reply_goes_on_after_a_new_prefill(buffer):
    buffer.push(1, sound(3), RATE)
    assert all(period is not None for period in pulled(buffer, 3))
    assert pulled(buffer, 5) == [None] * 5
    assert buffer.playing and buffer.gaps == 0
    buffer.push(1, sound(2), RATE)
    buffer.push(1, sound(1), RATE)
    assert buffer.pull() is not None
    assert buffer.playing and buffer.gaps == 5


def test_the_end_of_a_reply_is_no_gap(buffer):
    buffer.push(1, sound(3), RATE)
    pulled(buffer, 30)
    buffer.push(2, sound(3), RATE)
    pulled(buffer, 3)
    assert buffer.gaps == 0


def test_a_reply_is_over_when_nothing_came_for_300_ms(buffer):
    buffer.push(1, sound(3), RATE)
    pulled(buffer, 3 + HANGOVER_PERIODS)
    assert HANGOVER_PERIODS == 15
    assert buffer.playing
    buffer.pull()
    assert not buffer.playing and buffer.phase is Phase.EMPTY


def test_empty_chunks_play_nothing(buffer):
    buffer.push(1, b"", RATE)
    assert pulled(buffer, 30) == [None] * 30
    assert not buffer.playing


def test_it_holds_five_minutes_then_the_oldest_goes_and_is_counted(buffer):
    assert MAX_PERIODS == 15_000
    minute = sound(3000)
    assert [buffer.push(1, minute, RATE) for _ in range(5)] == [0] * 5
    assert buffer.push(1, sound(2, value=7), RATE) == 2
    assert buffer.push(1, sound(0.5, value=7), RATE) == 1
    last = [period for period in pulled(buffer, MAX_PERIODS + 1) if period is not None][-3:]
    assert np.concatenate(last).tobytes().count(b"\7\0") == 2.5 * SAMPLES


def test_a_single_chunk_of_more_than_five_minutes_keeps_its_end(buffer):
    assert buffer.push(1, sound(MAX_PERIODS, value=1) + sound(10, value=2), RATE) == 10
    assert sum(period is not None for period in pulled(buffer, MAX_PERIODS + 10)) == MAX_PERIODS


def test_dropped_replies_are_not_heard_but_newer_ones_are(buffer):
    for reply in (1, 2, 3):
        buffer.push(reply, sound(4, value=reply), RATE)
    assert buffer.pull()[0] == 1
    buffer.drop(2)
    assert not buffer.playing
    periods = pulled(buffer, 4)
    assert {int(period[0]) for period in periods} == {3}
    assert buffer.reply == 3 and buffer.playing


def test_what_is_kept_waits_for_its_own_prefill(buffer):
    buffer.push(1, sound(4), RATE)
    buffer.pull()
    buffer.push(2, sound(1), RATE)
    buffer.drop(1)
    assert buffer.pull() is None
    buffer.push(2, sound(2), RATE)
    assert buffer.pull() is not None


def test_after_all_is_dropped_it_is_empty(buffer):
    buffer.push(1, sound(4), RATE)
    buffer.pull()
    buffer.drop(1)
    assert buffer.phase is Phase.EMPTY and pulled(buffer, 30) == [None] * 30


chunks = st.integers(0, 3 * SAMPLES)
steps = st.lists(st.one_of(st.just("pull"), chunks), max_size=60)


@given(steps, st.sampled_from([0.02, 0.06, 0.5]))
def test_whatever_comes_whenever_no_byte_is_lost_reordered_or_doubled(steps, prefill_s):
    buffer, pushed, periods = JitterBuffer(prefill_s), 0, []
    for step in steps:
        if step == "pull":
            periods.append(buffer.pull())
            continue
        samples = (np.arange(pushed, pushed + step) % 30_000 + 1).astype(np.int16)  # never zero: that is the padding
        pushed += step
        assert buffer.push(1, samples.tobytes(), RATE) == 0
    periods += pulled(buffer, 300)
    out = np.concatenate([np.zeros(0, np.int16), *(period for period in periods if period is not None)])
    assert np.array_equal(out[out != 0], np.arange(pushed) % 30_000 + 1)
    assert buffer.phase is Phase.EMPTY


@given(st.lists(st.tuples(st.sampled_from(["push", "pull", "drop"]), st.integers(0, 900)), max_size=60))
def test_what_is_heard_is_of_replies_in_order_and_never_of_a_dropped_one(steps):
    buffer, reply, dropped, heard = JitterBuffer(0.04), 1, 0, []
    for step, number in steps:
        if step == "push":
            reply = max(reply + (number % 5 == 0), dropped + 1)  # the speaker lets no other through
            buffer.push(reply, np.full(number, reply, np.int16).tobytes(), RATE)
        elif step == "drop":
            dropped = max(dropped, reply - number % 2)
            buffer.drop(dropped)
        elif (period := buffer.pull()) is not None:
            values = period[period != 0]
            assert not len(values) or values.min() > dropped
            heard += values.tolist()
    assert heard == sorted(heard)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_a_period_is_twenty_milliseconds_at_any_rate(buffer, rate):
    buffer.push(1, np.arange(rate // 10, dtype=np.int16).tobytes(), rate)
    periods = [period for period in pulled(buffer, 6) if period is not None]
    assert {len(period) for period in periods} == {round(rate * 0.02)} and buffer.rate == rate
    assert np.array_equal(np.concatenate(periods)[: rate // 10], np.arange(rate // 10, dtype=np.int16))
    assert buffer.played_s == pytest.approx(0.1, abs=0.001)


def test_another_rate_is_another_sessions_and_what_is_left_of_the_last_is_told(buffer):
    buffer.push(1, sound(10), RATE)
    pulled(buffer, 4)
    assert buffer.push(2, sound(5, value=2), 16_000) == 6
    assert all(np.all(period == 2) for period in pulled(buffer, 6) if period is not None) and buffer.reply == 2


def test_how_much_of_a_reply_was_played_is_counted_anew_for_each(buffer):
    buffer.push(1, sound(4), RATE)
    buffer.push(2, sound(3), RATE)
    pulled(buffer, 6)
    assert (buffer.reply, buffer.played_s) == (2, pytest.approx(0.04))
