"""How well our own voice is taken out of what the microphone hears: `python -m tests.bench.echo [--quick] [--picture FILE]`.

Replies of a synthetic voice with pauses between them, in a simulated room, through the product's own canceller in virtual time.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, RATE, Frame
from device.config import Microphone
from device.demo.picture import FAINT, INK, MICROPHONE, PAPER, SPEAKER, TOOL, WAKE
from device.hearing.canceller import Canceller
from tests.room import people
from tests.room.acoustics import Room, floor, to_pcm

DRIVER_MS = 40
"""The latency that the driver tells."""


class Reply(NamedTuple):
    """What was played, from `start` to `end` (samples)."""

    start: int
    end: int


def replies(
    rng: np.random.Generator, seconds: float, each_s: float = 8.0, pause_s: float = 3.0
) -> tuple[np.ndarray, list[Reply]]:
    """A voice that speaks for `each_s` and is silent for `pause_s`: float32, -20 dBFS while it speaks, silence exactly 0."""
    played = np.zeros(round(seconds * RATE), np.float32)
    found, start = [], RATE // 2 // FRAME_SAMPLES * FRAME_SAMPLES
    while start + RATE < len(played):
        end = min(start + round(each_s / FRAME_S) * FRAME_SAMPLES, len(played))
        said = np.zeros(0, np.float32)
        while len(said) < end - start:
            said = np.concatenate(
                (said, people.sentence(rng), np.zeros(round(rng.uniform(0.1, 0.3) * RATE), np.float32))
            )
        played[start:end] = said[: end - start]
        found.append(Reply(start, end))
        start = end + round(pause_s / FRAME_S) * FRAME_SAMPLES
    return played, found


def through(
    canceller: Canceller,
    played: np.ndarray,
    heard: np.ndarray,
    *,
    driver_ms: float = DRIVER_MS,
    drift_ppm: float = 0.0,
    jitter_ms: float = 0.0,
    ahead: int = 1,
) -> Iterator[np.ndarray]:
    """The cleaned frames (int16, shape (320,)). Both sounds are int16; periods of the one and frames of the other keep pace.

    `driver_ms`: the latency that the driver tells; `jitter_ms`: by how much threads are late at most; `ahead`: periods
    that were written before the frame that is heard now.
    """
    rng = np.random.default_rng(7)
    written = 0
    for number in range(len(heard) // FRAME_SAMPLES):
        while written < min(number + 1 + ahead, len(played) // FRAME_SAMPLES):
            period = played[written * FRAME_SAMPLES :][:FRAME_SAMPLES]
            written += 1
            t = written * FRAME_S * (1 + drift_ppm * 1e-6) + (driver_ms + rng.uniform(0, jitter_ms)) / 1000
            if sounds(played, written - 1):
                canceller.played(Frame(period.tobytes(), t))
        sound = heard[number * FRAME_SAMPLES :][:FRAME_SAMPLES]
        now = (number + 1) * FRAME_S + rng.uniform(0, jitter_ms) / 1000
        yield np.frombuffer(canceller.clean(Frame(sound.tobytes(), now), engaged=True).pcm, np.int16)


def sounds(played: np.ndarray, number: int) -> bool:
    """Something is written with this period: it, or one of the ten around it, is not silent."""
    around = played[max(0, number - 10) * FRAME_SAMPLES : (number + 11) * FRAME_SAMPLES]
    return bool(around.any())


def erle(heard: np.ndarray, cleaned: np.ndarray) -> float:
    """dB, by energy. What was cleaned is some milliseconds late, which is little against a second."""
    power = [float(np.mean(np.square(sound.astype(np.float64)))) for sound in (heard, cleaned)]
    return 10 * float(np.log10((power[0] + 1e-3) / (power[1] + 1e-3)))


LOUD = 180
"""RMS of half a second in which 20 dB can be taken out: 27 dB above the noise."""


class Case(NamedTuple):
    """A room, a machine, and the setting."""

    name: str
    delay_ms: float = 60.0
    drift_ppm: float = 0.0
    driver_ms: float = DRIVER_MS
    jitter_ms: float = 0.0
    rt_s: float = 0.25
    steps: tuple[tuple[float, float], ...] = ()
    expected: tuple[float, float] = (40.0, 30.0)
    """ERLE with noise suppression and without."""


CASES = (
    *(Case(f"delay {ms} ms", ms) for ms in (20, 60, 150, 300)),
    *(Case(f"drift {ppm:+d} ppm", drift_ppm=ppm) for ppm in (-200, -50, 50, 200)),
    *(
        Case(f"delay {ms} ms, drift {ppm:+d} ppm", ms, ppm)
        for ms, ppm in ((20, -200), (20, 200), (300, -200), (300, 200))
    ),
    Case("threads late by 0-15 ms", jitter_ms=15),
    Case("driver says 40, it is 700 ms", 700, expected=(30, 25)),
    Case("driver says 200, it is 40 ms", 40, driver_ms=200, expected=(30, 25)),
    Case("delay steps +40, -40 ms", steps=((15.0, 100), (26.0, 60)), expected=(0, 0)),
    Case("room of 0.6 s", rt_s=0.6, expected=(35, 25)),
)


class Result(NamedTuple):
    """What came of a case."""

    heard: np.ndarray
    cleaned: np.ndarray
    replies: list[Reply]
    erle_db: float
    """Mean over all replies, without the first 1.5 s of the first."""
    told_db: float
    """What the canceller says itself, the mean of replies."""
    converged_s: float
    """From the first sound on, until it is taken out by 20 dB for good."""
    frame_us: float
    """CPU time of a frame."""


def run(case: Case, suppression: bool, seconds: float) -> Result:
    rng = np.random.default_rng(1)
    played, said = replies(rng, seconds)
    room = Room(rng, case.rt_s)
    heard = to_pcm(room.echo(played, case.delay_ms, -10, case.drift_ppm, case.steps) + floor(rng, seconds, -65))
    canceller = Canceller(Microphone(noise_suppression=suppression))
    canceller.load()
    ends = {reply.end // FRAME_SAMPLES: number for number, reply in enumerate(said)}
    frames, told = [], []
    began = time.process_time()
    machine = {"driver_ms": case.driver_ms, "drift_ppm": case.drift_ppm, "jitter_ms": case.jitter_ms}
    for number, frame in enumerate(through(canceller, to_pcm(played), heard, **machine)):
        frames.append(frame)
        if number in ends:
            told.append(canceller.judge(ends[number], 8.0).erle_db or 0.0)
    spent = time.process_time() - began
    cleaned = np.concatenate(frames)
    marks = [slice(one.start + (0 if number else 3 * RATE // 2), one.end) for number, one in enumerate(said)]
    whole = [np.concatenate([sound[mark] for mark in marks]) for sound in (heard[: len(cleaned)], cleaned)]
    converged = converged_s(heard, cleaned, said[0], case.delay_ms)
    return Result(heard, cleaned, said, erle(*whole), float(np.mean(told)), converged, spent / len(frames) * 1e6)


def converged_s(heard: np.ndarray, cleaned: np.ndarray, reply: Reply, delay_ms: float) -> float:
    """From where `reply` is first heard, until half a second of it is softer by 20 dB, as all are after it that are loud."""
    start, half = reply.start + round(delay_ms / 1000 * RATE), RATE // 2
    places = range(start, reply.end - half, RATE // 10)
    loud = [place for place in places if np.sqrt(np.mean(np.square(heard[place : place + half].astype(float)))) > LOUD]
    bad = [place for place in loud if _ratio(heard, cleaned, place, half) < 20]
    return (bad[-1] + half - start) / RATE if bad else 0.0


def _ratio(heard: np.ndarray, cleaned: np.ndarray, place: int, length: int) -> float:
    return erle(heard[place : place + length], cleaned[place : place + length])


def draw(results: dict[str, Result], path: Path) -> None:
    """ERLE over time, a line for each of `results`, as a PNG of 1600 by 900 pixels."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style: Any = {"font.family": "DejaVu Sans", "font.size": 11, "text.color": INK, "axes.edgecolor": FAINT}
    with mpl.rc_context(style):
        figure, (sound, ratio) = plt.subplots(
            2, sharex=True, figsize=(16, 9), dpi=100, height_ratios=(1, 3), facecolor=PAPER
        )
        figure.subplots_adjust(left=0.06, right=0.985, top=0.9, bottom=0.08, hspace=0.08)
        figure.text(0.012, 0.955, "How much of its own voice is taken out", fontsize=19, weight="bold", va="center")
        first = next(iter(results.values()))
        for samples, colour, label in ((first.heard, SPEAKER, "heard"), (first.cleaned, MICROPHONE, "cleaned")):
            columns = samples[: len(samples) // 160 * 160].reshape(-1, 160) / 32768
            t = np.arange(len(columns)) * 0.01
            sound.fill_between(t, columns.min(1), columns.max(1), color=colour, linewidth=0.4, label=label)
        sound.set_ylabel("microphone")
        sound.legend(loc="upper right", ncols=2, frameon=False)
        for (name, result), colour in zip(results.items(), (WAKE, SPEAKER, MICROPHONE, TOOL), strict=False):
            step, half = RATE // 10, RATE // 2
            places = [place for one in result.replies for place in range(one.start, one.end - half, step)]
            values = [_ratio(result.heard, result.cleaned, place, half) for place in places]
            gaps = np.where(np.diff(places, prepend=places[0]) > step, np.nan, values)
            ratio.plot((np.array(places) + half) / RATE, gaps, color=colour, linewidth=1.6, label=name)
        ratio.axhline(40, color=FAINT, linewidth=0.8)
        ratio.axhline(30, color=FAINT, linewidth=0.8, linestyle=":")
        ratio.set_ylabel("ERLE over 0.5 s, dB")
        ratio.set_ylim(0, 62)
        ratio.set_xlabel("seconds", loc="left")
        ratio.legend(loc="lower right", ncols=4, frameon=False)
        figure.savefig(path)
        plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.echo")
    parser.add_argument("--quick", action="store_true", help="four cases instead of all")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw ERLE over time")
    options = parser.parse_args()
    cases = CASES[1], CASES[3], CASES[4], CASES[7]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    missed, drawn = 0, {}
    print(f"{'case':32} NS     ERLE  it says  converged  CPU of a core")
    for case in cases if options.quick else CASES:
        for suppression in (True, False):
            result = run(case, suppression, 34.0)
            fine = result.erle_db >= case.expected[not suppression] and (
                result.converged_s <= 1.5 or case not in CASES[:12]
            )
            missed += not fine
            print(
                f"{case.name:32} {'with' if suppression else 'none'} {result.erle_db:5.1f} dB {result.told_db:5.1f} dB "
                f"{result.converged_s:8.1f} s {result.frame_us / FRAME_S / 1e4:8.1f} %{'' if fine else '   MISSED'}"
            )
            if suppression and (case in cases[:3] or "steps" in case.name):
                drawn[case.name] = result
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"memory of the whole benchmark: {before / 1024:.0f} MB before, {after / 1024:.0f} MB at most")
    if options.picture:
        draw(drawn, options.picture)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
