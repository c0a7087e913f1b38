"""Scores of wake words for a stream of sound: openWakeWord's mel, embedding and word models, one step per 80 ms.

Every step computes 8 mel frames of 10 ms, one embedding of the last 76 mel frames, and a score per word from its last
embeddings (16 for most words). All buffers start as those of silence, so that the first seconds cannot wake it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from device.errors import ConfigError, HardwareError
from device.hearing.models import bundled, load

STEP_SAMPLES = 1280
"""80 ms at 16 kHz: openWakeWord's hop."""
_CONTEXT = 480
"""Samples before a step that its first mel windows reach back to."""
_MELS, _BANDS = 76, 32
_FEATURES = 96
_SILENT_STEPS = 12
"""Steps until the mel and embedding of silence have settled: 76 mel frames at 8 a step, and some."""


class WakeEngine:
    """Scores for each word of `words` (name -> path of its .onnx model).

    Raises:
        ConfigError: a file is not a wake word model.
        HardwareError: a model that all words share cannot be loaded.
    """

    def __init__(self, words: Mapping[str, Path]) -> None:
        self._mel = load(bundled("melspectrogram.onnx"))
        self._embedding = load(bundled("embedding_model.onnx"))
        self._heads = [_Head(name, path) for name, path in words.items()]
        self._sound = np.zeros((1, _CONTEXT + STEP_SAMPLES), np.float32)
        self._mels = np.zeros((1, _MELS, _BANDS, 1), np.float32)
        self._features = np.zeros((1, max(head.frames for head in self._heads), _FEATURES), np.float32)
        silence = np.zeros(STEP_SAMPLES, np.int16)
        for _ in range(_SILENT_STEPS):
            self._step(silence)
        self._features[:] = self._features[:, -1:]

    def score(self, samples: np.ndarray) -> dict[str, float]:
        """Take in the next 80 ms (int16, shape (1280,)) and return the score of each word, 0..1."""
        self._step(samples)
        return {head.name: head.score(self._features) for head in self._heads}

    def _step(self, samples: np.ndarray) -> None:
        self._sound[0, :_CONTEXT] = self._sound[0, -_CONTEXT:]
        self._sound[0, _CONTEXT:] = samples
        mel = self._mel.run(None, {"input": self._sound})[0]
        new = mel.reshape(-1, _BANDS) / 10 + 2  # the embedding was trained on this scale
        self._mels[0, : -len(new)] = self._mels[0, len(new) :]
        self._mels[0, -len(new) :, :, 0] = new
        feature = self._embedding.run(None, {"input_1": self._mels})[0]
        self._features[0, :-1] = self._features[0, 1:]
        self._features[0, -1] = feature.reshape(_FEATURES)


class _Head:
    """One word's model: its last `frames` embeddings in, a score out."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        try:
            self._session = load(path)
        except HardwareError as error:
            raise ConfigError(f"wake.words: {error}") from None
        inputs: list[Any] = self._session.get_inputs()
        outputs: list[Any] = self._session.get_outputs()
        shape = list(inputs[0].shape) if len(inputs) == 1 else []
        fits = len(shape) == 3 and shape[2] == _FEATURES and isinstance(shape[1], int) and 1 <= shape[1] <= 100
        if not fits or len(outputs) != 1 or list(outputs[0].shape)[1:] != [1]:
            raise ConfigError(
                f"wake.words: {path} is not a wake word: openWakeWord's take embeddings of shape [1, frames, {_FEATURES}] "
                f"and give one score; this model takes {shape or 'something else'}."
            )
        self._input = inputs[0].name
        self.frames = int(shape[1])

    def score(self, features: np.ndarray) -> float:
        """`features`: float32, shape (1, n, 96) with n >= frames."""
        return float(self._session.run(None, {self._input: features[:, -self.frames :]})[0][0, 0])
