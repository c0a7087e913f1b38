"""Sounds made by arithmetic: noises, music, clicks and claps. Float32, mono, 16 kHz; full scale is 1."""

import numpy as np

RATE = 16_000
COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}
"""By which power of the frequency the amplitude falls."""
LOWEST_HZ = 20
"""What is below this no loudspeaker plays and no microphone hears."""


def count(seconds: float) -> int:
    """How many samples that is."""
    return round(seconds * RATE)


def rms(sound: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def at(dbfs: float, sound: np.ndarray) -> np.ndarray:
    """`sound` at that RMS, in dB of full scale."""
    return (sound * (10 ** (dbfs / 20) / rms(sound))).astype(np.float32)


def faded(sound: np.ndarray, seconds: float = 0.02) -> np.ndarray:
    """`sound` without a click at either end."""
    ramp = np.linspace(0, 1, count(seconds), dtype=np.float32)
    sound = sound.copy()
    sound[: len(ramp)] *= ramp
    sound[len(sound) - len(ramp) :] *= ramp[::-1]
    return sound


def noise(rng: np.random.Generator, seconds: float, colour: str = "pink") -> np.ndarray:
    """Noise of one of COLOURS, RMS 0.1."""
    length = count(seconds)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1 / RATE)
    spectrum[hertz < LOWEST_HZ] = 0
    spectrum[1:] /= hertz[1:] ** COLOURS[colour]
    return at(-20, np.fft.irfft(spectrum, length))


def hum(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """The mains in a bad amplifier: 50 Hz, its harmonics, and a little noise. RMS 0.1."""
    t = np.arange(count(seconds)) / RATE
    tones = sum((np.sin(2 * np.pi * 50 * n * t + rng.uniform(0, 6)) / n for n in (1, 2, 3, 4, 6, 8, 12, 20)), 0 * t)
    return at(-20, at(-20, tones) + at(-40, noise(rng, seconds, "white")))


def fan(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Air, the tone of the blades, and a slow beat. RMS 0.1."""
    t = np.arange(count(seconds)) / RATE
    blades = sum((np.sin(2 * np.pi * 93 * n * t + rng.uniform(0, 6)) / n for n in (1, 2, 3)), 0 * t)
    air = noise(rng, seconds, "brown") + at(-26, noise(rng, seconds, "pink"))
    return at(-20, (air + at(-28, blades)) * (1 + 0.15 * np.sin(2 * np.pi * 0.9 * t)))


def fan_switched(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A fan that stands still, comes up within a second, runs, and runs down. RMS 0.1."""
    points = np.array([0, 0.2, 0.3, 0.7, 0.95, 1]) * seconds
    speed = np.interp(np.arange(count(seconds)) / RATE, points, [0, 0, 1, 1, 0, 0])
    return at(-20, fan(rng, seconds) * speed)


def rising_noise(rng: np.random.Generator, seconds: float, db: float = 40) -> np.ndarray:
    """Pink noise whose level rises steadily by `db`; a kettle does that. RMS 0.1 on the whole."""
    return at(-20, noise(rng, seconds) * 10 ** (np.linspace(-db, 0, count(seconds)) / 20))


def clicks(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Single clicks, claps, and knocks of a door, peaks of 0.05 to 0.9."""
    sound = np.zeros(count(seconds), np.float32)
    t = np.arange(count(0.25)) / RATE
    start = rng.uniform(0.1, 0.4)
    while start < seconds - 0.3:
        match rng.integers(3):
            case 0:
                one = rng.standard_normal(len(t)) * (t < rng.uniform(0.0002, 0.002))
            case 1:
                one = rng.standard_normal(len(t)) * np.exp(-t / rng.uniform(0.005, 0.04))
            case _:
                one = np.sin(2 * np.pi * rng.uniform(70, 160) * t) * np.exp(-t / 0.03) * (1 - np.exp(-t / 0.002))
        sound[count(start) :][: len(one)] += one / np.abs(one).max() * rng.uniform(0.05, 0.9)
        start += rng.uniform(0.25, 0.9)
    return sound


MAJOR, MINOR = (0, 4, 7), (0, 3, 7)
SONGS = (((0, MAJOR), (7, MAJOR), (9, MINOR), (5, MAJOR)), ((0, MINOR), (8, MAJOR), (3, MAJOR), (10, MAJOR)))
"""Chords as semitones above the key, one a bar."""
PENTATONIC = (0, 2, 4, 7, 9, 12, 14, 16)


def music(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A band: chords, a bass, a melody and drums, in some key and tempo. RMS 0.1."""
    beat = 60 / rng.uniform(80, 150)
    key = int(rng.integers(45, 57))
    song = SONGS[rng.integers(len(SONGS))]
    sound = np.zeros(count(seconds + 4 * beat), np.float32)

    def put(at_s: float, one: np.ndarray, level: float) -> None:
        room = sound[count(at_s) :][: len(one)]
        room += level * one[: len(room)]

    for number in range(int(seconds / beat) + 1):
        now = number * beat
        root, chord = song[number // 4 % len(song)]
        if number % 4 == 0:
            for step in chord:
                put(now, _note(key + root + step, 4 * beat, 1.5), 0.25)
        put(now, _note(key + root - 12, beat, 0.4), 0.5)
        for half in (0, 0.5):
            if rng.random() < 0.75:
                put(now + half * beat, _note(key + 12 + rng.choice(PENTATONIC), beat * rng.choice((0.5, 1)), 0.3), 0.4)
            put(now + half * beat, np.diff(_burst(rng, 0.02), prepend=0), 0.3)  # a cymbal has no lows
        put(now, _burst(rng, 0.08) if number % 2 else _drum(), 0.6)
    return at(-20, sound[: count(seconds)])


def _note(semitone: float, seconds: float, decay_s: float) -> np.ndarray:
    """`semitone` as MIDI counts them; partials that fade the sooner the higher they are, with a vibrato."""
    t = np.arange(count(seconds)) / RATE
    phase = 2 * np.pi * 440 * 2 ** ((semitone - 69) / 12) * (t + 0.0001 * np.sin(2 * np.pi * 5 * t))
    partials = sum((np.sin(n * phase) / n * np.exp(-n * t / decay_s / 2) for n in range(1, 7)), 0 * t)
    return faded(partials * (1 - np.exp(-t / 0.01)), min(0.01, seconds / 4))


def _burst(rng: np.random.Generator, decay_s: float) -> np.ndarray:
    t = np.arange(count(4 * decay_s)) / RATE
    return rng.standard_normal(len(t)) * np.exp(-t / decay_s)


def _drum() -> np.ndarray:
    t = np.arange(count(0.25)) / RATE
    sound: np.ndarray = 2 * np.sin(2 * np.pi * (50 * t - 4 * np.exp(-t / 0.03))) * np.exp(-t / 0.08)
    return sound
