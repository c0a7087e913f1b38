import numpy as np
import pytest

from device.audio import FRAME_S
from device.hearing.delay import EARLIER, FARTHER, LATER, WINDOW, Drifting, Pace, likeness
from tests.hearing.echoing import echo, noise, syllables


def test_a_delay_is_found_to_a_sample():
    played = syllables(3.0)
    heard = echo(played, 0)[12_345 : 12_345 + WINDOW]
    found = likeness(played[: WINDOW * 4], heard)
    assert found.clear
    assert found.lag == pytest.approx(12_345, abs=1)


def test_a_delay_that_grows_by_some_samples_is_seen_to_grow_by_as_many():
    played = syllables(3.0)
    heard = echo(played, 0)
    lags = [likeness(played[: WINDOW * 4], heard[start : start + WINDOW]).lag for start in range(9_000, 9_009)]
    assert lags[8] - lags[0] == pytest.approx(8, abs=0.1)
    assert np.all(np.diff(lags) > 0)


def test_what_is_far_softer_than_people_is_found_among_them():
    played = syllables(3.0)
    mixed = echo(played, 0)[9_000 : 9_000 + WINDOW] + 2 * syllables(0.512, seed=5)[:WINDOW]
    found = likeness(played[: WINDOW * 4], mixed)
    assert found.clear
    assert found.lag == pytest.approx(9_000, abs=1)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_found_in_what_others_say(seed):
    assert not likeness(syllables(2.048), syllables(0.512, seed=seed + 1)[:WINDOW]).clear


def test_nothing_is_found_in_silence():
    assert not likeness(np.zeros(WINDOW * 4, np.int16), noise(WINDOW)).clear
    assert not likeness(syllables(2.048), np.zeros(WINDOW, np.int16)).clear


@pytest.mark.parametrize("last", [LATER, FARTHER])
def test_transforms_are_of_fast_sizes(last):
    assert (WINDOW + last - EARLIER).bit_count() == 1


def test_the_pace_goes_by_frames_that_came_in_time():
    pace, rng = Pace(25), np.random.default_rng(1)
    for number in range(200):
        pace.tick(50 + number * FRAME_S + rng.exponential(0.01), number)
    assert pace.zero == pytest.approx(50, abs=0.002)


def test_the_pace_follows_when_samples_were_lost():
    pace = Pace(25)
    for number in range(200):
        pace.tick(50 + number * FRAME_S + (0.06 if number >= 100 else 0.0), number)
    assert pace.zero == pytest.approx(50.06)


def test_frames_that_come_late_in_a_burst_after_a_stall_are_all_there():
    pace = Pace(25)
    for number in range(50):
        pace.tick(number * FRAME_S, number)
    for number in range(50, 57):  # a stall of 0.14 s: they come together
        assert pace.missing(max(number * FRAME_S, 57 * FRAME_S), number) == 0
        pace.tick(max(number * FRAME_S, 57 * FRAME_S), number)


def test_frames_that_stay_late_follow_some_that_are_lost():
    pace = Pace(25)
    for number in range(50):
        pace.tick(number * FRAME_S, number)
    missing = [pace.missing((number + 2) * FRAME_S + 0.005 * (number % 2), number) for number in range(50, 55)]
    assert missing == [0, 0, 0, 0, 2]


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_a_delay_that_is_measured_when_it_was_just_set_says_little_of_its_drift(frames):
    delay = Drifting()
    delay.set(1000.0, 32_000 - frames * 320)
    delay.follow(1010.0, 32_000)
    assert 1000 < delay.at(32_000) <= 1010
    assert abs(delay.at(64_000) - delay.at(32_000)) < 10
