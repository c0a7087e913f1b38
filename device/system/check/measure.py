"""What can be heard in a recording: levels, mains hum, and a chirp. Pure arithmetic on samples."""

import math
from typing import NamedTuple

import numpy as np

from device.audio import FULL_SCALE

SILENT_DBFS = -120.0

CHIRP_S, APART_S = 0.3, 0.46
"""It is played twice, from beginning to beginning so far apart: that is what a voice does not do by chance."""
CHIRP_HZ = (400.0, 6000.0)
"""What the smallest loudspeaker can play, and 16 kHz can hold."""
_FADE_S = 0.02
_STEP_S = 0.02
_APART_STEPS = 23
"""The distance, to a step: a card may lose a period between the two."""
_CLEAR = 13.0
"""So many times as strong as chance. A voice close by reaches 11.6, noise 4.8; a chirp that is 12 dB below the noise 16.5."""

_HUM_SEGMENTS = 3
_HARMONICS = 8
_HUM_RATE = 4000
_DISTINCT = 4.0
"""12 dB above what is between the harmonics."""


class Level(NamedTuple):
    """A channel of a recording. dBFS: 0 is the root mean square of a full-scale square wave."""

    level_dbfs: float
    """Without the direct current; -120 is the least."""
    peak_dbfs: float
    dc: float
    """Part of full scale, with its sign."""
    clipped: float
    """Part of the samples that stand at full scale, two or more in a row."""
    silent: bool
    """Nothing but direct current and rounding: no microphone, however quiet the room, gives so little."""


class Hum(NamedTuple):
    """Mains hum: 50 or 60 Hz and its harmonics together."""

    hertz: int
    level_dbfs: float


class Echo(NamedTuple):
    """A chirp in a recording."""

    at: int
    """The sample at which it begins."""
    level_dbfs: float
    clarity: float
    """How many times as strong as chance."""


def dbfs(amplitude: float) -> float:
    """A root mean square of 0..1 in decibels of full scale."""
    return max(SILENT_DBFS, 20 * math.log10(max(1e-9, amplitude)))


def level(samples: np.ndarray) -> Level:
    """`samples`: int16, one channel, not empty."""
    wave = samples.astype(np.float64) / FULL_SCALE
    dc = float(wave.mean())
    full = (samples >= FULL_SCALE - 1) | (samples <= -FULL_SCALE)
    beside = np.zeros(len(full), bool)
    beside[1:] |= full[:-1]
    beside[:-1] |= full[1:]
    return Level(
        round(dbfs(float(np.sqrt(np.mean((wave - dc) ** 2)))), 1),
        round(dbfs(float(np.abs(wave).max())), 1),
        round(dc, 4),
        float(np.mean(full & beside)),
        int(samples.max()) - int(samples.min()) <= 2,
    )


def hum(samples: np.ndarray, rate: int) -> Hum | None:
    """The hum in `samples` (int16, one channel, at least a second), if there is any, however faint.

    A harmonic counts if it stands out from what is beside it, all the time: a voice of 100 Hz does not hold its pitch.
    """
    step = max(1, rate // _HUM_RATE)  # the mean of so many keeps what is low
    wave = samples[: len(samples) // step * step].reshape(-1, step).mean(axis=1) / FULL_SCALE
    length = len(wave) // _HUM_SEGMENTS
    segments = wave[: length * _HUM_SEGMENTS].reshape(_HUM_SEGMENTS, length)
    window = np.hanning(length)
    segments = (segments - segments.mean(axis=1, keepdims=True)) * window * (2 / window.sum())
    found = [one for hertz in (50, 60) if (one := _hum_of(segments, rate / step, hertz)) is not None]
    return max(found, key=lambda one: one.level_dbfs, default=None)


def _hum_of(segments: np.ndarray, rate: float, hertz: int) -> Hum | None:
    t = np.arange(segments.shape[1]) / rate

    def amplitudes(frequency: float) -> np.ndarray:
        return np.asarray(np.abs(segments @ np.exp(-2j * np.pi * frequency * t)))

    power, harmonics = 0.0, []
    for number in range(1, _HARMONICS + 1):
        line = float(amplitudes(number * hertz).min())
        beside = [amplitudes((number + apart) * hertz) for apart in (-0.45, -0.3, 0.3, 0.45)]
        if line > _DISTINCT * float(np.median(beside)) and line > 1e-5:
            harmonics.append(number)
            power += line**2 / 2
    if len(harmonics) < 2 and 1 not in harmonics:
        return None
    return Hum(hertz, round(dbfs(math.sqrt(power)), 1)) if harmonics else None


def _chirp(rate: int) -> np.ndarray:
    """A tone that rises through `CHIRP_HZ` in `CHIRP_S`, by as much per octave."""
    low, high = CHIRP_HZ
    t = np.arange(round(CHIRP_S * rate)) / rate
    octaves = math.log(high / low)
    wave = np.sin(2 * np.pi * low * CHIRP_S / octaves * (np.exp(t / CHIRP_S * octaves) - 1))
    return np.asarray(wave * _faded(len(t), rate))


def _faded(count: int, rate: int) -> np.ndarray:
    t = np.arange(count) / rate
    return np.asarray(np.clip(np.minimum(t, count / rate - t) / _FADE_S, 0, 1))


def chirp(rate: int) -> np.ndarray:
    """What `find_chirp` seeks, both times: float64 of -1..1."""
    one, apart = _chirp(rate), round(APART_S * rate)
    both = np.zeros(apart + len(one))
    both[: len(one)] = one
    both[apart:] = one
    return both


def find_chirp(samples: np.ndarray, rate: int) -> Echo | None:
    """Where the first chirp is in `samples` (int16, one channel), or None if it is not heard.

    By correlation with the whole of it: it is found below the noise of the room, behind hum, and among echoes.
    """
    wave, sought, step = samples.astype(np.float64) / FULL_SCALE, _chirp(rate), round(rate * _STEP_S)
    places = len(wave) - len(sought)
    if places < (_APART_STEPS + 3) * step:
        return None
    size = 1 << (len(wave) + len(sought)).bit_length()
    wave = (wave - wave.mean()) * _faded(len(wave), rate)  # or hum that breaks off would click
    spectrum = np.fft.rfft(wave, size) * np.conj(np.fft.rfft(sought, size))
    match = np.abs(_analytic(spectrum, size)[:places])
    chance = max(float(np.median(match)) / 1.177, 1e-9)  # of noise, the envelope's median is 1.177 of its deviation
    steps = len(match) // step
    tops = match[: steps * step].reshape(steps, step).max(axis=1)
    around = np.maximum(np.maximum(tops[:-2], tops[1:-1]), tops[2:])
    both = np.minimum(tops[1:-1][:-_APART_STEPS], around[_APART_STEPS:])
    first = int(np.argmax(both))
    if both[first] < _CLEAR * chance:
        return None
    at = (first + 1) * step
    at += int(np.argmax(match[at : at + step]))
    energy = float(np.sum(sought**2))
    return Echo(at, round(dbfs(match[at] / math.sqrt(energy * len(sought))), 1), round(float(both[first]) / chance, 1))


def _analytic(spectrum: np.ndarray, size: int) -> np.ndarray:
    """The signal of a one-sided spectrum whose size is its envelope."""
    whole = np.zeros(size, complex)
    whole[: len(spectrum)] = 2 * spectrum
    return np.asarray(np.fft.ifft(whole))
