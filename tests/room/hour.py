"""An hour of mixed sound, the same each time, of which is known what is where: sixty laps of a minute, all parts in each.

    .venv/bin/python -m tests.room.hour DIR [--seconds 3600]

writes it to DIR/hour.wav and in parts, for `earshot wake --evaluate DIR/words/hey_jarvis DIR/other`; and says where the wake
words are. Needs flite and espeak-ng.
"""

import argparse
import functools
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from device.audio import FULL_SCALE
from tests.room import sounds
from tests.room.people import QUESTIONS, VOICES, WORDS, babble, sentence, spoken
from tests.room.sounds import RATE, at, count, faded

LAP_S = 60
Make = Callable[[np.random.Generator, float], np.ndarray]
"""Makes a sound of so many seconds."""
SNRS = (20.0, 10.0, 5.0, 0.0)
STEADY_S = 5.5
"""After this time nobody notices a noise any more."""
LEAST_S = 0.1
"""Where an hour ends within a part, less of it is no recording of its own: nobody could evaluate that."""
QUIET_DBFS = -65.0
SOFT_DBFS = (-45.0, -40.0, -35.0, -25.0, -15.0)
"""How loud words are where it is quiet, from somebody who mumbles across the room to somebody near."""


class Word(NamedTuple):
    """A wake word that is said: its name, by whom, and how far above which background (None: it is quiet there).

    `start_s` and `end_s` bound the word alone, where a question follows in one breath too (then its end is not exact).
    """

    word: str
    voice: str
    snr_db: float | None
    background: str
    start_s: float
    end_s: float
    dbfs: float


class Part(NamedTuple):
    """What is heard from `start_s` to `end_s`.

    `kind` is speech, music, noise, silence, quiet, clicks or word; `name` says which noise, or the word's background.
    """

    kind: str
    name: str
    start_s: float
    end_s: float


class Hour(NamedTuple):
    """`sound` is int16, mono, 16 kHz."""

    sound: np.ndarray
    words: list[Word]
    parts: list[Part]

    def only(self, kind: str) -> np.ndarray:
        """All parts of that kind in a row."""
        return np.concatenate([self.sound[count(p.start_s) : count(p.end_s)] for p in self.parts if p.kind == kind])


class _Piece(NamedTuple):
    """A part whose place is not settled: float32, full scale is 1; the times of the word in it count from its start."""

    kind: str
    name: str
    sound: np.ndarray
    word: Word | None = None


