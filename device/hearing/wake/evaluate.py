"""Words missed against false alarms: what each threshold would come to on an owner's own recordings."""

import dataclasses
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from device.audio import FRAME_S, SILENT_FRAME, Frame
from device.config import Wake
from device.errors import UsageError
from device.events import StopWordHeard, WakeHeard
from device.hearing.wake.decision import Check, Decision, Heard
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import WakeEngine
from device.hearing.wake.files import STEP_FRAMES, check, frames
from device.settings import toml

THRESHOLDS = (*(n / 20 for n in range(1, 20)), 0.97, 0.98, 0.99, 0.995)
NAMED = 20
"""Bad files that are told one by one."""
_PROGRESS_FRAMES = 1500


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """What a threshold comes to."""

    threshold: float | None
    """None: those in force."""
    missed: int
    """Words, of which `nearly` were near misses."""
    nearly: int
    alarms: int
    """False ones, beside `near` near misses in what is no wake word."""
    near: int

    @property
    def name(self) -> str:
        return "in force" if self.threshold is None else f"{self.threshold:.3f}".removesuffix("0")


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """Of `words` wake words, and of `hours` of other sound."""

    words: int
    hours: float
    rows: tuple[Row, ...]
    in_force: Row

    def missed_percent(self, row: Row) -> float:
        return 100 * row.missed / self.words

    def alarms_an_hour(self, row: Row) -> float:
        return row.alarms / self.hours


