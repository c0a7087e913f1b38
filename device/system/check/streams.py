"""Sound through open streams, for a check: listen, play, and both at once."""

import time

import numpy as np

from device.audio import FULL_SCALE
from device.errors import HardwareError
from device.soundcard import PERIODS_A_SECOND, Stream

_BEFORE_S, _AFTER_S = 0.2, 0.9
"""Silence around what is played: the first for the card to start, the second for its way back."""


def listen(stream: Stream, seconds: float) -> np.ndarray:
    """int16, shape (samples, channels)."""
    pcm = b"".join(stream.read() for _ in range(round(seconds * PERIODS_A_SECOND)))
    return np.frombuffer(pcm, np.int16).reshape(-1, stream.channels)


def loudness(volume: int) -> float:
    """What the speaker multiplies its samples with, for a volume in percent."""
    return (volume / 100) ** 2


def _pcm(output: Stream, sound: np.ndarray) -> list[bytes]:
    """The sound with silence around it, in periods."""
    before, after = (np.zeros(round(seconds * output.rate)) for seconds in (_BEFORE_S, _AFTER_S))
    whole = np.concatenate((before, sound, after))
    pcm = np.repeat((whole * (FULL_SCALE - 1)).astype(np.int16), output.channels).tobytes()
    step = output.period * output.channels * 2
    return [pcm[start : start + step] for start in range(0, len(pcm) - step + 1, step)]


def play(output: Stream, sound: np.ndarray) -> None:
    """`sound`: floats of -1..1 at the rate of the stream."""
    for period in _pcm(output, sound):
        output.write(period)


def play_and_listen(output: Stream, source: Stream, sound: np.ndarray) -> tuple[np.ndarray, float, float]:
    """What the microphone heard meanwhile; when `sound` was handed to the card, and when the first sample was captured.

    `sound` is as for `play`. The microphone gives the pace: what there is room for is written before each read, so neither
    runs dry.
    """
    waiting = _pcm(output, sound)
    first = len(waiting) - round(_BEFORE_S * PERIODS_A_SECOND)
    pieces: list[bytes] = []
    played_at, heard_from = 0.0, float("inf")
    for number in range(len(waiting)):
        while waiting and output.has_room():
            if len(waiting) == first:
                played_at = time.monotonic()
            output.write(waiting.pop(0))
        pieces.append(source.read())
        heard_from = min(heard_from, time.monotonic() - (number + 1) / PERIODS_A_SECOND)
    if len(waiting) > len(pieces) / 2:
        raise HardwareError(f"The speaker {output.name!r} takes no sound. Is another program using it?")
    return np.frombuffer(b"".join(pieces), np.int16).reshape(-1, source.channels), played_at, heard_from
