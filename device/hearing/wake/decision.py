"""When a score counts as a wake word, and what nearly did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from device.config import Wake
from device.events import NearMiss, WakeHeard

NEAR = 0.5
"""A score above this part of the threshold is a near miss, when it stays one."""
APART_STEPS = 6
"""0.5 s: a score that rises in several waves is of one sound, and when it gets there, of no near miss."""
Heard = WakeHeard | NearMiss
Check = Callable[[str, float], bool]
"""Whether a word may count that was heard in the step that ended at a time (seconds, CLOCK_MONOTONIC)."""


@dataclass(slots=True)
class _Word:
    """What a word has scored lately."""

    name: str
    thresholds: tuple[float, float]
    """While nothing is played, and while we play."""
    patience: int
    steps: int = 0
    """For how many steps it has been at the threshold."""
    peak: float = 0.0
    """The highest score since it came near, 0 when that is over."""
    away: int = 0
    """For how many steps it has not been near."""
    peak_t: float = 0.0
    why: str = "score"
    """Why that did not count."""
    told: bool = False
    """It counted, or comes from a time in which nothing does: it is no near miss."""


class Decision:
    """`checks`, by the name that `NearMiss.why` gives them, are asked in their order whether a word may count."""

    def __init__(self, settings: Wake, checks: Mapping[str, Check]) -> None:
        self._words = [
            _Word(name, (limit, settings.playing_threshold), settings.patiences.get(name, settings.patience))
            for name, limit in settings.threshold_by_word().items()
        ]
        self._checks = checks
        self._refractory_s = settings.refractory_s
        self._deaf_until = 0.0

    def decide(self, scores: Mapping[str, float], t: float, *, playing: bool = False) -> list[Heard]:
        """Take in the scores of the step that ended at `t`; what was heard: at most one word, and near misses that are over.

        `playing`: we are heard in it, and `wake.playing_threshold` is that of all words.
        """
        found: list[Heard] = []
        ready: list[_Word] = []
        for word in self._words:
            score, threshold = scores[word.name], word.thresholds[playing]
            word.steps = word.steps + 1 if score >= threshold else 0
            if word.steps >= word.patience and t >= self._deaf_until:
                ready.append(word)
            if score > threshold * NEAR:
                self._note(word, score, t)
            elif word.peak:
                found += self._leave(word)
        if ready:
            found += self._count(ready, scores, t, playing)
        return found

    def _note(self, word: _Word, score: float, t: float) -> None:
        word.away = 0
        word.told |= t < self._deaf_until
        if score > word.peak:
            word.peak, word.peak_t = score, t
        if word.steps and word.why == "score":
            word.why = "patience"

    def _leave(self, word: _Word) -> list[Heard]:
        """The near miss, once it is over."""
        word.away += 1
        if word.away < APART_STEPS:
            return []
        found: list[Heard] = [] if word.told else [NearMiss(word.name, word.peak, word.peak_t, word.why)]
        word.peak, word.why, word.told = 0.0, "score", False
        return found

    def _count(self, ready: list[_Word], scores: Mapping[str, float], t: float, playing: bool) -> list[Heard]:
        """Of several words the one furthest above its threshold counts, of those that the checks accept."""
        for word in sorted(ready, key=lambda word: word.thresholds[playing] - scores[word.name]):
            why = next((name for name, accepts in self._checks.items() if not accepts(word.name, t)), None)
            if why is None:
                self._deaf_until = t + self._refractory_s
                for one in self._words:
                    one.told = one.told or one.peak > 0
                return [WakeHeard(word.name, scores[word.name], t)]
            word.why = why
        return []
