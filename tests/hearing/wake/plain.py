"""openWakeWord's algorithm without any state, to compare with: slow, and easy to see through."""

import numpy as np

from device.hearing.models import bundled, load
from device.hearing.wake.engine import STEP_SAMPLES

BEFORE = 40
"""Steps of silence before the sound: more than all buffers hold."""
WINDOW = 76
"""Mel frames that make up an embedding."""
FRAMES = 16
"""Embeddings that make up a score of the built-in words."""


def stateless_scores(sound, words):
    """The score of each built-in word after each whole step of `sound` (int16), after silence: shape (steps, words)."""
    features = _features(sound)
    return np.stack([_scores(features, word) for word in words], axis=1)


def _features(sound):
    """All embeddings of `sound` (int16) after silence: float32, shape (15 more than it has whole steps, 96)."""
    padded = np.concatenate([np.zeros(BEFORE * STEP_SAMPLES), sound]).astype(np.float32)[None]
    mel, embedding = load(bundled("melspectrogram.onnx")), load(bundled("embedding_model.onnx"))
    steps = range(1, padded.shape[1] // STEP_SAMPLES)
    # Three windows of 10 ms reach back: 480 samples. The model's floor is 80 dB below the loudest of what it is given.
    pieces = [padded[:, step * STEP_SAMPLES - 480 : (step + 1) * STEP_SAMPLES] for step in steps]
    mels = np.concatenate([mel.run(None, {"input": piece})[0].reshape(-1, 32) for piece in pieces]) / 10 + 2
    assert len(mels) == 8 * len(steps)
    windows = (mels[None, end - WINDOW : end, :, None] for end in range(80, len(mels) + 1, 8))
    features = [embedding.run(None, {"input_1": window})[0].reshape(96) for window in windows]
    return np.stack(features[1 - FRAMES - len(sound) // STEP_SAMPLES :])


def _scores(features, word):
    """The score of each FRAMES embeddings in a row."""
    head = load(bundled(f"{word}_v0.1.onnx"))
    name = head.get_inputs()[0].name
    ends = range(FRAMES, len(features) + 1)
    return np.array([head.run(None, {name: features[None, end - FRAMES : end]})[0][0, 0] for end in ends])
