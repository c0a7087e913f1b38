"""Learning a voice: from what, against whom, and what is told of it."""

import numpy as np
import pytest

from device.errors import EarshotError, UsageError
from device.hearing.models import bundled
from device.hearing.wake import learning
from device.hearing.wake.engine import STEP_SAMPLES, WakeEngine
from device.hearing.wake.learning import VOICES, learn, strangers
from tests.fakes import pink_noise, said, silence
from tests.hearing.wake.people import OTHERS, samples

SIZE = 96
"""Parts of an embedding."""


@pytest.fixture
def one_variant(monkeypatch):
    """Of each sample, to be quick."""
    monkeypatch.setattr(learning, "_VARIANTS", ((1.0, 0.0),))


def takes(windows, people=10):
    """One take of one step each: what people said, in turn."""
    return [learning._Take(number % people, window[None]) for number, window in enumerate(windows.astype(np.float32))]


def cloud(count, *middle, seed=0):
    """Windows around a middle of which only the first parts are not 0."""
    return np.random.default_rng(seed).normal(0, 1, (count, SIZE)) + np.pad(middle, (0, SIZE - len(middle)))


def known(takes, learned):
    return sum(learning._known(take, learned.weights, learned.bias) for take in takes)


def test_a_voice_is_tried_on_a_check_that_was_learned_without_it():
    """By chance: all voices are alike here. By heart, 20 of 20 would be known, and 0 of the others."""
    learned = learning._learned(*(takes(cloud(20, seed=seed)) for seed in range(3)))
    assert (learned.samples, learned.others) == (20, 20)
    assert learned.samples_known <= 15 and learned.others_known >= 5


def test_a_voice_that_is_like_no_other_is_known():
    own, shifted, others = takes(cloud(20, *np.ones(SIZE))), takes(cloud(20, seed=2)), takes(cloud(60, seed=3))
    assert learning._learned(own, shifted, others)[2:] == (20, 20, 60, 0)


def test_the_same_person_played_faster_or_slower_is_somebody_else():
    """All that tells her from those is the second part. To know that makes her harder to hear, which is told, too."""
    own, shifted, others = takes(cloud(40, 5, seed=1)), takes(cloud(40, 5, 5, seed=2)), takes(cloud(40, seed=3))
    learned = learning._learned(own, shifted, others)
    assert known(own, learned) >= 35 and known(shifted, learned) <= 10 and known(others, learned) <= 10
    assert learned.samples_known <= 24


class Tones:
    """An engine for which each step has the word; its features are the loudness by frequency. Keeps what is heard."""

    def __init__(self):
        self.features = np.zeros((1, 1, SIZE), np.float32)
        self.takes = []

    def reset(self):
        self.takes.append([])

    def score(self, samples):
        spectrum = np.abs(np.fft.rfft(samples))[: 5 * SIZE]
        self.features[0, 0] = np.log1p(spectrum.reshape(SIZE, 5).max(axis=1))
        self.takes[-1].append(samples.copy())
        return {"word": 1.0}

    def pitches(self):
        """The loudest frequency (Hz) of each take, by how often it was heard."""
        spectra = [
            np.abs(np.fft.rfft(np.concatenate(take) * np.hanning(len(take) * STEP_SAMPLES))) for take in self.takes
        ]
        found = [round(float(np.argmax(s)) * 8_000 / (len(s) - 1)) for s in spectra]
        return {pitch: found.count(pitch) for pitch in found}


def tone(frequency):
    """Half a second of it in a faint noise, with as much before that."""
    sine = 8_000 * np.sin(2 * np.pi * frequency / 16_000 * np.arange(8_000))
    return pink_noise(1.0, 0.001) + np.concatenate([silence(0.5), sine.astype(np.int16)])


def test_other_voices_are_heard_at_three_pitches_and_the_person_at_two_that_are_near(one_variant):
    engine = Tones()
    learned = learn(engine, "word", [tone(2_000)] * 3, [(n, tone(1_000)) for n in range(3)])
    heard = engine.pitches()
    expected = {2_000: 3, 1_800: 3, 2_220: 3, 1_000: 3, 880: 3, 1_140: 3}
    assert {near: sum(heard.get(near + off, 0) for off in range(-3, 4)) for near in expected} == expected
    assert sum(heard.values()) == sum(expected.values())
    assert (learned.samples, learned.others) == (3, 9)


def test_the_folded_weights_decide_as_the_regression_does():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(1)
    mine, theirs = random.normal(0.3, 2, (20, 96)), random.normal(0, 2, (60, 96))
    weights, bias = learning._regression([learning._Take(0, mine)], [learning._Take(0, theirs)])
    plain = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.001, class_weight="balanced", max_iter=2000)
    ).fit(np.concatenate([mine, theirs]), [True] * 20 + [False] * 60)  # fmt: skip
    fresh = random.normal(0.15, 2, (200, 96))
    assert np.abs(fresh @ weights + bias - plain.decision_function(fresh)).max() < 1e-5


def test_samples_without_the_word_are_refused(one_variant):
    class Deaf(Tones):
        def score(self, samples):
            return {"word": 0.0}

    with pytest.raises(UsageError, match="word is heard too faintly"):
        learn(Deaf(), "word", [tone(2_000)] * 3, [(n, tone(1_000)) for n in range(3)])


def test_other_voices_that_the_model_does_not_hear_are_too_few(one_variant):
    engine = Tones()
    engine.score = lambda samples: {"word": float(len(engine.takes) <= 13)}  # 3 samples, 6 at near pitches, 4 others
    with pytest.raises(UsageError, match=r"when they say \"word\".*named after what is said"):
        learn(engine, "word", [tone(2_000)] * 3, [(n, tone(1_000)) for n in range(3)])


def test_one_program_for_other_voices_is_enough(monkeypatch):
    monkeypatch.setattr(learning, "VOICES", OTHERS)

    def half(text, voice):
        if voice.startswith("flite"):
            raise EarshotError("the program flite is missing")
        return silence(0.1)

    assert [number for number, _ in strangers("hey_jarvis", half)] == [2, 2, 3, 3, 4, 4]


def test_each_other_voice_says_the_word_alone_and_at_the_beginning_of_a_sentence():
    texts = []
    assert len(list(strangers("hey_mycroft", lambda text, voice: texts.append((voice, text))))) == 2 * len(VOICES)
    assert [text for voice, text in texts if voice == "flite:slt"] == ["hey my croft", "hey my croft, what time is it"]


@pytest.mark.slow
def test_learning_twice_from_the_same_gives_the_same(monkeypatch):
    monkeypatch.setattr(learning, "VOICES", OTHERS[:3])
    monkeypatch.setattr(learning, "_FOLDS", 2)
    engine = WakeEngine({"hey_jarvis": bundled("hey_jarvis_v0.1.onnx")})
    others = list(strangers("hey_jarvis", said))
    once, again = (learn(engine, "hey_jarvis", samples(3), others) for _ in range(2))
    assert (once.weights == again.weights).all() and once[1:] == again[1:]


@pytest.mark.parametrize("before_s", [0.0, 5.0])
def test_the_noise_of_the_room_is_taken_for_what_it_is(before_s):
    """An editor may have put digital silence before the word, which is no room's."""
    noise = learning._Room([np.concatenate([silence(before_s), one]) for one in samples()])._noise(16_000)
    assert 0.5 < noise.std() / pink_noise(1.0, 0.002).std() < 2
