"""The built-in stop word: makes its model of synthetic voices, and measures what it finds and what it takes for it.

    .venv/bin/python -m tests.bench.stop_word [--make]

--make writes device/hearing/wake/stop.onnx anew: a small network on the last embeddings of the wake engine. What it learns
from is what it will hear: "stop", other words and noises, over our own voice in many rooms, after the linear canceller; and
words from near the microphone. Other voices than those find its threshold, and others again are measured with, at the
threshold of the product. Takes two minutes, and twenty more to make it. Needs flite, espeak-ng and scikit-learn.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import device.hearing.wake
from device.agent.stories import STORIES
from device.audio import FRAME_SAMPLES
from device.checks import STOP
from device.config import Wake
from device.hearing.linear import Linear
from device.hearing.wake.detector import stop_paths, word_paths
from device.hearing.wake.engine import FEATURES, STEP_S, STEP_SAMPLES, WakeEngine
from tests.room import sounds
from tests.room.acoustics import Room, floor, to_pcm
from tests.room.household import clap, cough, dishes, slam
from tests.room.people import QUESTIONS, SENTENCES, VOICES, babble, spoken
from tests.room.sounds import RATE, at, count

MODEL = Path(device.hearing.wake.__file__).with_name("stop.onnx")
FRAMES = 8
"""Embeddings that are looked at: 0.64 s and what each reaches back, 0.76 s."""
SCENES, NOISY, SCENE_S = 150, 24, 100.0
UNITS, EPOCHS = 32, 20
FOUND = 0.97
"""This part of the "stop" of EXAMINERS counts at `wake.threshold`'s default."""
SEEN_S = 0.8
"""So long after its end a word is looked for."""
NEAR_DB = (-8, -5, -2, 0, 3, 6, 12)
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-gb-x-rp")
VARIANTS = (
    *("m1", "m2", "m4", "m5", "m6", "m8", "f1", "f5"),
    *("Alex", "Andy", "Annie", "Gene", "Lee", "Michael", "linda", "steph"),
)
PITCHES = (0.82, 0.88, 0.94, 1.06, 1.15, 1.25)
_OTHER_VOICES = tuple(
    voice
    for voice in (
        *(
            f"espeak:{accent}+{variant}{pitch}"
            for number, accent in enumerate(ACCENTS)
            for variant, pitch in zip(VARIANTS[number % 2 :: 2], ("", "*0.9", "", "*1.1") * 2, strict=True)
        ),
        *(f"flite:{name}*{pitch}" for name in ("slt", "rms", "awb", "kal", "kal16") for pitch in PITCHES),
    )
    if voice not in VOICES
)
_ORDER = np.random.default_rng(5).permutation(len(_OTHER_VOICES))
EXAMINERS = tuple(_OTHER_VOICES[i] for i in _ORDER[: len(_ORDER) // 6])
"""Voices that the threshold is found by."""
TEACHERS = tuple(_OTHER_VOICES[i] for i in _ORDER[len(_ORDER) // 6 :])
STOPS = ("stop", "stop", "stop!", "stop?")
"""A voice says each in another tone."""
NEAR_STOP = (
    *("up", "top", "shop", "start", "step", "hot", "got", "not", "stuff", "cup", "hop", "pop", "drop", "chop", "spot"),
    *("stock", "stuck", "stomp", "stay", "stand", "store", "star", "still", "staff", "sob", "sock", "such", "soft"),
    *("lost", "box", "clock", "knock", "shot", "that", "what", "wait", "want", "put", "sit", "but", "cut", "dot"),
)
INTERJECTIONS = (
    *("aha", "aha, aha", "uh huh", "haha", "ha ha ha", "ah", "oh", "oh oh", "hm", "mhm", "huh", "hey", "wow", "ow"),
    *("uh", "um", "er", "yeah", "yes", "no", "nope", "okay", "right", "sure", "really", "hello", "good", "oops"),
)
OTHERS = (
    *SENTENCES,
    *QUESTIONS,
    *("bus stop tomorrow", "do not stop here", "the bus stop is over there", "never mind", "who is that", "mum"),
    *("hey jarvis", "alexa", "thank you", "dinner is ready", "come on", "i am off", "look at that", "pass the salt"),
    *("are you ready", "wait a moment", "what was that", "top it up", "shut up", "what is the weather like"),
)
NEVER_LEARNED = (
    *("mop", "swap", "stack", "stoop", "steep", "dock", "sup", "crop", "step up", "nonstop", "yup", "nah", "uh oh"),
    *("aw", "hmm", "hooray", "ouch", "eh", "is that so", "what now"),
)
"""Said to it by the voices that are measured with alone."""
NOISES: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (
    *(lambda rng: sounds.clicks(rng, 3.5), lambda rng: sounds.music(rng, 3.5), lambda rng: babble(rng, 3.5)),
    *(cough, clap, slam, dishes),
)
NOISE_S = 4.0
APART_S = 0.9
"""So far apart are words at least: what is seen of one is over before the next."""


class Said(NamedTuple):
    """What somebody said, from when to when (seconds of the scene)."""

    text: str
    start_s: float
    end_s: float


class Scene(NamedTuple):
    """Embeddings, float32, shape (steps, 96), their scores, and who spoke in it."""

    features: np.ndarray
    scores: np.ndarray
    said: list[Said]


def reply(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Our own voice: stories and sentences."""
    texts = [*(line for story in STORIES for line in story), *SENTENCES]
    voice = ("flite:slt", "espeak:en-us", "flite:rms", "flite:awb")[rng.integers(4)]
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < count(seconds):
        parts += (
            at(-20, spoken(texts[rng.integers(len(texts))], voice)),
            np.zeros(count(rng.uniform(0.15, 0.5)), np.float32),
        )
    return np.concatenate(parts)[: count(seconds)]


def clean(heard: np.ndarray, played: np.ndarray) -> np.ndarray:
    """`heard` (int16) without `played`, as the wake networks get it while we play."""
    if not played.any():
        return heard
    linear = Linear()
    frames = zip(played.reshape(-1, FRAME_SAMPLES), heard.reshape(-1, FRAME_SAMPLES), strict=True)
    return np.concatenate([linear.take_out(ours, theirs) for ours, theirs in frames])


def scene(
    seed: int, engine: WakeEngine, texts: Sequence[str], voices: Sequence[str], near_db: float, *, playing: bool
) -> Scene:
    """People who say `texts`, `near_db` louder than our echo; at the end, or if nobody speaks all the time, noises."""
    rng = np.random.default_rng((9, seed))
    room = Room(rng, rt_s=float(rng.uniform(0.2, 0.4)))
    if seed % 4 == 3:  # who speaks from near, or through a cable as the tests do, is heard without the room
        room.person_response = np.ones(1, np.float32)
    echo_dbfs = float(rng.uniform(-38, -22))
    played = reply(rng, SCENE_S) * np.float32(playing)
    heard = room.echo(played, delay_ms=float(rng.uniform(20, 80)), gain_db=echo_dbfs + 20) + floor(rng, SCENE_S)
    said, now = [], 2.0
    for text, voice in zip(texts, voices, strict=True):
        word = spoken(text, voice)
        start = count(now + float(rng.uniform(0, 1)))
        if start + len(word) > len(heard) - count(NOISE_S * len(NOISES) + 1):
            break
        put(heard, start, room.person(word, echo_dbfs + near_db))
        said.append(Said(text, start / RATE, (start + len(word)) / RATE))
        now = said[-1].end_s + APART_S
    for number, make in enumerate(NOISES if texts else 3 * NOISES):
        noise = make(rng)[: count(NOISE_S - 0.5)]
        put(heard, count(SCENE_S - NOISE_S * (number + 1)), room.person(noise, echo_dbfs + near_db))
    cleaned = clean(to_pcm(heard), to_pcm(played))
    return Scene(*listen(engine, cleaned), said)


def near(seed: int, engine: WakeEngine, voice: str) -> Scene:
    """ "stop", some other words and "stop" again, said into the microphone while nothing sounds."""
    rng = np.random.default_rng((10, seed))
    parts, said, now = [np.zeros(count(1), np.float32)], [], 1.0
    kinds = (INTERJECTIONS, NEAR_STOP, OTHERS)
    others = (str(text) for kind, many in zip(kinds, (10, 4, 2), strict=True) for text in rng.permutation(kind)[:many])
    for text in ("stop", *others, "stop"):
        word = spoken(text, voice)
        said.append(Said(text, now, now + len(word) / RATE))
        parts += at(rng.uniform(-40, -15), word), np.zeros(count(1.5), np.float32)
        now += len(word) / RATE + 1.5
    heard = np.concatenate(parts)
    heard += floor(rng, len(heard) / RATE, rng.uniform(-85, -60))
    return Scene(*listen(engine, to_pcm(heard)), said)


def put(heard: np.ndarray, start: int, sound: np.ndarray) -> None:
    heard[start : start + len(sound)] += sound[: max(0, len(heard) - start)]


def listen(engine: WakeEngine, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings, and the score of "stop" (float64, shape (steps,))."""
    engine.reset()
    features, scores = [], []
    for step in sound[: len(sound) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES):
        scores.append(engine.score(step).get(STOP, 0.0))
        features.append(engine.features[0, -1].copy())
    return np.array(features), np.array(scores)


def windows(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each step what the model sees, whether "stop" was just said (1), was not (0) or nearly (-1), and when it ended."""
    shown = np.lib.stride_tricks.sliding_window_view(scene.features, (FRAMES, FEATURES))[:, 0].reshape(
        -1, FRAMES * FEATURES
    )
    t = (np.arange(FRAMES, FRAMES + len(shown))) * STEP_S
    label = np.zeros(len(t))
    for text, start_s, end_s in scene.said:
        if "stop" in text:
            label[(t > start_s - 0.1) & (t < end_s + 0.9)] = -1
        if text in STOPS:
            label[(t > end_s + 0.04) & (t < end_s + 0.3)] = 1
    return shown, label, t


def lesson(seed: int, engine: WakeEngine, teachers: Sequence[str], near_db: float) -> Scene:
    rng = np.random.default_rng((77, seed))
    voices = [teachers[i] for i in rng.permutation(np.tile(np.arange(len(teachers)), 3))[:40]]
    kinds = (STOPS, NEAR_STOP, INTERJECTIONS, OTHERS)
    texts = [str(rng.choice(kinds[rng.choice(4, p=(0.4, 0.25, 0.2, 0.15))])) for _ in voices]
    print(f"\rscene {seed}", end="", file=sys.stderr, flush=True)
    return scene(seed, engine, texts, voices, near_db, playing=seed % 5 != 4)


def lessons(engine: WakeEngine) -> list[Scene]:
    """Scenes to learn from."""
    over = [lesson(seed, engine, TEACHERS, NEAR_DB[seed % len(NEAR_DB)]) for seed in range(SCENES)]
    into = [near(seed, engine, voice) for seed, voice in enumerate(TEACHERS)]
    return over + into + noisy(engine)


def noisy(engine: WakeEngine) -> list[Scene]:
    """Scenes in which nobody speaks."""
    seeds = range(SCENES, SCENES + NOISY)
    return [scene(seed, engine, (), (), NEAR_DB[seed % len(NEAR_DB)], playing=seed % 5 != 4) for seed in seeds]


def examination(engine: WakeEngine) -> list[Scene]:
    """Scenes to find the model's threshold by."""
    return [lesson(seed, engine, EXAMINERS, (0, -5, 5)[seed % 3]) for seed in range(1000, 1018)]


class Model(NamedTuple):
    """A layer of units that are 0 or more, and their sum. float32: shapes (FRAMES * 96, n), (n,), (n, 1) and (1,)."""

    weights: np.ndarray
    bias: np.ndarray
    out_weights: np.ndarray
    out_bias: np.ndarray

    def logits(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Of each step, and when it ended."""
        shown, _, t = windows(scene)
        logits: np.ndarray = np.maximum(shown @ self.weights + self.bias, 0) @ self.out_weights + self.out_bias
        return logits[:, 0], t


def learn(scenes: Sequence[Scene]) -> Model:
    from sklearn.neural_network import MLPClassifier

    shown, label = (np.concatenate(parts) for parts in list(zip(*map(windows, scenes), strict=True))[:2])
    shown, label = shown[label >= 0], label[label >= 0].astype(int)
    mean, spread = shown.mean(0), shown.std(0) + 1e-6
    shown = ((shown - mean) / spread).astype(np.float32)
    rng = np.random.default_rng(0)
    network = MLPClassifier(UNITS, alpha=0.1, batch_size=1024, learning_rate_init=5e-4, random_state=0)
    for _ in range(EPOCHS):
        # Noise as strong as the embeddings: it must not go by what is in a few voices and rooms only.
        noise = rng.standard_normal(shown.shape, dtype=np.float32)
        network.partial_fit(shown + noise, label, np.where(label, 3, 1).astype(np.float32), (0, 1))
    weights = network.coefs_[0] / spread[:, None]
    parts = weights, network.intercepts_[0] - mean @ weights, network.coefs_[1], network.intercepts_[1]
    return Model(*(part.astype(np.float32) for part in parts))


def shifted(model: Model, scenes: Sequence[Scene]) -> Model:
    """So that the part FOUND of "stop" in `scenes` reaches 0.5, `wake.threshold`'s default."""
    peaks = []
    for one in scenes:
        logits, t = model.logits(one)
        peaks += [logits[(t > s.start_s) & (t < s.end_s + SEEN_S)].max() for s in one.said if s.text in STOPS]
    return model._replace(out_bias=model.out_bias - np.quantile(peaks, 1 - FOUND).astype(np.float32))


def write(model: Model, path: Path) -> None:
    """As a model of openWakeWord's kind."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Flatten", ["features"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["units"]),
        helper.make_node("Relu", ["units"], ["positive"]),
        helper.make_node("Gemm", ["positive", "out_weights", "out_bias"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "stop",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, FRAMES, FEATURES])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(part, name) for name, part in model._asdict().items()],
    )
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(whole, full_check=True)
    path.write_bytes(whole.SerializeToString())


def measured() -> Iterator[tuple[str, int, Sequence[str], float, bool]]:
    """Rows, and the scenes of each: a seed, what is said, how loud against our echo, and whether we play."""
    stops = ("stop",) * 30
    for row, (near_db, playing) in enumerate(((0, True), (-5, True), (0, False))):
        where = f"over our voice, {near_db} dB" if playing else "nothing sounds"
        for seed in range(500 + 4 * row, 504 + 4 * row):
            yield f'"stop" {where}', seed, stops, near_db, playing
    words = (*NEAR_STOP, *INTERJECTIONS, *INTERJECTIONS, *OTHERS, *NEVER_LEARNED)
    order = np.random.default_rng(11).permutation(len(words))
    for number, first in enumerate(range(0, len(words), 26)):
        some = [words[i] for i in order[first : first + 26]]
        yield "other words over our voice", 600 + number, some, (0, -5, 5)[number % 3], True
        yield "other words, nothing sounds", 620 + number, some, 0, False


def measure(engine: WakeEngine, threshold: float) -> Iterator[str]:
    """Lines: what is found in each row by voices that it did not learn from, and what else is taken for it."""
    rows: dict[str, list[tuple[str, bool]]] = {}
    false, seconds = 0, 0.0
    for row, seed, texts, near_db, playing in measured():
        voices = [VOICES[(seed + i) % len(VOICES)] for i in range(len(texts))]
        one = scene(seed, engine, texts, voices, near_db, playing=playing)
        counts = one.scores >= threshold
        t = np.arange(1, len(counts) + 1) * STEP_S
        rest = np.ones(len(t), bool)
        for text, start_s, end_s in one.said:
            word = (t > start_s) & (t < end_s + SEEN_S)
            rows.setdefault(row, []).append((text, bool(counts[word].any())))
            rest &= ~word
        false += int(np.count_nonzero(np.diff(counts & rest, prepend=False) & counts & rest))
        seconds += float(rest.sum()) * STEP_S
    for row, tries in rows.items():
        found = [text for text, counted in tries if counted]
        which = "" if row.startswith('"stop"') else f": {', '.join(found) or 'none'}"
        yield f"{row:28} {len(found)} of {len(tries)} counted{which}"
    yield f"{'no words':28} {false} counted in {seconds / 60:.0f} minutes of our voice, noises and silence"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--make", action="store_true", help="learn it anew")
    if parser.parse_args().make:
        ears = WakeEngine(word_paths(("hey_jarvis",)))
        write(shifted(learn(lessons(ears)), examination(ears)), MODEL)
    for line in measure(engine(), Wake().threshold):
        print(line)


def engine() -> WakeEngine:
    return WakeEngine(word_paths(("hey_jarvis",)) | stop_paths((STOP,)))


if __name__ == "__main__":
    main()
