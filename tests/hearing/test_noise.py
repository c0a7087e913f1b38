"""How loud the room is: what is said of it, and when."""

import numpy as np
import pytest

from device.audio import FRAME_S, FRAME_SAMPLES, Frame
from device.hearing.noise import NoiseFloor


def told(floor, *parts):
    """What is said of noise of so many seconds and dBFS each: (seconds, dBFS)."""
    rng = np.random.default_rng(1)
    told, now = [], 0.0
    for seconds, dbfs in parts:
        for _ in range(round(seconds / FRAME_S)):
            sound = rng.standard_normal(FRAME_SAMPLES) * 10 ** (dbfs / 20) * 32768
            noise = floor.hear(Frame(np.clip(sound, -32768, 32767).astype(np.int16).tobytes(), now))
            now += FRAME_S
            if noise is not None:
                told.append((now, noise))
    return told


def test_a_steady_room_is_told_once_after_ten_seconds():
    ((at, noise),) = told(NoiseFloor(), (60, -50))
    assert at == pytest.approx(10.0) and noise == pytest.approx(-50, abs=1)


def test_somebody_who_speaks_is_no_noise():
    speech = [(0.7, -20), (0.3, -50)] * 30
    ((_, noise),) = told(NoiseFloor(), (10, -50), *speech)
    assert noise == pytest.approx(-50, abs=1)


def test_a_fan_that_is_switched_on_and_off_is_told_within_ten_seconds_each():
    heard = told(NoiseFloor(), (12, -60), (20, -40), (20, -60))
    assert [round(noise, -1) for _, noise in heard if abs(noise + 50) > 5][:1] == [-60]
    assert 12 < next(at for at, noise in heard if noise > -42) < 22.1
    assert heard[-1][1] == pytest.approx(-60, abs=1) and 32 < heard[-1][0] < 42.1


def test_a_room_that_changes_by_less_than_2_db_is_not_told_again():
    assert len(told(NoiseFloor(), (15, -50), (15, -48.8), (15, -51.2))) == 1


def test_a_microphone_that_gives_nothing_is_no_room():
    assert told(NoiseFloor(), (30, -400)) == []
