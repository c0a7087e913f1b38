"""Enrolling a voice: from recordings and at the microphone, what it then does in the detector, and what can go wrong."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from device.audio import FRAME_S, Frame
from device.config import Config, Wake
from device.errors import EarshotError, HardwareError, UsageError
from device.events import NearMiss, WakeHeard
from device.hearing.models import bundled
from device.hearing.wake import enrol as enrolment
from device.hearing.wake import learning
from device.hearing.wake.detector import WakeDetector
from device.hearing.wake.engine import WakeEngine
from device.hearing.wake.enrol import enrol
from device.hearing.wake.learning import Learned, learn, strangers
from device.hearing.wake.verifier import Voice, read, write
from tests.fakes import FakeInput, pink_noise, said, silence

TEXTS = ("hey jarvis", "hey, jarvis!", "hey jarvis, what time is it", "hey jarvis", "hey jarvis turn on the light")
PERSON = "flite:rms"
OTHERS = ("flite:kal16", "flite:slt", "espeak:en-us", "espeak:en-us+f3", "espeak:en-gb+m3")
STRANGERS = ("espeak:en-gb", "espeak:en-us+f2", "espeak:en-us+m7", "espeak:en-gb+f5")
"""Who say the word later, and were not compared with."""


def in_the_room(sound, seed=0, gain=0.4):
    """`sound` with noise 25 dB below, and a second of that before and after it."""
    room = np.concatenate([silence(1.0), (sound * gain).astype(np.int16), silence(1.0)])
    return room + pink_noise(len(room) / 16_000 + 0.01, 0.002, seed)[: len(room)]


def samples(voice=PERSON):
    return [in_the_room(said(text, voice), seed, 0.3 + 0.05 * seed) for seed, text in enumerate(TEXTS)]


def record(path, sound):
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(sound.tobytes())
    return path


def in_memory(text, voice):
    return said(text, voice)


def no_microphone():
    raise AssertionError("nobody asked for it")


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(learning, "VOICES", OTHERS)
    monkeypatch.setattr(learning, "_FOLDS", 2)


@pytest.fixture
def settings(tmp_path):
    return Config(wake=Wake(voices=str(tmp_path / "var" / "voices"), always_on=True))


@pytest.fixture
def recordings(tmp_path):
    return [record(tmp_path / f"{number}.wav", sound) for number, sound in enumerate(samples())]


def run(settings, files=(), name="ada", word=None, say=in_memory, open_stream=no_microphone):
    return list(enrol(name, word, files, settings, say=say, open_stream=open_stream))


def heard(detector, sound):
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    return [one for n, pcm in enumerate(frames) for one in detector.hear(Frame(pcm.tobytes(), (n + 1) * FRAME_S))]


@pytest.mark.slow
def test_who_enrols_with_recordings_is_heard_and_others_are_near_misses(settings, recordings):
    lines = run(settings, recordings)
    (kept,) = Path(settings.wake.voices).iterdir()
    assert kept.name == "ada.npz" and kept.stat().st_mode & 0o777 == 0o600 and str(kept) in lines[-2]
    (mine,) = heard(WakeDetector(settings.wake), in_the_room(said("hey jarvis tell me a story", PERSON), seed=9))
    assert isinstance(mine, WakeHeard)
    for voice in STRANGERS:
        sound = np.concatenate([in_the_room(said("hey jarvis", voice), seed=9), pink_noise(1.0, 0.002, 10)])
        assert any(isinstance(one, WakeHeard) for one in heard(WakeDetector(Wake(voices="/nowhere")), sound))
        (theirs,) = heard(WakeDetector(settings.wake), sound)
        assert isinstance(theirs, NearMiss) and theirs.why == "voice", voice


def capture(stream, *sounds):
    for sound in sounds:
        for period in sound[: len(sound) // 320 * 320].reshape(-1, 320):
            stream.capture(period.tobytes())


def test_at_the_microphone_what_was_not_clear_is_asked_for_again(settings, monkeypatch):
    stream = FakeInput()
    room = pink_noise(3.0, 0.002, 7)
    given = [np.concatenate([one, room]) for one in samples()]
    capture(stream, given[0], pink_noise(4.0, 0.002, 8), *given[1:])
    learned_from = []

    def watched(engine, word, taken, others):
        learned_from.extend(taken)
        return Learned(np.ones(1536, np.float32), 0.0, 5, 5, 30, 1)

    monkeypatch.setattr(enrolment, "learn", watched)
    lines = run(settings, open_stream=lambda: stream)
    assert [line for line in lines if "say" in line and "now" in line and "of 5" in line] == [
        f'{number} of 5: say "hey jarvis" now.' for number in (1, 2, 2, 3, 4, 5)
    ]
    assert sum("not clear (score 0.0" in line for line in lines) == 1
    assert stream.closed.is_set()
    assert len(learned_from) == 5
    engine = WakeEngine({"hey_jarvis": bundled("hey_jarvis_v0.1.onnx")})
    for sample in learned_from:
        assert sample.dtype == np.int16 and len(sample) < 8 * 16_000
        assert len(learning._windows(engine, "hey_jarvis", sample, learning.SAID))
    assert read(Path(settings.wake.voices) / "ada.npz").word == "hey_jarvis"


def test_who_is_never_heard_is_told_what_to_do(settings):
    stream = FakeInput()
    capture(stream, *[silence(6.0)] * 15)
    with pytest.raises(HardwareError, match=r"0 times in 15 tries.*earshot check"):
        run(settings, open_stream=lambda: stream)
    assert stream.closed.is_set()


def test_a_microphone_that_goes_away_ends_it(settings):
    stream = FakeInput()
    capture(stream, silence(1.0))
    stream.unplug()
    with pytest.raises(HardwareError, match="is gone"):
        run(settings, open_stream=lambda: stream)
    assert stream.closed.is_set()


@pytest.mark.parametrize(
    "name", ["", "..", "../ada", "a/b", "/etc/ada", "-x", "ada.npz", "ädä", "a\n", "a b", "a" * 33]
)
def test_a_name_can_be_no_path(settings, name, tmp_path):
    with pytest.raises(UsageError, match="is no name to enrol"):
        run(settings, name=name)
    assert list(tmp_path.iterdir()) == []


def test_a_word_that_is_not_listened_for_is_refused(settings):
    with pytest.raises(UsageError, match=r"'alexa' is not among wake\.words: those are hey_jarvis"):
        run(settings, word="alexa")


def test_a_name_stands_for_one_word(settings):
    directory = Path(settings.wake.voices)
    directory.mkdir(parents=True)
    write(directory / "ada.npz", Voice("alexa", "", np.zeros(96, np.float32), 0.0))
    with pytest.raises(UsageError, match="ada is enrolled for alexa already: take another name"):
        run(settings)


def test_too_few_recordings_are_refused(settings, recordings):
    with pytest.raises(UsageError, match="2 recordings are too few"):
        run(settings, recordings[:2])


def test_recordings_without_the_word_are_named_all_at_once(settings, recordings, tmp_path):
    record(recordings[1], in_the_room(said("good morning", PERSON)))
    empty = record(tmp_path / "empty.wav", silence(0))
    with pytest.raises(
        UsageError, match=r"not heard in .*/1\.wav \(score 0\.0\d\), .*/empty\.wav \(score 0\.0\d\): 0\.3"
    ):
        run(settings, [*recordings, empty])


@pytest.mark.slow
def test_recordings_that_were_cut_close_to_the_word_will_do(settings, tmp_path):
    tight = [record(tmp_path / f"{n}.wav", said(text, PERSON)) for n, text in enumerate(TEXTS)]
    run(settings, tight)
    (mine,) = heard(WakeDetector(settings.wake), in_the_room(said("hey jarvis tell me a story", PERSON)))
    assert isinstance(mine, WakeHeard)


def test_without_scikit_learn_nobody_has_to_speak_first(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(HardwareError, match="scikit-learn"):
        run(settings)


def test_without_any_other_voice_nobody_has_to_speak(settings):
    def mute(text, voice):
        raise EarshotError(f"the program for {voice} is missing")

    with pytest.raises(HardwareError, match=r"Other voices are needed .*is missing"):
        run(settings, say=mute)
    assert list(Path(settings.wake.voices).iterdir()) == []


def test_one_program_for_other_voices_is_enough():
    def half(text, voice):
        if voice.startswith("flite"):
            raise EarshotError("the program flite is missing")
        return said(text, voice)

    assert [number for number, _ in strangers("hey_jarvis", half)] == [2, 2, 3, 3, 4, 4]


@pytest.mark.slow
def test_a_word_that_other_voices_cannot_say_is_refused(settings, recordings):
    with pytest.raises(UsageError, match=r"when they say \"hey jarvis\".*named after what is said"):
        run(settings, recordings, say=lambda text, voice: said("good morning", voice))


def test_what_would_not_know_its_own_person_is_not_kept(settings, recordings, monkeypatch):
    monkeypatch.setattr(enrolment, "learn", lambda *_: Learned(np.ones(1536, np.float32), 0.0, 5, 2, 30, 1))
    with pytest.raises(UsageError, match="Of 5 samples 2 were known"):
        run(settings, recordings)
    assert list(Path(settings.wake.voices).iterdir()) == []


def test_a_directory_that_cannot_be_made_is_told_before_anybody_speaks(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HardwareError, match=r"cannot be kept in .*voices: .*set wake\.voices"):
        run(Config(wake=Wake(voices=str(tmp_path / "file" / "voices"))))


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


@pytest.mark.slow
def test_learning_twice_from_the_same_gives_the_same(monkeypatch):
    monkeypatch.setattr(learning, "VOICES", OTHERS[:3])
    engine = WakeEngine({"hey_jarvis": bundled("hey_jarvis_v0.1.onnx")})
    others = strangers("hey_jarvis", in_memory)
    once, again = (learn(engine, "hey_jarvis", samples()[:3], others) for _ in range(2))
    assert (once.weights == again.weights).all() and once[1:] == again[1:]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--enrol", "../ada"], "is no name to enrol"),
        (["--enrol", ""], "is no name to enrol"),
        (["--enrol", "ada", "--evaluate", "a", "b"], "--enrol goes with neither"),
        (["--word", "alexa", "x.wav"], "--word belongs to --enrol"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments, problem, tmp_path):
    (tmp_path / "earshot.toml").write_text(f'[wake]\nvoices = "{tmp_path}/voices"\n')
    command = [sys.executable, "-m", "device", "wake", "--config", str(tmp_path / "earshot.toml"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and problem in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("before_s", [0.0, 5.0])
def test_the_noise_of_the_room_is_taken_for_what_it_is(before_s):
    """An editor may have put digital silence before the word, which is no room's."""
    noise = learning._Room([np.concatenate([silence(before_s), one]) for one in samples()])._noise(16_000)
    assert 0.5 < noise.std() / pink_noise(1.0, 0.002).std() < 2
