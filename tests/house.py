"""A whole speaker for tests: the real `earshot run` on the virtual sound card, with a scripted agent, a voice and a finger."""

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from device.demo.card import VirtualCard
from device.demo.pins import Levers
from device.demo.processes import Firmware
from device.demo.sounds import Playing
from device.demo.voices import resample, say
from tests.servers.datagrid import REPLY_RATE, DatagridServer

VOICE = "flite:slt"
BUTTON = 17


class House:
    """What a test does in it: speak, press, and look at the agent's visits and at the firmware's events."""

    def __init__(self, card: VirtualCard, directory: Path, agent_url: str, settings: str = "") -> None:
        self.card = card
        self.directory = directory
        self.levers = Levers(directory / "pins")
        self.config = directory / "earshot.toml"
        tables = "" if "[agent]" in settings else f'[agent]\nurl = "{agent_url}"\n'
        self.config.write_text(f'[microphone]\ndevice = "pulse"\n[speaker]\ndevice = "pulse"\n{tables}{settings}')
        self.log = directory / "log"
        self.sounds: list[Playing] = []

    @contextmanager
    def speaker(self, env: dict[str, str] | None = None) -> Iterator[Firmware]:
        """The firmware, ready."""
        with Firmware(self.config, self.card.env | self.levers.env | (env or {}), self.log) as firmware:
            firmware.wait_for("ready", 10)
            yield firmware

    def hear(self, text: str, voice: str = VOICE) -> np.ndarray:
        """Somebody says `text` in the room; what it was, as int16 at 16 kHz."""
        sound = say(text, voice)
        self.play(sound, 16_000)
        return sound

    def play(self, sound: np.ndarray, rate: int) -> None:
        """Any other sound in the room; it ends with the house."""
        self.sounds.append(self.card.play(sound, rate))


@contextmanager
def house(card: VirtualCard, directory: Path, settings: str = "") -> Iterator[tuple[House, DatagridServer]]:
    with DatagridServer() as server:
        home = House(card, directory, server.url, settings)
        yield home, server
        for sound in home.sounds:
            sound.stop()


def tone(seconds: float, hertz: float = 440.0) -> bytes:
    """A reply that is easily recognised: s16le at 24 kHz."""
    t = np.arange(round(seconds * REPLY_RATE)) / REPLY_RATE
    return (12_000 * np.sin(2 * np.pi * hertz * t)).astype("<i2").tobytes()


def channels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What the microphone heard and what the speaker played: float64 of -1..1 at 48 kHz."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32768
    return samples[:, 0], samples[:, 1]


def seconds_of(samples: np.ndarray, hertz: float, rate: int = 48_000) -> float:
    """For how long `samples` hold a tone of `hertz`, to 20 ms."""
    step = rate // 50
    windows = samples[: len(samples) // step * step].reshape(-1, step)
    probe = np.exp(-2j * np.pi * hertz * np.arange(step) / rate)
    strength = np.abs(windows @ probe) * 2 / step
    return float(np.count_nonzero(strength > 0.01)) / 50


def lags(played: np.ndarray, got: np.ndarray, window: int = 4_000) -> list[int]:
    """By how many samples each loud window of `got` (int16, 16 kHz) comes after the same sound in `played`.

    One number over all windows means that nothing was lost or doubled in between.
    """
    reference = played.astype(np.float64)
    size = 1 << (len(reference) + window).bit_length()
    spectrum = np.fft.rfft(reference, size)
    power = np.concatenate(([0.0], np.cumsum(reference**2)))
    found = []
    for start in range(0, len(got) - window, window // 2):
        piece = got[start : start + window].astype(np.float64)
        if np.sqrt(np.mean(piece**2)) < 300:
            continue
        match = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, size)), size)[: len(reference) - window]
        energy = power[window : len(reference)] - power[: len(reference) - window]
        score = match / np.sqrt(np.maximum(energy, 1.0) * np.sum(piece**2))
        best = int(np.argmax(score))
        if score[best] > 0.9:
            found.append(start - best)
    return found


def at_16k(samples: np.ndarray) -> np.ndarray:
    """A channel of a recording as int16 at 16 kHz."""
    return resample((samples * 32767).astype(np.int16), 48_000, 16_000)
