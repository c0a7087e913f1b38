"""What the room hears of us: the same sound at 16 kHz, each sample at the time it is heard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.speaking.reference import PAUSE, Reference
from tests.fakes import Recorder, tone

LATENCY_S = 0.03
RATES = [16_000, 24_000, 32_000, 44_100, 48_000, 96_000]


def play(reference, sound, rate, start=10.0):
    """Write `sound` by periods, the first of which is on its way at `start`, with a second of silence before and after it."""
    period = rate // 50
    count = len(sound) // period
    for number in range(-50, count + 50):
        silent = not 0 <= number < count
        reference.written(
            None if silent else sound[number * period : (number + 1) * period], start + (number + 1) * 0.02
        )


def told(frames):
    """The samples, and when each is heard."""
    samples = np.concatenate([np.frombuffer(frame.pcm, np.int16) for frame in frames]).astype(np.int64)
    times = np.concatenate([frame.t + (np.arange(320) - 319) / 16_000 for frame in frames])
    return samples, times


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("at_s", [0.001, 0.0195, 0.1, 0.1005, 0.1985])
def test_every_sample_has_the_time_at_which_it_is_heard(rate, at_s):
    sound = np.zeros(10 * (rate // 50), np.int16)
    at = round(at_s * rate)
    sound[at - 2 * rate // 16_000 : at + 2 * rate // 16_000] = 20_000
    frames = Recorder()
    play(Reference(rate, LATENCY_S, frames), sound, rate)
    samples, times = told(frames.items)
    heard = np.sum(times * np.abs(samples)) / np.sum(np.abs(samples))
    # What is written at 10.02 ends a period and the latency later: with 10.0 at its head, the first sample is heard at 10.05.
    assert heard == pytest.approx(10.0 + 0.02 + LATENCY_S + at_s, abs=0.0003)


@pytest.mark.parametrize("rate", RATES)
def test_the_last_millisecond_is_told_with_half_a_second_of_silence_and_then_no_more(rate):
    sound = tone(1000, 0.2, rate)
    frames = Recorder()
    reference = Reference(rate, LATENCY_S, frames)
    play(reference, sound, rate)
    count = len(frames.items)
    samples = told(frames.items)[0]
    assert count in (9 + PAUSE, 10 + PAUSE)
    assert np.abs(samples[3200 - 16 : 3200]).max() > 5000 and np.abs(samples[3200 + 160 :]).max() < 10
    for number in range(5):
        reference.written(None, 11.0 + number)
    assert len(frames.items) == count


@pytest.mark.parametrize("rate", RATES)
def test_of_one_sound_nothing_is_left_in_the_next(rate):
    frames = Recorder()
    reference = Reference(rate, LATENCY_S, frames)
    play(reference, np.full(3 * (rate // 50), 30_000, np.int16), rate)
    first = len(frames.items)
    play(reference, np.full(3 * (rate // 50), 0, np.int16), rate, start=20.0)
    samples, times = told(frames.items[first:])
    assert not samples.any() and times[0] == pytest.approx(20.05, abs=0.001)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("pause", [1, 3, PAUSE - 1])
def test_short_silences_between_sounds_are_told_without_a_step_of_time(rate, pause):
    frames, sound = Recorder(), tone(1000, 0.02, rate)
    reference = Reference(rate, LATENCY_S, frames)
    for number in range(60):
        silent = number % (pause + 2) >= 2
        reference.written(None if silent else sound, 10.0 + (number + 1) * 0.02)
    assert len(frames.items) >= 59
    assert np.diff([frame.t for frame in frames.items]) == pytest.approx(0.02, abs=1e-6)


def times(delays, silent=()):
    """How much later than without any delay each period is said to be heard, in ms, if it is written so late (seconds).

    No later one is delayed by it: the card has two in hand.
    """
    frames = Recorder()
    reference = Reference(16_000, LATENCY_S, frames)
    period = np.full(320, 1000, np.int16)
    said = []
    for number, delay in enumerate(delays):
        count = len(frames.items)
        reference.written(None if number in silent else period, 10.0 + number * 0.02 + delay)
        said += [frames.items[-1].t - (10.0 + number * 0.02 + LATENCY_S + 0.02)] if len(frames.items) > count else []
    return np.array(said) * 1000


def test_a_write_that_is_late_does_not_move_what_is_heard():
    late = np.random.default_rng(1).exponential(0.004, 400)
    late[[100, 200, 201, 300]] = 0.018, 0.03, 0.012, 0.1
    assert np.ptp(times(late)[60:]) < 0.5


def test_one_reply_has_the_same_time_line_as_the_one_before():
    late = np.zeros(400)
    late[[150, 151, 152]] = 0.018, 0.012, 0.006
    assert np.abs(times(late, silent=range(100, 150))).max() < 0.1


def test_samples_that_were_lost_move_the_line_with_the_third_write():
    late = np.random.default_rng(1).exponential(0.002, 400)
    said = times(late + np.where(np.arange(400) < 200, 0.0, 0.06))
    assert np.ptp(said[50:202]) < 0.5
    assert np.all(np.abs(said[202:] - 60) < 4) and np.ptp(said[220:]) < 0.5


def test_a_clock_that_drifts_is_followed():
    drift = np.arange(3000) * 0.02 * 200e-6
    assert np.abs(times(drift) - drift * 1000).max() < 0.3


def test_80_ms_of_silence_written_at_once_are_four_periods():
    frames = Recorder()
    reference = Reference(16_000, LATENCY_S, frames)
    for number in range(10):
        reference.written(None, 10.0 + number * 0.08, 4)
    reference.written(np.full(320, 1000, np.int16), 10.0 + 0.72 + 0.02)
    assert frames.items[0].t == pytest.approx(10.74 + LATENCY_S + 0.02)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_whatever_sounds_there_are_each_is_told_whole(rate, lengths):
    frames = Recorder()
    reference = Reference(rate, LATENCY_S, frames)
    for length in lengths:
        before = len(frames.items)
        play(reference, np.full(length * (rate // 50), 1000, np.int16), rate)
        assert length <= len(frames.items) - before <= length + PAUSE
        assert np.allclose(np.diff([frame.t for frame in frames.items[before:]]), 0.02)
