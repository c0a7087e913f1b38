"""The agent's voice: espeak-ng makes the sound, and `Pace` says when the next piece of it may leave."""

import asyncio
import io
import shutil
import wave
from collections.abc import Iterator

from device.errors import EarshotError

RATE = 24_000
CHUNK_S = 0.1
CHUNK_BYTES = int(RATE * CHUNK_S) * 2
AHEAD_S = 0.4
LIMIT_S = 10.0
WORDS_PER_MINUTE = 165


class Pace:
    """Keeps what was sent, but not yet played, at or below `AHEAD_S`. Times are seconds of one clock."""

    def __init__(self) -> None:
        self.played_at = 0.0
        """When the device has played all that was sent."""

    def delay(self, now: float) -> float:
        """Seconds to wait before the next chunk may be sent."""
        return max(0.0, self.played_at + CHUNK_S - AHEAD_S - now)

    def sent(self, size: int, now: float) -> None:
        """`size` bytes have left."""
        self.played_at = max(self.played_at, now) + size / (2 * RATE)


def chunks(pcm: bytes) -> Iterator[bytes]:
    """Pieces of at most 100 ms."""
    return (pcm[i : i + CHUNK_BYTES] for i in range(0, len(pcm), CHUNK_BYTES))


def require_espeak() -> str:
    """The path of espeak-ng. Raises EarshotError where it is not installed."""
    path = shutil.which("espeak-ng")
    if path is None:
        raise EarshotError(
            "The built-in agent cannot speak: espeak-ng is not installed. Install the package: apt install espeak-ng"
        )
    return path


async def synthesise(sentence: str) -> bytes:
    """The sentence as s16le mono at 24 kHz. Raises EarshotError if espeak-ng fails or hangs."""
    process = await asyncio.create_subprocess_exec(
        *(require_espeak(), "-v", "en-us", "-s", str(WORDS_PER_MINUTE), "-b", "1", "--stdin", "--stdout"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        sound, _ = await asyncio.wait_for(process.communicate(sentence.encode()), LIMIT_S)
    except TimeoutError:
        raise EarshotError(f"espeak-ng did not answer within {LIMIT_S:.0f} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode or not sound.startswith(b"RIFF"):
        raise EarshotError(f"espeak-ng failed with exit code {process.returncode}. Try: espeak-ng hello")
    return await asyncio.to_thread(resample, sound)


def resample(sound: bytes) -> bytes:
    """A mono s16 WAV of any rate as s16le at 24 kHz. espeak-ng's header claims 2 GB when it writes to a pipe."""
    import numpy as np
    import samplerate

    with wave.open(io.BytesIO(sound)) as file:
        rate, pcm = file.getframerate(), file.readframes(len(sound) // 2)
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32)
    if not len(samples):
        return b""
    played = samplerate.resample(samples, RATE / rate, "sinc_fastest")
    return bytes(np.clip(np.rint(played), -32768, 32767).astype("<i2").tobytes())
