"""What the microphone hears of the loudspeaker beside it: an impulse response, and how PulseAudio is made to apply it."""

import wave
from pathlib import Path

import numpy as np

RATE = 48_000
FIRST_S = 0.03
"""What no driver tells of: converters, and the way through the air."""
FADES_S = 0.12
"""By 60 dB."""
GAIN_DB = -10.0
"""RMS of the echo against what is played."""
_SMALLER = 2.5
"""By so much PulseAudio makes the responses of a virtual surround smaller, if their greatest sum at any sample is 1."""
_LOUDER = round(65_536 * _SMALLER ** (1 / 3))
"""The volume that makes up for it, on PulseAudio's cubic scale."""


def response(seed: int = 1) -> np.ndarray:
    """From the loudspeaker to a microphone in the same box, with a small room around it: float32, 48 kHz."""
    count = round(FADES_S * RATE)
    tail = np.random.default_rng(seed).standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[0] = 2 * np.linalg.norm(tail)  # the straight way is louder than all the others
    tail *= 10 ** (GAIN_DB / 20) / np.linalg.norm(tail)
    return np.concatenate((np.zeros(round(FIRST_S * RATE)), tail)).astype(np.float32)


def heard_of(played: np.ndarray) -> np.ndarray:
    """What the microphone hears of `played` by the way of `response`: as long as that, float64, 48 kHz."""
    way = response()
    size = 1 << (len(played) + len(way)).bit_length()
    heard: np.ndarray = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(way, size), size)[: len(played)]
    return heard


def echoing(heard: np.ndarray, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A mono sink "speaker" that is on the right of the sink "card" as it is played, and on the left through `heard`.

    `heard` is float32 at 48 kHz, of less than 1, and begins with silence. Returns PulseAudio's modules, and orders for after
    them; its files are written into `folder`. The echo is computed where the card mixes: its delay is the same for ever, to
    the sample, and what else is heard has no part in it.
    """
    if heard[0] or np.abs(heard).max() >= 1:
        raise ValueError("an echo begins with silence, and no part of it is as loud as what is played")
    as_it_is = np.zeros_like(heard)
    as_it_is[0] = 1.0
    _write(folder / "echo.wav", heard)
    _write(folder / "played.wav", as_it_is)
    files = f"hrir_left={folder}/echo.wav hrir_right={folder}/played.wav"
    modules = (
        f"module-virtual-surround-sink sink_name=walls sink_master=card {files}",
        # In floats, for the volume below would clip.
        "module-remap-sink sink_name=speaker master=walls format=float32le channels=1 channel_map=mono"
        " master_channel_map=mono remix=no",
    )
    return modules, (f"set-sink-volume speaker {_LOUDER}",)


def _write(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        wav.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
