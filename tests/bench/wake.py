"""The figures of the wake word engine, beside those of its peers, in one run on one machine.

    .venv/bin/python -m tests.bench.wake [--only speech idle …] [--seconds 60] [--repeat 5]
        [--peer COMMAND [--peer-port 6053]]

Each engine runs in a fresh process (`wake_engine`), all in turn, several times; ratios are of runs that followed each other.
COMMAND starts another speaker's software in the foreground, which is measured as `earshot run` is. linux-voice-assistant, an
editable install of its checkout, is `VENV/bin/linux-voice-assistant --host 127.0.0.1 --peripheral-host 127.0.0.1` with
`--preferences-file` and `--download-dir` below /tmp; it looks for its wake word only while a client is connected: port 6053.
Times are only worth something on a quiet machine. Without a peer all of it takes about five minutes. Exit code 1: a reach is
missed, or a part failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from device.audio import RATE
from tests.bench import peer
from tests.bench.cuts import Row
from tests.bench.wake_engine import ENGINES, LEAD_S, STEP_SAMPLES
from tests.fakes import pink_noise, said, silence

OURS, ALONE, THEIRS = "earshot", "earshot, engine alone", "openwakeword"
WORDS = ("hey_jarvis", "alexa", "hey_mycroft", "hey_rhasspy")
VOICES = (
    *("espeak:en-us", "espeak:en-gb", "espeak:en-gb-scotland", "espeak:en-us+f3", "espeak:en-gb-x-rp+m3"),
    *("flite:slt", "flite:rms", "flite:kal", "flite:kal16", "flite:awb"),
)
SENTENCES = (
    "the quick brown fox jumps over the lazy dog and runs away into the wood",
    "what time is it and how is the weather tomorrow in the mountains",
    "please put milk and bread and a pound of butter on the shopping list",
)
SPEECH, QUIET = 10 ** (-26 / 20), 10 ** (-60 / 20)
"""Levels, as RMS of full scale: somebody who speaks nearby, and a quiet room."""
NOTHING = STEP_SAMPLES * 2
"""Bytes that a step may need or leave: fewer than an array of its sound or of the features would take."""
STARTS = 10

Result = dict[str, Any]
"""What `wake_engine` prints."""


class Bench:
    """What the parts share: where sounds lie, and how often and for how long things run."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.seconds: float = options.seconds
        self.length = round((options.seconds + LEAD_S) * RATE)
        self.options = options

    def sound(self, name: str, samples: np.ndarray) -> Path:
        path = self.folder / name
        samples.astype(np.int16).tofile(path)
        return path

    def speech(self) -> Path:
        """Sentence after sentence without a pause, by all voices, each equally loud."""
        spoken = [said(text, voice).astype(np.float64) for text in SENTENCES for voice in VOICES]
        loud = np.concatenate([one / np.sqrt(np.mean(one**2)) for one in spoken]) * SPEECH * 32768
        return self.sound("speech", np.clip(np.resize(loud, self.length), -32768, 32767))

    def in_turn(self, runs: dict[str, list[str]], sound: Path) -> dict[str, list[Result]]:
        """By name, what each of `runs` (the words of its command line) gave each time."""
        results: dict[str, list[Result]] = {name: [] for name in runs}
        for _ in range(self.options.repeat):
            for name, words in runs.items():
                results[name].append(run(sound, *words))
        return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS), help="only these parts")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each sound")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each engine")
    parser.add_argument("--peer", default="", metavar="COMMAND", help="starts another speaker's software")
    parser.add_argument("--peer-port", type=int, default=0, metavar="PORT", help="where its client connects")
    options = parser.parse_args()
    show(("what", "reach", "got", True))
    met = True
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            for row in rows_of(name, Bench(Path(folder), options)):
                show(row)
                met = met and row[3]
    sys.exit(0 if met else 1)


def rows_of(part: str, bench: Bench) -> Iterator[Row]:
    """What a part gives; whatever makes it fail, the others are still worth something."""
    try:
        yield from PARTS[part](bench)
    except Exception as error:
        yield part, "to run", f"{type(error).__name__}: {error}", False


def show(row: Row) -> None:
    what, reach, got, met = row
    print(f"{what:54}  {reach:22}  {got}{'' if met else '  MISSED'}", flush=True)


