"""What each look is on the lamps: generators of frames, one per FRAME_S. Pure.

A frame gives each of three lamps, or red, green and blue, a brightness from 0 to 1. A steady pattern yields one frame
and ends, so that it costs nothing while it is shown.
"""

import math
from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat

from device.panel.look import Look
from device.state import ENDING_S

FRAME_S = 0.04
LEAST = 0.01
"""lgpio dims in steps of a percent, and takes what is less for nothing."""

Frame = tuple[float, float, float]
Pattern = Callable[[], Iterator[Frame]]

OFF: Frame = (0.0, 0.0, 0.0)
EACH: tuple[Frame, ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def _steady(frame: Frame) -> Pattern:
    return lambda: iter((frame,))


def _rhythm(*steps: tuple[Frame, float]) -> Pattern:
    """Each frame for so many seconds, over and over."""
    return lambda: cycle(chain.from_iterable(repeat(frame, round(seconds / FRAME_S)) for frame, seconds in steps))


def _breathing(frame: Frame, period_s: float) -> Pattern:
    count = round(period_s / FRAME_S)
    swing = [(1 - math.cos(2 * math.pi * n / count)) / 2 for n in range(count)]
    # Squared, because the eye sees the square root; never quite dark, so that it is not taken for blinking.
    levels = [0.08 + 0.92 * x * x for x in swing]
    red, green, blue = frame
    return lambda: cycle([(red * level, green * level, blue * level) for level in levels])


def _fading(frame: Frame, seconds: float) -> Pattern:
    """From `frame` down, and it stays there: not quite dark, for then it would seem to be over."""
    count = round(seconds / FRAME_S)
    levels = [0.08 + 0.92 * (1 - n / count) ** 2 for n in range(count + 1)]
    red, green, blue = frame
    return lambda: iter([(red * level, green * level, blue * level) for level in levels])


def dimmed(frames: Iterator[Frame], part: float) -> Iterator[Frame]:
    """The frames at that part of their brightness. What is lit stays so, unless `part` is 0."""
    least = min(part, LEAST)

    def level(whole: float) -> float:
        return max(whole * part, least) if whole else 0.0

    return ((level(red), level(green), level(blue)) for red, green, blue in frames)


# Three lamps (listening, speaking, tool call): told apart by which lamps and which rhythm, for eyes that see no colour.
THREE_LAMPS: dict[Look, Pattern] = {
    Look.ERROR: _rhythm(((1.0, 1.0, 1.0), 0.2), (OFF, 0.2)),
    Look.MUTED: _steady((1.0, 0.0, 1.0)),
    Look.SPEAKING: _breathing((0.0, 1.0, 0.0), 1.6),
    Look.TOOL: _rhythm(((0.0, 0.0, 1.0), 0.24), (OFF, 0.24)),
    Look.ENDING: _fading((1.0, 0.0, 0.0), ENDING_S),
    Look.LISTENING: _steady((1.0, 0.0, 0.0)),
    Look.CONNECTING: _rhythm(((1.0, 0.0, 0.0), 0.2), ((0.0, 1.0, 0.0), 0.2), ((0.0, 0.0, 1.0), 0.2)),
    Look.OFFLINE: _rhythm(((1.0, 1.0, 1.0), 0.08), (OFF, 1.92)),
    Look.IDLE: _steady(OFF),
}

RED: Frame = (1.0, 0.0, 0.0)
AMBER: Frame = (1.0, 0.4, 0.0)
GREEN: Frame = (0.0, 1.0, 0.0)
BLUE: Frame = (0.0, 0.0, 1.0)
WHITE: Frame = (1.0, 1.0, 1.0)

ONE_LAMP: dict[Look, Pattern] = {
    Look.ERROR: _rhythm((RED, 0.2), (OFF, 0.2)),
    Look.MUTED: _steady(RED),
    Look.SPEAKING: _breathing(GREEN, 1.6),
    Look.TOOL: _rhythm((WHITE, 0.24), (OFF, 0.24)),
    Look.ENDING: _fading(BLUE, ENDING_S),
    Look.LISTENING: _steady(BLUE),
    Look.CONNECTING: _rhythm((BLUE, 0.4), (OFF, 0.4)),
    Look.OFFLINE: _rhythm((AMBER, 0.08), (OFF, 1.92)),
    Look.IDLE: _steady(OFF),
}
