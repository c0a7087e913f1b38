"""The sound card: whether it is there, what the microphone hears in the room, and what it hears of the speaker."""

import re
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from device.config import Config
from device.errors import HardwareError
from device.soundcard import Device, Stream, find
from device.system.check.machine import Machine
from device.system.check.measure import Hum, Level, chirp, find_chirp, hum, level
from device.system.check.report import Result, failed, ok, skipped, warning
from device.system.check.streams import listen, loudness, play, play_and_listen

_START_S = 0.2
"""A microphone begins with a pop, and finds its middle."""
_LISTEN_S = 1.5
_SPOKEN_S = 4.0
_QUIET_DBFS = -95.0
"""A MEMS microphone of -26 dBFS at 94 dB gives -88 in a quiet bedroom; rounding to 16 bits alone is -101."""
_HUM_DBFS = -55.0
_CLIPPED = 0.001
_LOUDEST = 0.5
_DC = 0.1
_ALSAMIXER = "alsamixer, F4, then F6 for the card; to keep it: sudo alsactl store"
_CAPTURE = re.compile(r"^\s*Capabilities:.*\bc?volume\b", re.MULTILINE)


class Cards(Protocol):
    """What is used of `SoundCards`."""

    devices: tuple[Device, ...]

    def open_input(self, name: str, channels: int, rate: int) -> Stream: ...
    def open_output(self, name: str, rate: int) -> Stream: ...
    def __exit__(self, *_: Any) -> None: ...


class Sound:
    """The parts that need a sound card, one after the other. `open_cards` lists those there are; it may wait for ever.

    `cancels_echo`: the board takes out of what its microphones hear what its speaker plays; so does what hardware there is
    where the settings leave it to that. `ask` asks who is there, if anybody is.
    """

    def __init__(
        self,
        config: Config,
        open_cards: Callable[[], Cards],
        cancels_echo: bool,
        machine: Machine,
        ask: Callable[[str], None] | None = None,
    ) -> None:
        self._config = config
        self._cancels_echo = cancels_echo or not config.microphone.echo_cancellation
        self._machine = machine
        self._ask = ask
        self._heard = False
        """Whether the microphone has heard the speaker."""
        self._open_cards = open_cards
        self._cards: Cards | None = None

    @property
    def opened(self) -> Cards | None:
        """The sound cards, where `cards` has found any."""
        return self._cards

    def close(self) -> None:
        """Give it all back."""
        if self._cards is not None:
            self._cards.__exit__(None, None, None)

    def cards(self) -> Result:
        """Whether the machine has a microphone and a speaker at all."""
        cards = self._cards = self._open_cards()
        inputs = [device.name for device in cards.devices if device.inputs]
        outputs = [device.name for device in cards.devices if device.outputs]
        figures: dict[str, Any] = {"microphones": inputs, "speakers": outputs}
        for role, names in (("microphone", inputs), ("speaker", outputs)):
            if not names:
                remedy = "Is it plugged in? A board on the pins needs its overlay: sudo ./install.sh --list-boards"
                return failed(f"this machine has no {role}", remedy, **figures)
        return ok(f"{len(inputs)} microphones, {len(outputs)} speakers: earshot devices lists them", **figures)

    def microphone(self) -> Result:
        """What the microphone hears in a room that may be quiet."""
        if self._cards is None:
            return skipped("there are no sound cards")
        settings = self._config.microphone
        stream = self._cards.open_input(settings.device, settings.channels, settings.rate)
        try:
            began = time.monotonic()
            sound = listen(stream, _START_S + _LISTEN_S)[round(_START_S * stream.rate) :]
            took = time.monotonic() - began
            if self._ask is not None and all(level(channel).silent for channel in sound.T):
                self._ask("The microphone hears nothing at all. Say something.")
                sound = listen(stream, _SPOKEN_S)
        finally:
            stream.close()
        levels = [level(channel) for channel in sound.T]
        text = f"{stream.name!r}, {stream.rate} Hz, {stream.channels} channels, level "
        text += ", ".join(f"{one.level_dbfs:.0f}" for one in levels) + " dBFS"
        if took > 1.5 * (_START_S + _LISTEN_S) + 1:
            remedy = "Is another program using it (`fuser -v /dev/snd/*`), or is the USB port too slow?"
            return warning(f"{text}; it gives less sound than time passes", remedy, **_figures(stream, levels, None))
        return self._judge(text, stream, sound, levels)

    def _judge(self, text: str, stream: Stream, sound: np.ndarray, levels: list[Level]) -> Result:
        settings = self._config.microphone
        numbers = range(stream.channels) if settings.channel == "mix" else [int(settings.channel)]
        chosen = [levels[number] for number in numbers]
        hums = [found for number in numbers if (found := hum(sound[:, number], stream.rate)) is not None]
        found = max(hums, key=lambda one: one.level_dbfs, default=None)
        figures = _figures(stream, levels, found)
        if all(one.silent for one in chosen) and self._heard:
            return ok(f"{text}: it hears the speaker, and takes the room for noise", **figures)
        if all(one.silent for one in chosen) and self._cancels_echo:
            remedy = "Speak beside it, and check again. Is it muted by a switch of its own?"
            return warning(f"{text}: it hears nothing, or takes the room for noise", remedy, **figures)
        channels, adjustable = self._spare(settings.device), self._has_control(stream.name)
        return _verdict(text, levels, chosen, found, channels, adjustable, figures)

    def _spare(self, name: str) -> int:
        """How many channels the microphone has."""
        devices = self._cards.devices if self._cards else ()
        try:
            return find([one for one in devices if one.inputs], name, "microphone").inputs
        except HardwareError:
            return 0

    def _has_control(self, device: str) -> bool:
        """Whether the microphone's card has a control for how loud it hears."""
        card = re.search(r"\(hw:(\d+),", device)
        chosen = ("-c", card[1]) if card else ()
        return _CAPTURE.search(self._machine.run("amixer", *chosen, "scontents").output) is not None

    def speaker(self) -> Result:
        """Plays two rising tones, and says whether the microphone hears it."""
        if self._cards is None:
            return skipped("there are no sound cards")
        output = self._cards.open_output(self._config.speaker.device, self._config.speaker.rate)
        try:
            try:
                settings = self._config.microphone
                source = self._cards.open_input(settings.device, settings.channels, settings.rate)
            except HardwareError:  # of which the microphone's own part tells
                source = None
            try:
                return self._chirp(output, source)
            finally:
                if source is not None:
                    source.close()
        finally:
            output.close()

    def _chirp(self, output: Stream, source: Stream | None) -> Result:
        tones = _LOUDEST * loudness(self._config.speaker.volume) * chirp(output.rate)
        text = f"{output.name!r}, {output.rate} Hz, {output.channels} channels"
        figures: dict[str, Any] = {"device": output.name, "rate_hz": output.rate, "channels": output.channels}
        if source is None:
            play(output, tones)
            return ok(f"{text}: you should have heard two rising tones", **figures)
        sound, played_at, heard_from = play_and_listen(output, source, tones)
        echoes = [found for channel in sound.T if (found := find_chirp(channel, source.rate)) is not None]
        echo = max(echoes, key=lambda one: one.clarity, default=None)
        if echo is None and self._cancels_echo:
            kept = "you should have heard two rising tones, which the hardware keeps from the microphone"
            return ok(f"{text}: {kept}", **figures)
        if echo is None:
            remedy = (
                "If you heard two rising tones, all is well with headphones, and with a microphone that takes out the sound "
                "of its speaker. If not: is the speaker connected, and turned up (alsamixer, speaker.volume)?"
            )
            return warning(f"{text}: the microphone does not hear the speaker", remedy, **figures)
        self._heard = True
        delay = round((heard_from + echo.at / source.rate - played_at) * 1000)
        figures |= {"delay_ms": delay, "echo_dbfs": echo.level_dbfs, "clarity": echo.clarity}
        text += f": the microphone hears it after {delay} ms at {echo.level_dbfs:.0f} dBFS"
        if max(level(channel).clipped for channel in sound.T) > _CLIPPED:
            down = f", or turn the microphone down: {_ALSAMIXER}" if self._has_control(source.name) else "."
            return warning(f"{text}, distorted", f"Lower speaker.volume{down}", **figures)
        return ok(text, **figures)


