"""Wake words in a stream of frames: the real networks on synthetic voices, and the rules on scripted scores."""

import itertools
import shutil

import numpy as np
import pytest

from device.checks import BUILT_IN_WORDS
from device.events import NearMiss, WakeHeard
from device.hearing.models import bundled
from device.hearing.wake.decision import APART_STEPS
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import FEATURES, STEP_S, STEP_SAMPLES, WakeEngine
from device.hearing.wake.verifier import Voice, checksum, write
from tests.fakes import pink_noise, said, silence, tone
from tests.hearing.wake.listening import Script, events, ones, wake, words_in

VOICES = ["flite:slt", "flite:rms", "flite:kal16", "flite:awb", "espeak:en-us", "espeak:en-gb", "espeak:en-us+f3"]


def room(*sounds, before_s=1.0, after_s=1.0):
    return np.concatenate([silence(before_s), *sounds, silence(after_s)])


@pytest.fixture(scope="module")
def jarvis():
    """An engine for hey_jarvis, of which tests take twins."""
    return WakeEngine(word_paths(("hey_jarvis",)))


@pytest.fixture(scope="module")
def every():
    """The same for all built-in words."""
    return WakeEngine(word_paths(BUILT_IN_WORDS))


# --- The real networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voice", VOICES)
def test_the_word_is_found_soon_after_its_end(jarvis, voice):
    word = said("hey jarvis", voice)
    (found,) = words_in(WakeDetector(wake(), jarvis.twin()), room(word))
    assert found.word == "hey_jarvis" and 0.5 <= found.score <= 1
    end = 1 + len(word) / 16_000
    assert end - 0.3 < found.audio_t <= end + 0.4


@pytest.mark.parametrize("voice", ["flite:slt", "flite:rms", "espeak:en-us"])
def test_the_word_and_a_question_in_one_breath_are_found_once(jarvis, voice):
    (found,) = words_in(WakeDetector(wake(), jarvis.twin()), room(said("hey jarvis what time is it", voice)))
    assert found.word == "hey_jarvis"


def test_plain_speech_silence_and_noise_do_not_wake_it(every):
    detector = WakeDetector(wake(words=BUILT_IN_WORDS), every.twin())
    sentences = [
        said("the quick brown fox jumps over the lazy dog", "flite:slt"),
        said("what time is it and how is the weather tomorrow", "flite:rms"),
        said("hey there have you seen my service manual", "espeak:en-us"),
    ]
    assert words_in(detector, room(*itertools.chain.from_iterable((one, silence(0.5)) for one in sentences))) == []
    for sound in (silence(2), pink_noise(2, 0.001), pink_noise(2, 0.01), pink_noise(2, 0.1)):
        assert words_in(detector, sound) == []


def test_the_first_seconds_of_silence_or_noise_do_not_wake_it(every):
    for sound in (silence(3), pink_noise(3, 0.05), np.full(48_000, 20_000, np.int16)):
        assert words_in(WakeDetector(wake(words=BUILT_IN_WORDS, threshold=0.2), every.twin()), sound) == []


def test_several_words_at_once_are_told_apart(every):
    detector = WakeDetector(wake(words=BUILT_IN_WORDS), every.twin())
    texts = {"alexa": "alexa", "hey_jarvis": "hey jarvis", "hey_mycroft": "hey my croft", "hey_rhasspy": "hey rhasspy"}
    sound = np.concatenate([room(said(text, "flite:awb"), after_s=1.5) for text in texts.values()])
    assert [one.word for one in words_in(detector, sound)] == list(texts)


def test_a_word_of_the_users_own_is_taken_by_its_path_and_named_after_it(tmp_path):
    path = tmp_path / "computer.onnx"
    shutil.copy(bundled("hey_jarvis_v0.1.onnx"), path)
    settings = wake(words=(str(path), "alexa"), thresholds={"computer": 0.4})
    (found,) = words_in(WakeDetector(settings), room(said("hey jarvis")))
    assert found.word == "computer"


def test_only_the_voice_that_is_enrolled_counts(jarvis, tmp_path):
    model = checksum(bundled("hey_jarvis_v0.1.onnx"))
    for bias, kinds in ((1.0, [WakeHeard]), (-1.0, [NearMiss])):
        write(tmp_path / "ann.npz", Voice("hey_jarvis", model, np.zeros(16 * FEATURES, np.float32), bias))
        found = events(WakeDetector(wake(voices=str(tmp_path)), jarvis.twin()), room(said("hey jarvis"), after_s=1.5))
        assert [type(one) for one in found] == kinds
        assert all(one.why == "voice" for one in found if isinstance(one, NearMiss))


# --- The rules ------------------------------------------------------------------------------------------------------


