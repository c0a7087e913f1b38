"""Wake words in a stream of frames: the networks, when they run, and what their scores mean."""

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from device.audio import FRAME_SAMPLES, FULL_SCALE, Chunks, Frame
from device.checks import STOP, word_name
from device.config import Wake
from device.events import NearMiss, StopWordHeard, WakeHeard
from device.hearing.models import bundled
from device.hearing.speech import CHUNK_SAMPLES, ON, Silero
from device.hearing.wake.decision import Check, Decision, Heard
from device.hearing.wake.engine import STEP_SAMPLES, WakeEngine
from device.hearing.wake.gate import Gate
from device.hearing.wake.playback import Playback
from device.hearing.wake.verifier import Verifier

_WORD_STEPS = 15
"""1.2 s: a wake word, and the time until it is seen."""
_KEPT_STEPS = 26
"""As many as make up a score of a built-in word."""
_WORD_S = 1.2
"""A word that began over playback counts by the threshold for that, though playback ends in the middle of it: who talks over it
ends it."""
_AFTER_S = 3.0
"""A stop word counts so long after playback ended: somebody who talked over it ended that, and a timer rings every 3 s only
(`brain.RING_EVERY_S`). Where there is nothing to stop the brain ignores it."""


class Engine(Protocol):
    """What gives scores; see `WakeEngine.score`."""

    def score(self, samples: np.ndarray) -> Mapping[str, float]: ...


class Decides(Protocol):
    """What makes wake words of scores; see `Decision`."""

    def decide(self, scores: Mapping[str, float], t: float, *, playing: bool) -> list[Heard]: ...


def word_paths(words: tuple[str, ...]) -> dict[str, Path]:
    """The model file of each word, by the name that events call it.

    Raises:
        HardwareError: a built-in model is missing.
    """
    return {word_name(word): Path(word) if word.endswith(".onnx") else bundled(f"{word}_v0.1.onnx") for word in words}


def stop_paths(words: tuple[str, ...]) -> dict[str, Path]:
    """The same of stop words. The built-in one is a model of our own, made by tests/bench/stop_word.py."""
    return {word_name(word): Path(__file__).with_name("stop.onnx") if word == STOP else Path(word) for word in words}


