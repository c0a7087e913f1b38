"""Wake words in recordings, with the settings and the detector that the speaker uses."""

import wave
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, SILENT_FRAME, Frame
from device.config import Wake
from device.errors import UsageError
from device.events import NearMiss, StopWordHeard, WakeHeard
from device.hearing.microphone import Converter
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import STEP_SAMPLES, WakeEngine

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
STEP_FRAMES = STEP_SAMPLES // FRAME_SAMPLES
SLICE_SAMPLES = 40
"""2.5 ms: what a picture of a recording knows of its sound."""
WHY = {
    "score": "below the threshold",
    "patience": "too short for wake.patience",
    "level": "softer than wake.min_level_dbfs",
    "speech": "not speech, says the speech detector",
    "voice": "nobody who is enrolled",
    "playback": "our own voice",
    "echo": "our own echo",
}
"""What `NearMiss.why` means."""
_AFTER = 80
"""Silent frames after the end: 1.6 s. Measured in 180 words, a score first passes 0.5 up to 0.4 s after the end of the word,
and last up to 1.0 s after it; a near miss is told half a second later."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What the detector made of a recording. The `audio_t` of its events is in seconds of the recording."""

    found: tuple[WakeHeard | NearMiss, ...]
    scores: dict[str, np.ndarray]
    """Per word float32, one per step of 80 ms, NaN where the network rested."""
    lowest: np.ndarray
    highest: np.ndarray
    """Of the samples (int16) of each `SLICE_SAMPLES`."""


def search(paths: Sequence[Path], settings: Wake, plot: Path | None) -> Iterator[str]:
    """The lines of `earshot wake`; `plot` is drawn.

    Raises as `trace`, and as `picture.check_place` before anything is heard.
    """
    if plot:
        from device.hearing.wake import picture

        if len(paths) > 1:
            raise UsageError(f"--plot draws one recording, and {len(paths)} were given.")
        picture.check_place(plot)
    for path in paths:
        seen = trace(path, settings)
        for one in seen.found:
            what, why = (
                (f"near miss of {one.word}", f" ({WHY[one.why]})") if isinstance(one, NearMiss) else (one.word, "")
            )
            yield f"{path}: {what} at {one.audio_t:.2f} s, score {one.score:.3f}{why}"
        if not any(isinstance(one, WakeHeard) for one in seen.found):
            yield f"{path}: no {' or '.join(seen.scores)}"
        if plot:
            picture.draw_trace(seen, settings, path.name, plot)


def trace(path: Path, settings: Wake) -> Trace:
    """Search the WAV file at `path` (16 bit, any rate, first channel).

    Raises:
        UsageError: it is no such file.
    """
    engine = _Watched(word_paths(settings.words))
    detector = WakeDetector(settings, engine)
    found: list[WakeHeard | NearMiss] = []
    scores = {name: array("f") for name in word_paths(settings.words)}
    lowest, highest = array("h"), array("h")
    for number, pcm in enumerate(chain(frames(path), repeat(SILENT_FRAME, _AFTER)), 1):
        slices = np.frombuffer(pcm, np.int16).reshape(-1, SLICE_SAMPLES)
        lowest.frombytes(slices.min(axis=1).tobytes())
        highest.frombytes(slices.max(axis=1).tobytes())
        found += (one for one in detector.hear(Frame(pcm, number * FRAME_S)) if not isinstance(one, StopWordHeard))
        if number % STEP_FRAMES == 0:
            engine.fill(scores, number // STEP_FRAMES)
    return Trace(
        tuple(found),
        {name: np.frombuffer(values, np.float32) for name, values in scores.items()},
        np.frombuffer(lowest, np.int16),
        np.frombuffer(highest, np.int16),
    )


class _Watched(WakeEngine):
    """Keeps what it scored. After a rest it is given several steps at once, of which the last is the present one."""

    def __init__(self, words: Mapping[str, Path]) -> None:
        self._fresh: list[dict[str, float]] = []
        super().__init__(words)

    def score(self, samples: np.ndarray) -> Mapping[str, float]:
        scores = super().score(samples)
        self._fresh.append(dict(scores))
        return scores

    def fill(self, scores: Mapping[str, "array[float]"], steps: int) -> None:
        """Bring `scores` up to the present step, the last of `steps`."""
        for name, values in scores.items():
            values.extend([float("nan")] * (steps - len(values)))
            for back, step in enumerate(reversed(self._fresh[-steps:]), 1):
                values[-back] = step[name]
        self._fresh.clear()


def frames(path: Path) -> Iterator[bytes]:
    """Its sound in frames of 20 ms. Raises as `trace`."""
    with _opened(path) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        converter = Converter(rate, channels, 0)
        while pcm := file.readframes(rate // 10):
            yield from converter.frames(pcm[: len(pcm) // (2 * channels) * 2 * channels])  # its end may be torn


def check(path: Path) -> None:
    """See that it is a recording of something. Raises as `trace`."""
    with _opened(path) as file:
        least = file.getframerate() // 10
        if len(file.readframes(least)) < 2 * file.getnchannels() * least:
            raise UsageError(f"{path} holds less than a tenth of a second of sound.")


@contextmanager
def _opened(path: Path) -> Iterator[wave.Wave_read]:
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                raise UsageError(f"{path} has {8 * file.getsampwidth()} bits a sample; 16 are needed.")
            if not LOWEST_RATE <= file.getframerate() <= HIGHEST_RATE:
                raise UsageError(f"{path} says that it has {file.getframerate()} samples a second: it is damaged.")
            yield file
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (wave.Error, EOFError, RuntimeError) as error:  # RuntimeError: a chunk that is longer than its file
        reason = str(error) or "it is cut short"
        raise UsageError(f"{path} is no WAV file that can be read ({reason}).") from None
