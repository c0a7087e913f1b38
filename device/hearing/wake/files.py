"""Wake words in recordings, with the settings and the detector that the speaker uses."""

import wave
from collections.abc import Iterator
from pathlib import Path

from device.audio import FRAME_S, Frame
from device.config import Wake
from device.errors import UsageError
from device.events import WakeHeard
from device.hearing.microphone import Converter
from device.hearing.wake.detector import WakeDetector

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
_AFTER = 25
"""Silent frames after the end: a word is heard up to 270 ms after it was said."""


def detections(path: Path, settings: Wake) -> Iterator[WakeHeard]:
    """Each wake word in the WAV file at `path` (16 bit, any rate, first channel); `audio_t` is seconds into it.

    Raises:
        UsageError: it is no such file.
    """
    detector = WakeDetector(settings)
    for number, pcm in enumerate(_frames(path)):
        heard = detector.hear(Frame(pcm, (number + 1) * FRAME_S))
        if heard is not None:
            yield heard


def _frames(path: Path) -> Iterator[bytes]:
    try:
        with wave.open(str(path)) as file:
            rate, channels = file.getframerate(), file.getnchannels()
            if file.getsampwidth() != 2:
                raise UsageError(f"{path} has {8 * file.getsampwidth()} bits a sample; 16 are needed.")
            if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                raise UsageError(f"{path} says that it has {rate} samples a second: it is damaged.")
            converter = Converter(rate, channels, 0)
            while pcm := file.readframes(rate // 10):
                yield from converter.frames(pcm[: len(pcm) // (2 * channels) * 2 * channels])  # its end may be torn
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (wave.Error, EOFError, RuntimeError) as error:  # RuntimeError: a chunk that is longer than its file
        reason = str(error) or "it is cut short"
        raise UsageError(f"{path} is no WAV file that can be read ({reason}).") from None
    yield from [bytes(640)] * _AFTER
