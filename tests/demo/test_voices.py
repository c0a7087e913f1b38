"""Synthetic voices."""

from pathlib import Path

import numpy as np
import pytest

from device.demo.conversation import QUESTION, VOICE, WAKE
from device.demo.voices import RATE, say
from device.errors import EarshotError
from device.hearing.wake.detector import word_paths
from device.hearing.wake.engine import STEP_SAMPLES, WakeEngine


@pytest.mark.parametrize("voice", ["flite:slt", "flite:kal", "espeak:en-us+f3"])
def test_a_voice_speaks_at_16_khz(voice: str, tmp_path: Path) -> None:
    pcm = say("hey jarvis, what time is it", voice, tmp_path)
    assert pcm.dtype == np.int16 and pcm.ndim == 1
    assert 1.5 < len(pcm) / RATE < 3.5
    assert 10_000 < np.abs(pcm.astype(int)).max() <= 32768


def test_what_was_said_once_needs_no_synthesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = say("goodbye", cache=tmp_path)
    monkeypatch.setenv("PATH", "")
    assert np.array_equal(say("goodbye", cache=tmp_path), first)
    with pytest.raises(EarshotError, match="apt install flite"):
        say("something new", cache=tmp_path)


def test_voices_and_texts_are_kept_apart(tmp_path: Path) -> None:
    said = [say(text, voice, tmp_path) for text in ("yes", "no") for voice in ("flite:slt", "flite:rms")]
    assert len({pcm.tobytes() for pcm in said}) == 4


@pytest.mark.parametrize("voice", ["flite:nobody", "espeak:nobody", "nobody", ""])
def test_an_unknown_voice_is_refused_by_name(voice: str, tmp_path: Path) -> None:
    with pytest.raises(EarshotError, match=f'the.* voice "{voice}"|no voice "{voice}"'):
        say("hello", voice, tmp_path)
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize("text", [QUESTION, WAKE])
@pytest.mark.parametrize("shift", [0, 320, 640, 960])
def test_the_wake_word_is_heard_in_the_voice_of_the_demo_whenever_it_is_said(
    text: str, shift: int, tmp_path: Path
) -> None:
    quiet = np.zeros(RATE, np.int16)
    heard = np.concatenate([quiet[shift:], say(text, VOICE, tmp_path), quiet])
    engine = WakeEngine(word_paths(("hey_jarvis",)))
    steps = heard[: len(heard) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES)
    assert max(engine.score(step)["hey_jarvis"] for step in steps) > 0.9
