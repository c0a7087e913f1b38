"""Wake words in a stream of frames: the real networks on synthetic voices, and the rules on scripted scores."""

import itertools
import shutil

import numpy as np
import pytest

from device import brain
from device.audio import FRAME_S, Frame
from device.checks import BUILT_IN_WORDS
from device.events import NearMiss, StopWordHeard, WakeHeard
from device.hearing.models import bundled
from device.hearing.wake.decision import APART_STEPS
from device.hearing.wake.detector import WakeDetector, stop_paths, word_paths
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


# --- While we play --------------------------------------------------------------------------------------------------


def while_playing(detector, sound, until_s=float("inf")):
    """What is heard in `sound` from 0 s on, of which we play something until then."""
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    numbered = [(Frame(pcm.tobytes(), n * FRAME_S), n * FRAME_S <= until_s) for n, pcm in enumerate(frames, 1)]
    return [one for frame, playing in numbered for one in detector.hear(frame, playing=playing)]


@pytest.fixture(scope="module")
def stopping():
    """An engine for hey_jarvis and stop, of which tests take twins."""
    return WakeEngine(word_paths(("hey_jarvis",)) | stop_paths(("stop",)))


def test_while_we_play_a_word_counts_from_another_threshold_on():
    settings = wake(playing_threshold=0.3)
    sound = ones(4)
    assert isinstance(while_playing(WakeDetector(settings, Script({1: 0.3})), sound)[0], WakeHeard)
    assert while_playing(WakeDetector(settings, Script({1: 0.3})), sound, until_s=0.0) == []


@pytest.mark.parametrize(("ago_s", "counts"), [(1.0, True), (1.5, False)])
def test_a_word_that_ends_playback_in_its_midst_counts_by_the_threshold_of_playback(ago_s, counts):
    detector = WakeDetector(wake(playing_threshold=0.3), Script({40: 0.4}))
    found = while_playing(detector, ones(41), until_s=40 * STEP_S - ago_s)
    assert any(isinstance(one, WakeHeard) for one in found) is counts


@pytest.mark.parametrize("voice", VOICES)
def test_the_stop_word_is_heard_soon_after_its_end(stopping, voice):
    word = said("stop", voice)
    (found,) = [
        one
        for one in while_playing(WakeDetector(wake(), stopping.twin()), room(word))
        if isinstance(one, StopWordHeard)
    ]
    assert found.word == "stop" and 1 < found.audio_t <= 1 + len(word) / 16_000 + 0.5


def test_the_stop_word_counts_though_playback_ended_in_its_midst_and_not_long_after(stopping):
    sound = room(said("stop"))
    kinds = lambda until_s: [  # noqa: E731
        type(one) for one in while_playing(WakeDetector(wake(), stopping.twin()), sound, until_s)
    ]
    assert StopWordHeard in kinds(1.25)
    assert kinds(0.0) == []


@pytest.mark.parametrize(("ago_s", "counts"), [(1.0, True), (2.2, True), (2.9, True), (3.1, False)])
def test_a_stop_word_between_two_rings_of_a_timer_counts(stopping, monkeypatch, ago_s, counts):
    assert brain.RING_EVERY_S == 3.0
    engine = stopping.twin()
    monkeypatch.setattr(engine, "score", lambda _: {"hey_jarvis": 0.0, "stop": 0.9 * (detector._heard == 40)})
    detector = WakeDetector(wake(always_on=True), engine)
    found = while_playing(detector, ones(41), until_s=40 * STEP_S - ago_s)
    assert [type(one) for one in found] == ([StopWordHeard] if counts else [])


def test_other_words_are_no_stop_word(stopping):
    sentences = [
        said(text, voice) for text, voice in zip(("what time is it", "hello", "yes please"), VOICES, strict=False)
    ]
    sound = room(*itertools.chain.from_iterable((one, silence(0.5)) for one in sentences))
    found = while_playing(WakeDetector(wake(), stopping.twin()), sound)
    assert not [one for one in found if isinstance(one, StopWordHeard)]


@pytest.mark.parametrize("voice", VOICES)
def test_who_listens_and_says_so_says_no_stop_word(stopping, voice):
    sounds = itertools.chain.from_iterable((said(text, voice), silence(1.0)) for text in ("aha, aha", "uh huh", "oh"))
    found = while_playing(WakeDetector(wake(), stopping.twin()), room(*sounds))
    assert not [one for one in found if isinstance(one, StopWordHeard)]


def test_without_stop_words_none_is_heard():
    assert while_playing(WakeDetector(wake(stop_words=())), room(said("stop"))) == []


def test_a_stop_word_that_we_say_ourselves_does_not_count(stopping):
    detector = WakeDetector(wake(), stopping.twin())
    sound = room(said("stop"))
    found = []
    for n, pcm in enumerate(sound[: len(sound) // 320 * 320].reshape(-1, 320), 1):
        frame = Frame(pcm.tobytes(), n * FRAME_S)
        detector.played(frame)
        found += detector.hear(frame, playing=True)
    assert not [one for one in found if isinstance(one, StopWordHeard)]


def test_a_stop_word_of_the_users_own_is_taken_by_its_path_and_named_after_it(tmp_path):
    path = tmp_path / "halt.onnx"
    shutil.copy(bundled("alexa_v0.1.onnx"), path)
    found = while_playing(WakeDetector(wake(stop_words=(str(path),))), room(said("alexa")))
    assert [one.word for one in found if isinstance(one, StopWordHeard)] == ["halt"]


@pytest.mark.parametrize(("passed_s", "counts"), [(0.0, False), (0.4, False), (0.5, True), (1.5, True), (1.8, False)])
def test_while_we_play_a_word_of_which_the_whole_canceller_let_nothing_through_is_our_own(passed_s, counts):
    detector = WakeDetector(wake(), Script({20: 0.9}))  # the word ends after 1.68 s
    sound = ones(1)[:320].tobytes()
    found = [
        one
        for n in range(4 * (22 + APART_STEPS))
        for one in detector.hear(
            Frame(sound, n * FRAME_S), may_rest=False, playing=True, passed=n == round(passed_s / FRAME_S)
        )
    ]
    assert [getattr(one, "why", None) for one in found] == [None if counts else "echo"]


def test_what_was_said_just_before_we_play_counts_whatever_is_left_of_what_follows():
    detector = WakeDetector(wake(), Script({20: 0.9}))
    found = [
        one
        for n in range(4 * 22)
        for one in detector.hear(
            Frame(ones(1)[:320].tobytes(), n * FRAME_S), may_rest=False, playing=n > 60, passed=False
        )
    ]
    assert [type(one) for one in found] == [WakeHeard]
