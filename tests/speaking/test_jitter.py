"""The jitter buffer: when a reply begins, goes on and is over, and that no byte of it goes astray."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.speaking.jitter import (
    AGAIN_PERIODS,
    HANGOVER_PERIODS,
    KEEP_PERIODS,
    MAX_BLOCKS,
    MAX_PERIODS,
    WORTH_PERIODS,
    JitterBuffer,
    Phase,
)

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


def test_a_reply_shorter_than_the_prefill_is_played_when_its_time_is_over(buffer):
    buffer.push(1, sound(1), RATE)
    assert [period is None for period in pulled(buffer, 4)] == [True, True, False, False]


def test_a_sender_faster_than_real_time_is_heard_at_once():
    buffer = JitterBuffer(0.16)
    for _ in range(8):
        buffer.push(1, sound(1), RATE)
    assert buffer.pull() is not None


def test_what_was_held_back_by_a_late_first_chunk_counts_as_waited(buffer):
    buffer.push(1, sound(1), RATE)
    assert buffer.pull() is None
    buffer.push(1, sound(1), RATE)
    buffer.push(1, sound(0.5), RATE)  # two in a period: the first was late
    assert buffer.pull() is not None


def test_a_chunk_that_comes_just_in_time_is_no_gap(buffer):
    buffer.push(1, sound(3), RATE)
    pulled(buffer, 3)
    for _ in range(10):
        buffer.push(1, sound(1), RATE)
        assert np.all(buffer.pull() == 1)
    assert buffer.gaps == 0


def wave(periods, hertz=220, loud=8000):
    t = np.arange(round(periods * SAMPLES)) / RATE
    return (loud * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


STEP = 8000 * 2 * np.pi * 220 / RATE


def test_a_gap_is_silence_and_the_reply_goes_on_after_it(buffer):
    buffer.push(1, sound(3), RATE)
    pulled(buffer, 4)
    assert pulled(buffer, 4) == [None] * 4
    assert buffer.playing and buffer.gaps == 0
    buffer.push(1, sound(3), RATE)
    assert buffer.pull() is not None
    assert buffer.playing and buffer.gaps == 5


@pytest.mark.parametrize("left", [0, 1, 7, 100, 239, 240, 241, 400, 479])
@pytest.mark.parametrize("hertz", [90, 220, 700])
def test_a_gap_is_faded_out_and_in_without_a_click(buffer, left, hertz):
    pcm = wave(10, hertz)
    buffer.push(1, pcm[: 4 * SAMPLES + left].tobytes(), RATE)
    heard = [*pulled(buffer, 5), *pulled(buffer, 3)]
    buffer.push(1, pcm[4 * SAMPLES + left :].tobytes(), RATE)
    heard += pulled(buffer, 5)
    heard = np.concatenate([np.zeros(SAMPLES) if period is None else period for period in heard]).astype(int)
    step = 8000 * 2 * np.pi * hertz / RATE
    assert np.abs(np.diff(heard)).max() < 1.5 * step + 70
    assert np.array_equal(heard[: 4 * SAMPLES], pcm[: 4 * SAMPLES])
    assert np.all(heard[5 * SAMPLES : 8 * SAMPLES] == 0)


def test_what_breaks_off_sounds_on_for_up_to_10_ms(buffer):
    buffer.push(1, wave(4.1).tobytes(), RATE)
    last = pulled(buffer, 5)[4]
    rest = last[round(0.1 * SAMPLES) :].astype(int)
    assert 0.004 * RATE < np.flatnonzero(rest)[-1] < 0.0101 * RATE


def test_what_ends_softly_does_not_swell_again(buffer):
    pcm = wave(4)
    soft = (pcm * np.minimum(1, np.arange(len(pcm))[::-1] / SAMPLES)).astype(np.int16)
    buffer.push(1, soft.tobytes(), RATE)
    assert np.abs(pulled(buffer, 5)[4]).max() < 800


def test_a_reply_of_one_sample_is_played(buffer):
    buffer.push(1, b"\1\0", RATE)
    assert 1 <= sum(int(period.sum()) for period in pulled(buffer, 30) if period is not None) <= 2


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


def test_it_holds_ten_minutes_then_the_oldest_goes_and_is_counted(buffer):
    assert MAX_PERIODS == 30_000
    minute = sound(3000)
    assert [buffer.push(1, minute, RATE) for _ in range(10)] == [0] * 10
    assert buffer.push(1, sound(2, value=7), RATE) == 2
    assert buffer.push(1, sound(0.5, value=7), RATE) == 1
    assert buffer.pull()[-1] == 1
    left = b"".join(pcm for _, pcm in buffer._blocks)
    assert np.count_nonzero(np.frombuffer(left[-3 * 960 :], np.int16) == 7) == 2.5 * SAMPLES


def test_small_chunks_are_put_together(buffer):
    tracemalloc.start()
    for _ in range(5000):
        buffer.push(1, bytes(96), RATE)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.1 * 5000 * 96


def test_replies_of_a_sample_each_cannot_fill_the_memory(buffer):
    gone = sum(buffer.push(reply, b"\1\0", RATE) for reply in range(1, MAX_BLOCKS + 11))
    assert len(buffer._blocks) == MAX_BLOCKS and gone == 10


def test_a_single_chunk_of_more_than_ten_minutes_keeps_its_end(buffer):
    assert buffer.push(1, sound(10, value=2) + sound(MAX_PERIODS, value=1), RATE) == 10
    assert buffer.pull()[-1] == 1


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


class WithoutFades(JitterBuffer):
    """What comes out of it is what came."""

    def _fade_in(self, samples): ...

    def _fade_away(self, samples, count): ...


@given(steps, st.sampled_from([0.02, 0.06, 0.5]))
def test_whatever_comes_whenever_no_byte_is_lost_reordered_or_doubled(steps, start_s):
    buffer, pushed, periods = WithoutFades(start_s), 0, []
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
    buffer, reply, dropped, heard = WithoutFades(0.04), 1, 0, []
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


def count_up(periods):
    """Periods of 1, of 2, of 3 …"""
    return b"".join(sound(1, value=1 + number) for number in range(periods))


def kept(buffer, heard=30, periods=90):
    """Reply 1, of which so much was heard, is kept."""
    buffer.push(1, count_up(periods), RATE)
    pulled(buffer, heard)
    buffer.keep(1)


def test_what_is_kept_is_not_heard_and_not_said_to_play(buffer):
    kept(buffer)
    assert not buffer.playing and buffer.kept == 1 and buffer.phase is Phase.KEPT
    assert pulled(buffer, 30) == [None] * 30


def test_what_is_resumed_begins_a_little_before_where_it_stopped_and_is_heard_to_its_end(buffer):
    kept(buffer)
    assert buffer.resume(1)
    values = [int(period[-1]) for period in pulled(buffer, 75)]
    assert AGAIN_PERIODS == 15
    assert values == list(range(16, 91))
    assert buffer.pull()[0] == 90  # fading
    assert buffer.gaps == 0


def test_what_is_resumed_in_the_middle_of_a_chunk_loses_nothing(buffer):
    buffer.push(1, count_up(200)[: 150 * 960 + 500], RATE)
    pulled(buffer, 100)
    buffer.keep(1)
    assert buffer.resume(1)
    assert [int(period[-1]) for period in pulled(buffer, 65)] == list(range(86, 151))


def test_what_is_resumed_fades_in(buffer):
    kept(buffer)
    buffer.resume(1)
    first = buffer.pull()
    assert first[0] == 0 and np.all(np.diff(first) >= 0) and first[-1] == 16


def test_how_much_was_played_goes_on_where_it_is_resumed(buffer):
    kept(buffer)
    assert buffer.played_s == pytest.approx(0.6)
    buffer.resume(1)
    buffer.pull()
    assert (buffer.reply, buffer.played_s) == (1, pytest.approx(0.6 - 0.3 + 0.02))


def test_what_still_comes_of_a_kept_reply_is_kept_too(buffer):
    kept(buffer, heard=20, periods=25)
    buffer.push(1, sound(45, value=99), RATE)
    assert buffer.pull() is None
    buffer.resume(1)
    values = [int(period[-1]) for period in pulled(buffer, 65)]
    assert values == [*range(6, 26), *[99] * 45]


def test_a_newer_reply_takes_the_place_of_a_kept_one(buffer):
    kept(buffer)
    buffer.push(2, sound(5, value=7), RATE)
    assert buffer.kept == 0 and not buffer.resume(1)
    assert {int(period[0]) for period in pulled(buffer, 5)} == {7}


def test_what_is_kept_can_be_dropped(buffer):
    kept(buffer)
    buffer.drop(1)
    assert not buffer.resume(1) and buffer.phase is Phase.EMPTY and pulled(buffer, 5) == [None] * 5


def test_a_drop_of_an_older_reply_spares_what_is_kept(buffer):
    buffer.push(2, count_up(60), RATE)
    buffer.keep(2)
    buffer.drop(1)
    assert buffer.resume(2) and buffer.pull() is not None


def test_what_was_heard_of_the_last_reply_is_not_heard_again_with_the_next(buffer):
    buffer.push(1, sound(20, value=9), RATE)
    pulled(buffer, 60)
    buffer.push(2, sound(50, value=7), RATE)
    buffer.keep(2)
    assert buffer.resume(2)
    assert [int(period[-1]) for period in pulled(buffer, 50)] == [7] * 50


def test_where_large_chunks_come_at_the_pace_of_speech_a_single_one_is_not_enough(buffer):
    for _ in range(20):
        buffer.push(1, sound(5), RATE)
        pulled(buffer, 5)
    pulled(buffer, 30)
    buffer.push(2, sound(5), RATE)
    assert buffer.pull() is None
    buffer.push(2, sound(5), RATE)
    assert buffer.pull() is not None


def test_it_is_resumed_once_and_only_by_its_own_number(buffer):
    kept(buffer)
    assert not buffer.resume(2)
    assert buffer.resume(1) and not buffer.resume(1)


def test_of_a_reply_that_was_heard_to_its_end_nothing_is_resumed(buffer):
    kept(buffer, heard=61, periods=60)
    assert not buffer.resume(1)


def test_with_less_than_a_second_to_be_heard_it_is_not_resumed_until_more_has_come(buffer):
    kept(buffer, heard=30, periods=79)
    assert WORTH_PERIODS == 50
    assert not buffer.resume(1) and buffer.kept == 1 and buffer.pull() is None
    buffer.push(1, sound(1), RATE)
    assert buffer.resume(1) and buffer.pull() is not None


def test_a_reply_that_was_kept_before_it_was_heard_is_resumed_from_its_beginning(buffer):
    buffer.push(1, count_up(55), RATE)
    buffer.keep(1)
    assert buffer.resume(1)
    assert [int(period[-1]) for period in pulled(buffer, 55)] == list(range(1, 56))


def test_nothing_is_kept_where_a_newer_reply_has_come_already(buffer):
    buffer.push(1, sound(10), RATE)
    buffer.pull()
    buffer.push(2, sound(5, value=7), RATE)
    buffer.keep(1)
    assert buffer.kept == 0 and buffer.pull()[0] == 7


def test_after_half_a_minute_nothing_is_kept_any_more(buffer):
    kept(buffer)
    pulled(buffer, KEEP_PERIODS)
    assert buffer.kept == 1
    buffer.pull()
    assert buffer.kept == 0 and buffer.phase is Phase.EMPTY and not buffer._bytes


def test_a_kept_reply_is_bounded_too(buffer):
    kept(buffer)
    gone = [buffer.push(1, sound(3000), RATE) for _ in range(11)]
    assert sum(gone) == 11 * 3000 + 60 - MAX_PERIODS


def test_the_beginning_of_the_next_reply_is_no_gap_of_the_last(buffer):
    buffer.push(1, sound(10), RATE)
    pulled(buffer, 15)
    buffer.push(2, sound(5), RATE)
    assert buffer.pull()[0] == 1 and buffer.gaps == 0
