"""The streaming network: the plain models' numbers, made where it is missing, done without where it cannot be made."""

import logging
import platform
import subprocess
import sys

import numpy as np
import pytest

from device.checks import BUILT_IN_WORDS
from device.hearing.models import bundled
from device.hearing.wake import streaming
from device.hearing.wake.detector import word_paths
from device.hearing.wake.engine import WakeEngine
from tests.fakes import pink_noise, said, silence
from tests.hearing.wake.listening import steps


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The bytes of the network as it is really made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "prefix", str(tmp_path_factory.mktemp("venv")))
        streaming.make()
        return streaming.kept_at().read_bytes()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the network is kept in an environment that has none."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    return streaming.kept_at()


@pytest.fixture
def maker(tmp_path, monkeypatch, network):
    """Lever: stands for the Python that makes the network; what it is called with is a script for the shell."""
    good = tmp_path / "good"
    good.write_bytes(network)

    def that_does(script):
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nFILE="$3"\nGOOD="{good}"\n{script}\n')
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

    that_does('cp "$GOOD" "$FILE"')
    return that_does


def files(path):
    return sorted(one.name for one in path.parent.iterdir()) if path.parent.is_dir() else []


# --- The same -------------------------------------------------------------------------------------------------------

MOST = 1e-5
"""By which a score may differ, and an embedding in proportion to the largest: processors sum in orders of their own."""


