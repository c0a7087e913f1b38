"""A room with our speaker in it: what its microphone hears of the loudspeaker and of people. Float32, mono, 16 kHz.

Full scale is 1. Impulse responses are of image sources in a box. The loudspeaker plays no lows and distorts what is loud; the
card's clocks drift against each other, and the delay between writing and hearing may step.
"""

from collections.abc import Sequence

import numpy as np

from tests.room.sounds import RATE, at, count, noise

SPEED_OF_SOUND = 343.0
SIZE_M = (4.6, 5.3, 2.6)
MICROPHONE_HZ = 80.0
"""Below it the microphone hears less and less: images of a source add up there as no walls do."""
BLOCK = 1 << 15
TAPS = 32
"""Of the interpolation between samples; its error is below -80 dB up to 7 kHz."""


class Room:
    """One place of the speaker, its owner and the walls.

    `rt_s`: after which time a sound has faded by 60 dB (0.2 to 0.6). `distortion`: of a full-scale tone, as a part of its
    amplitude (0: an ideal loudspeaker). `lowest_hz`: below it the loudspeaker gets quieter, by 12 dB an octave.
    """

    def __init__(
        self, rng: np.random.Generator, rt_s: float = 0.25, distortion: float = 0.03, lowest_hz: float = 150.0
    ) -> None:
        self._distortion = distortion
        self._lowest_hz = lowest_hz
        here = np.array(SIZE_M) * rng.uniform((0.2, 0.1, 0.3), (0.8, 0.3, 0.45))
        away = rng.standard_normal(3)
        loudspeaker = here + away / np.linalg.norm(away) * rng.uniform(0.05, 0.1)
        person = np.array(SIZE_M) * rng.uniform((0.2, 0.5, 0.5), (0.8, 0.9, 0.7))
        self.speaker_response = response(rng, loudspeaker, here, rt_s)
        """From the loudspeaker to the microphone, without the way through the air of what comes first; its RMS gain is 0 dB."""
        self.person_response = response(rng, person, here, rt_s)
        """From somebody's mouth to the microphone, as above."""

    def echo(
        self,
        played: np.ndarray,
        delay_ms: float = 60.0,
        gain_db: float = -10.0,
        drift_ppm: float = 0.0,
        steps: Sequence[tuple[float, float]] = (),
    ) -> np.ndarray:
        """What the microphone hears of `played` (int16 or float): as long as that, and `delay_ms` late.

        `gain_db`: how much louder it is on the whole than what is played. `drift_ppm`: by how much the loudspeaker's clock is
        slower than the microphone's. `steps`: (from when on in seconds, what the delay is then in ms).
        """
        sound = played.astype(np.float32) / (32768.0 if played.dtype == np.int16 else 1.0)
        sound = convolved(self._loudspeaker(sound), self.speaker_response)[: len(sound)]
        heard = np.zeros(len(sound), np.float32)
        edges = [0, *(count(at_s) for at_s, _ in steps), len(sound)]
        for start, end, delay in zip(edges, edges[1:], [delay_ms, *(ms for _, ms in steps)], strict=False):
            heard[start:end] = late(sound, start, min(end, len(sound)), delay * RATE / 1000, drift_ppm)
        return heard * np.float32(10 ** (gain_db / 20))

    def person(self, said: np.ndarray, dbfs: float) -> np.ndarray:
        """What the microphone hears of somebody who says `said` (int16 or float): at that RMS, and then the room's tail."""
        heard = convolved(said.astype(np.float32), self.person_response)
        level = np.sqrt(np.mean(np.square(heard[: len(said)], dtype=np.float64)))
        return heard * np.float32(10 ** (dbfs / 20) / level)

    def _loudspeaker(self, sound: np.ndarray) -> np.ndarray:
        """The cone goes less and less far, and not equally far both ways."""
        bent = sound - self._distortion * sound**3 + 0.5 * self._distortion * sound**2 if self._distortion else sound
        return convolved(bent, high_pass(self._lowest_hz))[: len(sound)]


