"""WebRTC's audio processing (AEC3), as LiveKit ships it."""

from typing import Protocol

import numpy as np

from device.audio import FRAME_SAMPLES, RATE
from device.config import Microphone as Settings
from device.errors import HardwareError

_HALF = FRAME_SAMPLES // 2
"""10 ms: what it takes at a time, no more and no less."""
_DELAY_MS = 50
"""It wants to be told once, and then finds the delay by itself."""


class Apm(Protocol):
    """Takes the echo of `reference` out of `heard`, in place; both int16, shape (320,)."""

    def process(self, reference: np.ndarray, heard: np.ndarray) -> None: ...


class WebRtc:
    """Slow to be made, for `livekit.rtc` is imported. It starts four threads of its own, which sleep for ever.

    Raises:
        HardwareError: it cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            from livekit import rtc

            rtc.AudioProcessingModule()  # loads the library
        except (ImportError, OSError) as error:
            raise HardwareError(
                f"The echo canceller cannot be loaded ({error}). "
                "Install Earshot again, or set [microphone] echo_cancellation = false."
            ) from error
        self._module = rtc.AudioProcessingModule(
            echo_cancellation=True,
            noise_suppression=settings.noise_suppression,
            high_pass_filter=True,
            auto_gain_control=settings.gain_control,
        )
        self._module.set_stream_delay_ms(_DELAY_MS)
        self._reference_frame = rtc.AudioFrame.create(RATE, 1, _HALF)
        self._heard_frame = rtc.AudioFrame.create(RATE, 1, _HALF)
        # Views of the frames' own memory: nothing is made anew 50 times a second.
        self._reference = np.frombuffer(self._reference_frame.data, np.int16)
        self._heard = np.frombuffer(self._heard_frame.data, np.int16)

    def process(self, reference: np.ndarray, heard: np.ndarray) -> None:
        for start in (0, _HALF):
            half = slice(start, start + _HALF)
            self._reference[:] = reference[half]
            self._module.process_reverse_stream(self._reference_frame)
            self._heard[:] = heard[half]
            self._module.process_stream(self._heard_frame)
            heard[half] = self._heard
