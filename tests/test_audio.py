"""Arithmetic on sound, and time that was lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.audio import FRAME_BYTES, FRAME_S, FRAME_SAMPLES, RATE, SILENT_FRAME, LostTime, to_int16, to_mono


def test_a_frame_is_20_ms():
    assert FRAME_SAMPLES == RATE * FRAME_S and FRAME_BYTES == 2 * FRAME_SAMPLES == len(SILENT_FRAME)


def test_one_channel_of_several_is_picked():
    samples = np.array([1, 2, 3, 11, 12, 13], np.int16)
    assert [to_mono(samples, 3, channel).tolist() for channel in range(3)] == [[1, 11], [2, 12], [3, 13]]


def test_a_mix_is_the_mean():
    assert to_mono(np.array([100, 300, -5, -5], np.int16), 2, "mix").tolist() == [200, -5]


def test_mono_is_taken_as_it_is():
    samples = np.arange(5, dtype=np.int16)
    assert to_mono(samples, 1, 0) is samples and to_mono(samples, 1, "mix") is samples


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=8))
def test_a_mix_is_never_louder_than_the_loudest(values):
    (mixed,) = to_mono(np.array(values, np.int16), len(values), "mix")
    assert min(values) - 1 <= mixed <= max(values) + 1


def test_floats_become_int16_and_are_clipped():
    floats = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0], np.float32)
    assert to_int16(floats).tolist() == [0, 16384, -16384, 32767, -32768, 32767, -32768]
    assert to_int16(floats).dtype == np.int16


@given(st.lists(st.integers(-32768, 32767), max_size=50))
def test_there_and_back_changes_nothing(values):
    samples = np.array(values, np.int16)
    assert np.array_equal(to_int16(samples.astype(np.float32) / 32768), samples)


def lost(times):
    counter = LostTime(FRAME_S)
    return [counter.tick(now) for now in times]


def paced(count, start=10.0):
    return [start + number * FRAME_S for number in range(count)]


def test_periods_that_end_together_count_each():
    together, apart = LostTime(FRAME_S), LostTime(FRAME_S)
    for now in [*(10 + 0.08 * number for number in range(40)), *(10.5 + 0.08 * number for number in range(40, 80))]:
        assert together.tick(now, 4) == sum(apart.tick(now) for _ in range(4))


def test_an_even_pace_loses_nothing():
    assert sum(lost(paced(1000))) == 0


@pytest.mark.parametrize("missing", [1, 2, 10, 500])
def test_a_hole_is_counted_once_with_its_length(missing):
    times = paced(220) + paced(300, 10 + (220 + missing) * FRAME_S)
    counts = lost(times)
    assert sum(counts) == missing and sum(count > 0 for count in counts) == 1


def test_late_periods_that_are_caught_up_are_no_loss():
    times = np.array(paced(500))
    times[100:140] = times[140]  # a thread that slept, then took all at once
    assert sum(lost(times)) == 0


@pytest.mark.slow
@given(st.lists(st.floats(0, 0.5), min_size=300, max_size=300))
def test_jitter_is_no_loss_while_some_period_of_each_second_is_on_time(delays):
    times = [t + (0.0 if n % 50 == 7 else delay) for n, (t, delay) in enumerate(zip(paced(300), delays, strict=True))]
    assert sum(lost(times)) == 0


@given(st.lists(st.floats(-0.0003, 0.0003), min_size=8, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_a_sound_server_whose_blocks_of_10_ms_move_against_our_periods_loses_nothing(jitters, moved):
    times = np.array(paced(400)) + np.repeat(jitters, 50) + np.repeat(moved, 50) * FRAME_S / 2
    assert sum(lost(times)) == 0


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_clock_that_drifts_is_no_loss(ppm):
    assert sum(lost(10 + np.arange(50_000) * FRAME_S * (1 + ppm / 1e6))) <= 2


def test_a_hole_within_the_first_second_is_seen_too():
    assert sum(lost(paced(20) + paced(500, 20.0))) == 480
