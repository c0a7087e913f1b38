"""Our echo taken out by a linear filter of our own: a Kalman filter in the frequency domain, block by block. Pure.

WebRTC's (AEC3) trusts its linear filter with no more than 6 dB and mutes the rest, and with it the beginning of what people say
over us. The agent does not mind, but those who listen for people do: they hear what this one leaves, which mutes nothing.
"""

import numpy as np

from device.audio import FRAME_SAMPLES, FULL_SCALE

BLOCKS = 14
"""Of 20 ms: so much of the room, and of the lead of what is given, is taken out."""
_SIZE = 2 * FRAME_SAMPLES
_BINS = FRAME_SAMPLES + 1
_STEADY = 0.994**2
"""Of the room's power so much is as it was a block ago: people move, clocks drift."""
_SMOOTH = 0.6
"""Of the estimate of everything that is no echo, a block."""
_UNKNOWN, _FADES = 0.1, 0.6
"""How uncertain the room is before anything was heard, and by how much less in each block that follows."""
_SILENT = 1e-7


class Linear:
    """To be given every frame in turn while anything of ours may sound."""

    def __init__(self) -> None:
        self._spectra = np.zeros((BLOCKS, _BINS), np.complex64)
        """Of what was played, the newest first."""
        self._power = np.zeros((BLOCKS, _BINS), np.float32)
        self._room = np.zeros((BLOCKS, _BINS), np.complex64)
        doubt = _UNKNOWN * _FADES ** np.arange(BLOCKS, dtype=np.float32)
        self._at_first = np.repeat(doubt[:, None], _BINS, 1)
        self._doubt = self._at_first.copy()
        """The variance of the room's estimate."""
        self._other = np.full(_BINS, _SILENT, np.float32)
        self._error = np.zeros(_SIZE, np.float32)
        self._window = np.zeros(_SIZE, np.float32)

    def take_out(self, played: np.ndarray, heard: np.ndarray) -> np.ndarray:
        """What was `heard` (int16, 320 samples) without the echo of `played` (likewise, or float64), in that shape."""
        self._window[:FRAME_SAMPLES] = self._window[FRAME_SAMPLES:]
        np.divide(played, FULL_SCALE, out=self._window[FRAME_SAMPLES:])
        self._spectra[1:] = self._spectra[:-1]
        self._spectra[0] = np.fft.rfft(self._window)
        np.add(self._spectra.real**2, self._spectra.imag**2, out=self._power)
        sound = heard / np.float32(FULL_SCALE)
        left = sound - np.fft.irfft((self._room * self._spectra).sum(0))[FRAME_SAMPLES:]
        self._learn(left)
        if np.dot(left, left) > np.dot(sound, sound):  # it was led astray
            return heard
        whole: np.ndarray = np.clip(np.rint(left * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        return whole

    def doubt_all(self) -> None:
        """The room is another: learn it as fast as at first."""
        np.maximum(self._doubt, self._at_first, out=self._doubt)
        self._other[:] = _SILENT

    def _learn(self, left: np.ndarray) -> None:
        self._error[FRAME_SAMPLES:] = left
        error = np.fft.rfft(self._error)
        self._other *= _SMOOTH
        self._other += (1 - _SMOOTH) * (error.real**2 + error.imag**2)
        unsure = (self._doubt * self._power).sum(0)
        gain = self._doubt / (unsure + 2 * self._other + _SILENT)
        step = np.fft.irfft(gain * self._spectra.conj() * error, axis=1)
        step[:, FRAME_SAMPLES:] = 0  # a block of the room is no longer than that
        self._room += np.fft.rfft(step, axis=1)
        self._doubt *= 1 - 0.5 * gain * self._power
        self._doubt *= _STEADY
        self._doubt += (1 - _STEADY) * (self._room.real**2 + self._room.imag**2)
