"""Sound through open streams, for a check: listen, play the chirp, and both at once."""

import time

import numpy as np

from device.audio import FULL_SCALE
from device.errors import HardwareError
from device.soundcard import PERIODS_A_SECOND, Stream
from device.system.check.measure import chirp

_BEFORE_S, _AFTER_S = 0.2, 0.9
"""Silence around the chirp: the first for the card to start, the second for its way back."""
_LOUDEST = 0.5


def listen(stream: Stream, seconds: float) -> np.ndarray:
    """int16, shape (samples, channels)."""
    pcm = b"".join(stream.read() for _ in range(round(seconds * PERIODS_A_SECOND)))
    return np.frombuffer(pcm, np.int16).reshape(-1, stream.channels)


def _pcm(output: Stream, volume: int) -> list[bytes]:
    """The chirp with silence around it, in periods. The volume is that of the speaker, which takes its square."""
    before, after = (np.zeros(round(seconds * output.rate)) for seconds in (_BEFORE_S, _AFTER_S))
    sound = np.concatenate((before, chirp(output.rate) * _LOUDEST * (volume / 100) ** 2, after))
    pcm = np.repeat((sound * (FULL_SCALE - 1)).astype(np.int16), output.channels).tobytes()
    step = output.period * output.channels * 2
    return [pcm[start : start + step] for start in range(0, len(pcm) - step + 1, step)]


def play(output: Stream, volume: int) -> None:
    for period in _pcm(output, volume):
        output.write(period)


def play_and_listen(output: Stream, source: Stream, volume: int) -> tuple[np.ndarray, float, float]:
    """What the microphone heard meanwhile; when the chirp was handed to the card, and when the first sample was captured.

    The microphone gives the pace: what there is room for is written before each read, so neither runs dry.
    """
    waiting = _pcm(output, volume)
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