def hour(seconds: float = 3600.0) -> Hour:
    """The first `seconds` of it. An hour has each word from each voice in each of eight contexts."""
    whole = Hour(np.zeros(count(seconds), np.int16), [], [])
    at_sample = 0
    for number in range(-(-len(whole.sound) // (LAP_S * RATE))):
        for piece in _lap(number):
            start_s, end_s = at_sample / RATE, min((at_sample + len(piece.sound)) / RATE, seconds)
            if start_s >= seconds:
                break
            space = whole.sound[at_sample:][: len(piece.sound)]
            space[:] = np.clip(np.rint(piece.sound[: len(space)] * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
            whole.parts.append(Part(piece.kind, piece.name, start_s, end_s))
            if (word := piece.word) and start_s + word.end_s <= seconds:
                whole.words.append(word._replace(start_s=start_s + word.start_s, end_s=start_s + word.end_s))
            at_sample += len(piece.sound)
    return whole


def _lap(number: int) -> list[_Piece]:
    """A minute, in an order of its own."""
    rng = np.random.default_rng((1, number))
    noises: dict[str, Make] = {
        **{colour: functools.partial(sounds.noise, colour=colour) for colour in sounds.COLOURS},
        "hum": sounds.hum,
        "babble": babble,
        "fan": sounds.fan_switched,
        "rising": sounds.rising_noise,
    }
    name = list(noises)[number % len(noises)]
    *words, from_silence, in_quiet = _words(rng, number)
    silence = _Piece("silence", "", np.zeros(count(2.5), np.float32))
    stretches = [
        *([word] for word in words),
        [silence, from_silence],
        [_Piece("quiet", "", quiet(rng, 7.0)), in_quiet],
        [_Piece("clicks", "", sounds.clicks(rng, 2.5) + quiet(rng, 2.5))],
        [_Piece("music", "", faded(at(rng.uniform(-40, -14), sounds.music(rng, 4.0))))],
        [_Piece("noise", name, at(rng.uniform(-45, -20), noises[name](rng, 9.0 if name == "rising" else 5.0)))],
    ]
    rest = LAP_S * RATE - sum(len(piece.sound) for stretch in stretches for piece in stretch)
    stretches.append([_Piece("speech", "", _talk(rng, rest))])
    return [piece for number in rng.permutation(len(stretches)) for piece in stretches[number]]


def _words(rng: np.random.Generator, lap: int) -> list[_Piece]:
    """One word in each context. In sixty laps each word from each voice is in each context once."""
    pieces = []
    for slot in range(8):
        combination = (lap + 7 * slot) % (len(VOICES) * len(WORDS))
        name, voice = list(WORDS)[combination % 4], VOICES[combination // 4]
        context = _context(slot, combination % 4 + combination // 4 + slot, lap)
        word = said = spoken(WORDS[name], voice)
        if context.name == "one breath":
            said = spoken(f"{WORDS[name]} {QUESTIONS[lap % 4]}", voice)
        dbfs = float(rng.choice(SOFT_DBFS) if context.snr_db is None else rng.uniform(-36, -14))
        start = count(context.before_s + rng.uniform(0, 0.6))
        sound = context.make(rng, (start + len(said)) / RATE + rng.uniform(0.8, 1.1))
        if context.snr_db is not None:  # that is so far below the word while the word lasts
            sound = faded(sound * 10 ** ((dbfs - context.snr_db) / 20) / sounds.rms(sound[start:][: len(word)]))
        sound[start:][: len(said)] += at(dbfs, said)
        times = start / RATE, (start + len(word)) / RATE
        what = Word(name, voice, context.snr_db, context.name, *times, dbfs)
        pieces.append(_Piece("word", context.name, sound, what))
    return pieces


class _Context(NamedTuple):
    """Where a word is said, and how long the background is heard before it."""

    name: str
    make: Make
    snr_db: float | None = None
    before_s: float = 0.7


def _context(slot: int, turn: int, lap: int) -> _Context:
    """Four of SNRS; beside a machine; with a question in one breath; out of silence; in a quiet room. Some take turns."""
    if slot < 4:
        backgrounds = ("pink noise", sounds.noise), ("babble", babble), ("music", sounds.music)
        return _Context(*backgrounds[turn % 3], SNRS[slot], STEADY_S if lap % 4 == slot else 0.7)
    machines = (
        _Context("fan", sounds.fan, 10.0, STEADY_S),
        _Context("fan switched on", sounds.fan_switched, 10.0),
        _Context("rising noise", sounds.rising_noise, 10.0, 3.5),
    )
    return (
        machines[turn % 3],
        _Context("one breath", quiet),
        _Context("silence", lambda _, seconds: np.zeros(count(seconds), np.float32)),
        _Context("quiet room", quiet),
    )[slot - 4]


def quiet(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A room in which nothing happens."""
    return at(QUIET_DBFS, sounds.noise(rng, seconds))


def _talk(rng: np.random.Generator, length: int) -> np.ndarray:
    """Sentences of several voices, near and far, with pauses; in half of the cases with nothing at all in the pauses."""
    sound = quiet(rng, length / RATE) if rng.random() < 0.5 else np.zeros(length, np.float32)
    start = count(0.1)
    while start < length - RATE:
        one = at(rng.uniform(-45, -10), sentence(rng))[: length - start]
        sound[start:][: len(one)] += faded(one)
        start += len(one) + count(rng.uniform(0.1, 0.5))
    return sound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=3600.0)
    options = parser.parse_args()
    whole = hour(options.seconds)
    _write(options.folder / "hour.wav", whole, 0.0, options.seconds)
    other = [p for p in whole.parts if p.kind != "word" and p.end_s - p.start_s >= LEAST_S]
    for number, part in enumerate(other):
        _write(options.folder / "other" / f"{part.kind}-{number:03}.wav", whole, part.start_s, part.end_s)
    spaces = [part for part in whole.parts if part.kind == "word"]
    for number, (word, part) in enumerate(zip(whole.words, spaces, strict=False)):
        _write(options.folder / "words" / word.word / f"{number:03}.wav", whole, part.start_s, part.end_s)
        snr = "" if word.snr_db is None else f"{word.snr_db:3.0f} dB"
        row = f"{word.start_s:8.2f} {word.end_s:8.2f}  {word.word:12} {word.voice:25} {word.background:15} {snr:7}"
        sys.stdout.write(f"{row} {word.dbfs:6.1f} dBFS\n")


def _write(path: Path, whole: Hour, start_s: float, end_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(whole.sound[count(start_s) : count(end_s)].tobytes())


if __name__ == "__main__":
    main()
