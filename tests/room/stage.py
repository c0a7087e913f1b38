"""A room, its card, and replies that are played in it, with place for people and noises: all of it by chance.

The rooms fade in 0.2 to 0.4 s, loudspeakers distort 1 to 5 % at full scale, cards drift by up to 100 ppm and play 40 to 150 ms
after they are written to.
"""

from collections.abc import Callable

import numpy as np

from device import events as e
from device.audio import FRAME_S, FRAME_SAMPLES
from device.hearing.ear import Ear
from tests.room.acoustics import Room, floor
from tests.room.people import SENTENCES, VOICES, spoken
from tests.room.sounds import RATE, at, count, rms
from tests.room.talk import Reply, Scene

LEAD_S, REPLY_S, BREAK_S = 0.5, 7.0, 1.5
TEXTS = (
    *("once upon a time there was a lighthouse keeper who lived alone with his cat", *SENTENCES),
    *("one night a storm came up and the wind tore at the shutters of the old house",),
    *("tomorrow will be cloudy with a high of seventeen degrees and light rain in the evening",),
    *("here are the headlines of today the parliament has voted on the new budget",),
    *("to make pancakes you need flour milk two eggs a pinch of salt and some butter",),
    *("the capital of australia is canberra although many people think that it is sydney",),
    *("light takes about eight minutes from the sun to the earth and a second from the moon",),
)
"""What the speaker says."""


class Stage:
    """A room, a card, and what the speaker says in it: `replies` of REPLY_S with BREAK_S between them."""

    def __init__(self, rng: np.random.Generator, replies: int, reply_s: float = REPLY_S) -> None:
        self.room = Room(rng, float(rng.choice((0.2, 0.25, 0.25, 0.3, 0.4))), float(rng.choice((0.01, 0.03, 0.05))))
        self.replies, pieces = [], [np.zeros(count(LEAD_S), np.float32)]
        voice = VOICES[rng.integers(len(VOICES))]
        for _ in range(replies):
            start = sum(map(len, pieces)) // FRAME_SAMPLES
            pieces += [reply(rng, voice, reply_s), np.zeros(count(BREAK_S), np.float32)]
            self.replies.append(Reply(start, start + round(reply_s / FRAME_S)))
        self.played = np.concatenate(pieces) * np.float32(10 ** (rng.uniform(-8, 3) / 20))
        self.delay_s = float(rng.uniform(0.04, 0.15))
        drift_ppm = float(rng.choice((-100, 0, 0, 0, 100)))
        self.echo = self.room.echo(self.played, self.delay_s * 1000, rng.uniform(-12, -3), drift_ppm)
        speaking = np.concatenate([self.echo[r.start * FRAME_SAMPLES : r.end * FRAME_SAMPLES] for r in self.replies])
        self.echo_dbfs = 20 * np.log10(rms(speaking))
        self.near = floor(rng, len(self.echo) / RATE, rng.uniform(-72, -60))

    def put(self, at_s: float, sound: np.ndarray) -> None:
        space = self.near[count(at_s) :][: len(sound)]
        space += sound[: len(space)]

    def run(self, ear: Callable[[Callable[[e.Event], None]], Ear]) -> Scene:
        """All of it, heard by the ear that `ear` builds."""
        return Scene(ear, self.played, self.echo, self.near, self.delay_s, self.replies).run()


def reply(rng: np.random.Generator, voice: str, seconds: float) -> np.ndarray:
    """Sentences of one voice, RMS 0.1, with short pauses; not in the middle of one at its end if that can be helped."""
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < count(seconds):
        pause = np.zeros(count(rng.uniform(0.15, 0.5)), np.float32)
        pieces += [at(-20, spoken(TEXTS[rng.integers(len(TEXTS))], voice)), pause]
    return np.concatenate(pieces)[: count(seconds)]
