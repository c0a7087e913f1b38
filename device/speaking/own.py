"""The sounds of our own, on their way out: the chime, and the words that follow it."""

import numpy as np

from device.config import Speaker as Settings
from device.events import Chime, PlayChime, SayReason, StopChime
from device.speaking import chimes, phrases

FADE_PART = 4
"""What is cut off fades over this part of a period, 5 ms: a step in the wave is a click."""


class OwnSounds:
    """Given out by periods of `period` samples at `rate` hertz."""

    def __init__(self, rate: int, period: int, settings: Settings) -> None:
        self._rate, self._period = rate, period
        self._settings = settings
        self._chime = self._words = np.zeros(0, np.float32)
        """What is still to be heard."""

    def take(self, order: PlayChime | SayReason | StopChime) -> None:
        """Begin what is ordered with the next period, or break off what sounds. A chime takes the place of any other."""
        match order:
            case PlayChime(chime) if _sounds(chime, self._settings):
                self._chime = chimes.render(chime, self._rate)
            case SayReason(code):
                self.say(phrases.render(code, self._rate))
            case StopChime():
                self._chime, self._words = self._cut_off(self._chime), self._cut_off(self._words)

    def say(self, words: np.ndarray) -> None:
        """Play words (float32 of -1..1) after the chime, instead of any others."""
        last = self._cut_off(self._words)
        wait = np.zeros(max(len(self._chime), len(last)), np.float32)
        wait[: len(last)] = last
        self._words = np.concatenate((wait, words))

    def mix(self, samples: np.ndarray | None, ahead: int) -> np.ndarray | None:
        """Add the next period, and the `ahead` samples that follow it unless they are broken off, to those of a reply.

        `samples` (float32, shape (period + ahead,)) is changed in place; None is silence.
        """
        length = self._period + ahead
        for own in (self._chime, self._words):
            if len(own):
                samples = np.zeros(length, np.float32) if samples is None else samples
                samples[: len(own)] += own[:length]
        self._chime, self._words = self._chime[self._period :], self._words[self._period :]
        return samples

    def _cut_off(self, samples: np.ndarray) -> np.ndarray:
        rest = samples[: self._period // FADE_PART].copy()
        fade_out(rest, len(rest))
        return rest


class Mask:
    """Knows for how long our own sounds are heard. `now` is seconds, CLOCK_MONOTONIC."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chime_until = 0.0
        """When the last chime that was ordered is over."""

    def ordered(self, order: object, now: float) -> None:
        """`order` is given now."""
        match order:
            case PlayChime(chime) if _sounds(chime, self._settings):
                self._chime_until = now + chimes.length_s(chime)
            case StopChime():
                self._chime_until = 0.0

    def length_s(self, order: PlayChime | SayReason, now: float) -> float:
        """How long it takes until what `order` begins is over, if it is given now; 0 where nothing is heard."""
        match order:
            case PlayChime(chime):
                return chimes.length_s(chime) if _sounds(chime, self._settings) else 0.0
            case SayReason(code):
                length = phrases.length_s(code)
                return length + max(0.0, self._chime_until - now) if length else 0.0


def _sounds(chime: Chime, settings: Settings) -> bool:
    return settings.chimes or chime is Chime.TIMER  # which somebody asked for


def fade_out(samples: np.ndarray, length: int) -> None:
    """Let `samples` fade to silence within `length`, in place."""
    samples[:length] *= np.linspace(1, 0, length, dtype=np.float32)
    samples[length:] = 0