class WakeDetector:
    """Wake words in a stream of frames, and while we play, stop words, which are models of the same kind.

    Raises what `WakeEngine` and `Verifier` raise.

    Any `engine` will do for the scores; only a `WakeEngine` has embeddings to know a voice by, and a twin to hear playback.
    """

    def __init__(
        self,
        settings: Wake,
        engine: Engine | None = None,
        *,
        decision: Callable[[Wake, Mapping[str, Check]], Decides] = Decision,
    ) -> None:
        paths = word_paths(settings.words)
        stops = stop_paths(settings.stop_words)
        engine = WakeEngine(paths | stops) if engine is None else engine
        checks: dict[str, Check] = {"level": self._is_loud, "echo": self._is_left}
        kept_steps = _KEPT_STEPS
        self._playback: Playback | None = None
        self._stops: Decision | None = None
        if isinstance(engine, WakeEngine):
            stops = {name: path for name, path in stops.items() if name in engine.names}
            features, kept_steps = engine.features, engine.steps_back
            self._playback = Playback(settings, engine.twin(), stops)
            checks["playback"] = self._playback.is_not_ours
            verifier = Verifier(Path(settings.voices), paths)
            checks["voice"] = lambda word, _: verifier.accepts(word, features)
        if settings.confirm_speech:
            self._silero = Silero()
            self._silero_heard = -_WORD_STEPS
            """Steps that it has heard, of the sound that it was asked about last."""
            self._speech = 0.0
            """How much of it was speech at most."""
            checks["speech"] = self._is_speech
        self._engine = engine
        self._decision = decision(settings, checks)
        if stops and isinstance(engine, WakeEngine):
            words = tuple(map(str, stops.values()))
            like_wake_words = dataclasses.replace(settings, words=words, playing_threshold=settings.threshold)
            self._stops = Decision(like_wake_words, checks)
        self._played_t = float("-inf")
        self._passed: deque[bool] = deque(maxlen=_WORD_STEPS * STEP_SAMPLES // FRAME_SAMPLES)
        """Of the last frames: whether more of them passed the whole canceller than may be our own."""
        self._min_level = 10 ** (settings.min_level_dbfs / 20) * FULL_SCALE
        self._gate = None if settings.always_on else Gate()
        self._steps = Chunks(STEP_SAMPLES)
        self._kept = np.zeros((kept_steps, STEP_SAMPLES), np.int16)
        """The last steps of sound, a ring."""
        self._kept_t = np.zeros(kept_steps)
        """Capture time of the last sample of each."""
        self._step = 0
        """Number of the next step."""
        self._heard = 0
        """Steps that were given to the networks, or are too old to matter."""

    def hear(
        self, frame: Frame, *, may_rest: bool = True, playing: bool = False, passed: bool = True
    ) -> Sequence[Heard | StopWordHeard]:
        """Take in the next frame; what was heard with it.

        The networks rest in silence where they `may_rest`. `playing`: our own sound is in the frame, and `passed`: the whole
        canceller let more of it through than may be our own. Words of which it let nothing through were our own.
        """
        self._passed.append(passed or not playing)
        step = self._steps.add(frame.pcm)
        if step is None:
            return ()
        if playing:
            self._played_t = frame.t
        place = self._step % len(self._kept)
        self._kept[place], self._kept_t[place] = step, frame.t
        self._step += 1
        if self._gate is not None and not self._gate.open(step) and may_rest:
            return ()
        found: list[Heard | StopWordHeard] = []
        # What was not listened to is made up for: then the scores are as if it had been.
        for number in range(max(self._heard, self._step - len(self._kept)), self._step):
            self._heard = number + 1
            place = number % len(self._kept)
            scores, t = self._engine.score(self._kept[place]), float(self._kept_t[place])
            found += self._decision.decide(scores, t, playing=t - self._played_t <= _WORD_S)
            if self._stops is not None:
                found += self._stopped(self._stops, scores, t)
        return found

    def _stopped(self, stops: Decision, scores: Mapping[str, float], t: float) -> list[NearMiss | StopWordHeard]:
        """The stop word that counts, and near misses, where we play or did a moment ago."""
        if t - self._played_t > _AFTER_S:
            return []
        heard = stops.decide(scores, t, playing=True)
        return [StopWordHeard(one.word, one.audio_t) if isinstance(one, WakeHeard) else one for one in heard]

    def played(self, frame: Frame) -> None:
        """Take in the next frame of the reference signal; its `t` is when its last sample is heard."""
        if self._playback is not None:
            self._playback.take(frame)

    def _word(self) -> np.ndarray:
        """The sound of the last word, up to the step that is being decided on: int16, shape (steps, 1280)."""
        first = max(self._heard - _WORD_STEPS, self._step - len(self._kept), 0)
        return self._kept[np.arange(first, self._heard) % len(self._kept)]

    def _is_loud(self, word: str, t: float) -> bool:
        """Whether any 80 ms of it reach the minimum level, as root mean square."""
        return bool(np.sqrt((self._word().astype(np.float32) ** 2).mean(axis=1)).max() >= self._min_level)

    def _is_left(self, word: str, t: float) -> bool:
        """Whether the whole canceller let anything of it through."""
        return any(self._passed)

    def _is_speech(self, word: str, t: float) -> bool:
        new = self._heard - self._silero_heard
        if new > _WORD_STEPS:  # another sound; asked about the next step of the same, it goes on where it was
            self._silero.reset()
            self._speech = 0.0
        for chunk in self._word()[-new:].reshape(-1, CHUNK_SAMPLES) if new else ():
            self._speech = max(self._speech, self._silero(chunk))
        self._silero_heard = self._heard
        return self._speech >= ON
