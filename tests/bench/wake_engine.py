"""One wake word engine in a process of its own, for `tests.bench.wake`: prints what it cost and found as one line of JSON.

    python -m tests.bench.wake_engine ENGINE SOUND [--words hey_jarvis …] [--trace]

SOUND holds samples: int16, mono, 16 kHz. Nothing is imported before the clock starts but what a bare Python has.
"""

import time

_BEGAN = time.perf_counter()

import argparse  # noqa: E402 - the clock comes first
import json  # noqa: E402
import tracemalloc  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

_WITH_NUMPY = time.perf_counter()

STEP_SAMPLES = 1280
"""What every engine gets at a time: openWakeWord's 80 ms."""
LEAD_S = 10.0
"""So much of the sound is heard before anything is counted: openwakeword forgets its noise, and our gate learns the room."""
_LEAD = round(LEAD_S * 16_000) // STEP_SAMPLES
Step = Callable[[np.ndarray], float]
"""Takes int16 of shape (1280,) and returns the best score of any word that came with it."""


def earshot(words: list[str]) -> Step:
    """The way of the product: frames of 20 ms, through gate, engine and rules. Scores 1 where a word is heard."""
    from device.audio import FRAME_SAMPLES, Frame
    from device.config import Wake
    from device.events import WakeHeard
    from device.hearing.wake.detector import WakeDetector

    detector = WakeDetector(Wake(words=tuple(words), voices="/nowhere"))
    t = 0.0

    def step(samples: np.ndarray) -> float:
        nonlocal t
        heard = False
        for start in range(0, STEP_SAMPLES, FRAME_SAMPLES):
            t += 0.02
            found = detector.hear(Frame(samples[start : start + FRAME_SAMPLES].tobytes(), t))
            heard = heard or any(isinstance(one, WakeHeard) for one in found)
        return float(heard)

    return step


def bare(words: list[str]) -> Step:
    """Our engine alone: it runs in silence, too."""
    from device.hearing.wake.detector import word_paths
    from device.hearing.wake.engine import WakeEngine

    engine = WakeEngine(word_paths(tuple(words)))
    return lambda samples: max(engine.score(samples).values())


def openwakeword(words: list[str]) -> Step:
    from openwakeword.model import Model

    from device.hearing.models import bundled

    paths = [str(bundled(f"{word}_v0.1.onnx")) for word in words]
    model = Model(wakeword_models=paths, inference_framework="onnx")
    return lambda samples: float(max(model.predict(samples).values()))


def pyopen(words: list[str]) -> Step:
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    features = OpenWakeWordFeatures.from_builtin()
    heads = [OpenWakeWord.from_builtin(Model(word)) for word in words]

    def step(samples: np.ndarray) -> float:
        new = list(features.process_streaming(samples.tobytes()))
        return max((score for head in heads for one in new for score in head.process_streaming(one)), default=0.0)

    return step


def pymicro(words: list[str]) -> Step:
    """Its scores count against a threshold of each word's own: 1 where they pass it."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    features = MicroWakeWordFeatures()
    heads = [MicroWakeWord.from_builtin(Model(word)) for word in words]

    def step(samples: np.ndarray) -> float:
        new = list(features.process_streaming(samples.tobytes()))
        return float(max((bool(head.process_streaming(one)) for head in heads for one in new), default=False))

    return step


ENGINES: dict[str, Callable[[list[str]], Step]] = {
    "openwakeword": openwakeword,
    "pyopen-wakeword": pyopen,
    "pymicro-wakeword": pymicro,
    "earshot": earshot,
    "earshot, engine alone": bare,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("sound", type=Path)
    parser.add_argument("--words", nargs="+", default=["hey_jarvis"])
    parser.add_argument("--trace", action="store_true", help="count memory, which makes it slow")
    options = parser.parse_args()
    samples = np.fromfile(options.sound, np.int16)
    steps = samples[: len(samples) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES)
    opened = time.perf_counter()
    step = ENGINES[options.engine](options.words)
    first = step(steps[0])
    scored = time.perf_counter()
    got = traced(step, steps[1:]) if options.trace else timed(step, steps[1:], first)
    got |= {"first_s": scored - opened, "first_with_numpy_s": scored - opened + _WITH_NUMPY - _BEGAN}
    print(json.dumps(got | memory()))


def timed(step: Step, steps: np.ndarray, first: float) -> dict[str, object]:
    """CPU seconds of all threads per minute of sound; seconds of each step; every score."""
    took, scores = [], [first, *map(step, steps[:_LEAD])]
    counted = steps[_LEAD:]
    cpu = time.process_time()
    for samples in counted:
        began = time.perf_counter()
        scores.append(step(samples))
        took.append(time.perf_counter() - began)
    cpu = time.process_time() - cpu
    return {"cpu_s": cpu * 60 * 16_000 / max(1, counted.size), "took_s": took, "scores": scores}


def traced(step: Step, steps: np.ndarray) -> dict[str, object]:
    """Bytes that each step needs at its peak, beyond what was there before; and what all steps together leave behind."""
    for samples in steps[:_LEAD]:
        step(samples)
    tracemalloc.start()
    counted = steps[_LEAD:]
    peaks = np.zeros(len(counted), np.int64)
    settled = 0
    for number, samples in enumerate(counted):
        before = tracemalloc.get_traced_memory()[0]
        settled = settled or before
        tracemalloc.reset_peak()
        step(samples)
        peaks[number] = tracemalloc.get_traced_memory()[1] - before
    left = tracemalloc.get_traced_memory()[0] - settled
    return {"peaks": peaks.tolist(), "left": left}


def memory() -> dict[str, float]:
    """Resident memory in MB: now, and at its most."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM")}


if __name__ == "__main__":
    main()
