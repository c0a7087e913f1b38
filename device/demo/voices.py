"""Synthetic people: espeak-ng and flite, heard at 16 kHz."""

import hashlib
import os
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from device.demo.programs import program
from device.errors import EarshotError

RATE = 16_000  # Hz
LIMIT_S = 30.0  # for one sentence
FLITE = ("slt", "rms", "awb", "kal", "kal16")  # it takes another name for its default without a word


def say(text: str, voice: str = "flite:slt", cache: Path | None = None) -> np.ndarray:
    """`text` as speech, int16 mono at 16 kHz, at the loudness of the voice.

    `voice` is "flite:" and a voice of flite (slt, rms, awb, kal16), or "espeak:" and one of espeak-ng (en-us+f3).
    What was said once is kept in `cache`, by default below the user's cache directory.
    """
    cache = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earshot" / "voices"
    path = cache / f"{hashlib.sha256(f'{voice} {text}'.encode()).hexdigest()[:32]}.wav"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            fresh = Path(directory) / "said.wav"
            _write(fresh, _synthesise(text, voice, Path(directory) / "raw.wav"))
            fresh.rename(path)  # whole or not at all, however many say it at once
    return _read(path)[0]


def resample(pcm: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Mono int16 samples at another rate (Hz), by the best method there is."""
    import samplerate

    converted: np.ndarray = samplerate.resample(pcm.astype(np.float32), to / rate, "sinc_best")
    limited: np.ndarray = np.clip(np.rint(converted), -32768, 32767)
    return limited.astype(np.int16)


def _synthesise(text: str, voice: str, path: Path) -> np.ndarray:
    engine, _, name = voice.partition(":")
    if engine == "flite" and name in FLITE:
        command = [program("flite"), "-voice", name, "-t", text, "-o", str(path)]
    elif engine == "espeak":
        command = [program("espeak-ng"), "-v", name, "-s", "150", "-w", str(path), "--", text]
    else:
        raise EarshotError(f'there is no voice "{voice}": take "flite:slt" or "espeak:en-us", for example')
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode or not path.exists():
        raise EarshotError(f'the voice "{voice}" does not speak: {done.stderr.strip() or "no sound came"}')
    pcm, rate = _read(path)
    if rate == RATE:
        return pcm
    return resample(pcm, rate, RATE)


def _read(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as wav:
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2"), wav.getframerate()


def _write(path: Path, pcm: np.ndarray) -> None:
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        wav.writeframes(pcm.tobytes())
