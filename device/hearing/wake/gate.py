"""Whether there is anything to hear: sound that stands out from what the room sounds like all the time.

A wake word is louder than the steady noise around it in some band at some moment, or the network does not know it either. So
the power of each step of 80 ms is measured in three bands, and compared with the lowest that the band had lately.

The margin is between two facts, both measured. In an hour with words down to 0 dB above noise (`tests/room/hour.py`) no step
with a score above 0.5 is missed with 7 to 13 dB, and 6 are with 16 dB. Steady noise, whose lowest is below its mean, seems to
rise once in ten minutes with 7 dB, and four times a minute with 5; with narrower bands more often.
"""

import numpy as np

from device.hearing.wake.engine import STEP_S, STEP_SAMPLES

MARGIN = 10 ** (7.0 / 10)
"""A power so many times the lowest stands out."""
FLOOR_S = 4.0
"""The lowest is taken over half this time to all of it: speech has pauses, and a fan that was switched on stays."""
HOLD_S = 1.5
"""So long after what stood out the network runs on: a word is seen up to 0.8 s after its end, which is soft."""
EDGES_HZ = (200, 700, 1500, 4000)
"""Of the bands: below, rooms rumble; above, the mel spectrogram ends."""
_BIN_HZ = 16_000 / STEP_SAMPLES
_FLOOR_STEPS = round(FLOOR_S / 2 / STEP_S)


class Gate:
    """Open from the first step on, until the room is known. Takes 2 % of what the network takes."""

    def __init__(self) -> None:
        half = STEP_SAMPLES // 2
        self._window = np.hanning(half)
        self._sound, self._other = np.zeros((2, half))  # float64 all the way: NumPy's FFT makes copies of anything else
        self._spectrum = np.zeros(half // 2 + 1, np.complex128)
        self._parts = self._spectrum.view(np.float64)
        self._edges = np.array([2 * round(edge / _BIN_HZ) for edge in EDGES_HZ])  # a bin has two parts
        self._lowest = self._lowest_before = [0.0] * (len(EDGES_HZ) - 1)
        """Of each band, since the last full half of FLOOR_S, and in that half."""
        self._step = 0
        self._quiet_steps = 0

    def open(self, samples: np.ndarray) -> bool:
        """Take in the next 80 ms (int16, shape (1280,)); whether the network has to hear them."""
        powers = self._measure(samples)
        stands_out = any(
            power > MARGIN * min(now, before)
            for power, now, before in zip(powers, self._lowest, self._lowest_before, strict=True)
        )
        if self._step % _FLOOR_STEPS == 0:
            self._lowest, self._lowest_before = powers, self._lowest
        else:
            self._lowest = list(map(min, self._lowest, powers))
        self._step += 1
        self._quiet_steps = 0 if stands_out else self._quiet_steps + 1
        return self._quiet_steps * STEP_S <= HOLD_S

    def _measure(self, samples: np.ndarray) -> list[float]:
        """The power in each band. Half the rate will do: what is folded down from above 4 kHz is sound as well."""
        self._sound[:] = samples[::2]
        self._other[:] = samples[1::2]
        self._sound += self._other
        self._sound *= self._window
        np.fft.rfft(self._sound, out=self._spectrum)
        self._parts *= self._parts
        powers = np.add.reduceat(self._parts, self._edges)[:-1]
        powers += STEP_SAMPLES  # as if each sample were a little off: a card may give nothing but zeros
        bands: list[float] = powers.tolist()
        return bands
