"""Learns a person's voice from a few samples of a wake word, to tell it from other voices that say the same.

Own samples against the own speech alone, openWakeWord's way, learns the word once more: it took 19 of 20 other voices. So
synthetic voices say the word here, in the noise of the room that the samples were made in and as loud, or it would learn the
noise, and at several pitches, because there are few of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple, Protocol

import numpy as np

from device.audio import RATE
from device.errors import EarshotError, HardwareError, UsageError
from device.hearing.wake.engine import STEP_SAMPLES

Say = Callable[[str, str], np.ndarray]
"""(text, voice) -> speech, int16 mono at 16 kHz; EarshotError where that voice cannot be had."""
SAID = 0.3
"""Score from which on a step belongs to the word: what is clear above the threshold has such steps around it."""
_NEARLY = 0.1
"""The same for other voices: what the model doubts is worth telling apart too."""
_ESPEAK = (
    "en-us", "en-gb-scotland", "en-us+f1", "en-us+f3", "en-gb+f5", "en-us+m1", "en-gb+m3", "en-us+m5", "en-us+m7",
    "en-us+Alicia", "en-us+Gene", "en-gb+linda", "en-us+edward", "en-us+klatt3", "en-us+Diogo", "en-gb+grandma",
)  # fmt: skip
VOICES = (*(f"flite:{name}" for name in ("slt", "rms", "awb", "kal16")), *(f"espeak:{name}" for name in _ESPEAK))
_PITCHES = (0.88, 1.0, 1.14)
"""By these factors a voice is played slower and faster: that changes formants too, as with a shorter person."""
_SPOKEN = {"hey_mycroft": "hey my croft"}
FEWEST = 3
"""Samples, and other voices."""
_NEAR_PITCHES = (0.9, 1.11)
"""The same for the samples: the nearest that another person may be. The synthetic ones all sound synthetic."""
_VARIANTS = ((1.0, 0.0), (0.4, 0.0), (1.6, 0.0), (1.0, 1.0), (0.6, 1.0), (1.0, 2.0))
"""A sample as it is, softer, louder, and with more of the room's noise: gain, and added noise as a part of what there is."""
_SHIFT = 213
"""Samples between the starts of variants: a sixth of a step, as a word may begin anywhere in one."""
_FOLDS = 5
_NOISE_WINDOW = 512


class Engine(Protocol):
    """See `WakeEngine`; for one word alone, so that `features` has the length of its window."""

    features: np.ndarray

    def score(self, samples: np.ndarray) -> Mapping[str, float]: ...

    def reset(self) -> None: ...


class Learned(NamedTuple):
    """A logistic regression: `weights` float32, shape (frames * 96,), and `bias`; and how it does."""

    weights: np.ndarray
    bias: float
    samples: int
    samples_known: int
    """Accepted by a regression that was made without them."""
    others: int
    others_known: int
    """Of other voices, by one that was made without that voice."""


class _Take(NamedTuple):
    """What one person said once: `windows` float32, shape (k, frames * 96), of the steps that have the word."""

    person: int
    windows: np.ndarray


def learn(
    engine: Engine, word: str, samples: Sequence[np.ndarray], strangers: Sequence[tuple[int, np.ndarray]]
) -> Learned:
    """`samples`: int16, 16 kHz, in each of which the person says `word` and `engine` scores at least `SAID`.

    `strangers` are from the function of that name.

    Raises:
        UsageError: too few of either are heard by the model.
    """
    room = _Room(samples)
    own = [_Take(number, _all_windows(engine, word, room.variants(one), SAID)) for number, one in enumerate(samples)]
    if sum(len(take.windows) > 0 for take in own) < FEWEST:
        raise UsageError(f"{word} is heard too faintly in the samples: say it nearer to the microphone.")
    shifted = [
        _Take(number, _all_windows(engine, word, (room.around(one) for one in _played(sample, _NEAR_PITCHES)), _NEARLY))
        for number, sample in enumerate(samples)
    ]
    others = [
        _Take(voice, _windows(engine, word, room.with_stranger(one), _NEARLY))
        for voice, sound in strangers
        for one in _played(sound, _PITCHES)
    ]
    others = [take for take in others if len(take.windows)]
    if len({take.person for take in others}) < FEWEST:
        raise UsageError(
            f'Other voices are needed to tell yours from, but when they say "{spoken(word)}", the model {word} does not hear '
            "its word. Is its file named after what is said?"
        )
    return _learned(own, shifted, others)


def spoken(word: str) -> str:
    """How the name of a word is said."""
    return _SPOKEN.get(word, word.replace("_", " ").replace("-", " "))


def _learned(own: Sequence[_Take], shifted: Sequence[_Take], others: Sequence[_Take]) -> Learned:
    samples_known = others_known = 0
    folds = min(_FOLDS, len(own))
    for fold in range(folds):
        rest = [[take for take in takes if take.person % folds != fold] for takes in (own, shifted, others)]
        weights, bias = _regression(rest[0], rest[1] + rest[2])
        samples_known += sum(_known(take, weights, bias) for take in own if take.person % folds == fold)
        others_known += sum(_known(take, weights, bias) for take in others if take.person % folds == fold)
    weights, bias = _regression(own, [*shifted, *others])
    return Learned(weights, bias, len(own), samples_known, len(others), others_known)


def _known(take: _Take, weights: np.ndarray, bias: float) -> bool:
    """As the detector has it: one step suffices."""
    return bool((take.windows @ weights + bias >= 0).any())


