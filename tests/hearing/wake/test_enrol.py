"""Enrolling a voice: from recordings and at the microphone, what it then does in the detector, and what can go wrong."""

import os
import stat
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from device.__main__ import _parser
from device.config import Config, Microphone, Wake
from device.errors import EarshotError, HardwareError, UsageError
from device.events import NearMiss, WakeHeard
from device.hearing.models import bundled
from device.hearing.wake import enrol as enrolment
from device.hearing.wake import learning
from device.hearing.wake.detector import WakeDetector
from device.hearing.wake.engine import WakeEngine
from device.hearing.wake.enrol import enrol
from device.hearing.wake.learning import Learned
from device.hearing.wake.verifier import Voice, read, write
from tests.fakes import FakeInput, pink_noise, said, silence
from tests.hearing.wake.listening import events
from tests.hearing.wake.people import OTHERS, PERSON, TEXTS, in_the_room, samples

STRANGERS = ("espeak:en-gb", "espeak:en-us+f2", "espeak:en-us+m7", "espeak:en-gb+f5")
"""Who say the word later, and were not compared with."""
KNOWN = Learned(np.ones(1536, np.float32), 0.0, 5, 5, 30, 1)


def record(path, sound):
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(sound.tobytes())
    return path


def others_say(text, voice, directory):
    assert directory.is_dir()
    return silence(0.1)


def others_really_say(text, voice, directory):
    return said(text, voice)


class Machine:
    """Stands for the sound cards; `stream` is what its microphone gives."""

    def __init__(self, stream=None):
        self.stream = stream
        self.opened = []

    def __call__(self):
        assert self.stream, "nobody asked for the microphone"
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert self.stream.closed.is_set() or not self.opened, "the card was given back before its stream"

    def open_input(self, name, channels, rate):
        self.opened.append((name, channels))
        return self.stream


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Lever: its sound cards. And other voices are few, and the folds, to be quick."""
    machine = Machine()
    monkeypatch.setattr(enrolment, "SoundCards", machine)
    monkeypatch.setattr(learning, "VOICES", OTHERS)
    monkeypatch.setattr(learning, "_FOLDS", 2)
    return machine


@pytest.fixture
def learned_from(monkeypatch):
    """Nothing is learned; the samples of which it would have been, and the number of other voices' sayings."""
    seen = []

    def learn(engine, word, taken, others):
        seen.extend((taken, len(others)))
        return KNOWN

    monkeypatch.setattr(enrolment, "learn", learn)
    return seen


@pytest.fixture
def settings(tmp_path):
    return Config(Microphone("array", 2, channel=1), wake=Wake(voices=str(tmp_path / "var" / "voices"), always_on=True))


@pytest.fixture
def recordings(tmp_path):
    return [record(tmp_path / f"{number}.wav", sound) for number, sound in enumerate(samples())]


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "earshot.toml"
    path.write_text(
        f'[microphone]\ndevice = "array"\nchannels = 2\nchannel = 1\n[wake]\nvoices = "{tmp_path}/voices"\n'
    )
    return str(path)


def run(settings, files=(), name="ada", word=None, say=others_say):
    return list(enrol(name, word, files, settings, say))


def command(toml, *arguments):
    """What `earshot wake` does, in this process: its exit code."""
    options = _parser().parse_args(["wake", "--config", toml, *map(str, arguments)])
    return options.command(options)


