"""The sounds the speaker makes by itself, computed. Pure."""

import numpy as np

from device.events import Chime

_LEVEL = 0.25
_NOTES: dict[Chime, tuple[tuple[float, float], ...]] = {
    Chime.WAKE: ((660.0, 0.07), (880.0, 0.09)),
    Chime.END: ((880.0, 0.07), (660.0, 0.09)),
    Chime.ERROR: ((330.0, 0.14), (0.0, 0.05), (262.0, 0.22)),
    Chime.MUTE: ((440.0, 0.08), (330.0, 0.12)),
    Chime.UNMUTE: ((330.0, 0.08), (440.0, 0.12)),
    Chime.TIMER: ((988.0, 0.14), (0.0, 0.06), (988.0, 0.14), (0.0, 0.06), (1319.0, 0.3)),
}
"""Hertz (0 is a rest) and seconds: rising asks, falling ends, low warns, high and repeated calls."""
TAIL_S = 0.05


def length_s(chime: Chime) -> float:
    """How long it sounds."""
    return sum(seconds for _, seconds in _NOTES[chime]) + TAIL_S


def render(chime: Chime, rate: int) -> np.ndarray:
    """The chime as float32 of -1..1 at `rate` hertz."""
    notes = [_note(hertz, seconds, rate) for hertz, seconds in _NOTES[chime]]
    return np.concatenate([*notes, np.zeros(round(TAIL_S * rate), np.float32)]).astype(np.float32)


def _note(hertz: float, seconds: float, rate: int) -> np.ndarray:
    """A sine with a soft overtone; it fades in and out, for a step in the wave is a click."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * hertz * t) + 0.3 * np.sin(4 * np.pi * hertz * t)
    fade = np.minimum(1.0, np.minimum(t, seconds - t) / 0.012)
    note: np.ndarray = (_LEVEL * wave * fade**2).astype(np.float32)
    return note
