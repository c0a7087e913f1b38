"""The sounds of our own, on their way out: the chime, and the words that follow it. Pure."""

import numpy as np

FADE_PART = 4
"""What is cut off fades over this part of a period, 5 ms: a step in the wave is a click."""


class OwnSounds:
    """Given out by periods of `period` samples."""

    def __init__(self, period: int) -> None:
        self._period = period
        self._chime = self._words = np.zeros(0, np.float32)
        """What is still to be heard."""

    def chime(self, samples: np.ndarray) -> None:
        """Play a chime (float32 of -1..1) from now, instead of any other."""
        self._chime = samples

    def say(self, words: np.ndarray) -> None:
        """Play words (float32 of -1..1) after the chime, instead of any others."""
        last = self._cut_off(self._words)
        wait = np.zeros(max(len(self._chime), len(last)), np.float32)
        wait[: len(last)] = last
        self._words = np.concatenate((wait, words))

    def stop(self) -> None:
        """Break off the chime and the words."""
        self._chime, self._words = self._cut_off(self._chime), self._cut_off(self._words)

    def mix(self, samples: np.ndarray | None) -> np.ndarray | None:
        """Add the next period to one of a reply (float32, shape (period,), changed in place); None is silence."""
        for own in (self._chime, self._words):
            if len(own):
                samples = np.zeros(self._period, np.float32) if samples is None else samples
                samples[: len(own)] += own[: self._period]
        self._chime, self._words = self._chime[self._period :], self._words[self._period :]
        return samples

    def _cut_off(self, samples: np.ndarray) -> np.ndarray:
        rest = samples[: self._period // FADE_PART].copy()
        fade_out(rest, len(rest))
        return rest


def fade_out(samples: np.ndarray, length: int) -> None:
    """Let `samples` fade to silence within `length`, in place."""
    samples[:length] *= np.linspace(1, 0, length, dtype=np.float32)
    samples[length:] = 0
