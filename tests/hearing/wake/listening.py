"""How tests listen: to a sound, with a detector, and to scripted scores."""

import numpy as np

from device.audio import FRAME_S, Frame
from device.config import Wake
from device.events import WakeHeard
from device.hearing.wake.engine import STEP_SAMPLES


def wake(**settings):
    return Wake(**{"voices": "/nowhere", **settings})


def events(detector, sound):
    """What is heard in `sound` (int16, 16 kHz), which begins at 0 s."""
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    return [one for n, pcm in enumerate(frames, 1) for one in detector.hear(Frame(pcm.tobytes(), n * FRAME_S))]


def words_in(detector, sound):
    return [one for one in events(detector, sound) if isinstance(one, WakeHeard)]


def steps(sound):
    """Its whole steps: shape (k, 1280)."""
    return sound[: len(sound) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES)


def ones(steps):
    return np.ones(steps * STEP_SAMPLES, np.int16)


class Script:
    """An engine that gives hey_jarvis a score by the number of the step, from 0, and elsewhere none."""

    def __init__(self, scores=()):
        self._scores = dict(scores)
        self._step = -1
        self.heard = []

    def score(self, samples):
        self._step += 1
        self.heard.append(samples.copy())
        return {"hey_jarvis": self._scores.get(self._step, 0.0)}
