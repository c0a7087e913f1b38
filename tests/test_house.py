"""The measuring rod itself: it sees what it is there to see."""

import numpy as np
import pytest

from device.demo.voices import say
from tests.house import SPEECH, VOICE, at_16k, faults, offset_s

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def room() -> np.ndarray:
    speech = say(SPEECH, VOICE).astype(np.float64) / 32768
    return np.interp(np.arange(0, len(speech), 1 / 3), np.arange(len(speech)), speech)


def heard(room: np.ndarray) -> np.ndarray:
    return at_16k(room)[8_000:-8_000].copy()


def test_what_arrives_whole_has_no_fault(room):
    differ, compared = faults(room, heard(room))
    assert differ == 0 and compared > 200
    assert offset_s(room, heard(room)) == pytest.approx(0.5, abs=1e-3)


def test_a_frame_of_silence_in_the_place_of_speech_is_seen(room):
    got = heard(room)
    loudest = int(np.argmax(np.abs(got))) // 320 * 320
    got[loudest : loudest + 320] = 0
    assert faults(room, got)[0] == 1


@pytest.mark.parametrize(
    "change",
    [lambda got: np.delete(got, slice(50_000, 50_320)), lambda got: np.insert(got, 50_000, got[49_680:50_000])],
)
def test_a_frame_that_is_lost_or_doubled_is_seen_in_all_that_follows(room, change):
    differ, compared = faults(room, change(heard(room)))
    assert differ > compared / 10