def run(sound: Path, *words: str) -> Result:
    """An engine in a process of its own. RuntimeError: it fails."""
    command = [sys.executable, "-m", "tests.bench.wake_engine", *words[:1], str(sound), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{words[0]} fails:\n{done.stderr[-2000:]}")
    result: Result = json.loads(done.stdout)
    return result


def speech(bench: Bench) -> list[Row]:
    """CPU and memory of every engine while somebody speaks, and the time that our steps take."""
    results = bench.in_turn({name: [name] for name in ENGINES}, bench.speech())
    rows = costs("speech, one word", results, 4.0)
    spread = np.median([np.percentile(one["took_s"], [50, 99, 100]) for one in results[OURS]], axis=0) * 1000
    got = f"median {spread[0]:.2f}, p99 {spread[1]:.2f}, max {spread[2]:.2f} ms"
    return [*rows, ("a step of 80 ms, in speech", "p99 <= 3 x median", got, bool(spread[1] <= 3 * spread[0]))]


def quiet(bench: Bench) -> list[Row]:
    """The same in a quiet room."""
    sound = bench.sound("quiet", pink_noise(bench.length / RATE, QUIET))
    return costs("quiet room, one word", bench.in_turn({name: [name] for name in (THEIRS, OURS)}, sound), 40.0)


def costs(where: str, results: dict[str, list[Result]], reach: float) -> list[Row]:
    """A row for each engine; `reach`: how many times less CPU ours shall take."""
    rows = []
    for name, runs in results.items():
        cpu = [one["cpu_s"] for one in runs]
        times = median(theirs["cpu_s"] / own for theirs, own in zip(results[THEIRS], cpu, strict=True))
        got = f"{median(cpu):.3f} CPU s per 60 s ({min(cpu):.3f} to {max(cpu):.3f}), "
        got += f"RSS {median(one['VmRSS'] for one in runs):.0f} MB, at most {max(one['VmHWM'] for one in runs):.0f}"
        if name != THEIRS:
            got = f"{times:.1f} x less: {got}"
        judged = name == OURS
        rows.append(
            (f"{where}: {name}", f">= {reach:g} x less" if judged else "report", got, not judged or times >= reach)
        )
    return rows


def words(bench: Bench) -> list[Row]:
    """What three words more cost."""
    both = {"one": [OURS], "four": [OURS, "--words", *WORDS]}
    results = bench.in_turn(both, bench.speech())
    one, four = ([run["cpu_s"] for run in results[name]] for name in both)
    times = median(more / less for more, less in zip(four, one, strict=True))
    got = f"{times:.2f} x: {median(four):.3f} against {median(one):.3f} CPU s per 60 s"
    return [("speech, four words against one", "<= 1.3 x", got, times <= 1.3)]


def start(bench: Bench) -> list[Row]:
    """From before the first import to the first score, the files in the cache of the system."""
    sound = bench.sound("start", said("hey jarvis")[:STEP_SAMPLES])
    took: dict[str, list[Result]] = {ALONE: [], OURS: [], THEIRS: []}
    for _ in range(STARTS + 1):
        for name, runs in took.items():
            runs.append(run(sound, name))
    rows = []
    for name, runs in took.items():
        bare, whole = (median(one[key] for one in runs[1:]) for key in ("first_s", "first_with_numpy_s"))
        judged = name == ALONE
        got = f"median {bare:.2f} s, {whole:.2f} s with numpy's import, of {STARTS}"
        rows.append(
            (f"import to first score: {name}", "<= 0.4 s" if judged else "report", got, not judged or whole <= 0.4)
        )
    return rows


def detection(bench: Bench) -> list[Row]:
    """When each voice is heard, in silence and in a quiet room: the step in which it is told, not the time it is told with."""
    pieces, ends, at = [], [], 0
    for number, voice in enumerate(VOICES * 2):
        word = said("hey jarvis", voice)
        pieces += [silence(8.0 + number * 0.017), word]  # it lies otherwise in its steps each time
        at += len(pieces[-2]) + len(word)
        ends.append(at)
    room = np.concatenate([*pieces, silence(3.0)])
    half = ends[len(VOICES) - 1] + RATE
    room[half:] += pink_noise(len(room) / RATE, QUIET)[half:]
    sound = bench.sound("words", room)
    scores = {name: run(sound, name)["scores"] for name in ENGINES}
    heard = {name: [first(got, end) for end in ends] for name, got in scores.items()}
    return [when(name, steps, heard[THEIRS], ends) for name, steps in heard.items()]


def first(scores: list[float], end: int) -> int | None:
    """The step in which the word that ends at sample `end` passes 0.5; its voice has the room from 1 s before to 3 s after."""
    begins = (end - RATE) // STEP_SAMPLES
    passed = np.flatnonzero(np.array(scores[begins : (end + 3 * RATE) // STEP_SAMPLES]) >= 0.5)
    return begins + int(passed[0]) if len(passed) else None


def when(name: str, steps: list[int | None], theirs: list[int | None], ends: list[int]) -> Row:
    late = [(step + 1) * STEP_SAMPLES - end for step, end in zip(steps, ends, strict=True) if step is not None]
    got = f"heard {len(late)} of {len(steps)}"
    if late:
        got += f", {median(late) / RATE * 1000:.0f} ms after its end (median)"
    if name not in (OURS, ALONE):
        return f"detection: {name}", "report", got, True
    pairs = list(zip(steps, theirs, strict=True))
    same = sum(own is not None and own == their for own, their in pairs)
    met = all(own == their for own, their in pairs) and same > len(pairs) / 2
    return f"detection: {name}", "same step, most heard", f"{same} of {len(pairs)} in the same step, {got}", met


def memory(bench: Bench) -> list[Row]:
    """What Python and numpy allocate; onnxruntime's own memory is not seen."""
    sound, rows = bench.speech(), []
    for name in (OURS, ALONE, THEIRS):
        got = run(sound, name, "--trace")
        peaks, left = got["peaks"], got["left"]
        met = name == THEIRS or max(*peaks, left) < NOTHING
        told = f"median {median(peaks):.0f}, max {max(peaks)}; {len(peaks)} steps left {left}"
        rows.append((f"bytes allocated in a step: {name}", "report" if name == THEIRS else f"< {NOTHING}", told, met))
    return rows


def idle(bench: Bench) -> Iterator[Row]:
    return peer.idle(bench.folder, bench.seconds, bench.options.peer, bench.options.peer_port)


PARTS: dict[str, Callable[[Bench], Iterable[Row]]] = {
    "speech": speech,
    "words": words,
    "quiet": quiet,
    "start": start,
    "detection": detection,
    "memory": memory,
    "idle": idle,
}


if __name__ == "__main__":
    main()
