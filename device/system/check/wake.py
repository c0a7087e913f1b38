"""The wake words: the networks, whether they are the fast ones, whether this machine keeps up, and enrolled voices."""

import time
from pathlib import Path

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, Frame
from device.config import Wake
from device.errors import HardwareError
from device.hearing.models import load
from device.hearing.speech import SpeechDetector
from device.hearing.wake import streaming
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.verifier import Verifier
from device.system.check.report import Result, ok, warning

_FRAMES = 100
"""2 s of sound, of which the first half is for the networks to be at home in the processor's caches."""
_BUSY = 0.6


def wake(settings: Wake) -> Result:
    """Loads all that the ear needs, and listens to noise for a moment.

    Raises:
        HardwareError: a model is missing or cannot be run.
    """
    damage = _damage()
    detector = WakeDetector(settings)
    SpeechDetector()
    load_part = _load(detector)
    problems = Verifier(Path(settings.voices), word_paths(settings.words)).problems
    figures = {
        "words": list(settings.words),
        "streaming": not damage,
        "load_percent": round(load_part * 100, 1),
        "voice_problems": len(problems),
    }
    text = f"{', '.join(settings.words)}: loaded, listening takes {load_part:.0%} of a core"
    if damage:
        return warning(f"{text}, five times what it should: {damage}", "Run install.sh again: it makes it.", **figures)
    if problems:
        return warning(f"{text}; {problems[0]}", " ".join(problems[1:]), **figures)
    if load_part > _BUSY:
        remedy = "Is something else using the processor (`top`)? Is it slowed down by heat or too little voltage?"
        return warning(f"{text}: that is too much", remedy, **figures)
    return ok(text, **figures)


def _damage() -> str:
    """What is wrong with the streaming network; empty if nothing is. The detector may make it anew."""
    path = streaming.kept_at()
    if not path.is_file():
        return "the streaming wake network is missing"
    try:
        load(path)
    except HardwareError:
        return "the streaming wake network is damaged"
    return ""


def _load(detector: WakeDetector) -> float:
    """Which part of a second of noise it takes to listen to it."""
    noise = np.random.default_rng(0).normal(scale=500, size=(_FRAMES, FRAME_SAMPLES)).astype(np.int16)
    began = time.monotonic()
    for number, samples in enumerate(noise):
        if number == _FRAMES // 2:
            began = time.monotonic()
        detector.hear(Frame(samples.tobytes(), number * FRAME_S), may_rest=False)
    return (time.monotonic() - began) / (_FRAMES / 2 * FRAME_S)
