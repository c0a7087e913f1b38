"""People who enrol: what they say, in a room with some noise."""

import numpy as np

from tests.fakes import pink_noise, said, silence

TEXTS = ("hey jarvis", "hey, jarvis!", "hey jarvis, what time is it", "hey jarvis", "hey jarvis turn on the light")
PERSON = "flite:rms"
OTHERS = ("flite:kal16", "flite:slt", "espeak:en-us", "espeak:en-us+f3", "espeak:en-gb+m3")
"""With whom that voice is compared."""


def in_the_room(sound, seed=0, gain=0.4):
    """`sound` with noise 25 dB below, and a second of that before and after it."""
    room = np.concatenate([silence(1.0), (sound * gain).astype(np.int16), silence(1.0)])
    return room + pink_noise(len(room) / 16_000 + 0.01, 0.002, seed)[: len(room)]


def samples(count=5):
    return [in_the_room(said(text, PERSON), seed, 0.3 + 0.05 * seed) for seed, text in enumerate(TEXTS[:count])]
