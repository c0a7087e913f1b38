"""Voices that were enrolled: kept, read, and what becomes of files that cannot be used."""

import os
import pickle
import stat

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from device.errors import HardwareError
from device.hearing.wake.verifier import Verifier, Voice, checksum, read, write

FRAMES = 16


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "hey_jarvis.onnx"
    path.write_bytes(b"a model")
    return path


@pytest.fixture
def voices(tmp_path):
    directory = tmp_path / "voices"
    directory.mkdir()
    return directory


def voice(model, place=0, word="hey_jarvis", bias=-0.5):
    """Accepts features whose element `place` is 0.5 or more."""
    weights = np.zeros(FRAMES * 96, np.float32)
    weights[place] = 1.0
    return Voice(word, checksum(model), weights, bias)


def features(place, value=1.0, frames=FRAMES):
    """Zeros, but for one element of the last 16 embeddings."""
    array = np.zeros((1, frames, 96), np.float32)
    array[0, -FRAMES:].reshape(-1)[place] = value
    return array


def kept(path, one):
    write(path, one)
    return path.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can keep a file for somebody else")
def test_what_root_keeps_is_its_who_owns_the_directory(voices, model):
    os.chown(voices, 1234, 2345)
    write(voices / "ada.npz", voice(model))
    there = (voices / "ada.npz").stat()
    assert (there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode)) == (1234, 2345, 0o600)


@pytest.mark.parametrize("there", [False, True])
def test_where_nobody_is_enrolled_everybody_counts(tmp_path, model, there):
    directory = tmp_path / "nobody"
    if there:
        directory.mkdir()
        (directory / "README").write_text("not a voice")
    verifier = Verifier(directory, {"hey_jarvis": model})
    assert verifier.accepts("hey_jarvis", features(0, 0)) and verifier.problems == []


def test_what_is_kept_is_read_back_and_closed_to_others(voices, model):
    one = voice(model)._replace(weights=np.random.default_rng(1).standard_normal(FRAMES * 96).astype(np.float32))
    write(voices / "ada.npz", one)
    again = read(voices / "ada.npz")
    assert again[:2] == one[:2] and again.bias == one.bias
    assert again.weights.dtype == np.float32 and (again.weights == one.weights).all()
    assert stat.S_IMODE((voices / "ada.npz").stat().st_mode) == 0o600
    assert [path.name for path in voices.iterdir()] == ["ada.npz"]


def test_an_enrolled_voice_counts_from_even_odds_on_and_others_do_not(voices, model):
    write(voices / "ada.npz", voice(model))
    verifier = Verifier(voices, {"hey_jarvis": model})
    for value, counts in [(0.0, False), (0.49, False), (0.5, True), (1.0, True)]:
        assert verifier.accepts("hey_jarvis", features(0, value)) is counts


def test_any_of_those_enrolled_counts(voices, model):
    write(voices / "ada.npz", voice(model, 0))
    write(voices / "bob.npz", voice(model, 1))
    verifier = Verifier(voices, {"hey_jarvis": model})
    assert [verifier.accepts("hey_jarvis", features(place)) for place in (0, 1, 2)] == [True, True, False]


def test_of_more_embeddings_than_the_word_has_the_last_count(voices, model):
    write(voices / "ada.npz", voice(model, place=5 * 96 + 7))
    verifier = Verifier(voices, {"hey_jarvis": model})
    assert verifier.accepts("hey_jarvis", features(5 * 96 + 7, frames=28))
    assert not verifier.accepts("hey_jarvis", features(6 * 96 + 7, frames=28))


def test_a_word_for_which_nobody_is_enrolled_counts_in_any_voice(voices, model):
    write(voices / "ada.npz", voice(model))
    verifier = Verifier(voices, {"hey_jarvis": model, "alexa": model})
    assert verifier.accepts("alexa", features(0, 0)) and not verifier.accepts("hey_jarvis", features(0, 0))


def test_a_voice_for_another_model_of_the_word_is_told_of_and_left_out(voices, model, caplog):
    write(voices / "ada.npz", voice(model))
    model.write_bytes(b"trained again")
    verifier = Verifier(voices, {"hey_jarvis": model})
    assert verifier.accepts("hey_jarvis", features(0, 0)), "it must not go deaf"
    assert "another model" in verifier.problems[0] and "earshot wake --enrol ada" in verifier.problems[0]
    assert "everybody" in verifier.problems[-1], "nor be open without a word"
    assert all(problem in caplog.text for problem in verifier.problems)


def test_a_voice_for_a_word_that_is_not_listened_for_is_told_of(voices, model):
    write(voices / "ada.npz", voice(model))
    verifier = Verifier(voices, {"alexa": model})
    assert verifier.accepts("alexa", features(0, 0))
    assert "hey_jarvis, which is not among wake.words" in verifier.problems[0]


def test_beside_a_damaged_voice_the_others_go_on_to_guard(voices, model):
    write(voices / "ada.npz", voice(model))
    (voices / "bob.npz").write_bytes(b"")
    verifier = Verifier(voices, {"hey_jarvis": model})
    assert not verifier.accepts("hey_jarvis", features(1))
    (problem,) = verifier.problems
    assert "bob.npz is no enrolled voice, or damaged" in problem and "--enrol bob" in problem


def test_a_directory_that_cannot_be_read_is_told_of(tmp_path, model):
    (tmp_path / "file").write_text("")
    verifier = Verifier(tmp_path / "file", {"hey_jarvis": model})
    assert verifier.accepts("hey_jarvis", features(0)) and "cannot be read" in verifier.problems[0]


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_nothing_is_ever_unpickled(voices):
    np.savez(voices / "a.npz", word="hey_jarvis", model="", weights=np.array([Trap()], object), bias=0.0)
    (voices / "b.npz").write_bytes(pickle.dumps(Trap()))
    for path in voices.iterdir():
        with pytest.raises(HardwareError, match="damaged"):
            read(path)


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros(0, np.float32),
        np.zeros(95, np.float32),
        np.zeros((16, 96), np.float32),
        np.zeros(96, np.float64),
        np.zeros(101 * 96, np.float32),
        np.full(96, np.nan, np.float32),
        np.array("hey"),
    ],
    ids=str,
)
def test_weights_that_are_none_are_refused(voices, weights):
    np.savez(voices / "ada.npz", word="hey_jarvis", model="", weights=weights, bias=0.0)
    with pytest.raises(HardwareError, match=r"ada\.npz is no enrolled voice"):
        read(voices / "ada.npz")


@pytest.fixture
def whole(voices, model):
    return kept(voices / "ada.npz", voice(model))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), byte=st.integers(0, 255), cut=st.booleans())
@example(place=0.0, byte=0, cut=True)
def test_a_damaged_file_is_told_of_or_was_not_damaged_where_it_matters(voices, model, whole, place, byte, cut):
    at = round(place * (len(whole) - 1))
    (voices / "ada.npz").write_bytes(whole[:at] if cut else whole[:at] + bytes([byte]) + whole[at + 1 :])
    verifier = Verifier(voices, {"hey_jarvis": model})
    assert verifier.problems or not verifier.accepts("hey_jarvis", features(1))


def test_a_voice_that_cannot_be_kept_leaves_the_former_one(voices, model, monkeypatch):
    before = kept(voices / "ada.npz", voice(model))

    def full(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(HardwareError, match="No space left"):
        write(voices / "ada.npz", voice(model, 1))
    assert [path.name for path in voices.iterdir()] == ["ada.npz"]
    assert (voices / "ada.npz").read_bytes() == before
