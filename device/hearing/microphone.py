"""The microphone: a worker that reads the sound card, converts to frames, and does nothing else.

PortAudio keeps a small buffer, so whatever takes longer than a period belongs elsewhere (the ear).
"""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, FULL_SCALE, RATE, Frame, LostTime, to_int16, to_mono
from device.config import Microphone as Settings
from device.events import Dropped
from device.soundcard import Stream

log = logging.getLogger(__name__)

RESTING_FRAMES = 4
"""While nobody is listening, so many are taken at a time, 80 ms: a step of the wake word engine, which needs no less."""


class Converter:
    """Interleaved int16 at a device's rate and channels in, mono frames of 320 samples at 16 kHz out."""

    def __init__(self, rate: int, channels: int, channel: int | str) -> None:
        self._ratio = RATE / rate
        self._channels = channels
        self._channel = channel
        self._rest = np.zeros(0, np.int16)
        self._resampler = None
        if rate != RATE:
            import samplerate

            self._resampler = samplerate.Resampler("sinc_fastest", channels=1)

    def frames(self, pcm: bytes) -> list[bytes]:
        """The whole frames (640 bytes each) that are complete with `pcm`."""
        mono = to_mono(np.frombuffer(pcm, np.int16), self._channels, self._channel)
        if self._resampler is not None:
            mono = to_int16(self._resampler.process(mono.astype(np.float32) / FULL_SCALE, self._ratio))
        if len(self._rest):
            mono = np.concatenate((self._rest, mono))
        whole = len(mono) - len(mono) % FRAME_SAMPLES
        self._rest = mono[whole:]
        return [mono[start : start + FRAME_SAMPLES].tobytes() for start in range(0, whole, FRAME_SAMPLES)]


class Microphone:
    """Gives every frame to `hear`, on its own thread: each as it comes while `awake` is set, else by `RESTING_FRAMES`.

    `open_stream` opens the input (see `SoundCards.open_input`).
    """

    def __init__(
        self,
        settings: Settings,
        hear: Callable[[Frame], None],
        post: Callable[[Dropped], None],
        *,
        open_stream: Callable[[], Stream],
        awake: threading.Event,
    ) -> None:
        self._settings = settings
        self._hear = hear
        self._post = post
        self._open_stream = open_stream
        self._awake = awake
        self._wanted = threading.Event()
        self._wanted.set()
        self._step = 0
        """How many frames of the present step were given."""
        self._heard_at: float | None = None
        """When the last frame came (seconds, CLOCK_MONOTONIC), or may begin to come again; None before the first."""

    @property
    def heard_at(self) -> float | None:
        """When the last frame came (seconds, CLOCK_MONOTONIC); None before the first, and while muted."""
        return self._heard_at if self._wanted.is_set() else None

    def open(self) -> None:
        """Listen again. Returns at once."""
        self._heard_at = time.monotonic()
        self._wanted.set()

    def close(self) -> None:
        """Mute: give the device back. Returns at once; at most four more periods are read, and thrown away."""
        self._wanted.clear()

    def work(self, stopping: threading.Event) -> None:
        """Read until told to stop.

        Raises:
            HardwareError: the device cannot be opened, or is gone.
        """
        while not stopping.is_set():
            if self._wanted.wait(0.1):
                self._listen(stopping)

    def _listen(self, stopping: threading.Event) -> None:
        stream = self._open_stream()
        log.info("= microphone %r at %d Hz, %d channels", stream.name, stream.rate, stream.channels)
        converter = Converter(stream.rate, stream.channels, self._settings.channel)
        lost = LostTime(FRAME_S)
        try:
            while not stopping.is_set():
                # Up to the end of the engine's step: taken at its middle, half of it would wait for the next.
                count = 1 if self._awake.is_set() else RESTING_FRAMES - self._step
                pcm = stream.read(count)
                if not self._wanted.is_set():
                    return
                self._heard_at = now = time.monotonic()
                frames = converter.frames(pcm)
                self._step = (self._step + len(frames)) % RESTING_FRAMES
                for later, frame in zip(range(len(frames) - 1, -1, -1), frames, strict=True):
                    self._hear(Frame(frame, now - later * FRAME_S))
                if periods := lost.tick(now, count):
                    self._post(Dropped("microphone", periods))
        finally:
            stream.close()
