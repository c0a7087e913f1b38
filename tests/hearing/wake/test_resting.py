"""A detector whose networks rest behind the gate: what it makes up for when that opens, and that nothing is missed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from device.audio import FRAME_S, Frame
from device.events import NearMiss
from device.hearing.wake import detector as detector_module
from device.hearing.wake.decision import APART_STEPS
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import STEP_S, STEP_SAMPLES, WakeEngine
from tests.fakes import pink_noise, said, silence
from tests.hearing.wake.listening import Script, events, ones, wake, words_in


@pytest.fixture(scope="module")
def jarvis():
    """An engine for hey_jarvis, of which tests take twins."""
    return WakeEngine(word_paths(("hey_jarvis",)))


class FakeGate:
    """Open as its pattern says, step by step."""

    def __init__(self, pattern):
        self._pattern = iter(pattern)

    def open(self, samples):
        return next(self._pattern)


def behind(pattern, settings, *engine, **decision):
    """A detector whose gate opens as `pattern` says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector_module, "Gate", lambda: FakeGate(pattern))
        return WakeDetector(settings, *engine, **decision)


class Notes:
    """A decision that decides nothing and writes down what it is given."""

    def __init__(self):
        self.given = []

    def decide(self, scores, t, *, playing):
        self.given.append((round(t / STEP_S) - 1, dict(scores)))
        return []


KEPT = 26
"""Steps that make up a score of a built-in word."""
PATTERNS = st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=8).map(
    lambda runs: [is_open for is_open, steps in runs for _ in range(steps)]
)


@how(max_examples=40, deadline=None)
@given(PATTERNS)
def test_whenever_the_gate_opens_the_engine_has_been_given_each_of_the_last_steps_once_and_in_order(pattern):
    script, notes = Script(), Notes()
    detector = behind(pattern, wake(), script, decision=lambda *_: notes)
    for step, is_open in enumerate(pattern):
        before = len(script.heard)
        for n in (1, 2, 3, 4):
            detector.hear(Frame(np.full(320, step, np.int16).tobytes(), step * STEP_S + n * FRAME_S))
        given = [int(samples[0]) for samples in script.heard]
        if is_open:
            assert given[-KEPT:][-step - 1 :] == list(range(max(0, step + 1 - KEPT), step + 1))
        else:
            assert len(given) == before, "while it is closed nothing runs"
        assert given == sorted(set(given)) == [number for number, _ in notes.given]
        assert all((samples == samples[0]).all() for samples in script.heard[before:])


def test_who_may_not_rest_hears_each_step_behind_a_closed_gate():
    script = Script()
    detector = behind([False] * 6, wake(), script)
    for step, may_rest in enumerate((True, True, False, False, True, False)):
        for n in (1, 2, 3, 4):
            detector.hear(Frame(np.full(320, step, np.int16).tobytes(), step * STEP_S + n * FRAME_S), may_rest=may_rest)
    assert [int(samples[0]) for samples in script.heard] == [0, 1, 2, 3, 4, 5]


def test_what_made_the_gate_open_does_not_make_a_word_of_before_louder():
    sound = ones(40 + APART_STEPS)
    sound[39 * STEP_SAMPLES :] = 10_000
    detector = behind([False] * 39 + [True] * 7, wake(min_level_dbfs=-20.0), Script({2: 0.9}))
    (found,) = events(detector, sound)
    assert found == NearMiss("hey_jarvis", 0.9, pytest.approx((40 - KEPT + 3) * STEP_S), "level")


@pytest.fixture(scope="module")
def talk():
    """4.4 s: a word, a pause and a word again."""
    sound = np.concatenate([said("hey jarvis"), pink_noise(2, 0.01), said("hey jarvis", "flite:rms"), silence(0.5)])
    return sound[: len(sound) // STEP_SAMPLES * STEP_SAMPLES]


@pytest.fixture(scope="module")
def always(jarvis, talk):
    """The scores of each step of `talk`."""
    engine = jarvis.twin()
    return [dict(engine.score(step)) for step in talk.reshape(-1, STEP_SAMPLES)]


@how(max_examples=6, deadline=None)
@given(PATTERNS)
def test_whenever_the_gate_opens_the_scores_are_as_if_it_had_never_been_closed(jarvis, talk, always, pattern):
    notes = Notes()
    pattern = (pattern * len(always))[: len(always)]
    events(behind(pattern, wake(), jarvis.twin(), decision=lambda *_: notes), talk)
    given = dict(notes.given)
    assert all(given[step] == always[step] for step, is_open in enumerate(pattern) if is_open)


@pytest.mark.parametrize("pause", [4, 16, KEPT, KEPT + 1, 34])
def test_a_word_that_was_said_while_the_gate_was_closed_is_heard_when_it_opens_with_its_own_time(jarvis, pause):
    word = said("hey jarvis")
    sound = np.concatenate([silence(4), word, silence(0.4)])[-60 * STEP_SAMPLES :]
    (expected,) = words_in(WakeDetector(wake(always_on=True), jarvis.twin()), sound)
    pattern = [True] * (59 - pause) + [False] * pause + [True]
    assert words_in(behind(pattern, wake(), jarvis.twin()), sound) == [expected]


@pytest.mark.parametrize(("pause_s", "level"), [(3.3, 0.0), (6.5, 0.001)])
def test_with_the_real_gate_all_is_heard_as_without_and_the_network_rests(jarvis, pause_s, level):
    word = said("hey jarvis", "flite:rms")
    sound = np.concatenate([silence(7), word, silence(pause_s), word, silence(0.5)])
    sound += pink_noise(len(sound) / 16_000, level or 1, seed=3)[: len(sound)] * (level > 0)
    ran = []
    for always_on in (True, False):
        notes = []
        detector = WakeDetector(wake(always_on=always_on), Counted(jarvis, notes))
        ran.append((words_in(detector, sound), len(notes)))
    (every_word, all_steps), (gated, some) = ran
    assert gated == every_word and len(gated) == 2
    assert all_steps == len(sound) // STEP_SAMPLES and some < all_steps - 10


class Counted:
    """An engine that counts its steps."""

    def __init__(self, engine, steps):
        self._engine = engine.twin()
        self._steps = steps

    def score(self, samples):
        self._steps.append(None)
        return self._engine.score(samples)
