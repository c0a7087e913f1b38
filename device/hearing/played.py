"""What was played, for the time that its echo may take. Pure."""

import numpy as np

from device.audio import FRAME_SAMPLES, FULL_SCALE, Frame
from device.hearing.delay import Pace

_KEPT_FRAMES = 400
"""8 s."""
_KEPT = _KEPT_FRAMES * FRAME_SAMPLES
_BREAK_FRAMES = 20
"""A silence so long, told of or not, that the next sound is another."""
_SURE_FRAMES = 2
"""A silence of so many is one: the speaker's line of time hardly wavers."""
_TAPS = 12
_TAPER = np.kaiser(2 * _TAPS + 1, 6.0)
"""Of the interpolation between samples, to either side."""


class Played:
    """Frames in their order, with the silence between them, of which nobody tells after 0.5 s. Positions are counts since the
    first."""

    def __init__(self) -> None:
        self._ring = np.zeros((_KEPT_FRAMES, FRAME_SAMPLES), np.int16)
        self._levels = [0.0] * _KEPT_FRAMES
        self.frames = 0
        """Frames so far, those of silence too."""
        self.pace = Pace(_SURE_FRAMES)
        self._silent = 0
        """Frames of silence in a row, the newest ones, told of or not."""

    def add(self, frame: Frame) -> bool:
        """Take the next frame; whether it begins another sound."""
        self.pace.sure_frames = 1 if self._silent >= _BREAK_FRAMES else _SURE_FRAMES
        silence = self.pace.missing(frame.t, self.frames)
        for number in range(self.frames, self.frames + min(silence, _KEPT_FRAMES)):
            self._ring[number % _KEPT_FRAMES] = 0
            self._levels[number % _KEPT_FRAMES] = 0.0
        another = silence > 0 and self._silent + silence > _BREAK_FRAMES
        self.frames += silence
        self.pace.tick(frame.t, self.frames)
        samples = np.frombuffer(frame.pcm, np.int16)
        self._ring[self.frames % _KEPT_FRAMES] = samples
        self._levels[self.frames % _KEPT_FRAMES] = level = mean_square(samples)
        self.frames += 1
        self._silent = 0 if level else self._silent + silence + 1
        return another

    def part(self, start: int, length: int) -> np.ndarray:
        """So many samples (int16) from sample `start` on; silence where nothing was played yet, or it is forgotten."""
        end = self.frames * FRAME_SAMPLES
        begin, until = max(start, end - _KEPT, 0), min(start + length, end)
        if begin >= until:
            return np.zeros(length, np.int16)
        found = np.zeros(length, np.int16)
        ring = self._ring.reshape(-1)
        place, count = begin % _KEPT, until - begin
        first = min(count, _KEPT - place)
        found[begin - start :][:first] = ring[place:][:first]
        found[begin - start + first :][: count - first] = ring[: count - first]
        return found

    def between(self, start: float, length: int) -> np.ndarray:
        """The same from somewhere between two samples on; float64."""
        whole = round(start)
        kernel = np.sinc(np.arange(-_TAPS, _TAPS + 1) - (whole - start)) * _TAPER
        between: np.ndarray = np.convolve(self.part(whole - _TAPS, length + 2 * _TAPS), kernel, "valid")
        return between

    def headroom_db(self) -> float:
        """By how much all of it that is kept could be louder without being clipped; it takes 0.1 ms."""
        peak = max(1, int(self._ring.max()), -int(self._ring.min()))
        return 20 * float(np.log10(FULL_SCALE / peak))

    def loudest(self, first: int, last: int) -> float:
        """The highest mean square (of full scale 1) of the frames from number `first` to `last`."""
        numbers = range(max(first, self.frames - _KEPT_FRAMES, 0), min(last + 1, self.frames))
        return max((self._levels[number % _KEPT_FRAMES] for number in numbers), default=0.0)


def mean_square(samples: np.ndarray) -> float:
    """Of int16 `samples`, of full scale 1."""
    floats = samples.astype(np.float32)
    return float(np.dot(floats, floats)) / (len(samples) * FULL_SCALE**2)
