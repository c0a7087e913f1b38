"""How well one talks over the speaker: its own ear, canceller and brain in simulated rooms, in virtual time.

    .venv/bin/python -m tests.bench.barge_in [--only speech false wake] [--utterances 200] [--hours 2] [--picture FILE.png]

Rooms and cards are those of `tests.room.stage`. Exit code 1: a reach is missed. All of it takes about half an hour on a quiet
machine.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from device import config, events
from device.audio import FRAME_S, FRAME_SAMPLES, Frame
from device.hearing.barge_in import BargeIn
from device.hearing.canceller import Canceller
from device.hearing.ear import Ear
from device.hearing.speech import SpeechDetector
from device.hearing.wake.detector import WakeDetector
from tests.bench.cuts import Row
from tests.room.acoustics import convolved, to_pcm
from tests.room.household import HOUSEHOLD
from tests.room.people import VOICES, WORDS, spoken
from tests.room.sounds import RATE, at, count
from tests.room.stage import Stage

UTTERANCES = (
    *(
        "what time is it",
        "turn on the lights in the kitchen",
        "how is the weather tomorrow",
        "play some jazz",
        "stop the music",
    ),
    *("wait a moment", "no thank you that is enough", "okay next question please", "tell me something else"),
    *("and what about sunday", "be quiet", "i meant the other one", "can you repeat that", "hold on a second"),
    *("set a timer for ten minutes", "that is wrong"),
)
"""What people say over it: more than one word each, for "stop" alone is the stop word's part (`tests.bench.stop_word`)."""
NEAR_TO_ECHO_DB = -5.0
PER_SCENE = 5
BEGINS_DB = -40.0
"""Of an utterance's peak: some voices breathe for 0.2 s before they say anything, 40 to 60 dB below it, which nobody hears."""
LATE_S = 0.4
"""After the end of an utterance: who is heard then was heard."""
QUIET_S = 25.0
"""Between two noises of the household on the average: about two a minute, a cough every five minutes."""


class Deaf:
    """Hears no wake words: these have a part of their own."""

    def hear(self, *_: object, **__: object) -> tuple[()]:
        return ()

    def played(self, *_: object) -> None: ...


def build(post: Callable[[events.Event], None], wake: bool = False) -> Ear:
    """The product's own ear."""
    settings = config.Config()
    canceller = Canceller(settings.microphone)
    canceller.load()
    return Ear(
        WakeDetector(settings.wake) if wake else Deaf(),
        SpeechDetector(),
        lambda session, pcm: None,
        post,
        canceller=canceller,
        barge_in=BargeIn(settings.conversation.barge_in_ms),
    )


