"""How loud the room is by itself: the noise that is left when nobody speaks. Pure."""

import numpy as np

from device.audio import Frame
from device.hearing.played import mean_square

_WINDOW = 500
"""Frames that count: in 10 s somebody who speaks pauses often enough."""
_EVERY = 50
_PART = 0.1
"""So much of the time, at the least, is taken to be noise alone."""
STEP_DB = 2.0
"""A change is worth telling from here on."""


class NoiseFloor:
    """The level of the quietest tenth of the last 10 s.

    It wants frames as the microphone gives them, before any noise suppression, and none in which we are heard ourselves.
    """

    def __init__(self) -> None:
        self._powers = np.zeros(_WINDOW)
        self._count = 0
        self._told_dbfs: float | None = None

    def hear(self, frame: Frame) -> float | None:
        """The noise (RMS in dB below full scale) where it is another than last told, else None."""
        power = mean_square(np.frombuffer(frame.pcm, np.int16))
        if not power:  # a microphone that is switched off hears no room
            return None
        self._powers[self._count % _WINDOW] = power
        self._count += 1
        if self._count < _WINDOW or self._count % _EVERY:
            return None
        quiet = np.partition(self._powers, round(_WINDOW * _PART))[round(_WINDOW * _PART)]
        dbfs = float(10 * np.log10(quiet))
        if self._told_dbfs is not None and abs(dbfs - self._told_dbfs) < STEP_DB:
            return None
        self._told_dbfs = dbfs
        return dbfs
