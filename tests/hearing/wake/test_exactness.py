"""In an hour of mixed sound the scores are openWakeWord's to the fifth digit, and the silence gate takes nothing away."""

import numpy as np
import pytest

from device.audio import FRAME_S, FRAME_SAMPLES, Frame
from device.checks import BUILT_IN_WORDS
from device.events import WakeHeard
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import STEP_SAMPLES, WakeEngine
from device.hearing.wake.streaming import streaming_network
from tests.fakes import pink_noise, silence
from tests.hearing.wake.listening import steps, wake
from tests.hearing.wake.plain import stateless_scores
from tests.room.hour import hour
from tests.room.people import WORDS, spoken

MOST = 1e-5
"""By which a score may differ."""
WARM_UP = 24
"""Steps that are left out, as openWakeWord begins with noise instead of silence. Its first step gives 5 mel frames, the
others 8, so the 10th embedding is the first of 76 mel frames of nothing but the sound, and the 25th score the first of 16
of those."""
SETTLED_S = 6.0
"""By then the gate knows the room."""
PATHS = word_paths(BUILT_IN_WORDS)


def our_scores(sound):
    """Shape (steps, words)."""
    engine = WakeEngine(PATHS)
    return np.array([[scores[word] for word in PATHS] for scores in map(engine.score, steps(sound))])


def openwakewords_scores(sound):
    """The same from the package itself, one thread."""
    from openwakeword.model import Model

    model = Model(wakeword_models=[str(path) for path in PATHS.values()], inference_framework="onnx")
    names = [path.stem for path in PATHS.values()]
    return np.array([[scores[name] for name in names] for scores in map(model.predict, steps(sound))])


@pytest.fixture(scope="module")
def whole():
    return hour()


@pytest.fixture(scope="module")
def plain():
    """A few seconds in which every word is said, and its scores by the plain algorithm, shape (steps, words)."""
    words = [sound for text in WORDS.values() for sound in (spoken(text, "flite:awb"), silence(0.3))]
    sound = np.concatenate([*words, pink_noise(0.5, 0.1)])
    scores = stateless_scores(sound, PATHS)
    assert (scores.max(axis=0) > 0.9).all()
    return sound, scores


def test_every_score_is_that_of_the_plain_algorithm(plain):
    sound, scores = plain
    assert streaming_network() is not None
    assert np.abs(our_scores(sound) - scores).max() <= MOST


def test_without_the_streaming_network_the_scores_are_the_same(plain, monkeypatch):
    sound, scores = plain
    monkeypatch.setattr("device.hearing.wake.engine.streaming_network", lambda: None)
    assert np.abs(our_scores(sound) - scores).max() <= MOST


@pytest.mark.slow
def test_every_score_of_an_hour_is_openwakewords_own(whole):
    theirs = openwakewords_scores(whole.sound)
    assert len(theirs) == 45_000
    assert ((theirs > 0.5).sum(axis=0) > 100).all(), "an hour in which every word is said many times"
    off = np.abs(our_scores(whole.sound) - theirs)[WARM_UP:].max(axis=1)
    assert off.max() <= MOST, f"at {(off.argmax() + WARM_UP + 1) * 0.08:.2f} s"


@pytest.mark.slow
def test_of_openwakewords_scores_only_those_that_know_of_its_noise_are_left_out(monkeypatch):
    noise = np.random.default_rng(1)
    monkeypatch.setattr("numpy.random.randint", noise.integers)
    sound = np.concatenate([silence(1), spoken("hey jarvis", "flite:slt"), silence(1)])
    off = np.abs(our_scores(sound) - openwakewords_scores(sound)).max(axis=1)
    assert off[WARM_UP - 1] > MOST >= off[WARM_UP:].max()


class Watched(WakeEngine):
    """Counts the steps that it computes."""

    computed = 0

    def score(self, samples):
        self.computed += 1
        return super().score(samples)


def watch(settings, sound):
    """The wake words that a detector hears in `sound`, and by frame whether its network ran."""
    engine = Watched(PATHS)
    detector = WakeDetector(settings, engine)
    found, ran = [], []
    for number, pcm in enumerate(sound.reshape(-1, FRAME_SAMPLES)):
        before = engine.computed
        found += detector.hear(Frame(pcm.tobytes(), (number + 1) * FRAME_S))
        ran.append(engine.computed > before)
    return [one for one in found if isinstance(one, WakeHeard)], np.array(ran)


@pytest.mark.slow
def test_behind_the_silence_gate_every_word_of_an_hour_is_heard_at_the_same_time_with_the_same_score(whole):
    always, ran = watch(wake(words=BUILT_IN_WORDS, always_on=True), whole.sound)
    assert ran.sum() == 45_000 and len(always) > 250
    gated, ran = watch(wake(words=BUILT_IN_WORDS), whole.sound)
    assert ran.sum() < 45_000, "nothing is ever left out"
    assert [(one.word, one.audio_t) for one in gated] == [(one.word, one.audio_t) for one in always]
    assert np.abs([one.score - other.score for one, other in zip(gated, always, strict=True)]).max() <= MOST


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "most"), [("quiet", 0.03), ("silence", 0.0)])
def test_in_a_quiet_room_the_network_hardly_ever_runs_and_in_silence_never(whole, kind, most):
    _, ran = watch(wake(words=BUILT_IN_WORDS), whole.only(kind))
    ran = ran[round(SETTLED_S / FRAME_S) :]
    assert ran.mean() * STEP_SAMPLES / FRAME_SAMPLES <= most