def speech(options: argparse.Namespace) -> Iterator[Row]:
    """Somebody talks over each reply: is it found, and when?"""
    suspected, confirmed, breaths, said = [], [], [], []
    for number in range(-(-options.utterances // PER_SCENE)):
        rng = np.random.default_rng((options.seed, 1, number))
        stage, spans = Stage(rng, PER_SCENE), []
        for one in stage.replies:
            text, voice = UTTERANCES[rng.integers(len(UTTERANCES))], VOICES[rng.integers(len(VOICES))]
            sound, start = spoken(text, voice), one.start * FRAME_S + rng.uniform(1.5, 4.5)
            stage.put(start, stage.room.person(sound, stage.echo_dbfs + NEAR_TO_ECHO_DB))
            spans.append((start, start + len(sound) / RATE + LATE_S))
            breaths.append(begins(sound))
            said.append(f"{voice}: {text}")
        scene = stage.run(build)
        suspected += [first(scene.of(events.DuckPlayback), *span) for span in spans]
        confirmed += [first(scene.of(events.InterruptAgent), *span) for span in spans]
    if options.misses:
        for text, duck, stop in zip(said, suspected, confirmed, strict=True):
            print(f"{duck * 1000:6.0f} {stop * 1000:6.0f}  {text}")
    found, median = np.mean(np.isfinite(confirmed)), np.median(np.subtract(confirmed, breaths)) * 1000
    got = f"{found:.1%} of {len(confirmed)}"
    yield "barge-in by speech at -5 dB: found", ">= 95 %", got, bool(found >= 0.95)
    got = f"{median:.0f} ms; from the breath before it {np.median(confirmed) * 1000:.0f} ms"
    yield "from the utterance's first sound, median", "<= 350 ms", got, bool(median <= 350)
    got = f"{np.mean(np.isfinite(suspected)):.1%}, median {np.median(np.subtract(suspected, breaths)) * 1000:.0f} ms"
    yield "ducked before", "report", got, True


def begins(sound: np.ndarray) -> float:
    """When its first sound is (seconds)."""
    loudness = np.abs(sound.astype(np.int32))
    return int(np.argmax(loudness > loudness.max() * 10 ** (BEGINS_DB / 20))) / RATE


def first(times: list[float], start: float, end: float) -> float:
    """How long after `start` the first of them was; infinite if it was not before `end`."""
    return min((t - start for t in times if start <= t <= end), default=np.inf)


def false(options: argparse.Namespace) -> Iterator[Row]:
    """Replies, and a household that does not talk."""
    seconds, stops, ducks, noises, blamed = 0.0, 0, 0, Counter[str](), Counter[str]()
    number = 0
    while seconds < options.hours * 3600:
        rng = np.random.default_rng((options.seed, 2, number))
        number += 1
        stage, spans = Stage(rng, 4, 14.0), []
        if number % 4 == 0:  # a band plays next door all the time
            tune = convolved(HOUSEHOLD["music"](rng), stage.room.person_response)
            tune = np.resize(at(rng.uniform(-55, -38), tune[: count(10)]), len(stage.near))
            stage.near += tune
        at_s = 1.0
        while at_s < len(stage.near) / RATE - 3:
            kind = str(
                rng.choice(("cough", "clap", "slam", "dishes", "steps", "machine"), p=(0.1, 0.2, 0.2, 0.3, 0.15, 0.05))
            )
            sound = convolved(HOUSEHOLD[kind](rng), stage.room.person_response)
            peak = rng.uniform(-35, -6 if kind != "machine" else -20)
            stage.put(at_s, sound * np.float32(10 ** (peak / 20) / np.abs(sound).max()))
            spans.append((kind, at_s, at_s + len(sound) / RATE + 0.3))
            noises[kind] += 1
            at_s += len(sound) / RATE + rng.exponential(QUIET_S)
        scene = stage.run(build)
        stops += len(scene.of(events.InterruptAgent))
        ducks += len(scene.of(events.DuckPlayback))
        for t in scene.of(events.DuckPlayback):
            blamed[
                next((kind for kind, start, end in spans if start <= t <= end), "reply" if number % 4 else "music")
            ] += 1
        if options.misses:
            print(number, f"{seconds:.0f} s", stops, ducks, dict(blamed), flush=True)
        seconds += len(stage.near) / RATE
    what = f"{seconds / 3600:.2f} h of replies, {sum(noises.values())} noises"
    yield f"stops in {what}", "0", str(stops), not stops
    per = ducks / seconds * 600
    yield "ducks in it", "<= 1 per 10 min", f"{per:.2f} per 10 min: {ducks}, {dict(blamed)}", per <= 1


def wake(options: argparse.Namespace) -> Iterator[Row]:
    """The wake word over each reply, from all voices; and the same without the replies, for not every voice is known."""
    over: list[float] = []
    alone: list[float] = []
    for number in range(-(-options.utterances // PER_SCENE)):
        rng = np.random.default_rng((options.seed, 3, number))
        stage, spans = Stage(rng, PER_SCENE), []
        for one in stage.replies:
            sound = spoken(WORDS["hey_jarvis"], VOICES[rng.integers(len(VOICES))])
            start = one.start * FRAME_S + rng.uniform(1.5, 4.5)
            stage.put(start, stage.room.person(sound, stage.echo_dbfs + NEAR_TO_ECHO_DB))
            spans.append((start, start + len(sound) / RATE + 1.0))
        heard = stage.run(lambda post: build(post, wake=True)).of(events.WakeHeard)
        over += [first(heard, *span) for span in spans]
        heard = without_playback(stage.near)
        alone += [first(heard, *span) for span in spans]
    found, base = np.mean(np.isfinite(over)), np.mean(np.isfinite(alone))
    yield "the same words without playback", "report", f"{base:.1%} of {len(alone)}", True
    got = f"{found:.1%} of {len(over)}: {found / base:.1%} of those"
    yield "wake word over own playback at -5 dB", ">= 90 %", got, bool(found >= 0.9)


def without_playback(near: np.ndarray) -> list[float]:
    """When the wake word is heard in what is no echo."""
    detector, pcm = WakeDetector(config.Config().wake), to_pcm(near)
    heard: list[float] = []
    for number in range(len(pcm) // FRAME_SAMPLES):
        frame = Frame(pcm[number * FRAME_SAMPLES :][:FRAME_SAMPLES].tobytes(), (number + 1) * FRAME_S)
        heard += [frame.t for one in detector.hear(frame) if isinstance(one, events.WakeHeard)]
    return heard


def draw(path: Path, seed: int) -> None:
    """One barge-in: what the microphone heard, what was left, the detector, and how loud we played."""
    import matplotlib.pyplot as plt

    stage = Stage(np.random.default_rng((seed, 4)), 1)
    start = 3.0
    stage.put(
        start, stage.room.person(spoken("okay next question please", "espeak:en-us"), stage.echo_dbfs + NEAR_TO_ECHO_DB)
    )
    scene = stage.run(build)
    axes = plt.subplots(4, 1, sharex=True, figsize=(10, 8), layout="constrained")[1]
    heard, cleaned = np.concatenate(scene.heard), np.concatenate(scene.cleaned)
    for axis, title, y in (
        (axes[0], "microphone", heard / 32768),
        (axes[1], "after the canceller", cleaned / 32768),
        (axes[2], "speech detector", scene.probabilities),
        (axes[3], "playback gain", scene.gain),
    ):
        axis.plot(np.linspace(0, len(stage.near) / RATE, len(y)), y, linewidth=0.6)
        axis.set_title(title, loc="left", fontsize=9)
        axis.axvline(start, color="grey", linestyle=":")
        for kind, colour in ((events.SpeechSuspected, "tab:orange"), (events.SpeechConfirmed, "tab:red")):
            for t in scene.of(kind):
                axis.axvline(t, color=colour, linewidth=1)
    axes[3].set_xlabel("seconds; dotted: somebody speaks, orange: suspected, red: confirmed")
    axes[3].set_xlim(start - 1.5, start + 2)
    plt.savefig(path, dpi=110)


PARTS = {"speech": speech, "false": false, "wake": wake}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS), help="only these parts")
    parser.add_argument("--utterances", type=int, default=200)
    parser.add_argument("--hours", type=float, default=2.0, help="of replies in a household")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--misses", action="store_true", help="tell each utterance and each scene")
    parser.add_argument("--picture", type=Path, help="draw one barge-in there (PNG), and nothing else")
    options = parser.parse_args()
    if options.picture:
        draw(options.picture, options.seed)
        return
    met = True
    for name in options.only:
        for what, reach, got, good in PARTS[name](options):
            print(f"{what:54}  {reach:18}  {got}{'' if good else '  MISSED'}", flush=True)
            met = met and good
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