def process(toml, *arguments):
    """What `earshot wake` does, in one of its own."""
    command = [sys.executable, "-m", "device", "wake", "--config", toml, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


# --- From recordings ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_makes_of_recordings_a_voice_that_is_heard_where_others_are_not(toml, recordings, tmp_path):
    done = process(toml, "--enrol", "ada", *recordings)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Kept in {tmp_path}/voices/ada.npz" in done.stdout
    assert stat.S_IMODE((tmp_path / "voices" / "ada.npz").stat().st_mode) == 0o600
    mine = record(tmp_path / "mine.wav", in_the_room(said("hey jarvis tell me a story", PERSON), seed=9))
    other = record(tmp_path / "other.wav", in_the_room(said("hey jarvis", "espeak:en-us+f2"), seed=9))
    seen = process(toml, mine, other).stdout.splitlines()
    assert [line.partition(" at ")[0] for line in seen] == [
        f"{mine}: hey_jarvis", f"{other}: near miss of hey_jarvis", f"{other}: no hey_jarvis",
    ]  # fmt: skip
    assert "(nobody who is enrolled)" in seen[1]


@pytest.mark.slow
def test_who_enrols_with_recordings_is_heard_and_others_are_near_misses(settings, recordings):
    lines = run(settings, recordings, say=others_really_say)
    (kept,) = Path(settings.wake.voices).iterdir()
    assert kept.name == "ada.npz" and str(kept) in lines[-2]
    (mine,) = events(WakeDetector(settings.wake), in_the_room(said("hey jarvis tell me a story", PERSON), seed=9))
    assert isinstance(mine, WakeHeard)
    for voice in STRANGERS:
        sound = np.concatenate([in_the_room(said("hey jarvis", voice), seed=9), pink_noise(1.0, 0.002, 10)])
        assert any(isinstance(one, WakeHeard) for one in events(WakeDetector(Wake(voices="/nowhere")), sound))
        (theirs,) = events(WakeDetector(settings.wake), sound)
        assert isinstance(theirs, NearMiss) and theirs.why == "voice", voice


@pytest.mark.slow
def test_recordings_that_were_cut_close_to_the_word_will_do(settings, tmp_path):
    tight = [record(tmp_path / f"{n}.wav", said(text, PERSON)) for n, text in enumerate(TEXTS)]
    run(settings, tight, say=others_really_say)
    (mine,) = events(WakeDetector(settings.wake), in_the_room(said("hey jarvis tell me a story", PERSON)))
    assert isinstance(mine, WakeHeard)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_recordings_are_refused_before_anything_is_done(settings, count, tmp_path):
    with pytest.raises(UsageError, match=rf"from 3 recordings or more \(5 are better\), not from {count}\."):
        run(settings, [tmp_path / "none.wav"] * count, say=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_recordings_without_the_word_are_named_all_at_once(settings, recordings, tmp_path):
    record(recordings[1], in_the_room(said("good morning", PERSON)))
    empty = record(tmp_path / "empty.wav", silence(0))
    with pytest.raises(
        UsageError, match=r"not heard in .*/1\.wav \(score 0\.0\d\), .*/empty\.wav \(score 0\.0\d\): 0\.3"
    ):
        run(settings, [*recordings[:3], empty])


# --- At the microphone ----------------------------------------------------------------------------------------------


def capture(stream, *sounds):
    """They come on the second of two channels; the first has noise."""
    for sound in sounds:
        for period in sound[: len(sound) // 320 * 320].reshape(-1, 320):
            stream.capture(np.stack([np.arange(320, dtype=np.int16) * 50, period], axis=1).tobytes())


@pytest.fixture
def stream(machine):
    machine.stream = FakeInput(channels=2)
    return machine.stream


@pytest.mark.slow
def test_at_the_microphone_what_was_not_clear_is_asked_for_again(settings, stream, learned_from, monkeypatch):
    monkeypatch.setattr(enrolment, "SAMPLES", 2)
    monkeypatch.setattr(enrolment, "_TRY_STEPS", 50)
    first, second = (np.concatenate([one, pink_noise(1.0, 0.002, 7)]) for one in samples(2))
    capture(stream, first, pink_noise(3.0, 0.002, 8), second)
    lines = run(settings)
    assert [line for line in lines if "now" in line and "of 2" in line] == [
        f'{number} of 2: say "hey jarvis" now.' for number in (1, 2, 2)
    ]
    assert sum("not clear (score 0.0" in line for line in lines) == 1
    assert stream.closed.is_set()
    taken, others = learned_from
    assert (len(taken), others) == (2, 2 * len(OTHERS))
    engine = WakeEngine({"hey_jarvis": bundled("hey_jarvis_v0.1.onnx")})
    for sample in taken:
        assert sample.dtype == np.int16 and len(sample) <= 4.8 * 16_000
        assert len(learning._windows(engine, "hey_jarvis", sample, learning.SAID))
    assert read(Path(settings.wake.voices) / "ada.npz").word == "hey_jarvis"


def test_the_command_listens_to_the_microphone_of_the_settings_and_leaves_nothing_but_the_voice(
    toml, machine, stream, learned_from, monkeypatch, capsys, tmp_path
):
    directories = set()

    def say(text, voice, directory):
        directories.add(directory)
        return others_say(text, voice, directory)

    monkeypatch.setattr("device.demo.voices.say", say)
    monkeypatch.setattr(enrolment, "SAMPLES", 1)
    capture(stream, samples(1)[0], pink_noise(1.0, 0.002, 7))
    assert command(toml, "--enrol", "ada", "--word", "hey_jarvis") == 0
    assert machine.opened == [("array", 2)] and len(learned_from[0]) == 1
    assert f"Kept in {tmp_path}/voices/ada.npz" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "voices").iterdir()] == ["ada.npz"]
    assert len(directories) == 1 and not directories.pop().exists()


def test_who_is_never_heard_is_told_what_to_do(settings, stream, monkeypatch):
    monkeypatch.setattr(enrolment, "_TRIES", 2)
    capture(stream, *[silence(6.0)] * 2)
    with pytest.raises(HardwareError, match=r"0 times in 2 tries.*earshot check"):
        run(settings)
    assert stream.closed.is_set()


def test_a_microphone_that_goes_away_ends_it(settings, stream):
    capture(stream, silence(1.0))
    stream.unplug()
    with pytest.raises(HardwareError, match="is gone"):
        run(settings)
    assert stream.closed.is_set()


def test_without_a_microphone_nobody_waits_for_other_voices(settings, machine, stream):
    def none(name, channels, rate):
        raise HardwareError("There is no microphone.")

    machine.open_input, asked = none, []
    with pytest.raises(HardwareError, match="There is no microphone"):
        run(settings, say=lambda text, voice, directory: asked.append(voice))
    assert len(asked) == 1, "whether there are any at all, is seen"


def test_without_scikit_learn_nobody_has_to_speak_first(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(HardwareError, match="scikit-learn"):
        run(settings)


def test_without_any_other_voice_nobody_has_to_speak(settings):
    def mute(text, voice, directory):
        raise EarshotError(f"the program for {voice} is missing")

    with pytest.raises(HardwareError, match=r"Other voices are needed .*is missing"):
        run(settings, say=mute)
    assert list(Path(settings.wake.voices).iterdir()) == []


# --- What is kept, and where ----------------------------------------------------------------------------------------


@pytest.fixture
def unheard(learned_from, monkeypatch):
    """Three recordings to which nobody listens."""
    monkeypatch.setattr(enrolment, "_recorded", lambda engine, word, files: [])
    return [Path(f"{number}.wav") for number in range(3)]


def modes(path):
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path, *path.iterdir())}


