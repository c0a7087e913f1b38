"""Pictures of what the detector makes of recordings: scores over a waveform, and words missed against false alarms."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, groupby
from pathlib import Path
from typing import Any

import numpy as np

from device.audio import FULL_SCALE, RATE
from device.config import Wake
from device.errors import HardwareError, UsageError
from device.events import NearMiss, WakeHeard
from device.hearing.wake.decision import NEAR
from device.hearing.wake.engine import STEP_S
from device.hearing.wake.evaluate import Evaluation, duration
from device.hearing.wake.files import SLICE_SAMPLES, Trace

INK, DIM, FAINT, PAPER, REST = "#23282d", "#4c555c", "#8a939b", "#ffffff", "#eef1f3"
SOUND, HEARD, MISSED, ALARM = "#2f6b9a", "#2a7d4f", "#b5651d", "#b3202c"
WORDS = ("#23282d", "#6a4c93", "#b3202c", "#b5651d", "#2a7d4f", "#2f6b9a")
COLUMNS = 3000  # of a waveform: two per pixel
SEEN_STEPS = 250  # up to so many are seen as dots
THRESHOLD: Any = {"linewidth": 1, "linestyle": (0, (6, 4))}
NEARLY: Any = {"linewidth": 0.8, "linestyle": (0, (1, 4))}
CROWD = 40  # detections and near misses
CHARACTER = 0.0056  # of the time axis: an average letter


def draw_trace(trace: Trace, settings: Wake, name: str, path: Path) -> None:
    """Draw the recording called `name` as a PNG of 1600 by 800 pixels: waveform, scores, thresholds, what was found.

    Raises:
        HardwareError: matplotlib is missing.
        UsageError: the file cannot be written.
    """
    heard = sum(isinstance(one, WakeHeard) for one in trace.found)
    near = len(trace.found) - heard
    found = f"{heard} wake {'word' if heard == 1 else 'words'}, {near} near {'miss' if near == 1 else 'misses'}"
    with _figure(path, name, found) as figure:
        sound, scores = figure.subplots(2, sharex=True, height_ratios=[1, 1.25])
        figure.subplots_adjust(left=0.065, right=0.985, top=0.84, bottom=0.08, hspace=0.08)
        _waveform(sound, trace)
        _scores(scores, trace, settings)
        _found(sound, scores, trace)
        scores.legend(loc="upper right", bbox_to_anchor=(1.0, -0.06), ncols=9, frameon=False, fontsize=10)


def draw_evaluation(evaluation: Evaluation, settings: Wake, path: Path) -> None:
    """Draw misses against false alarms, and both by threshold, as a PNG of 1600 by 800 pixels. Raises as `draw_trace`."""
    counts = f"{evaluation.words} wake words, {duration(evaluation.hours)} of other sound"
    with _figure(path, "Wake words missed against false alarms", counts) as figure:
        against, by_threshold = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.06, right=0.94, top=0.84, bottom=0.1, wspace=0.16)
        _against(against, evaluation)
        _by_threshold(by_threshold, evaluation, settings)


def check_place(path: Path) -> None:
    """See that a picture can be drawn and be written to `path`. Raises as `draw_trace`."""
    with _writing(path):
        missing = not path.exists()
        path.open("ab").close()
        if missing:
            path.unlink()
    _matplotlib(path)


def _matplotlib(path: Path) -> Any:
    try:
        import matplotlib
    except ImportError:
        raise HardwareError(
            f"{path} cannot be drawn: matplotlib is missing. Install it with ./install.sh --dev."
        ) from None
    return matplotlib


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None


@contextmanager
def _figure(path: Path, title: str, text: str) -> Iterator[Any]:
    mpl = _matplotlib(path)
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": DIM,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": DIM,
        "ytick.color": DIM,
    }
    with mpl.rc_context(style):
        figure = plt.figure(figsize=(16, 8), dpi=100, facecolor=PAPER)
        try:
            figure.text(0.012, 0.95, title, fontsize=19, weight="bold", va="center", parse_math=False)
            figure.text(0.012, 0.905, text, fontsize=11, color=DIM, va="center")
            yield figure
            with _writing(path):
                figure.savefig(path, format="png")
        finally:
            plt.close(figure)


def _waveform(row: Any, trace: Trace) -> None:
    count = len(trace.lowest)
    starts = np.arange(0, count, max(1, count // COLUMNS))
    lowest = np.minimum.reduceat(trace.lowest, starts) / FULL_SCALE
    highest = np.maximum.reduceat(trace.highest, starts) / FULL_SCALE
    row.fill_between(starts * (SLICE_SAMPLES / RATE), lowest, highest, color=SOUND, linewidth=0.4)
    peak = max(0.02, float(max(-lowest.min(), highest.max())))
    row.set_ylim(-1.1 * peak, 1.1 * peak)
    row.set_ylabel("sound, of full scale")
    row.tick_params(bottom=False)
    row.spines["bottom"].set_visible(False)


def _scores(row: Any, trace: Trace, settings: Wake) -> None:
    thresholds = list(settings.threshold_by_word().values())
    steps = min(len(scores) for scores in trace.scores.values())
    marker = "." if steps < SEEN_STEPS else None
    for colour, (name, scores) in zip(cycle(WORDS), trace.scores.items()):
        t = np.arange(1, steps + 1) * STEP_S
        above = 3 + float(np.nanmax(scores, initial=0))
        row.plot(t, scores, color=colour, linewidth=1.6, label=name, marker=marker, zorder=above)
    for colour, threshold in zip(cycle(WORDS), thresholds):
        colour = FAINT if thresholds.count(threshold) > 1 else colour
        row.axhline(threshold, color=colour, **THRESHOLD)
        row.axhline(threshold * NEAR, color=colour, **NEARLY)
    rests = np.isnan(next(iter(trace.scores.values())))
    turns = np.flatnonzero(np.diff(rests, prepend=False, append=False)) * STEP_S
    if turns.size:
        spans = list(zip(turns[::2], turns[1::2] - turns[::2], strict=True))
        row.broken_barh(spans, (0, 1), color=REST, linewidth=0, label="the network rests")
    row.plot([], [], color=FAINT, **THRESHOLD, label="threshold")
    row.plot([], [], color=FAINT, **NEARLY, label="near miss")
    row.set_ylim(-0.02, 1.02)
    row.set_xlim(0, steps * STEP_S)
    row.set_ylabel("score")
    row.set_xlabel("seconds", loc="left")


def _found(sound: Any, scores: Any, trace: Trace) -> None:
    """Lines through both rows, or short ones where there are many; of names that would overlap only the first is written."""
    crowded = len(trace.found) > CROWD
    end = scores.get_xlim()[1]
    free = 0.0
    for one in trace.found:
        heard = isinstance(one, WakeHeard)
        colour, style = (HEARD, "-") if heard else (MISSED, "--")
        for row in (sound, scores):
            row.axvline(one.audio_t, 0.94 if crowded else 0, color=colour, linewidth=1.3, linestyle=style, zorder=2)
        text = f"{one.word} {one.score:.2f}"
        if isinstance(one, NearMiss):
            text = f"near miss {one.score:.2f}" + (f", {one.why}" if one.why != "score" else "")
        left = one.audio_t / end - len(text) * CHARACTER / 2
        if left >= free and not crowded:
            free = left + (len(text) + 2) * CHARACTER
            place = sound.get_xaxis_transform()
            sound.text(one.audio_t, 1.03, text, color=colour, weight="bold", ha="center", transform=place)


def _against(panel: Any, evaluation: Evaluation) -> None:
    """Its horizontal axis is logarithmic from one false alarm on, and holds zero too."""
    points = [(evaluation.alarms_an_hour(row), evaluation.missed_percent(row)) for row in evaluation.rows]
    now = evaluation.in_force
    here = (evaluation.alarms_an_hour(now), evaluation.missed_percent(now))
    one, most = 1 / evaluation.hours, max(x for x, _ in [*points, here])
    panel.plot(*zip(*points, strict=True), color=SOUND, linewidth=1.6, marker="o", markersize=5)
    panel.plot(*here, "o", color=HEARD, markersize=13, fillstyle="none", markeredgewidth=2.5, zorder=4)
    panel.annotate("in force", here, (0, -24), textcoords="offset points", color=HEARD, weight="bold", ha="center")
    panel.set_xscale("symlog", linthresh=one, linscale=0.5)
    panel.set_xlim(-one / 2, max(most, one) * 2)
    highest = max(10, *(y for _, y in [*points, here]))
    panel.set_ylim(-0.08 * highest, 1.06 * highest)
    ticks = [step * 10.0**power for power in range(-4, 5) for step in (1, 2, 5)]
    panel.set_xticks([0, *(tick for tick in ticks if one <= tick <= most * 2)], minor=False)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    _thresholds(panel, points, evaluation)
    panel.set_xlabel("false alarms an hour")
    panel.set_ylabel("wake words missed, %")
    panel.grid(color=REST)


def _thresholds(panel: Any, points: list[tuple[float, float]], evaluation: Evaluation) -> None:
    """Written beside the points, as far as there is room: from the lowest up, those that come to the same as a range."""
    names = [row.name for row in evaluation.rows]
    taken: list[np.ndarray] = []
    for point, same in groupby(zip(points, names, strict=True), lambda pair: pair[0]):
        group = [name for _, name in same]
        place = panel.transData.transform(point)
        if all(abs(place - other)[1] > 16 or abs(place - other)[0] > 90 for other in taken):
            taken.append(place)
            text = group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"
            panel.annotate(text, point, (8, 5), textcoords="offset points", color=DIM, fontsize=10)


def _by_threshold(panel: Any, evaluation: Evaluation, settings: Wake) -> None:
    t = [row.threshold for row in evaluation.rows]
    other = panel.twinx()
    for axes, values, colour, text in (
        (panel, [evaluation.missed_percent(row) for row in evaluation.rows], SOUND, "wake words missed, %"),
        (other, [evaluation.alarms_an_hour(row) for row in evaluation.rows], ALARM, "false alarms an hour"),
    ):
        axes.plot(t, values, color=colour, linewidth=1.6, marker="o", markersize=5)
        axes.set_ylabel(text, color=colour)
        axes.tick_params(axis="y", colors=colour)
        highest = max(1, *values)
        axes.set_ylim(-0.02 * highest, 1.06 * highest)
    other.spines["right"].set_visible(True)
    for threshold in set(settings.threshold_by_word().values()):
        panel.axvline(threshold, color=HEARD, linewidth=1.3, zorder=2)
        place = panel.get_xaxis_transform()
        panel.text(threshold, 1.02, "in force", color=HEARD, weight="bold", ha="center", transform=place)
    panel.set_xlim(0, 1)
    panel.set_xlabel("threshold")
    panel.grid(color=REST)