def scripted(settings, sound, scores):
    """What comes of the scores by step, with time for near misses to be over."""
    return events(WakeDetector(settings, Script(scores)), np.concatenate([sound, ones(APART_STEPS)]))


def test_a_word_is_told_with_its_score_and_the_capture_time_of_the_step_that_showed_it():
    assert scripted(wake(), ones(3), {1: 0.6}) == [WakeHeard("hey_jarvis", 0.6, pytest.approx(0.16))]


def test_near_misses_are_told_too():
    found = scripted(wake(), ones(5), {1: 0.3, 2: 0.4})
    assert found == [NearMiss("hey_jarvis", 0.4, pytest.approx(0.24), "score")]


def test_the_engine_gets_80_ms_of_the_sound_in_order():
    script = Script()
    sound = np.arange(5 * STEP_SAMPLES, dtype=np.int16)
    events(WakeDetector(wake(), script), sound)
    assert np.array_equal(np.concatenate(script.heard), sound)


@pytest.mark.parametrize(("dbfs", "counts"), [(-41, True), (-39, False)])
def test_what_is_softer_than_the_minimum_level_does_not_count(dbfs, counts):
    sound = tone(500, 20 * STEP_S, 16_000, level=2**0.5 / 100)  # -40 dBFS
    (found,) = scripted(wake(min_level_dbfs=float(dbfs)), sound, {15: 0.9})
    assert isinstance(found, WakeHeard) if counts else found.why == "level"


@pytest.mark.parametrize(("ago_s", "counts"), [(0.0, True), (1.04, True), (1.28, False)])
def test_the_level_of_a_word_is_that_of_its_loudest_80_ms(ago_s, counts):
    sound = ones(30)
    loud = 25 - round(ago_s / STEP_S)
    sound[loud * STEP_SAMPLES : (loud + 1) * STEP_SAMPLES] = 10_000
    (found,) = scripted(wake(min_level_dbfs=-20.0), sound, {25: 0.9})
    assert isinstance(found, WakeHeard) == counts


def test_in_the_first_second_there_is_less_to_be_loud_and_nothing_from_before():
    sound = ones(30)
    sound[2 * STEP_SAMPLES :] = 10_000
    settings = wake(min_level_dbfs=-20.0, refractory_s=0.0)
    assert scripted(settings, sound, {0: 0.9}) == [NearMiss("hey_jarvis", 0.9, pytest.approx(0.08), "level")]
    assert isinstance(scripted(settings, sound, {2: 0.9})[0], WakeHeard)


def test_where_the_speech_detector_must_agree_a_word_counts(jarvis):
    settings = wake(confirm_speech=True)
    assert len(words_in(WakeDetector(settings, jarvis.twin()), room(said("hey jarvis")))) == 1
    word = room(said("hey jarvis"))
    assert scripted(settings, word, {25: 0.9}) == [WakeHeard("hey_jarvis", 0.9, pytest.approx(26 * STEP_S))]


@pytest.mark.parametrize(
    "sound", [pink_noise(3, 0.05), tone(300, 3, 16_000), ones(38)], ids=["noise", "tone", "next to nothing"]
)
def test_where_the_speech_detector_must_agree_what_is_no_speech_does_not_count(sound):
    assert scripted(wake(confirm_speech=True), sound, {25: 0.9}) == [
        NearMiss("hey_jarvis", 0.9, pytest.approx(26 * STEP_S), "speech")
    ]
    assert isinstance(scripted(wake(), sound, {25: 0.9})[0], WakeHeard)


def test_speech_of_long_ago_does_not_make_a_word_of_what_is_none():
    word = said("hey jarvis")[: 9 * STEP_SAMPLES]
    found = scripted(wake(confirm_speech=True, refractory_s=0.1), np.concatenate([word, ones(20)]), {8: 0.9, 24: 0.9})
    assert [getattr(one, "why", None) for one in found] == [None, "speech"]


class Speech:
    """A speech detector that counts what it is asked."""

    def __init__(self, *answers):
        self.chunks = 0
        self._answers = iter(answers)

    def reset(self):
        self.answer = next(self._answers)

    def __call__(self, chunk):
        self.chunks += 1
        return self.answer


def test_the_speech_detector_hears_each_step_of_a_sound_that_it_refuses_once(monkeypatch):
    speech = Speech(0.1, 0.9)
    monkeypatch.setattr("device.hearing.wake.detector.Silero", lambda: speech)
    scores = dict.fromkeys((20, 21, 22, 60), 0.9)
    found = events(WakeDetector(wake(confirm_speech=True, always_on=True), Script(scores)), ones(80))
    assert [type(one) for one in found] == [NearMiss, WakeHeard] and found[0].why == "speech"
    assert speech.chunks == 2 * (15 + 1 + 1 + 15)
