"""A whole speaker for tests: the real `earshot run` on the virtual sound card, with a scripted agent, a voice and a finger."""

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from device.audio import FRAME_SAMPLES
from device.demo.card import VirtualCard
from device.demo.pins import Levers
from device.demo.processes import Firmware
from device.demo.sounds import Playing
from device.demo.voices import resample, say
from tests.servers.datagrid import REPLY_RATE, DatagridServer
from tests.servers.scripted import ScriptedServer

VOICE = "flite:slt"
BUTTON = 17
SPEECH = (
    "I was in the garden all morning and I saw a blackbird on the old wall by the apple tree, and it sang and sang until "
    "the rain came over the hill, and then I went in and made a pot of tea and sat down by the window to read the paper"
)
"""About twelve seconds without a pause, in which a chime would be in the way."""
NO_CANCELLER = "[microphone]\necho_cancellation = false\n"
"""Settings: the microphone as it is. Noise suppression changes soft samples, so where they are compared it is off."""


class House:
    """What a test does in it: speak, press, and look at the agent's visits and at the firmware's events."""

    def __init__(self, card: VirtualCard, directory: Path, agent_url: str, settings: str = "") -> None:
        self.card = card
        self.directory = directory
        self.levers = Levers(directory / "pins")
        self.config = directory / "earshot.toml"
        tables = "" if "[agent]" in settings else f'[agent]\nurl = "{agent_url}"\n'
        tables += (
            "" if "[wake]" in settings else '[wake]\nvoices = "/nowhere"\n'
        )  # who is enrolled here is not in this house
        for table in ("[microphone]\n", "[speaker]\n"):
            settings = settings if table in settings else table + settings
            settings = settings.replace(table, f'{table}device = "pulse"\n')
        self.config.write_text(tables + settings)
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
def house(
    card: VirtualCard, directory: Path, settings: str = "", server: ScriptedServer | None = None
) -> Iterator[tuple[House, Any]]:
    """`server` is Datagrid's by default; {url} in the settings becomes its address."""
    with server or DatagridServer() as server:
        home = House(card, directory, server.url, settings.replace("{url}", server.url))
        try:
            yield home, server
        finally:
            for sound in home.sounds:
                sound.stop()


def tone(seconds: float, hertz: float = 440.0, rate: int = REPLY_RATE) -> bytes:
    """A reply that is easily recognised: s16le at `rate` hertz."""
    t = np.arange(round(seconds * rate)) / rate
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


def faults(room: np.ndarray, got: np.ndarray) -> tuple[int, int]:
    """How many loud 20 ms frames of what the room played are not, at one and the same offset, in what the agent got.

    `room`: float64 at 48 kHz; `got`: int16 at 16 kHz, within it. Returns the frames that differ, and those compared. What is
    loud is asked of the room: silence in its place is a fault. One sample lost or doubled is one in all that follows.
    """
    frames = len(got) // FRAME_SAMPLES
    heard = got[: frames * FRAME_SAMPLES].astype(np.float64)
    # The agent's samples lie between the card's: of three thirds of a sample, the nearest.
    found = max((_aligned(at_16k(room[third:]), heard) for third in range(3)), key=lambda pair: pair[0])
    played, heard = found[1].reshape(frames, -1), heard.reshape(frames, -1)
    loud = np.sqrt(np.mean(played**2, axis=1)) > 300
    power = np.sum(played**2, axis=1) * np.sum(heard**2, axis=1)
    likeness = np.sum(played * heard, axis=1) / np.sqrt(np.maximum(power, 1.0))
    return int(np.count_nonzero(loud & (likeness < 0.9))), int(np.count_nonzero(loud))


def pitch(samples: np.ndarray) -> float:
    """The strongest frequency (hertz), to the inverse of the length."""
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * 48_000 / len(samples)


def length_s(samples: np.ndarray, hertz: float) -> float:
    """For how long a tone sounds, to 2 ms: half its strength, over 10 ms, is where it begins and ends."""
    mixed = np.cumsum(samples * np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / 48_000))
    strength = np.abs(mixed[480:] - mixed[:-480])
    return float(np.count_nonzero(strength > strength.max() / 2)) / 48_000


def below(samples: np.ndarray, rate: int, hertz: float = 6000.0) -> np.ndarray:
    """Without what is above: on its way to another rate, sound loses the last of what 16 kHz can hold."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) > hertz] = 0
    return np.fft.irfft(spectrum, len(samples))


def likeness(played: np.ndarray, sound: np.ndarray) -> float:
    """How alike `sound` (int16, 16 kHz) and the speaker's channel are at their best offset: 1 is the same, 0 nothing."""
    room, wanted = at_16k(played).astype(np.float64), sound.astype(np.float64)
    size = 1 << (len(room) + len(wanted)).bit_length()
    match = np.fft.irfft(np.fft.rfft(room, size) * np.conj(np.fft.rfft(wanted, size)), size)
    energy = np.concatenate(([0.0], np.cumsum(room**2)))
    energy = energy[len(wanted) :] - energy[: -len(wanted)]
    return float(np.max(match[: len(energy)] / np.sqrt((energy + 1e6) * np.sum(wanted**2))))


def offset_s(room: np.ndarray, got: np.ndarray) -> float:
    """Where in `room` what the agent got begins."""
    return _best(at_16k(room).astype(np.float64), got.astype(np.float64)) / 16_000


def _best(played: np.ndarray, heard: np.ndarray) -> int:
    size = 1 << (len(played) + len(heard)).bit_length()
    match = np.fft.irfft(np.fft.rfft(played, size) * np.conj(np.fft.rfft(heard, size)), size)
    return int(np.argmax(match[: len(played)]))


def _aligned(played: np.ndarray, heard: np.ndarray) -> tuple[float, np.ndarray]:
    """How alike they are at the best offset, and `played` from there on, as long as `heard`."""
    reference = played.astype(np.float64)
    start = _best(reference, heard)
    piece = np.zeros(len(heard))
    there = reference[start : start + len(heard)]
    piece[: len(there)] = there
    return float(piece @ heard), piece


def at_16k(samples: np.ndarray) -> np.ndarray:
    """A channel of a recording as int16 at 16 kHz."""
    return resample((samples * 32767).astype(np.int16), 48_000, 16_000)
