"""What the speaker says when there is no session: sentences short enough to listen to, loud enough to understand."""

import shutil
import wave

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.audio import to_float
from device.demo import phrases as workshop
from device.events import WakeHeard
from device.hearing.wake.files import trace
from device.speaking import phrases
from tests.hearing.wake.listening import wake

CODES = (
    "no_network", "name_not_found", "nobody_there", "timeout", "tls_refused", "tls_failed", "key_refused",
    "token_refused", "options_refused", "device_inactive", "not_found", "no_credit", "server_busy", "server_fault",
    "connection_lost", "not_a_websocket",
)  # fmt: skip
RATES = (16_000, 24_000, 32_000, 44_100, 48_000, 96_000)


def shipped(name):
    with wave.open(str(phrases.FOLDER / f"{name}.wav")) as wav:
        assert wav.getparams()[:3] == (1, 2, 16_000)
        return to_float(np.frombuffer(wav.readframes(wav.getnframes()), "<i2"))


def decibels(amplitude):
    return 20 * np.log10(amplitude)


def envelope(sound):
    """The level of each 20 ms."""
    return np.sqrt(np.mean(sound[: len(sound) // 320 * 320].reshape(-1, 320) ** 2, axis=1))


def write(path, sound=b"\1\0" * 1600, rate=16_000, channels=1, width=2):
    with wave.open(str(path), "wb") as wav:
        wav.setparams((channels, width, rate, 0, "NONE", ""))
        wav.writeframes(sound)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of our own for the sounds, empty."""
    monkeypatch.setattr(phrases, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    paths = {path.stem: path for path in workshop.make(folder)}

    def read(name):
        with wave.open(str(paths[name])) as wav:
            return to_float(np.frombuffer(wav.readframes(wav.getnframes()), "<i2"))

    return read


@pytest.mark.parametrize("code", CODES)
def test_each_way_to_fail_has_a_phrase_chosen_for_it(code):
    assert phrases.NAMES[code] in phrases.TEXTS


def test_no_phrase_is_without_a_sound_and_no_sound_without_a_phrase():
    assert {path.name for path in phrases.FOLDER.iterdir()} == {f"{name}.wav" for name in phrases.TEXTS}
    assert {*phrases.NAMES.values(), phrases.GENERAL} == set(phrases.TEXTS)


def test_a_code_that_nobody_thought_of_gets_the_general_phrase():
    for code in ("never_heard_of", "", "../../etc/passwd", "a\0b"):
        assert np.array_equal(phrases.render(code, 24_000), phrases.render("server_fault", 24_000))


@pytest.mark.parametrize("text", phrases.TEXTS.values())
def test_a_phrase_holds_no_word_that_a_kitchen_does_not_know(text):
    words = text.lower()
    assert not [jargon for jargon in ("websocket", "tls", "http", "token", "server", "api", "dns") if jargon in words]


@pytest.mark.parametrize("name", phrases.TEXTS)
def test_a_phrase_is_short_and_as_loud_as_a_reply(name):
    sound = shipped(name)
    assert 1.5 <= len(sound) / 16_000 <= 3.5
    assert decibels(np.sqrt(np.mean(sound**2))) == pytest.approx(-20, abs=0.5)
    assert decibels(np.abs(sound).max()) <= -3


@pytest.mark.parametrize("name", phrases.TEXTS)
def test_a_phrase_begins_and_ends_in_silence_but_not_in_much_of_it(name):
    sound = shipped(name)
    assert sound[0] == sound[-1] == 0 and np.abs(np.concatenate((sound[:160], sound[-160:]))).max() < 0.01
    loud = np.flatnonzero(np.abs(sound) > 0.004)
    assert loud[0] < 0.06 * 16_000 and len(sound) - loud[-1] < 0.06 * 16_000


def test_all_of_them_are_small():
    assert sum(path.stat().st_size for path in phrases.FOLDER.iterdir()) <= 90_000 * len(phrases.TEXTS)


@pytest.mark.parametrize("name", phrases.TEXTS)
def test_the_sound_is_what_the_script_makes_of_the_text(name, made):
    fresh, sound = made(name), shipped(name)
    assert len(sound) == pytest.approx(len(fresh), rel=0.02), "the text was changed: run python -m device.demo.phrases"
    length = min(len(fresh), len(sound)) // 320
    assert np.corrcoef(envelope(fresh)[:length], envelope(sound)[:length])[0, 1] > 0.9


@pytest.mark.slow
def test_no_phrase_wakes_the_speaker_that_says_it():
    for name in phrases.TEXTS:
        found = trace(phrases.FOLDER / f"{name}.wav", wake()).found
        assert not [one for one in found if isinstance(one, WakeHeard)], name


@pytest.mark.parametrize("rate", RATES)
def test_a_phrase_sounds_the_same_at_every_rate(rate):
    sound, original = phrases.render("no_network", rate), shipped("network")
    assert sound.dtype == np.float32 and sound.ndim == 1
    assert len(sound) == round(len(original) * rate / 16_000)
    assert len(sound) / rate == pytest.approx(phrases.length_s("no_network"), abs=0.001)
    step = np.arange(len(original)) * rate / 16_000
    again = np.interp(step, np.arange(len(sound)), sound)
    error = again - original
    assert np.sqrt(np.mean(error**2)) < (1e-6 if rate % 16_000 == 0 else 0.03)
    assert np.abs(sound).max() < 0.75 and abs(sound[0]) < 0.001 and abs(sound[-1]) < 0.001


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_nothing_is_added_above_what_the_phrase_holds(rate):
    spectrum = np.abs(np.fft.rfft(phrases.render("tls_refused", rate)))
    hertz = np.fft.rfftfreq(len(phrases.render("tls_refused", rate)), 1 / rate)
    assert spectrum[hertz > 8100].max() < spectrum.max() / 1000


def damage(path, how):
    match how:
        case "missing":
            path.unlink(missing_ok=True)
        case "a folder":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "no sound file":
            path.write_bytes(b"<html>" * 100)
        case "only the head":
            write(path)
            path.write_bytes(path.read_bytes()[:30])
        case "another rate":
            write(path, rate=8_000)
        case "stereo":
            write(path, channels=2)
        case "eight bits":
            write(path, width=1)


@pytest.mark.parametrize(
    "how", ["missing", "a folder", "empty", "no sound file", "only the head", "another rate", "stereo", "eight bits"]
)
def test_a_file_that_is_missing_or_damaged_is_silence_and_a_line_in_the_log(folder, caplog, how):
    damage(folder / "network.wav", how)
    sound = phrases.render("no_network", 24_000)
    assert sound.dtype == np.float32 and sound.shape == (0,) and phrases.length_s("no_network") == 0
    assert f"{folder / 'network.wav'} is missing or damaged" in caplog.records[0].getMessage()
    assert caplog.records[0].levelname == "WARNING"


def test_of_a_file_that_was_cut_short_what_is_left_is_said(folder):
    path = folder / "network.wav"
    write(path, b"\0\1" * 16_000)
    path.write_bytes(path.read_bytes()[: 44 + 9_001])
    assert phrases.length_s("no_network") == 4_500 / 16_000
    assert len(phrases.render("no_network", 48_000)) == 13_500


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_no_damage_to_a_file_raises(folder, data):
    path = folder / "network.wav"
    write(path)
    content = bytearray(path.read_bytes()[: data.draw(st.integers(0, 100))])
    for place in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=6)):
        if content:
            content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    sound = phrases.render("no_network", 24_000)
    assert len(sound) == pytest.approx(phrases.length_s("no_network") * 24_000, abs=1)


@pytest.mark.slow
def test_the_script_makes_the_same_again(tmp_path):
    first = [path.read_bytes() for path in workshop.make(tmp_path / "first", tmp_path / "cache")]
    shutil.rmtree(tmp_path / "cache")
    assert [path.read_bytes() for path in workshop.make(tmp_path / "second", tmp_path / "cache")] == first
