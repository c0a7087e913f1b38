"""The wake word engine: its memory, its words, and what it costs. That its scores are right, `test_exactness` says."""

import shutil
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from device.checks import BUILT_IN_WORDS
from device.errors import ConfigError, EarshotError, HardwareError
from device.hearing.models import bundled
from device.hearing.wake.detector import word_paths
from device.hearing.wake.engine import FEATURES, STEP_SAMPLES, WakeEngine
from tests.fakes import pink_noise, said, silence
from tests.hearing.wake.listening import steps


def scores(engine, sound):
    """Shape (steps, words)."""
    return np.array([list(engine.score(step).values()) for step in steps(sound)])


@pytest.fixture(scope="module")
def whole():
    """An engine for all words, of which tests take twins."""
    return WakeEngine(word_paths(BUILT_IN_WORDS))


@pytest.fixture
def engine(whole):
    return whole.twin()


@pytest.fixture(scope="module")
def words():
    """Two words, 3 s."""
    return np.concatenate([silence(0.5), said("hey jarvis"), silence(0.3), said("alexa", "flite:rms"), silence(0.5)])


def test_silence_scores_next_to_nothing_from_the_first_step_on(engine):
    assert scores(engine, silence(3)).max() < 0.01


def test_the_words_that_are_said_are_told_apart(engine, words):
    by_word = dict(zip(BUILT_IN_WORDS, scores(engine, words).max(axis=0), strict=True))
    assert (
        min(by_word["hey_jarvis"], by_word["alexa"]) > 0.9 and max(by_word["hey_mycroft"], by_word["hey_rhasspy"]) < 0.5
    )


def test_several_words_in_one_engine_score_as_each_alone(engine, words):
    alone = WakeEngine(word_paths(("hey_jarvis",)))
    assert np.array_equal(scores(engine, words)[:, BUILT_IN_WORDS.index("hey_jarvis")], scores(alone, words)[:, 0])


# --- Memory ---------------------------------------------------------------------------------------------------------


def test_reset_it_is_as_after_silence_whatever_it_heard(engine, words):
    fresh = scores(engine.twin(), words)
    scores(engine, pink_noise(1, 0.3))
    assert not np.array_equal(scores(engine, words[:32_000]), fresh[:25]), "it has a memory"
    scores(engine, words)
    engine.reset()
    assert np.array_equal(scores(engine, words), fresh)
    engine.reset()
    assert np.array_equal(engine.features, engine.twin().features), "and again, silence itself was not overwritten"


def test_the_first_of_all_engines_forgets_as_its_twins_do(words):
    engine = WakeEngine(word_paths(("hey_jarvis",)))
    silent = engine.features.copy()
    scores(engine, words)
    engine.reset()
    assert np.array_equal(engine.features, silent) and np.array_equal(engine.twin().features, silent)


def test_a_twin_has_a_memory_of_its_own(engine, words):
    fresh = scores(engine.twin(), words)
    other, features = engine.twin(), []
    for step, noise in zip(steps(words), steps(pink_noise(4, 0.3)), strict=False):
        mine, others = engine.score(step), other.score(noise)
        assert mine is not others
        features.append(list(mine.values()))
    assert np.array_equal(features, fresh)
    assert not np.shares_memory(engine.features, other.features)


def test_a_twin_of_one_that_has_heard_something_begins_as_after_silence(engine, words):
    fresh = scores(engine.twin(), words)
    scores(engine, pink_noise(2, 0.3))
    assert np.array_equal(scores(engine.twin(), words), fresh)


def test_of_the_steps_before_only_so_many_make_up_a_score_and_all_of_these_do(engine, words):
    end = 22 + engine.steps_back
    before = pink_noise(0.08 * end, 0.3)[: STEP_SAMPLES * end]
    sound = np.concatenate([words, pink_noise(1, 0.01)])[: STEP_SAMPLES * end]
    always = engine.twin()
    expected = scores(always, sound)[-1]
    for back, same in ((engine.steps_back, True), (engine.steps_back - 2, False)):
        late = engine.twin()
        scores(late, before)
        found = scores(late, sound[-back * STEP_SAMPLES :])[-1]
        assert np.array_equal(found, expected) == np.array_equal(late.features, always.features) == same


def test_the_features_are_the_last_embeddings_the_newest_last(engine, words):
    features = engine.features
    assert features.shape == (1, 16, FEATURES) and features.dtype == np.float32
    for step in steps(words):
        before = features.copy()
        engine.score(step)
        assert engine.features is features and np.array_equal(features[0, :-1], before[0, 1:])
        assert not np.array_equal(features[0, -1], before[0, -1]) or not step.any()


