"""Scores of wake words for a stream of sound: openWakeWord's mel, embedding and word models, one step per 80 ms.

Every step computes 8 mel frames of 10 ms, one embedding of the last 76 mel frames, and a score per word from its last
embeddings (16 for most words). All memory starts as that of silence, so that the first seconds cannot wake it.

What a step reads and writes is allocated once and bound to the networks: a memory is input and output in one place, as each
is read before it is written.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from device.errors import ConfigError, HardwareError
from device.hearing.models import bundled, load
from device.hearing.wake.streaming import streaming_network

STEP_SAMPLES = 1280
"""80 ms at 16 kHz: openWakeWord's hop."""
STEP_S = 0.08
WINDOW_STEPS = 10
"""Steps that reach into an embedding: 76 mel frames at 8 a step."""
CONTEXT = 480
"""Samples before a step that its first mel windows reach back to."""
_MELS, BANDS = 76, 32
FEATURES = 96
"""Numbers in an embedding."""


class _Front(Protocol):
    """From sound to embeddings."""

    sound: np.ndarray
    """Where the sound of a step is put: float32, shape (1760,), in the range of int16."""
    memory: list[np.ndarray]
    """All that is remembered from step to step."""

    def step(self) -> None: ...


class WakeEngine:
    """Scores for each word of `words` (name -> path of its .onnx model).

    Raises:
        ConfigError: a file is not a wake word model.
        HardwareError: a model that all words share cannot be loaded.
    """

    def __init__(self, words: Mapping[str, Path]) -> None:
        network = streaming_network()
        plain = () if network else (load(bundled("melspectrogram.onnx")), load(bundled("embedding_model.onnx")))
        self._front_on: Callable[[np.ndarray], _Front] = (
            partial(_Streaming, network) if network else partial(_Plain, *plain)
        )
        self.names = frozenset(words)
        self._words = [_Word(name, path) for name, path in words.items()]
        self.steps_back = WINDOW_STEPS + max(word.frames for word in self._words)
        """So many steps of sound make up a score, and nothing before them."""
        self._allocate()
        for _ in range(self.steps_back):
            self._front.step()
        self._silence = [one.copy() for one in self._front.memory]
        for word, head in zip(self._words, self._heads, strict=True):
            word.try_out(head)

    def _allocate(self) -> None:
        self.features = np.zeros((1, self.steps_back - WINDOW_STEPS, FEATURES), np.float32)
        """The last embeddings, oldest first: float32, shape (1, n, 96), overwritten by each step."""
        self._front = self._front_on(self.features)
        self._heads = [_Head(word, self.features) for word in self._words]
        self._scores: dict[str, float] = {}

    def twin(self) -> Self:
        """Another engine for the same words with a memory of its own; the networks are shared."""
        twin = copy.copy(self)
        twin._allocate()
        twin.reset()
        return twin

    def reset(self) -> None:
        """Forget what was heard: begin as after silence."""
        for memory, silence in zip(self._front.memory, self._silence, strict=True):
            memory[...] = silence

    def score(self, samples: np.ndarray) -> Mapping[str, float]:
        """Take in the next 80 ms (int16, shape (1280,)); the score of each word, 0..1, overwritten by the next call."""
        sound = self._front.sound
        sound[:CONTEXT] = sound[-CONTEXT:]
        sound[CONTEXT:] = samples
        self._front.step()
        for head in self._heads:
            self._scores[head.name] = head.score()
        return self._scores


class _Streaming:
    """The network that `graph` makes, which computes only what is new."""

    def __init__(self, network: Any, features: np.ndarray) -> None:
        self._network = network
        self._binding = network.io_binding()
        sound = np.zeros((1, 1, CONTEXT + STEP_SAMPLES), np.float32)
        self._binding.bind_ortvalue_input("sound", _shared(sound))
        self.sound = sound[0, 0]
        self.memory = [self.sound]
        for one in network.get_inputs()[1:]:
            array = features if one.name == "features" else np.zeros(one.shape, np.float32)
            value = _shared(array)
            self._binding.bind_ortvalue_input(one.name, value)
            self._binding.bind_ortvalue_output(f"new_{one.name}", value)
            self.memory.append(array)

    def step(self) -> None:
        self._network.run_with_iobinding(self._binding)


class _Plain:
    """openWakeWord's own models, for where the streaming network cannot be had: each embedding anew from 76 mel frames."""

    def __init__(self, mel: Any, embedding: Any, features: np.ndarray) -> None:
        self._mel, self._embedding = mel, embedding
        self.sound = np.zeros(CONTEXT + STEP_SAMPLES, np.float32)
        self._mels = np.zeros((1, _MELS, BANDS, 1), np.float32)
        self._features = features
        self.memory = [self.sound, self._mels, features]

    def step(self) -> None:
        mel = self._mel.run(None, {"input": self.sound[None]})[0]
        new = mel.reshape(-1, BANDS) / 10 + 2  # the embedding was trained on this scale
        self._mels[0, : -len(new)] = self._mels[0, len(new) :]
        self._mels[0, -len(new) :, :, 0] = new
        feature = self._embedding.run(None, {"input_1": self._mels})[0]
        self._features[0, :-1] = self._features[0, 1:]
        self._features[0, -1] = feature.reshape(FEATURES)


class _Word:
    """One word's model: its last `frames` embeddings in, a score out."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self._path = name, path
        try:
            self.network = load(path)
        except HardwareError as error:
            raise ConfigError(f"wake.words: {error}") from None
        inputs: list[Any] = self.network.get_inputs()
        outputs: list[Any] = self.network.get_outputs()
        shape = list(inputs[0].shape) if len(inputs) == 1 else []
        fits = len(shape) == 3 and shape[2] == FEATURES and isinstance(shape[1], int) and 1 <= shape[1] <= 100
        if not fits or len(outputs) != 1 or list(outputs[0].shape)[1:] != [1]:
            raise self._refusal(f"this model takes {shape or 'something else'}")
        if (kinds := {inputs[0].type, outputs[0].type}) != {"tensor(float)"}:
            raise self._refusal(f"this model has {' and '.join(sorted(kinds))} where tensor(float) is wanted")
        self.input, self.output = inputs[0].name, outputs[0].name
        self.frames = int(shape[1])

    def try_out(self, head: "_Head") -> None:
        """See that it can be run, while the owner is there to read why not."""
        try:
            score = head.score()
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise self._refusal(f"this model cannot be run ({str(error).splitlines()[0]})") from error
        if not 0 <= score <= 1:
            raise self._refusal(f"this model gives {score} for silence, and scores are 0 to 1")

    def _refusal(self, why: str) -> ConfigError:
        return ConfigError(
            f"wake.words: {self._path} is not a wake word: openWakeWord's take embeddings of shape [1, frames, {FEATURES}] "
            f"and give one score; {why}."
        )


class _Head:
    """A word's model, bound to the embeddings that it looks at."""

    def __init__(self, word: _Word, features: np.ndarray) -> None:
        self.name = word.name
        self._network = word.network
        self._score = np.zeros((1, 1), np.float32)
        self._binding = word.network.io_binding()
        self._binding.bind_ortvalue_input(word.input, _shared(features[:, -word.frames :]))
        self._binding.bind_ortvalue_output(word.output, _shared(self._score))

    def score(self) -> float:
        self._network.run_with_iobinding(self._binding)
        return float(self._score[0, 0])


def _shared(array: np.ndarray) -> Any:
    """An onnxruntime value in the memory of `array`, which must be contiguous and is kept alive by it."""
    from onnxruntime import OrtValue

    return OrtValue.ortvalue_from_numpy(array)
