"""What the room hears of us: the same sound at 16 kHz, each sample at the time it is heard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.speaking.reference import Reference
from tests.fakes import Recorder, tone

LATENCY_S = 0.03
RATES = [16_000, 24_000, 32_000, 44_100, 48_000, 96_000]


def play(reference, sound, rate, start=10.0):
    """Write `sound` by periods, the first of which is on its way at `start`, and silence after it."""
    period = rate // 50
    for number in range(len(sound) // period):
        reference.written(sound[number * period : (number + 1) * period], start + (number + 1) * 0.02)
    reference.written(None, start + (len(sound) // period + 1) * 0.02)


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
def test_the_last_millisecond_is_told_and_then_no_more(rate):
    sound = tone(1000, 0.2, rate)
    frames = Recorder()
    reference = Reference(rate, LATENCY_S, frames)
    play(reference, sound, rate)
    count = len(frames.items)
    assert count == 10 and np.abs(np.frombuffer(frames.items[-1].pcm, np.int16)[-16:]).max() > 5000
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


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_whatever_sounds_there_are_each_is_told_whole(rate, lengths):
    frames = Recorder()
    reference = Reference(rate, LATENCY_S, frames)
    for length in lengths:
        before = len(frames.items)
        play(reference, np.full(length * (rate // 50), 1000, np.int16), rate)
        assert len(frames.items) - before == length
        assert np.allclose(np.diff([frame.t for frame in frames.items[before:]]), 0.02)
