"""Wake words that the speaker says itself."""

from collections.abc import Iterable

from device.audio import FRAME_S, SILENT_FRAME, Chunks, Frame
from device.config import Wake
from device.hearing.wake.decision import NEAR
from device.hearing.wake.engine import STEP_SAMPLES, WakeEngine

OWN_S = 1.0
"""What the microphone hears within this time of our own saying it, is our own: drivers do not know their latency well."""
_GAP_S = 0.1
_TAIL_FRAMES = 20
"""0.4 s, of which up to 60 ms make no whole step: at half the threshold a word is first seen up to 0.26 s after its end."""


class Playback:
    """Listens to the reference signal: what is played. `engine` is for this alone; it knows `stop_words` (names) as well."""

    def __init__(self, settings: Wake, engine: WakeEngine, stop_words: Iterable[str] = ()) -> None:
        self._engine = engine
        limits = {name: min(limit, settings.playing_threshold) for name, limit in settings.threshold_by_word().items()}
        limits |= dict.fromkeys(stop_words, settings.threshold)
        self._near = {name: limit * NEAR for name, limit in limits.items()}
        self._steps = Chunks(STEP_SAMPLES)
        self._said: dict[str, float] = {}
        """When each word was said last (seconds, CLOCK_MONOTONIC)."""
        self._until = float("-inf")
        """When what was played last is heard to its end."""
        self._over = True
        """The tail after it has been looked at."""

    def take(self, frame: Frame) -> None:
        """Take in the next frame that is played; after a gap it begins anew."""
        if frame.t - self._until > _GAP_S:
            self._engine.reset()
            self._steps.clear()
        self._until, self._over = frame.t, False
        self._hear(frame)

    def is_not_ours(self, word: str, t: float) -> bool:
        """Whether a `word` that the microphone heard at `t` was said by somebody else."""
        if self._is_far(word, t) and not self._over:
            self._finish()
        return self._is_far(word, t)

    def _is_far(self, word: str, t: float) -> bool:
        return abs(t - self._said.get(word, float("-inf"))) > OWN_S

    def _finish(self) -> None:
        """See now what is in steps that are not whole yet: the microphone's steps end at other times, and nothing tells of
        silence after the last of them. If something is played on, it is heard as after a pause."""
        self._over = True
        for number in range(1, _TAIL_FRAMES + 1):
            self._hear(Frame(SILENT_FRAME, self._until + number * FRAME_S))

    def _hear(self, frame: Frame) -> None:
        step = self._steps.add(frame.pcm)
        if step is None:
            return
        for word, score in self._engine.score(step).items():
            if score > self._near[word]:
                self._said[word] = frame.t