def test_a_step_makes_no_array(engine, words):
    sounds = steps(words)
    for step in sounds:
        engine.score(step)
    tracemalloc.start()
    try:
        engine.score(sounds[9])
        begin, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for step in sounds[10:]:
            engine.score(step)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now - begin < 500 and peak - begin < 1500, "the smallest array of a step is its 1280 samples, of 2560 bytes"


def test_what_it_is_given_is_left_as_it_is_and_may_be_overwritten(engine):
    sound = steps(pink_noise(1, 0.1))
    expected = scores(engine.twin(), sound.ravel())
    buffer, found = np.zeros(STEP_SAMPLES, np.int16), []
    for step in sound:
        buffer[:] = step
        found.append(list(engine.score(buffer).values()))
        assert np.array_equal(buffer, step)
        buffer[:] = 12_345
    assert np.array_equal(found, expected)


# --- Words of one's own ---------------------------------------------------------------------------------------------


def model(path, frames, size=FEATURES):
    """A network that gives the mean of its last embedding's parts, squeezed into 0..1."""
    take = [
        helper.make_node("Slice", ["x", "from", "to", "axis"], ["last"]),
        helper.make_node("ReduceMean", ["last"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("Sigmoid", ["mean"], ["y"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("from", -1), ("to", 1000), ("axis", 1))
    ]
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, frames, size])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])
    graph = helper.make_graph(take, "word", [takes], [gives], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


@pytest.mark.parametrize("frames", [1, 5, 28, 100])
def test_each_word_looks_at_as_many_embeddings_as_its_model_takes(tmp_path, words, frames):
    paths = {"own": model(tmp_path / "own.onnx", frames), **word_paths(("hey_jarvis",))}
    engine, alone = WakeEngine(paths), WakeEngine(word_paths(("hey_jarvis",)))
    assert engine.features.shape == (1, max(frames, 16), FEATURES)
    for step in steps(words)[:12]:
        together = engine.score(step)
        assert together["own"] == pytest.approx(1 / (1 + np.exp(-engine.features[0, -1].mean())), abs=1e-6)
        assert together["hey_jarvis"] == alone.score(step)["hey_jarvis"]


def test_models_are_found_by_the_name_of_the_word(tmp_path):
    own = tmp_path / "my word.onnx"
    assert word_paths(("alexa", str(own))) == {"alexa": bundled("alexa_v0.1.onnx"), "my word": own}


@pytest.mark.parametrize("name", ["silero_vad.onnx", "embedding_model.onnx", "melspectrogram.onnx"])
def test_a_model_of_something_else_is_refused_with_the_reason(tmp_path, name):
    path = tmp_path / "word.onnx"
    shutil.copy(bundled(name), path)
    with pytest.raises(ConfigError, match=r"wake\.words: .*word\.onnx is not a wake word.*\[1, frames, 96\]"):
        WakeEngine({"word": path})


@pytest.mark.parametrize(("frames", "size"), [(101, FEATURES), ("n", FEATURES), (16, 95)])
def test_a_model_that_takes_embeddings_in_another_shape_is_refused_with_that_shape(tmp_path, frames, size):
    path = model(tmp_path / "word.onnx", frames, size)
    with pytest.raises(ConfigError, match=rf"this model takes \[1, '?{frames}'?, {size}\]"):
        WakeEngine({"word": path})


@pytest.mark.parametrize("content", [b"", b"hey jarvis\n"])
def test_a_file_that_is_no_model_is_refused_with_the_reason(tmp_path, content):
    path = tmp_path / "word.onnx"
    path.write_bytes(content)
    with pytest.raises(EarshotError, match=r"word\.onnx is not a model"):
        WakeEngine({"word": path})


def test_a_built_in_word_without_its_model_is_refused(monkeypatch):
    monkeypatch.setattr("device.hearing.models.find_spec", lambda name: None)
    with pytest.raises(HardwareError, match="install"):
        word_paths(("hey_jarvis",))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_a_model_of_numbers_of_another_kind_is_refused_with_that_kind(tmp_path, kind):
    shape = [1, 16, FEATURES]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["x"], ["all"], axes=[1, 2], keepdims=0),
            helper.make_node("Flatten", ["all"], ["y"]),
        ],
        "word",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, [1, 1])],
    )
    path = tmp_path / "word.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    with pytest.raises(ConfigError, match=r"word\.onnx is not a wake word.*tensor\((float16|double)\)"):
        WakeEngine({"word": path})


def test_a_model_that_gives_no_score_is_refused_at_the_start(tmp_path):
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Sub", ["sum", "sum"], ["zero"]),
            helper.make_node("Div", ["zero", "zero"], ["nan"]),
            helper.make_node("Reshape", ["nan", "shape"], ["y"]),
        ],
        "word",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [1, 1])],
    )
    path = tmp_path / "word.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    with pytest.raises(ConfigError, match=r"word\.onnx is not a wake word.*gives nan for silence"):
        WakeEngine({"word": path})
