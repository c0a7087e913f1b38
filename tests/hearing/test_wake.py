"""Wake words: the real models on synthetic voices, and the rules on scripted scores."""

import itertools
import shutil
import wave
from dataclasses import replace

import numpy as np
import pytest

from device.audio import FRAME_S, Frame
from device.config import Wake
from device.errors import ConfigError, EarshotError, HardwareError, UsageError
from device.events import WakeHeard
from device.hearing.models import bundled, load
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import STEP_SAMPLES, WakeEngine
from device.hearing.wake.files import detections
from tests.fakes import pink_noise, said, silence

VOICES = ["flite:slt", "flite:rms", "flite:kal16", "flite:awb", "espeak:en-us", "espeak:en-gb", "espeak:en-us+f3"]
ALL_WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "hey_rhasspy")


def heard(detector, sound, start_s=0.0):
    """The wake words in `sound` (int16, 16 kHz); `audio_t` counts from `start_s`."""
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    found = (detector.hear(Frame(pcm.tobytes(), start_s + (n + 1) * FRAME_S)) for n, pcm in enumerate(frames))
    return [one for one in found if one is not None]


def room(*sounds, before_s=1.0, after_s=1.0):
    return np.concatenate([silence(before_s), *sounds, silence(after_s)])


@pytest.mark.parametrize("voice", VOICES)
def test_the_word_is_found_soon_after_its_end(voice):
    word = said("hey jarvis", voice)
    (found,) = heard(WakeDetector(Wake()), room(word))
    assert found.word == "hey_jarvis" and 0.5 <= found.score <= 1
    end = 1 + len(word) / 16_000
    assert end - 0.3 < found.audio_t <= end + 0.4


@pytest.mark.parametrize("voice", ["flite:slt", "flite:rms", "espeak:en-us"])
def test_the_word_and_a_question_in_one_breath_are_found_once(voice):
    (found,) = heard(WakeDetector(Wake()), room(said("hey jarvis what time is it", voice)))
    assert found.word == "hey_jarvis"


def test_plain_speech_silence_and_noise_do_not_wake_it():
    detector = WakeDetector(Wake(words=ALL_WORDS))
    sentences = [
        said("the quick brown fox jumps over the lazy dog", "flite:slt"),
        said("what time is it and how is the weather tomorrow", "flite:rms"),
        said("hey there have you seen my service manual", "espeak:en-us"),
    ]
    assert heard(detector, room(*itertools.chain.from_iterable((one, silence(0.5)) for one in sentences))) == []
    assert heard(detector, silence(10)) == []
    for level in (0.001, 0.01, 0.1):
        assert heard(detector, pink_noise(10, level)) == []


def test_the_first_seconds_of_silence_or_noise_do_not_wake_it():
    for sound in (silence(3), pink_noise(3, 0.05), np.full(48_000, 20_000, np.int16)):
        assert heard(WakeDetector(Wake(words=ALL_WORDS, threshold=0.2)), sound) == []


def test_several_words_at_once_are_told_apart():
    detector = WakeDetector(Wake(words=ALL_WORDS))
    texts = {"alexa": "alexa", "hey_jarvis": "hey jarvis", "hey_mycroft": "hey my croft", "hey_rhasspy": "hey rhasspy"}
    sound = np.concatenate([room(said(text, "flite:awb"), before_s=1.5, after_s=1.5) for text in texts.values()])
    assert [one.word for one in heard(detector, sound)] == list(texts)


def test_a_word_of_the_users_own_is_taken_by_its_path_and_named_after_it(tmp_path):
    path = tmp_path / "computer.onnx"
    shutil.copy(bundled("hey_jarvis_v0.1.onnx"), path)
    settings = Wake(words=(str(path), "alexa"), thresholds={"computer": 0.4})
    (found,) = heard(WakeDetector(settings), room(said("hey jarvis")))
    assert found.word == "computer"


def test_models_are_found_by_the_name_of_the_word(tmp_path):
    own = tmp_path / "my word.onnx"
    assert word_paths(("alexa", str(own))) == {"alexa": bundled("alexa_v0.1.onnx"), "my word": own}


@pytest.mark.parametrize("model", ["silero_vad.onnx", "embedding_model.onnx", "melspectrogram.onnx"])
def test_a_model_of_something_else_is_refused_with_the_reason(tmp_path, model):
    path = tmp_path / "word.onnx"
    shutil.copy(bundled(model), path)
    with pytest.raises(ConfigError, match=r"wake\.words: .*word\.onnx is not a wake word.*\[1, frames, 96\]"):
        WakeDetector(Wake(words=(str(path),)))