def response(rng: np.random.Generator, source: np.ndarray, microphone: np.ndarray, rt_s: float) -> np.ndarray:
    """Impulse response between two places in the box (metres), begun with its first sound: energy 1, float32."""
    size = np.array(SIZE_M)
    surface = 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    reflects = np.exp(-0.161 * size.prod() / (surface * rt_s) / 2)  # amplitude; Eyring's formula
    reach = SPEED_OF_SOUND * rt_s
    grids = [np.arange(-int(reach / (2 * side)) - 1, int(reach / (2 * side)) + 2) for side in size]
    n = np.stack(np.meshgrid(*grids, indexing="ij"), -1).reshape(-1, 3)
    far, gain = [], []
    for mirror in np.ndindex(2, 2, 2):
        images = 2 * n * size + np.where(mirror, -source, source)
        distance = np.linalg.norm(images - microphone, axis=1)
        bounces = np.abs(n - np.array(mirror)).sum(1) + np.abs(n).sum(1)
        near = distance < reach
        wobble = np.where(bounces[near] > 0, rng.normal(0, 0.05, near.sum()), 0)  # furniture: no wall is a mirror
        far.append(np.abs(distance[near] + wobble))
        gain.append(reflects ** bounces[near] / distance[near])
    samples = np.concatenate(far) / SPEED_OF_SOUND * RATE
    samples -= samples.min()
    whole, part = samples.astype(int), samples % 1
    amplitude = np.concatenate(gain)
    length = int(whole.max()) + 2
    made = np.bincount(whole, amplitude * (1 - part), length) + np.bincount(whole + 1, amplitude * part, length)
    made = convolved(made, high_pass(MICROPHONE_HZ))
    return (made / np.sqrt(np.sum(made**2))).astype(np.float32)


def high_pass(hertz: float) -> np.ndarray:
    """Impulse response of a high-pass of second order."""
    t = np.arange(count(8 / hertz)) / RATE
    w = 2 * np.pi * hertz
    lows = np.exp(-w * t) * (2 * w - w * w * t) / RATE
    lows /= lows.sum()
    highs: np.ndarray = -lows
    highs[0] += 1
    return highs


def convolved(sound: np.ndarray, by: np.ndarray) -> np.ndarray:
    """`sound` through the impulse response `by`; longer by that, float32."""
    size = 1 << int(np.ceil(np.log2(max(len(by) * 2, min(BLOCK, len(sound) + len(by))))))
    step = size - len(by) + 1
    spectrum = np.fft.rfft(by, size)
    whole = np.zeros(len(sound) + size, np.float32)
    for start in range(0, len(sound), step):
        whole[start : start + size] += np.fft.irfft(np.fft.rfft(sound[start : start + step], size) * spectrum, size)
    return whole[: len(sound) + len(by) - 1]


def late(sound: np.ndarray, start: int, end: int, samples: float, drift_ppm: float) -> np.ndarray:
    """`sound[start:end]` as it is heard `samples` late by a clock that is slow by `drift_ppm`; silence before its start."""
    if drift_ppm == 0 and samples == int(samples):
        begin = start - int(samples)
        silent = np.zeros(min(max(0, -begin), end - start), np.float32)
        return np.concatenate((silent, sound[max(0, begin) : max(0, end - int(samples))]))
    heard = np.zeros(end - start, np.float32)
    offsets = np.arange(-TAPS // 2 + 1, TAPS // 2 + 1)
    padded = np.concatenate((np.zeros(TAPS, np.float32), sound, np.zeros(TAPS, np.float32)))
    for begin in range(start, end, BLOCK):
        place = np.arange(begin, min(begin + BLOCK, end)) * (1 - drift_ppm * 1e-6) - samples
        whole = np.floor(place).astype(int)
        x = (place - whole)[:, None] - offsets
        weights = np.sinc(x) * np.kaiser(4097, 8.0)[np.clip((x / TAPS + 0.5) * 4096, 0, 4096).astype(int)]
        where = np.clip(whole[:, None] + offsets + TAPS, 0, len(padded) - 1)
        heard[begin - start :][: len(place)] = np.sum(padded[where] * weights, axis=1)
    return heard


def floor(rng: np.random.Generator, seconds: float, dbfs: float = -65.0) -> np.ndarray:
    """The noise of a quiet room and of the microphone."""
    return at(dbfs, noise(rng, seconds))


def to_pcm(sound: np.ndarray) -> np.ndarray:
    """As the card gives it: int16, clipped."""
    clipped: np.ndarray = np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)
    return clipped
