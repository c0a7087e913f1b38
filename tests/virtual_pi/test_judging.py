"""The measuring rod itself: it sees what it is there to see."""

import numpy as np
import pytest

from device.agent.speaking import RATE
from tests.virtual_pi.home import changes
from tests.virtual_pi.judging import Scene

BEGIN = 100.0
"""When the recording began."""


def scene(*spans, lights=(), pressed=None):
    """Ten seconds with noise in these spans, that arrive in pieces of 10 ms, 5 ms late, some of them later."""
    samples = np.zeros(10 * RATE, np.int16)
    for start, end in spans:
        piece = slice(round(start * RATE), round(end * RATE))
        samples[piece] = np.random.default_rng(1).integers(-3000, 3000, piece.stop - piece.start)
    counts = np.arange(RATE // 100, len(samples) + 1, RATE // 100)
    late = np.where(np.arange(len(counts)) % 7 == 3, 0.03, 0.005)
    found = {
        "begin": BEGIN, "played": BEGIN + 0.5, "ended": BEGIN + 2.0, "pressed": pressed, "end": BEGIN + 10.0, "said": "",
        "lights": [(BEGIN + t, levels) for t, levels in lights],
        "chunks": [(BEGIN + count / RATE + wait, int(count)) for count, wait in zip(counts, late, strict=True)],
    }  # fmt: skip
    return Scene(found, samples.tobytes())


def test_sound_is_where_it_was_and_pauses_between_words_are_part_of_it():
    (chime, answer) = scene((1.0, 1.2), (3.0, 4.0), (4.5, 5.5)).loud()
    assert chime == pytest.approx((BEGIN + 1.0, BEGIN + 1.2), abs=0.03)
    assert answer == pytest.approx((BEGIN + 3.0, BEGIN + 5.5), abs=0.03)


def test_the_answer_is_the_longest_sound():
    assert scene((1.0, 1.2), (3.0, 5.0)).longest() == pytest.approx((BEGIN + 3.0, BEGIN + 5.0), abs=0.03)
    assert scene().longest() is None


def test_what_sounds_on_after_a_press_is_measured():
    assert scene((3.0, 5.1)).silent_after(BEGIN + 5.0) == pytest.approx(0.1, abs=0.03)


def test_a_reply_that_pauses_for_a_word_and_goes_on_after_a_press_is_not_silent():
    assert scene((3.0, 4.9), (5.3, 6.0)).silent_after(BEGIN + 5.0) == pytest.approx(1.0, abs=0.03)


def test_the_share_of_time_in_which_a_light_is_lit():
    seen = scene(lights=[(0.0, "000"), (1.0, "100"), (3.0, "010"), (4.0, "000")])
    assert seen.shares(0, BEGIN, BEGIN + 4.0) == pytest.approx(0.5)
    assert seen.shares(1, BEGIN + 3.0, BEGIN + 4.0) == pytest.approx(1.0)
    assert seen.shares(2, BEGIN, BEGIN + 10.0) == 0.0
    assert seen.first(1, BEGIN + 1.0) == BEGIN + 3.0 and seen.first(2, BEGIN) is None


def test_what_came_went_and_changed_is_told():
    assert changes({"/a": "1", "/b": "1", "/c": "1"}, {"/b": "2", "/c": "1", "/d": "1"}) == ["- /a", "! /b", "+ /d"]