@pytest.mark.parametrize("content", [b"", b"hey jarvis\n"])
def test_a_file_that_is_no_model_is_refused_with_the_reason(tmp_path, content):
    path = tmp_path / "word.onnx"
    path.write_bytes(content)
    with pytest.raises(EarshotError, match=r"word\.onnx is not a model"):
        WakeDetector(Wake(words=(str(path),)))


def test_a_built_in_word_without_its_model_is_refused(monkeypatch):
    monkeypatch.setattr("device.hearing.models.find_spec", lambda name: None)
    with pytest.raises(HardwareError, match="install"):
        WakeDetector(Wake())


def plain_scores(sound, word):
    """openWakeWord's algorithm without any state: mel of each 80 ms, embeddings of all windows, scores of all of them."""
    before = 40  # steps of silence: more than all buffers hold
    padded = np.concatenate([np.zeros(before * STEP_SAMPLES), sound]).astype(np.float32)[None]
    mel, embedding = load(bundled("melspectrogram.onnx")), load(bundled("embedding_model.onnx"))
    head = load(bundled(f"{word}_v0.1.onnx"))
    steps = range(1, padded.shape[1] // STEP_SAMPLES)
    # Three windows of 10 ms reach back: 480 samples. The model's floor is 80 dB below the loudest of what it is given.
    pieces = [padded[:, step * STEP_SAMPLES - 480 : (step + 1) * STEP_SAMPLES] for step in steps]
    mels = np.concatenate([mel.run(None, {"input": piece})[0].reshape(-1, 32) for piece in pieces]) / 10 + 2
    assert len(mels) == 8 * len(steps)
    ends = range(80, len(mels) + 1, 8)
    windows = np.stack([mels[end - 76 : end] for end in ends])[..., None]
    features = embedding.run(None, {"input_1": windows})[0].reshape(len(windows), 96)
    scores = [
        head.run(None, {head.get_inputs()[0].name: features[None, end - 16 : end]})[0][0, 0]
        for end in range(16, len(features) + 1)
    ]
    return np.array(scores[-(len(sound) // STEP_SAMPLES) :])


@pytest.mark.parametrize("word", ["hey_jarvis", "alexa"])
def test_the_scores_are_those_of_the_plain_algorithm_over_the_whole_signal(word):
    sound = room(said("hey jarvis"), silence(0.3), said("alexa", "flite:rms"))
    sound = sound[: len(sound) // STEP_SAMPLES * STEP_SAMPLES]
    engine = WakeEngine({word: bundled(f"{word}_v0.1.onnx")})
    scores = [engine.score(step)[word] for step in sound.reshape(-1, STEP_SAMPLES)]
    expected = plain_scores(sound, word)
    assert expected.max() > 0.9
    assert np.abs(np.array(scores) - expected).max() < 1e-4


def test_several_words_in_one_engine_score_as_each_alone():
    sound = room(said("hey jarvis"))[: 30 * STEP_SAMPLES].reshape(-1, STEP_SAMPLES)
    together = WakeEngine(word_paths(ALL_WORDS))
    alone = WakeEngine(word_paths(("hey_jarvis",)))
    for step in sound:
        assert together.score(step)["hey_jarvis"] == pytest.approx(alone.score(step)["hey_jarvis"], abs=1e-6)


class Script:
    """Gives scores by the number of the step, from 0; elsewhere none."""

    def __init__(self, **scores):
        self._scores = scores
        self._step = -1
        self.samples = []

    def score(self, samples):
        self._step += 1
        self.samples.append(samples.copy())
        return {name: by_step.get(self._step, 0.0) for name, by_step in self._scores.items()}


def scripted(settings, steps, **scores):
    return heard(WakeDetector(settings, Script(**scores)), np.zeros(steps * STEP_SAMPLES, np.int16))


def test_a_score_counts_from_the_threshold_on():
    for score, counts in [(0.499, False), (0.5, True), (1.0, True)]:
        found = scripted(Wake(threshold=0.5), 3, hey_jarvis={1: score})
        assert found == ([WakeHeard("hey_jarvis", score, pytest.approx(0.16))] if counts else [])


def test_each_word_may_have_a_threshold_of_its_own():
    settings = Wake(words=("alexa", "hey_jarvis"), threshold=0.5, thresholds={"alexa": 0.9})
    assert scripted(settings, 2, alexa={0: 0.8}, hey_jarvis={0: 0.1}) == []
    (found,) = scripted(settings, 2, alexa={0: 0.8}, hey_jarvis={0: 0.6})
    assert found.word == "hey_jarvis"


def test_of_two_words_the_one_further_above_its_threshold_counts():
    settings = Wake(words=("alexa", "hey_jarvis"), thresholds={"alexa": 0.9, "hey_jarvis": 0.5})
    (found,) = scripted(settings, 2, alexa={0: 0.95}, hey_jarvis={0: 0.7})
    assert found.word == "hey_jarvis"


def test_for_a_while_after_a_word_none_counts():
    settings = replace(Wake(words=("alexa", "hey_jarvis")), refractory_s=0.75)
    always = dict.fromkeys(range(100), 0.9)
    found = scripted(settings, 25, alexa={3: 0.9, 5: 0.9}, hey_jarvis={n: 0.9 for n in always if n >= 8})
    assert [(one.word, round(one.audio_t / 0.08) - 1) for one in found] == [
        ("alexa", 3),
        ("hey_jarvis", 13),
        ("hey_jarvis", 23),
    ]


def test_without_a_refractory_time_every_step_counts():
    found = scripted(Wake(refractory_s=0.0), 4, hey_jarvis=dict.fromkeys(range(4), 0.9))
    assert len(found) == 4


def test_the_engine_gets_80_ms_of_the_sound_in_order():
    script = Script(hey_jarvis={})
    sound = np.arange(5 * STEP_SAMPLES, dtype=np.int16)
    heard(WakeDetector(Wake(), script), sound)
    assert np.array_equal(np.concatenate(script.samples), sound)


def write_wav(path, sound, rate=16_000, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(sound if isinstance(sound, bytes) else sound.tobytes())
    return path


def test_a_recording_is_searched_with_the_speakers_own_detector(tmp_path):
    path = write_wav(tmp_path / "room.wav", room(said("hey jarvis"), after_s=0))
    (found,) = detections(path, Wake())
    end = 1 + len(said("hey jarvis")) / 16_000
    assert found.word == "hey_jarvis" and end - 0.3 < found.audio_t <= end + 0.4


def test_a_recording_at_another_rate_in_stereo_is_searched_too(tmp_path):
    sound = np.repeat(room(said("hey jarvis")), 3)  # 48 kHz
    path = write_wav(tmp_path / "room.wav", np.stack([sound, np.zeros_like(sound)], axis=1), 48_000, 2)
    (found,) = detections(path, Wake())
    assert found.word == "hey_jarvis"


def wrong_recordings(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("hello")
    empty = tmp_path / "empty.wav"
    empty.touch()
    short = tmp_path / "short.wav"
    short.write_bytes(write_wav(tmp_path / "whole.wav", silence(1)).read_bytes()[:30])
    longer = tmp_path / "longer.wav"  # a chunk that says it is longer than the whole file
    longer.write_bytes(
        short.read_bytes()[:12] + b"fmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0LIST\xff\xff\0\0xxxx"
    )
    yield longer, "no WAV file that can be read .it is cut short."
    yield text, "no WAV file"
    yield empty, "no WAV file"
    yield short, "no WAV file"
    yield tmp_path, "cannot be read"
    yield tmp_path / "none.wav", "No such file"
    yield write_wav(tmp_path / "8bit.wav", bytes(1000), width=1), "8 bits a sample; 16 are needed"
    yield write_wav(tmp_path / "24bit.wav", bytes(3000), width=3), "24 bits a sample; 16 are needed"


def test_what_is_no_recording_is_refused_with_the_reason(tmp_path):
    for path, why in wrong_recordings(tmp_path):
        with pytest.raises(UsageError, match=why) as refused:
            list(detections(path, Wake()))
        assert str(path) in str(refused.value)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_recording_that_ends_within_a_sample_is_searched_to_there(tmp_path, channels):
    path = write_wav(tmp_path / "cut.wav", silence(0.5 * channels), channels=channels)
    path.write_bytes(path.read_bytes()[:-1])
    assert list(detections(path, Wake())) == []


@pytest.mark.parametrize("rate", [0, 1, 40, 2**32 - 1])
def test_a_recording_at_an_absurd_rate_is_refused_with_the_reason(tmp_path, rate):
    path = write_wav(tmp_path / "odd.wav", silence(1))
    header = bytearray(path.read_bytes())
    header[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(header)
    with pytest.raises(UsageError, match=r"odd\.wav.*\b" + str(rate)):
        list(detections(path, Wake()))
