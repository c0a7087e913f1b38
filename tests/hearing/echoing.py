"""A speaker in a room for tests of the canceller: what is played, and the microphone that hears it, without thread or clock."""

from typing import Protocol

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, RATE, Frame
from device.speaking.reference import PAUSE

LATENCY = 640
"""Samples from writing to hearing, as the driver says: two periods."""

RESPONSE = np.array([1.0, 0.0, 0.0, 0.4, 0.0, -0.3, 0.0, 0.0, 0.2])
"""Of the room."""


def syllables(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes like speech: int16."""
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0, 1, round(seconds * 8) + 1) ** 2, RATE // 8)[: round(seconds * RATE)]
    return (rng.normal(0, 4000, len(envelope)) * envelope).astype(np.int16)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.int16)


def noise(length: int, rms: float = 10.0, seed: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, rms, length).astype(np.int16)


def echo(played: np.ndarray, late: int, gain: float = 0.3) -> np.ndarray:
    """What the microphone hears: `late` samples after the writing, in a room that colours it, with its noise."""
    sound = np.convolve(played, RESPONSE)[: len(played)] * gain
    sound = np.concatenate((np.zeros(late), sound))[: len(played)]
    return (sound + noise(len(sound))).astype(np.int16)


class Listener(Protocol):
    """What `feed` gives frames to."""

    def play(self, frame: Frame) -> None: ...

    def hear(self, frame: Frame) -> None: ...


def feed(
    listener: Listener,
    played: np.ndarray,
    heard: np.ndarray,
    *,
    driver_s: float = LATENCY / RATE,
    begin: float = 100.0,
    lost: range = range(0),
) -> None:
    """Play and hear in virtual time. Silence is told of for 0.5 s, and frames in `lost` the microphone does not give."""
    pause = PAUSE
    for number in range(len(heard) // FRAME_SAMPLES):
        part = slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES)
        t = begin + (number + 1) * FRAME_S
        pause = 0 if played[part].any() else pause + 1
        if pause <= PAUSE:
            listener.play(Frame(played[part].tobytes(), t + driver_s))
        if number not in lost:
            listener.hear(Frame(heard[part].tobytes(), t))