def _regression(own: Sequence[_Take], others: Sequence[_Take]) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    windows = np.concatenate([take.windows for take in (*own, *others)])
    is_own = np.arange(len(windows)) < sum(len(take.windows) for take in own)
    scaler = StandardScaler().fit(windows)
    # With C ten times as large it is too sure of five samples and refuses others of that voice.
    regression = LogisticRegression(C=0.001, class_weight="balanced", max_iter=2000)
    regression.fit(scaler.transform(windows), is_own)
    weights = regression.coef_[0] / scaler.scale_
    return weights.astype(np.float32), float(regression.intercept_[0] - scaler.mean_ @ weights)


def is_installed() -> None:
    """See that there is what it takes to learn; HardwareError where there is not."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise HardwareError(
            "Learning a voice needs scikit-learn, which is not installed: run install.sh again, or "
            "pip install scikit-learn in Earshot's environment."
        ) from None


def strangers(word: str, say: Say) -> Iterator[tuple[int, np.ndarray]]:
    """Other voices that say `word`: the number of the voice, and the sound as `say` gives it.

    Raises:
        HardwareError: there is none on this machine; with the first already.
    """
    missing: dict[str, EarshotError] = {}
    is_silent = True
    texts = (spoken(word), f"{spoken(word)}, what time is it")
    for (number, voice), text in product(enumerate(VOICES), texts):
        program = voice.partition(":")[0]
        if program not in missing:
            try:
                sound = say(text, voice)
            except EarshotError as error:
                missing[program] = error
                continue
            is_silent = False
            yield number, sound
    if is_silent:
        reasons = "; ".join(map(str, missing.values()))
        raise HardwareError(f"Other voices are needed to tell yours from: {reasons}.")


def _played(sound: np.ndarray, pitches: Sequence[float]) -> Iterator[np.ndarray]:
    import samplerate

    for pitch in pitches:
        yield samplerate.resample(sound.astype(np.float32), 1 / pitch, "sinc_fastest")


def _windows(engine: Engine, word: str, sound: np.ndarray, lowest: float) -> np.ndarray:
    """The flattened embeddings of each step with a score of `lowest` or more."""
    engine.reset()
    found = []
    whole = np.clip(sound[: len(sound) // STEP_SAMPLES * STEP_SAMPLES], -32768, 32767).astype(np.int16)
    for step in whole.reshape(-1, STEP_SAMPLES):
        if engine.score(step)[word] >= lowest:
            found.append(engine.features.reshape(-1).copy())
    return np.array(found, np.float32).reshape(-1, engine.features.size)


def _all_windows(engine: Engine, word: str, sounds: Iterable[np.ndarray], lowest: float) -> np.ndarray:
    return np.concatenate([_windows(engine, word, sound, lowest) for sound in sounds])


class _Room:
    """What the samples have in common besides the voice: the noise of the room, and how loud a person is in it."""

    def __init__(self, samples: Sequence[np.ndarray]) -> None:
        self._random = np.random.default_rng(1)
        self._window = np.hanning(_NOISE_WINDOW)
        quiet = np.concatenate([_quiet(sample) for sample in samples])
        self._spectrum = np.sqrt((np.abs(np.fft.rfft(quiet * self._window)) ** 2).mean(axis=0))
        self._loudness = float(np.median([_loudness(sample) for sample in samples]))

    def _noise(self, count: int) -> np.ndarray:
        white = np.fft.rfft(self._random.standard_normal(count))
        bins = np.linspace(0, len(self._spectrum) - 1, len(white))
        shape = np.interp(bins, np.arange(len(self._spectrum)), self._spectrum) / np.sqrt((self._window**2).sum())
        noise: np.ndarray = np.fft.irfft(white * shape, count)
        return noise

    def around(self, sound: np.ndarray) -> np.ndarray:
        """`sound` with a second of the room before and after it: a recording may begin and end with the word."""
        room = self._noise(len(sound) + 2 * RATE)
        room[RATE:-RATE] = sound
        return room

    def variants(self, sample: np.ndarray) -> Iterator[np.ndarray]:
        for number, (gain, noise) in enumerate(_VARIANTS):
            sound = self.around(sample)[number * _SHIFT :]
            yield (sound + noise * self._noise(len(sound))) * gain

    def with_stranger(self, sound: np.ndarray) -> np.ndarray:
        """As if that had been said in the room, somewhat nearer or farther, in more or less noise."""
        level = self._loudness / max(1.0, _loudness(sound)) * 10 ** (self._random.uniform(-8, 4) / 20)
        noise = self._noise(len(sound) + 2 * RATE) * 10 ** (self._random.uniform(-3, 9) / 20)
        noise[RATE:-RATE] += sound * level
        return noise


def _loudness(sound: np.ndarray) -> float:
    """Root mean square of the loudest 80 ms."""
    steps = sound[: len(sound) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES).astype(np.float32)
    return float(np.sqrt((steps**2).mean(axis=1)).max())


def _quiet(sample: np.ndarray) -> np.ndarray:
    """The quietest fifth of the sample, in pieces of 32 ms: float32, shape (k, 512). Digital silence is no room's."""
    pieces = sample[: len(sample) // _NOISE_WINDOW * _NOISE_WINDOW].reshape(-1, _NOISE_WINDOW).astype(np.float32)
    pieces = pieces[pieces.any(axis=1)]
    order = np.argsort((pieces**2).sum(axis=1))
    return pieces[order[: max(1, len(pieces) // 5)]]
