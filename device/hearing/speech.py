"""Whether somebody is speaking: silero's detector with a hysteresis in time."""

from collections.abc import Callable

import numpy as np

from device.audio import FULL_SCALE, Chunks, Frame
from device.events import SpeechEnded, SpeechStarted
from device.hearing.models import bundled, load

CHUNK_SAMPLES = 640
"""Two frames: openWakeWord, which ships the model, asks it every 40 ms too."""
ON, OFF = 0.5, 0.35
"""Probability above which it is speech, and below which it is not; between them nothing changes."""
START_CHUNKS = 2
"""80 ms: a click or a clap is shorter."""
END_CHUNKS = 12
"""480 ms: a pause between words is shorter."""


class SpeechDetector:
    """Start and end of speech in a stream of frames, of which the network gives a probability per 40 ms.

    Raises:
        HardwareError: the model cannot be loaded.
    """

    def __init__(self, probability: Callable[[np.ndarray], float] | None = None) -> None:
        self._silero = None
        if probability is None:
            probability = self._silero = Silero()
        self._probability = probability
        self._chunks = Chunks(CHUNK_SAMPLES)
        self.reset(speaking=False)

    def reset(self, *, speaking: bool) -> None:
        """Begin anew. With `speaking` somebody is speaking already, and `SpeechEnded` is owed."""
        self._chunks.clear()
        self._against = 0
        self._speaking = speaking
        if self._silero:
            self._silero.reset()

    def hear(self, frame: Frame) -> SpeechStarted | SpeechEnded | None:
        """Take in the next frame; what changed with it, if anything."""
        chunk = self._chunks.add(frame.pcm)
        return None if chunk is None else self._decide(self._probability(chunk))

    def _decide(self, probability: float) -> SpeechStarted | SpeechEnded | None:
        if self._speaking:
            self._against = self._against + 1 if probability < OFF else 0
            if self._against < END_CHUNKS:
                return None
        else:
            self._against = self._against + 1 if probability > ON else 0
            if self._against < START_CHUNKS:
                return None
        self._against = 0
        self._speaking = not self._speaking
        return SpeechStarted() if self._speaking else SpeechEnded()


class Silero:
    """The network and its memory (two float32 arrays of shape (2, 1, 64))."""

    def __init__(self) -> None:
        self._session = load(bundled("silero_vad.onnx"))
        self._rate = np.array(16_000, np.int64)
        self.reset()

    def reset(self) -> None:
        self._h = self._c = np.zeros((2, 1, 64), np.float32)

    def __call__(self, samples: np.ndarray) -> float:
        """Probability of speech in int16 `samples`."""
        sound = samples[None].astype(np.float32) / FULL_SCALE
        inputs = {"input": sound, "sr": self._rate, "h": self._h, "c": self._c}
        output, self._h, self._c = self._session.run(None, inputs)
        return float(output[0, 0])
