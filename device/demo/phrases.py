"""Makes the sounds of device/speaking/phrases.py anew: `python -m device.demo.phrases`, after a text has changed."""

import sys
import wave
from pathlib import Path

import numpy as np

from device.audio import FULL_SCALE, RATE, to_float, to_int16
from device.demo.voices import say
from device.errors import EarshotError
from device.speaking.phrases import FOLDER, TEXTS

VOICE = "flite:slt"
LEVEL_DB, PEAK_DB = -20.0, -3.0
"""RMS and the highest peak, dB of full scale: as loud as most replies, and still loud after a chime."""
MARGIN_S = 0.03
"""Kept before and after the words, and faded: the first consonant is softer than what counts as silence."""
_SILENT = 0.01
"""Part of the peak."""


def make(folder: Path, cache: Path | None = None) -> list[Path]:
    """Write every phrase into `folder`; `cache` is that of `say`.

    Raises:
        EarshotError: flite is missing or fails.
        OSError: `folder` cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in TEXTS.items():
        path = folder / f"{name}.wav"
        with wave.open(str(path), "wb") as wav:
            wav.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
            wav.writeframes(to_int16(_level(_trim(to_float(say(text, VOICE, cache))))).tobytes())
        paths.append(path)
    return paths


def _trim(sound: np.ndarray) -> np.ndarray:
    margin = round(MARGIN_S * RATE)
    padded = np.pad(sound, margin)
    loud = np.flatnonzero(np.abs(padded) > _SILENT * np.abs(padded).max())
    trimmed: np.ndarray = padded[loud[0] - margin : loud[-1] + 1 + margin].copy()
    ramp = np.linspace(0, 1, margin, dtype=np.float32)
    trimmed[:margin] *= ramp
    trimmed[-margin:] *= ramp[::-1]
    return trimmed


def _level(sound: np.ndarray) -> np.ndarray:
    rms, peak = np.sqrt(np.mean(sound**2)), np.abs(sound).max()
    gain = min(10 ** (LEVEL_DB / 20) / rms, (1 - 1 / FULL_SCALE) * 10 ** (PEAK_DB / 20) / peak)
    levelled: np.ndarray = sound * np.float32(gain)
    return levelled


if __name__ == "__main__":
    try:
        made = make(FOLDER)
    except EarshotError as error:
        sys.exit(f"earshot: {error}")
    sys.stdout.write(f"{len(made)} phrases, {sum(path.stat().st_size for path in made) // 1000} kB, in {FOLDER}\n")