def _figures(stream: Stream, levels: list[Level], found: Hum | None) -> dict[str, Any]:
    return {
        "device": stream.name,
        "rate_hz": stream.rate,
        "levels": [one._asdict() for one in levels],
        "hum_hz": found.hertz if found else 0,
        "hum_dbfs": found.level_dbfs if found else None,
    }


def _verdict(
    text: str,
    levels: list[Level],
    chosen: list[Level],
    found: Hum | None,
    channels: int,
    adjustable: bool,
    figures: dict[str, Any],
) -> Result:
    """`levels` of all channels, `chosen` those that are listened to; `channels` the card has, and a control if `adjustable`."""
    if all(one.silent for one in chosen):
        # A hardware mute, or noise suppression in an array: the room is to blame at least as often as a release.
        return failed(f"{text}: nothing but silence", _unmute(levels, channels, adjustable), outside=True, **figures)
    if any(one.silent for one in chosen):
        numbers = ", ".join(str(number) for number, one in enumerate(levels) if one.silent)
        remedy = "Set microphone.channel to one that hears: the mix is softer than that."
        return warning(f"{text}: channel {numbers} is silent", remedy, **figures)
    if any(one.clipped > _CLIPPED for one in chosen):
        remedy = f"Turn the microphone down: {_ALSAMIXER}" if adjustable else "It has no control: put it further away."
        return warning(f"{text}: it is clipped, that is louder than it can be", remedy, **figures)
    if any(abs(one.dc) > _DC for one in chosen):
        remedy = "Its wires or its format may be wrong: see the wiring in the head of its overlay."
        return warning(f"{text}: it does not swing around zero", remedy, **figures)
    if max(one.level_dbfs for one in chosen) < _QUIET_DBFS:
        remedy = f"Turn the microphone up: {_ALSAMIXER}" if adjustable else "Is its hole free? Are its wires in place?"
        return warning(f"{text}: that is very quiet, even for a room at night", remedy, **figures)
    if found is not None and found.level_dbfs > _HUM_DBFS:
        remedy = "Try another power supply, keep its wires short and away from mains, and join the grounds."
        return warning(f"{text}: the mains hum at {found.hertz} Hz, {found.level_dbfs:.0f} dBFS", remedy, **figures)
    return ok(text, **figures)


def _unmute(levels: list[Level], channels: int, adjustable: bool) -> str:
    hearing = [number for number, one in enumerate(levels) if not one.silent]
    if hearing:
        return f"Channel {hearing[0]} hears: set microphone.channel = {hearing[0]}."
    if 1 < channels <= 8 and channels > len(levels):
        return f"Is it muted? It has {channels} channels: try microphone.channels = {channels} and channel = 1."
    mixer = " or in alsamixer (F4)" if adjustable else ""
    return f"Is it muted, by a switch of its own{mixer}? Are its wires in place?"
