"""Whether somebody is speaking: silero's detector with a hysteresis in time."""

import copy
from collections.abc import Callable

import numpy as np

from device.audio import FULL_SCALE, SILENT_FRAME, Chunks, Frame
from device.events import SpeechEnded, SpeechStarted
from device.hearing.models import bundled, load

CHUNK_SAMPLES = 640
"""Two frames: openWakeWord, which ships the model, asks it every 40 ms too."""
ON, OFF = 0.5, 0.35
"""Probability above which it is speech, and below which it is not; between them nothing changes."""
START_CHUNKS = 2
"""80 ms: a click or a clap is shorter."""
GAIN = 4.0
"""The network was taught with near voices: it finds far ones, and what is left of them beside our own, sooner when louder."""
END_CHUNKS = 12
"""480 ms: a pause between words is shorter."""


class SpeechDetector:
    """Start and end of speech in a stream of frames, of which the network gives a probability per 40 ms.

    Raises:
        HardwareError: the model cannot be loaded.
    """

    def __init__(self, probability: Callable[[np.ndarray], float] | None = None) -> None:
        self._silero: tuple[Silero, ...] = ()
        if probability is None:
            probability = Silero(GAIN)
            self._silero = probability, probability.twin()
        self._judge = probability
        self._chunks, self._between = Chunks(CHUNK_SAMPLES), Chunks(CHUNK_SAMPLES)
        self.reset(speaking=False)

    def reset(self, *, speaking: bool) -> None:
        """Begin anew. With `speaking` somebody is speaking already, and `SpeechEnded` is owed."""
        self._chunks.clear()
        self._between.clear()
        self._between.add(SILENT_FRAME)
        self.probability = 0.0
        """That of the last 40 ms."""
        self._against = 0
        self._speaking = speaking
        for network in self._silero:
            network.reset()

    def hear(self, frame: Frame, *, often: bool = False) -> SpeechStarted | SpeechEnded | None:
        """Take in the next frame; what changed with it, if anything.

        `often`: the probability is wanted every 20 ms, of the last 40. So who talks over us is found 10 to 20 ms sooner.
        """
        between = self._between.add(frame.pcm)
        if between is not None and self._silero:
            first, second = self._silero
            if often:
                self.probability = second(between)
            else:
                second.follow(first)
        chunk = self._chunks.add(frame.pcm)
        if chunk is None:
            return None
        self.probability = self._judge(chunk)
        return self._decide()

    def _decide(self) -> SpeechStarted | SpeechEnded | None:
        if self._speaking:
            self._against = self._against + 1 if self.probability < OFF else 0
            if self._against < END_CHUNKS:
                return None
        else:
            self._against = self._against + 1 if self.probability > ON else 0
            if self._against < START_CHUNKS:
                return None
        self._against = 0
        self._speaking = not self._speaking
        return SpeechStarted() if self._speaking else SpeechEnded()


class Silero:
    """The network and its memory (two float32 arrays of shape (2, 1, 64))."""

    def __init__(self, gain: float = 1.0) -> None:
        self._scale = np.float32(gain / FULL_SCALE)
        self._session = load(bundled("silero_vad.onnx"))
        self._rate = np.array(16_000, np.int64)
        self.reset()

    def twin(self) -> "Silero":
        """The same network with a memory of its own."""
        twin = copy.copy(self)
        twin.reset()
        return twin

    def reset(self) -> None:
        self._h = self._c = np.zeros((2, 1, 64), np.float32)

    def follow(self, other: "Silero") -> None:
        """Remember what `other` does: it heard the same."""
        self._h, self._c = other._h, other._c

    def __call__(self, samples: np.ndarray) -> float:
        """Probability of speech in int16 `samples`."""
        sound = samples[None].astype(np.float32) * self._scale
        inputs = {"input": sound, "sr": self._rate, "h": self._h, "c": self._c}
        output, self._h, self._c = self._session.run(None, inputs)
        return float(output[0, 0])