@pytest.fixture(scope="module")
def both():
    """An engine on the streaming network, and one on the plain models."""
    made = WakeEngine(word_paths(BUILT_IN_WORDS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("device.hearing.wake.engine.streaming_network", lambda: None)
        plain = WakeEngine(word_paths(BUILT_IN_WORDS))
    assert type(made._front) is not type(plain._front)
    return made, plain


SOUNDS = {
    "speech": lambda: np.concatenate([said("hey jarvis"), silence(0.3), said("alexa", "espeak:en-us")]),
    "noise": lambda: pink_noise(1.2, 0.05),
    "the loudest noise": lambda: pink_noise(1.2, 1.0),
    "a click in silence": lambda: np.where(np.arange(16_000) == 5_000, 32_767, 0).astype(np.int16),
    "the faintest sound": lambda: np.random.default_rng(1).integers(-1, 2, 16_000).astype(np.int16),
}


@pytest.mark.parametrize("kind", SOUNDS)
def test_its_embeddings_and_scores_are_those_of_the_plain_models(both, kind):
    made, plain = (engine.twin() for engine in both)
    for step in steps(SOUNDS[kind]()):
        assert made.score(step) == pytest.approx(plain.score(step), rel=0, abs=MOST)
        assert np.abs(made.features - plain.features).max() <= MOST * np.abs(plain.features).max()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere the sums of the two may be made in another order")
def test_on_x86_64_they_are_the_same_to_the_last_bit(both):
    made, plain = (engine.twin() for engine in both)
    for step in steps(SOUNDS["speech"]()):
        assert made.score(step) == plain.score(step)
        assert np.array_equal(made.features, plain.features)


def test_the_plain_models_have_a_memory_of_their_own_too_and_forget_it(both):
    _, plain = both
    first, second = plain.twin(), plain.twin()
    noise = steps(pink_noise(1.2, 0.1))
    expected = [dict(first.score(step)) for step in noise]
    assert np.array_equal(second.features, plain.features) and not np.array_equal(second.features, first.features)
    first.reset()
    assert np.array_equal(second.features, first.features)
    assert [dict(first.score(step)) for step in noise] == expected


# --- Where it is kept -----------------------------------------------------------------------------------------------


def test_it_is_kept_in_the_environment_that_python_runs_in(place, tmp_path):
    assert place.parent == tmp_path / "venv" / "share" / "earshot"


def test_for_other_models_it_is_another_file(place, tmp_path, monkeypatch):
    for name in ("melspectrogram.onnx", "embedding_model.onnx"):
        (tmp_path / name).write_bytes(bundled(name).read_bytes())
    monkeypatch.setattr(streaming, "bundled", lambda name: tmp_path / name)
    assert streaming.kept_at() == place, "what counts is what is in them, not where they are"
    with (tmp_path / "embedding_model.onnx").open("ab") as file:
        file.write(b"\0")
    assert streaming.kept_at() != place


def test_where_it_is_there_it_is_used_and_nothing_made(place, maker, network, caplog):
    place.parent.mkdir(parents=True)
    place.write_bytes(network)
    maker("exit 1")
    assert streaming.streaming_network() is not None
    assert caplog.records == []


def test_where_it_is_missing_it_is_made_and_the_log_says_so(place, maker, network, caplog):
    assert streaming.streaming_network() is not None
    assert place.read_bytes() == network and files(place) == [place.name]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] and "making it" in caplog.text


def test_an_old_one_makes_room_for_it(place, maker, network):
    place.parent.mkdir(parents=True)
    place.with_name("wake-0123456789abcdef.onnx").write_bytes(network)
    place.with_name("notes.txt").write_text("mine")
    assert streaming.streaming_network() is not None
    assert files(place) == ["notes.txt", place.name]


@pytest.mark.parametrize(
    "damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: b"garbage"]
)
def test_a_damaged_one_is_made_again(place, maker, network, caplog, damage):
    place.parent.mkdir(parents=True)
    place.write_bytes(damage(network))
    assert streaming.streaming_network() is not None
    assert place.read_bytes() == network and "making it" in caplog.text


def test_it_is_never_there_in_part(place, maker, network):
    seen = place.parent / "seen"
    maker(f'head -c 1000 "$GOOD" > "$FILE"; ls "{place.parent}" > "{seen}"; cp "$GOOD" "$FILE"')
    streaming.make()
    assert place.name not in seen.read_text() and place.read_bytes() == network


def test_whoever_reads_the_old_one_just_then_reads_that_to_its_end(place, maker, network):
    place.parent.mkdir(parents=True)
    place.write_bytes(b"old and damaged")
    with place.open("rb") as reader:
        streaming.make()
        assert reader.read() == b"old and damaged" and place.read_bytes() == network


# --- Where it cannot be made ----------------------------------------------------------------------------------------

FAILURES = {
    "no onnx": ("echo \"ModuleNotFoundError: No module named 'onnx'\" >&2; exit 1", "No module named 'onnx'"),
    "killed": ("kill -9 $$", "no reason was given"),
    "half of it": ('head -c 1000 "$GOOD" > "$FILE"; echo "disk full" >&2; exit 1', "disk full"),
    "nothing made": ("exit 0", "No such file"),
    "garbage": ('echo garbage > "$FILE"', "not a model"),
    "no end": ("exec sleep 10", "timed out after 0.1 seconds"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_where_it_cannot_be_made_the_log_has_the_reason_and_the_remedy(place, maker, caplog, monkeypatch, failure):
    script, reason = FAILURES[failure]
    monkeypatch.setattr(streaming, "_LIMIT_S", 0.1 if failure == "no end" else 10.0)
    maker(script)
    assert streaming.streaming_network() is None
    assert reason in caplog.messages[-1] and "install.sh" in caplog.messages[-1]
    assert files(place) == ([place.name] if failure == "garbage" else [])


def test_where_there_is_no_room_for_it_or_no_python_the_log_says_that_too(place, maker, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    assert streaming.streaming_network() is None and "nowhere" in caplog.messages[-1]
    maker('cp "$GOOD" "$FILE"')
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "file"))
    assert streaming.streaming_network() is None and "Not a directory" in caplog.messages[-1]


def test_without_it_the_words_are_heard_all_the_same(place, maker, both, caplog):
    maker("exit 1")
    alone = WakeEngine(word_paths(("hey_jarvis",)))
    made, best = both[0].twin(), 0.0
    for step in steps(np.concatenate([silence(0.2), said("hey jarvis"), silence(0.3)])):
        score = alone.score(step)["hey_jarvis"]
        assert score == pytest.approx(made.score(step)["hey_jarvis"], rel=0, abs=MOST)
        best = max(best, score)
    assert best > 0.9 and "plain models" in caplog.text


def test_whoever_listens_loads_neither_what_makes_it_nor_what_it_is_compared_with():
    script = (
        "import sys, device.app\n"
        "from device.config import Wake\n"
        "from device.hearing.wake.detector import WakeDetector\n"
        "WakeDetector(Wake(voices='/nowhere', confirm_speech=True))\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "onnxruntime" in loaded and not loaded & {"onnx", "openwakeword", "sklearn", "scipy", "tqdm"}