def recordings(positive: Path, negative: Path) -> tuple[list[Path], list[Path]]:
    """The WAV files below each of the two directories, in order of their names.

    Raises:
        UsageError: there is none below one of them, or one cannot be used; with every such file.
    """
    found = [sorted(path for path in one.rglob("*") if path.suffix.lower() == ".wav") for one in (positive, negative)]
    problems = [
        f"{one} holds no WAV file (.wav), nor do the directories in it." if one.is_dir() else f"{one} is no directory."
        for one, paths in zip((positive, negative), found, strict=True)
        if not paths
    ]
    if both := {path.resolve() for path in found[0]} & {path.resolve() for path in found[1]}:
        problems.append(f"{min(both)} is in both: a recording either holds a wake word or does not.")
    for path in dict.fromkeys(found[0] + found[1]):
        try:
            check(path)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        more = [f"and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
        raise UsageError("\n  - ".join(["nothing was evaluated:", *problems[:NAMED], *more]))
    return found[0], found[1]


def evaluate(
    positive: Sequence[Path], negative: Sequence[Path], settings: Wake, progress: Callable[[int, float], None]
) -> Evaluation:
    """Hear all recordings: in each `positive` one a wake word is said once, in the `negative` ones never.

    For every threshold the speaker's own detector decides, with all other settings as they are; the network runs once for
    all of them. What is in force has a detector of its own, whose network rests in silence, if the speaker's does.
    `progress` is told how many recordings and how many seconds of sound have been heard.

    Raises:
        UsageError: a file is no recording.
    """
    room = _Room(settings, progress)
    missed, alarms = np.zeros((2, len(THRESHOLDS) + 1, 2), int)
    for path in positive:
        heard, near = room.hear(path).T
        missed += np.stack([heard == 0, (heard == 0) & (near > 0)], axis=1)
    before_s = room.seconds
    for path in negative:
        alarms += room.hear(path)
    counts = np.hstack([missed, alarms]).tolist()
    rows = tuple(Row(threshold, *row) for threshold, row in zip((*THRESHOLDS, None), counts, strict=True))
    return Evaluation(len(positive), (room.seconds - before_s) / 3600, rows[:-1], rows[-1])


class _Room:
    """Where recordings are heard one after the other, with silence between them."""

    def __init__(self, settings: Wake, progress: Callable[[int, float], None]) -> None:
        self._counts = np.zeros((len(THRESHOLDS) + 1, 2), int)
        engine = WakeEngine(word_paths(settings.words))
        every = partial(_EveryThreshold, self._counts[:-1])
        self._every = WakeDetector(dataclasses.replace(settings, always_on=True), engine, decision=every)
        self._in_force = WakeDetector(settings, engine.twin())
        self._pause_s = settings.refractory_s
        self._silence = STEP_FRAMES * engine.steps_back
        self._progress = progress
        self._frames = self._files = 0
        self._now = 0.0
        self.seconds = 0.0
        """Of recordings, heard so far."""

    def hear(self, path: Path) -> np.ndarray:
        """How many wake words and near misses each threshold finds, and what is in force: int, shape (n + 1, 2)."""
        self._counts[:] = 0
        for pcm in frames(path):
            self._frame(pcm)
            self.seconds += FRAME_S
            if self._frames % _PROGRESS_FRAMES == 0:
                self._progress(self._files, self.seconds)
        for _ in range(-self._frames % STEP_FRAMES + self._silence):  # the next one begins with a step
            self._frame(SILENT_FRAME)
        self._now += self._pause_s
        self._files += 1
        return self._counts.copy()

    def _frame(self, pcm: bytes) -> None:
        self._frames += 1
        self._now += FRAME_S
        frame = Frame(pcm, self._now)
        self._every.hear(frame)
        _count(self._in_force.hear(frame), self._counts[-1])


class _EveryThreshold:
    """In the place of a detector's `Decision`, one for each threshold; what they find is counted, and not told."""

    def __init__(self, counts: np.ndarray, settings: Wake, checks: Mapping[str, Check]) -> None:
        self._counts = counts
        self._decisions = [
            Decision(dataclasses.replace(settings, threshold=t, thresholds={}), checks) for t in THRESHOLDS
        ]

    def decide(self, scores: Mapping[str, float], t: float, *, playing: bool) -> list[Heard]:
        for decision, counts in zip(self._decisions, self._counts, strict=True):
            _count(decision.decide(scores, t, playing=playing), counts)
        return []


def _count(found: Sequence[Heard | StopWordHeard], counts: np.ndarray) -> None:
    for one in found:
        counts[0 if isinstance(one, WakeHeard) else 1] += not isinstance(one, StopWordHeard)


def compare(
    positive: Path, negative: Path, settings: Wake, plot: Path, passing: Callable[[str], None]
) -> Iterator[str]:
    """The lines of `earshot wake --evaluate`; `plot` is drawn. `passing` shows how far it is.

    Raises as `recordings`, and as `picture.check_place` before anything is heard.
    """
    from device.hearing.wake.picture import check_place, draw_evaluation

    words, other = recordings(positive, negative)
    check_place(plot)

    def progress(count: int, seconds: float) -> None:
        passing(f"{count} of {len(words) + len(other)} recordings, {seconds / 60:.0f} min")

    try:
        evaluation = evaluate(words, other, settings, progress)
    finally:
        passing("")
    yield from report(evaluation, settings)
    draw_evaluation(evaluation, settings, plot)
    yield f"\nThe picture of it is {plot}."


def report(evaluation: Evaluation, settings: Wake) -> list[str]:
    """The settings in force, the table by threshold, and what it means."""
    values = [f"{one.name} = {toml(getattr(settings, one.name))}" for one in dataclasses.fields(settings)]
    hard = ", ".join(value.replace(" ", "\xa0") for value in values)  # a line ends between settings only
    wrapped = textwrap.wrap(
        f"In force: {hard}", 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    lines = [line.replace("\xa0", " ") for line in wrapped]
    of, hours = evaluation.words, evaluation.hours
    heard = duration(hours)
    lines += [
        "",
        f"{'':10}{f'of {of} words':>20}{f'in {heard} of other sound':>36}",
        f"{'threshold':10}{'missed':>7}{'%':>7}{'nearly':>8}{'false alarms':>16}{'an hour':>9}{'near misses':>13}",
    ]
    for row in (*evaluation.rows, evaluation.in_force):
        lines.append(
            f"{row.name:10}{row.missed:7}{evaluation.missed_percent(row):7.1f}{row.nearly:8}"
            f"{row.alarms:16}{evaluation.alarms_an_hour(row):9.1f}{row.near:13}"
        )
    if not evaluation.in_force.alarms:
        # The rule of three: of a Poisson process without an event, the upper end of the 95 % interval is 3 / time.
        fewer = 3 / hours
        number = f"{fewer:.0f}" if fewer >= 10 else f"{fewer:.2g}"
        lines += ["", f"No false alarm in {heard} says that there are fewer than {number} an hour, 19 times in 20."]
    return lines


def duration(hours: float) -> str:
    """For people."""
    return f"{hours:.2f} h" if hours >= 1 else f"{hours * 60:.1f} min"
