"""`earshot check`: tries each part of the speaker by itself, and says what is wrong with it and what to do."""

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from device.audio import FULL_SCALE
from device.config import Config
from device.errors import EarshotError, SessionError
from device.events import Chime
from device.hearing.microphone import Converter
from device.hearing.speech import SpeechDetector
from device.hearing.wake.detector import WakeDetector
from device.panel.buttons import open_button
from device.panel.gpio import NoGpio
from device.panel.lights import open_lights
from device.session.credentials import Key
from device.soundcard import PERIODS_A_SECOND, SoundCards, Stream
from device.speaking import chimes
from device.system import agent

QUIETEST_DBFS = -80.0
"""Below this a microphone hears nothing: even a silent room has more noise."""
LISTEN_S = 1.0
NEEDED_S = 10.0
"""A sound card may be slow, but not that slow."""


def check(config: Config, key: Key) -> int:
    """Print a line per part; returns 0 if all work, else 1."""
    with SoundCards() as cards:
        parts: dict[str, Callable[[], str]] = {
            "wake words": lambda: _wake(config),
            "microphone": lambda: _microphone(config, cards),
            "speaker": lambda: _speaker(config, cards),
            "lights and button": lambda: _panel(config),
            "agent": lambda: _agent(config, key),
        }
        results = [_try(name, part) for name, part in parts.items()]
    return 0 if all(results) else 1


def _try(name: str, part: Callable[[], str]) -> bool:
    began = time.monotonic()
    try:
        mark, text = "ok", part()
    except EarshotError as error:
        mark, text = "FAILED", str(error)
    print(f"{mark:7}{name:19}{text} ({time.monotonic() - began:.1f} s)", flush=True)  # noqa: T201
    return mark == "ok"


def _wake(config: Config) -> str:
    WakeDetector(config.wake)
    SpeechDetector()
    return f"{', '.join(config.wake.words)}: loaded, and the speech detector too"


def _microphone(config: Config, cards: SoundCards) -> str:
    settings = config.microphone
    stream = cards.open_input(settings.device, settings.channels)
    try:
        converter = Converter(stream.rate, stream.channels, settings.channel)
        sound = b"".join(frame for pcm in _periods(stream) for frame in converter.frames(pcm))
    finally:
        stream.close()
    samples = np.frombuffer(sound, np.int16).astype(np.float64)
    level = 10 * math.log10(max(1e-12, float(np.mean(samples**2)) / FULL_SCALE**2))
    if level < QUIETEST_DBFS:
        raise EarshotError(
            f"{stream.name!r} gives only silence ({level:.0f} dBFS). Is it muted or turned down (alsamixer), "
            "or is microphone.channel one that no microphone is wired to?"
        )
    return f"{stream.name!r}, {stream.rate} Hz, {stream.channels} channels, level {level:.0f} dBFS"


def _periods(stream: Stream) -> Iterator[bytes]:
    end = time.monotonic() + NEEDED_S
    for _ in range(round(LISTEN_S * PERIODS_A_SECOND)):
        if time.monotonic() > end:
            raise EarshotError(f"{stream.name!r} gives less sound than time passes. Is another program using it?")
        yield stream.read()


def _speaker(config: Config, cards: SoundCards) -> str:
    stream = cards.open_output(config.speaker.device)
    try:
        sound = chimes.render(Chime.WAKE, stream.rate) * (config.speaker.volume / 100) ** 2
        sound = np.concatenate((sound, np.zeros(stream.rate // 2, np.float32)))  # until the card has played it
        pcm = np.repeat((sound * FULL_SCALE).astype(np.int16), stream.channels).tobytes()
        step = stream.period * stream.channels * 2
        for start in range(0, len(pcm) - step + 1, step):
            stream.write(pcm[start : start + step])
    finally:
        stream.close()
    return f"{stream.name!r}, {stream.rate} Hz, {stream.channels} channels: you should have heard two notes"


def _panel(config: Config) -> str:
    try:
        for part in (open_lights(config.panel), open_button(config.panel, lambda event: None)):
            if part is not None:
                part.close()
    except NoGpio as error:
        return f"none: {error}"
    return f"lights {config.panel.lights}, button {config.panel.button}"


def check_agent(config: Config, key: Key) -> int:
    """Print a line per step on the way to the agent; returns 0 if it is ready, else 1."""
    print(f"agent {config.agent.protocol}, key {key.source}", flush=True)  # noqa: T201
    try:
        for step in agent.steps(config, key):
            print(f"{'ok':7}{step}", flush=True)  # noqa: T201
    except EarshotError as error:
        print(f"{'FAILED':7}{_advised(error, config)}", flush=True)  # noqa: T201
        return 1
    return 0


def _agent(config: Config, key: Key) -> str:
    try:
        *_, last = agent.steps(config, key)
    except EarshotError as error:
        raise EarshotError(_advised(error, config)) from None
    return f"{config.agent.protocol}: {last}, key {key.source}"


def _advised(error: EarshotError, config: Config) -> str:
    code = f" ({error.code})" if isinstance(error, SessionError) else ""
    local = " Start it: `earshot agent`." if config.agent.protocol == "local" else ""
    return f"{error}{code}{local}"
