"""When a score counts as a wake word: threshold per word, and a refractory time in which nothing counts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from device.audio import Chunks, Frame
from device.checks import word_name
from device.config import Wake
from device.events import WakeHeard
from device.hearing.models import bundled
from device.hearing.wake.engine import STEP_SAMPLES, WakeEngine


class Engine(Protocol):
    """What gives scores; see `WakeEngine.score`."""

    def score(self, samples: np.ndarray) -> Mapping[str, float]: ...


def word_paths(words: tuple[str, ...]) -> dict[str, Path]:
    """The model file of each word, by the name that events call it.

    Raises:
        HardwareError: a built-in model is missing.
    """
    return {word_name(word): Path(word) if word.endswith(".onnx") else bundled(f"{word}_v0.1.onnx") for word in words}


class WakeDetector:
    """Wake words in a stream of frames. Raises what `WakeEngine` raises."""

    def __init__(self, settings: Wake, engine: Engine | None = None) -> None:
        names = [word_name(word) for word in settings.words]
        self._thresholds = {name: settings.thresholds.get(name, settings.threshold) for name in names}
        self._refractory_s = settings.refractory_s
        self._engine = WakeEngine(word_paths(settings.words)) if engine is None else engine
        self._steps = Chunks(STEP_SAMPLES)
        self._deaf_until = 0.0

    def hear(self, frame: Frame) -> WakeHeard | None:
        """Take in the next frame; the word heard with it, if any: the one furthest above its threshold."""
        step = self._steps.add(frame.pcm)
        if step is None:
            return None
        scores = self._engine.score(step)
        word = max(scores, key=lambda name: scores[name] - self._thresholds[name])
        if scores[word] < self._thresholds[word] or frame.t < self._deaf_until:
            return None
        self._deaf_until = frame.t + self._refractory_s
        return WakeHeard(word, scores[word], frame.t)
