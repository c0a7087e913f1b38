"""The built-in stop word: makes its model of synthetic voices, and measures what it finds and what it takes for it.

    .venv/bin/python -m tests.bench.stop_word [--make]

--make writes device/hearing/wake/stop.onnx anew: a logistic regression on the last embeddings of the wake engine. What it
learns from is what it will hear: "stop", other words and nothing, over our own voice in many rooms, after the linear
canceller; and words from near the microphone. The voices that are measured with are none of those that it learned
from. Takes ten minutes. Needs flite, espeak-ng and scikit-learn.
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
SCENES, SCENE_S = 90, 100.0
NEAR_DB = (-8, -5, -2, 0, 3, 6, 12)
ECHO_DBFS = -30.0
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-gb-x-rp")
VARIANTS = ("m1", "m2", "m4", "m5", "m6", "m8", "f1", "f5", "Alex", "Andy", "Annie", "Gene", "Lee", "Michael", "linda", "steph")
PITCHES = (0.82, 0.88, 0.94, 1.06, 1.15, 1.25)
TEACHERS = tuple(
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
    """People who say `texts`, `near_db` louder than our echo; at the end noises of a house, which are no words."""
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
    for number, make in enumerate(NOISES):
        noise = make(rng)[: count(NOISE_S - 0.5)]
        put(heard, count(SCENE_S - NOISE_S * (number + 1)), room.person(noise, echo_dbfs + near_db))
    cleaned = clean(to_pcm(heard), to_pcm(played))
    return Scene(*listen(engine, cleaned), said)


def near(seed: int, engine: WakeEngine, voice: str) -> Scene:
    """ "stop", some other words and "stop" again, said into the microphone while nothing sounds."""
    rng = np.random.default_rng((10, seed))
    parts, said, now = [np.zeros(count(1), np.float32)], [], 1.0
    words = NEAR_STOP + INTERJECTIONS + OTHERS
    for text in ("stop", *(words[i] for i in rng.permutation(len(words))[:4]), "stop"):
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
        scores.append(engine.score(step)[STOP])
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


def lessons(engine: WakeEngine) -> Iterator[Scene]:
    rng = np.random.default_rng(77)
    for seed in range(SCENES):
        voices = [TEACHERS[i] for i in rng.permutation(len(TEACHERS))[:40]]
        kinds = (STOPS, NEAR_STOP, INTERJECTIONS, OTHERS)
        texts = [str(rng.choice(kinds[rng.choice(4, p=(0.4, 0.25, 0.2, 0.15))])) for _ in voices]
        yield scene(seed, engine, texts, voices, NEAR_DB[seed % len(NEAR_DB)], playing=seed % 5 != 4)
        print(f"\rscene {seed + 1} of {SCENES}", end="", file=sys.stderr, flush=True)
    yield from (near(seed, engine, voice) for seed, voice in enumerate(TEACHERS))


def learn(scenes: Sequence[Scene]) -> tuple[np.ndarray, float]:
    """Weights (float32, shape (FRAMES * 96,)) and bias."""
    from sklearn.linear_model import LogisticRegression

    shown, label = (np.concatenate(parts) for parts in list(zip(*map(windows, scenes), strict=True))[:2])
    shown, label = shown[label >= 0], label[label >= 0]
    mean, spread = shown.mean(0), shown.std(0) + 1e-6
    model = LogisticRegression(C=3e-3, class_weight={0: 1, 1: 5}, max_iter=300).fit((shown - mean) / spread, label)
    weights = model.coef_[0] / spread
    bias = model.intercept_[0] - mean @ weights - np.log(THRESHOLD / (1 - THRESHOLD))
    return weights.astype(np.float32), float(bias)


def write(weights: np.ndarray, bias: float, path: Path) -> None:
    """As a model of openWakeWord's kind."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Flatten", ["features"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "stop",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, FRAMES, FEATURES])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1])],
        [
            numpy_helper.from_array(weights[:, None], "weights"),
            numpy_helper.from_array(np.array([bias], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def scores(engine: WakeEngine, weights: np.ndarray, bias: float, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    shown, _, t = windows(scene)
    return 1 / (1 + np.exp(-(shown @ weights + bias))), t


def measure(engine: WakeEngine, weights: np.ndarray, bias: float) -> Iterator[str]:
    """Lines: what is found of 45 "stop" in each row, and what else is taken for it."""
    for near_db, playing in ((0, True), (-5, True), (0, False)):
        found = own = 0
        for turn in range(3):
            one = scene(
                500 + turn, engine, ["stop"] * 15, VOICES[5 * turn :] + VOICES[: 5 * turn], near_db, playing=playing
            )
            score, t = scores(engine, weights, bias, one)
            ours = np.ones(len(t), bool)
            for _, start_s, end_s in one.said:
                word = (t > start_s) & (t < end_s + 0.8)
                found += bool((score[word] >= 0.5).any())
                ours &= ~word
            own += int((np.diff((score >= 0.5) & ours, prepend=False) & (score >= 0.5)).sum())
        where = f"over our voice, {near_db} dB" if playing else "nothing sounds"
        yield f"{where:24} {found} of 45 found, {own} false"
    wrong: list[str] = []
    said = 0
    for turn in range(5):
        texts = [OTHERS[(12 * turn + i) % len(OTHERS)] for i in range(12)]
        one = scene(
            600 + turn,
            engine,
            texts,
            [VOICES[(i + 3 * turn) % 15] for i in range(12)],
            (0, -5, 5)[turn % 3],
            playing=True,
        )
        score, t = scores(engine, weights, bias, one)
        said += len(one.said)
        wrong += [s.text for s in one.said if (score[(t > s.start_s) & (t < s.end_s + 0.8)] >= 0.5).any()]
    yield f"{'other words':24} {len(wrong)} of {said} taken for it: {', '.join(wrong) or 'none'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--make", action="store_true", help="learn it anew")
    engine = WakeEngine(word_paths(("hey_jarvis",)))
    if parser.parse_args().make:
        write(*learn(list(lessons(engine))), MODEL)
    import onnx
    from onnx import numpy_helper

    constants = {one.name: numpy_helper.to_array(one) for one in onnx.load(MODEL).graph.initializer}
    for line in measure(engine, constants["weights"][:, 0], float(constants["bias"][0])):
        print(line)


if __name__ == "__main__":
    main()
