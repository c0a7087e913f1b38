"""Sounds of a household that are no speech, from coughs to a vacuum cleaner. Float32, mono, 16 kHz, peak 1."""

from collections.abc import Callable

import numpy as np

from tests.room.acoustics import convolved
from tests.room.sounds import RATE, count, fan, music, noise

FORMANTS_HZ = ((500, 1450, 2600, 3600), (650, 1200, 2500, 3500), (560, 1700, 2700, 3900))


def cough(rng: np.random.Generator) -> np.ndarray:
    """One to three coughs: the glottis bursts open, then breath, some with a voiced end; the mouth is open."""
    formants = FORMANTS_HZ[rng.integers(len(FORMANTS_HZ))]
    tract = np.zeros(count(0.06))
    t = np.arange(len(tract)) / RATE
    for hertz, width in zip(formants, (90, 120, 200, 260), strict=True):
        tract += np.exp(-np.pi * width * t) * np.sin(2 * np.pi * hertz * rng.uniform(0.92, 1.08) * t)
    ones = []
    for _ in range(rng.integers(1, 4)):
        t = np.arange(count(rng.uniform(0.22, 0.4))) / RATE
        burst = np.exp(-t / rng.uniform(0.015, 0.03)) * (1 - np.exp(-t / 0.002))
        breath = 0.3 * np.exp(-t / rng.uniform(0.06, 0.11)) * (1 - np.exp(-t / 0.02))
        source = rng.standard_normal(len(t)) * (burst + breath)
        if rng.random() < 0.4:
            fall = np.cumsum(rng.uniform(140, 260) * np.exp(-t / 0.5)) / RATE
            source += 1.5 * (fall % 1 - 0.5) * np.exp(-(((t - 0.2) / 0.05) ** 2))
        ones += [convolved(source, tract), np.zeros(count(rng.uniform(0.02, 0.2)))]
    return _peak(np.concatenate(ones))


def clap(rng: np.random.Generator) -> np.ndarray:
    """One to four claps of hands."""
    ones = []
    for _ in range(rng.integers(1, 5)):
        t = np.arange(count(0.12)) / RATE
        hands = np.sin(2 * np.pi * rng.uniform(900, 1800) * t) * np.exp(-t / 0.006)
        ones += [rng.standard_normal(len(t)) * np.exp(-t / rng.uniform(0.003, 0.01)) + hands]
        ones += [np.zeros(count(rng.uniform(0.1, 0.4)))]
    return _peak(np.concatenate(ones))


def slam(rng: np.random.Generator) -> np.ndarray:
    """A door falls shut: a dull blow, its frame and the window panes."""
    t = np.arange(count(0.9)) / RATE
    sound = np.sin(2 * np.pi * rng.uniform(45, 90) * t) * np.exp(-t / 0.12) * 2
    sound += np.cumsum(rng.standard_normal(len(t))) / 20 * np.exp(-t / 0.06)
    for _ in range(6):
        sound += 0.3 * np.sin(2 * np.pi * rng.uniform(120, 900) * t) * np.exp(-t / rng.uniform(0.02, 0.1))
    sound[: count(0.02)] += rng.standard_normal(count(0.02)) * 0.7
    return _peak(sound * (1 - np.exp(-t / 0.001)))


def dishes(rng: np.random.Generator) -> np.ndarray:
    """Plates and cutlery that are put away, for a second or three."""
    sound = np.zeros(count(rng.uniform(1, 3)) + count(0.5))
    t = np.arange(count(0.5)) / RATE
    for _ in range(rng.integers(3, 12)):
        one = 0.3 * rng.standard_normal(len(t)) * np.exp(-t / 0.003)
        for _ in range(rng.integers(3, 8)):
            one += (
                rng.uniform(0.2, 1)
                * np.sin(2 * np.pi * rng.uniform(700, 7000) * t)
                * np.exp(-t / rng.uniform(0.01, 0.12))
            )
        sound[rng.integers(len(sound) - len(t)) :][: len(t)] += one * rng.uniform(0.1, 1)
    return _peak(sound)


def steps(rng: np.random.Generator) -> np.ndarray:
    """Somebody walks past."""
    sound = np.zeros(count(5))
    t = np.arange(count(0.15)) / RATE
    for number in range(8):
        heel = np.sin(2 * np.pi * rng.uniform(70, 140) * t) + 0.3 * rng.standard_normal(len(t)) * np.exp(-t / 0.01)
        start = count(0.3 + 0.55 * number + rng.uniform(-0.03, 0.03))
        sound[start:][: len(t)] += heel * np.exp(-t / 0.03) * np.sin(np.pi * (number + 1) / 9)
    return _peak(sound)


def tune(rng: np.random.Generator) -> np.ndarray:
    """Music from the next room, for ten seconds."""
    return _peak(music(rng, 10.0))


def machine(rng: np.random.Generator) -> np.ndarray:
    """A vacuum cleaner or a kitchen hood, for eight seconds, that comes and goes."""
    sound = fan(rng, 8.0) + 0.5 * noise(rng, 8.0, "pink")
    return _peak(sound * np.sin(np.pi * np.arange(len(sound)) / len(sound)) ** 0.5)


HOUSEHOLD: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "cough": cough,
    "clap": clap,
    "slam": slam,
    "dishes": dishes,
    "steps": steps,
    "music": tune,
    "machine": machine,
}
"""By name, what makes one of them, never the same twice."""


def _peak(sound: np.ndarray) -> np.ndarray:
    return (sound / np.abs(sound).max()).astype(np.float32)