def test_voices_are_nobody_elses_business(settings, unheard):
    run(settings, unheard)
    assert modes(Path(settings.wake.voices)) == {"var": 0o700, "voices": 0o700, "ada.npz": 0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory for somebody else")
def test_what_root_makes_is_its_who_owns_the_directory_above(settings, unheard, tmp_path):
    os.chown(tmp_path, 1234, 2345)
    run(settings, unheard)
    made = [tmp_path / name for name in ("var", "var/voices", "var/voices/ada.npz")]
    assert [(path.stat().st_uid, path.stat().st_gid) for path in made] == [(1234, 2345)] * 3


def test_a_directory_that_is_there_is_left_as_it_is(settings, unheard):
    directory = Path(settings.wake.voices)
    directory.mkdir(parents=True, mode=0o755)
    run(settings, unheard)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_damaged_voice_is_replaced(settings, unheard):
    directory = Path(settings.wake.voices)
    directory.mkdir(parents=True)
    (directory / "ada.npz").write_bytes(b"garbage")
    run(settings, unheard)
    assert read(directory / "ada.npz").word == "hey_jarvis"


def test_what_would_not_know_its_own_person_is_not_kept(settings, unheard, monkeypatch):
    monkeypatch.setattr(enrolment, "learn", lambda *_: KNOWN._replace(samples_known=2))
    with pytest.raises(UsageError, match="Of 5 samples 2 were known"):
        run(settings, unheard)
    assert list(Path(settings.wake.voices).iterdir()) == []


def test_a_directory_that_cannot_be_made_is_told_before_anybody_speaks(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HardwareError, match=r"cannot be kept in .*voices: .*Set wake\.voices to a directory"):
        run(Config(wake=Wake(voices=str(tmp_path / "file" / "voices"))))


# --- What is no name, no word, no command ---------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--enrol", ""], "is no name to enrol"),
        (["--enrol", "ada", "--evaluate", "a", "b"], "--enrol goes with neither"),
        (["--enrol", "ada", "--plot", "a.png"], "--enrol goes with neither"),
        (["--word", "alexa", "x.wav"], "--word belongs to --enrol"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments, problem, toml):
    with pytest.raises(UsageError, match=problem) as refused:
        command(toml, *arguments)
    assert refused.value.exit_code == 2
