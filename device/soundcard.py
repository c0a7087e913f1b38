"""Sound cards through PyAudio: found by name, opened at a rate and channel count they support. Used by mic and speaker.

Opened once and kept open: some Pi drivers do not survive many openings (RP1 I2S, USB on the Zero 2 W).
Blocking calls: they release the GIL; PortAudio's callback would take it on a real-time thread.
"""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from device.errors import HardwareError

INPUT_RATES = (16_000, 48_000, 44_100, 32_000, 96_000, 24_000)
OUTPUT_RATES = (24_000, 48_000, 44_100, 32_000, 96_000, 16_000)
"""The first is what needs no conversion here; hw: devices refuse what they do not have. An I2S card has one rate for both
directions: there the settings name it, lest the microphone decide for 16 kHz."""
PERIODS_A_SECOND = 50


class Device(NamedTuple):
    """A PCM as PortAudio sees it. `number` changes from start to start: it is never shown or kept."""

    number: int
    name: str
    inputs: int
    outputs: int
    rate: int


class Stream:
    """An open PCM. Samples are interleaved s16le; a period is 20 ms."""

    def __init__(self, pa_stream: Any, name: str, rate: int, channels: int, latency_s: float) -> None:
        self._stream = pa_stream
        self.name = name
        self.rate = rate
        self.channels = channels
        self.period = rate // PERIODS_A_SECOND
        self.latency_s = latency_s

    def read(self, periods: int = 1) -> bytes:
        """Wait for so many periods and return them, `period * channels * 2` bytes each.

        Raises:
            HardwareError: the device is gone.
        """
        try:
            # With exception_on_overflow PyAudio closes the stream before it raises; `audio.LostTime` sees overflows.
            pcm: bytes = self._stream.read(periods * self.period, exception_on_overflow=False)
        except OSError as error:
            raise HardwareError(f"The microphone {self.name!r} is gone ({error}). Is it still plugged in?") from error
        return pcm

    def write(self, pcm: bytes) -> None:
        """Hand over samples, waiting until there is room for all: at the most for as long as they sound.

        Raises:
            HardwareError: the device is gone.
        """
        try:
            self._stream.write(pcm, len(pcm) // (2 * self.channels), exception_on_underflow=False)
        except OSError as error:
            raise HardwareError(f"The speaker {self.name!r} is gone ({error}). Is it still plugged in?") from error

    def has_room(self) -> bool:
        """Whether a period can be written without waiting; True where the device is gone, which `write` will say."""
        try:
            return bool(self._stream.get_write_available() >= self.period)
        except OSError:
            return True

    def close(self) -> None:
        """Give the device back."""
        self._stream.close()


class SoundCards:
    """The sound cards of this machine, as they are now: PortAudio lists them once, when this is made.

    Raises:
        HardwareError: there is no sound system.
    """

    def __init__(self) -> None:
        import pyaudio  # 40 ms and a scan of all PCMs: not for commands that need no sound

        self._pyaudio = pyaudio
        try:
            self._pa = pyaudio.PyAudio()
        except OSError as error:
            raise HardwareError(f"This machine's sound cannot be used ({error}).") from error
        self.devices = tuple(self._list())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._pa.terminate()

    def _list(self) -> Iterator[Device]:
        for index in range(self._pa.get_device_count()):
            info = self._pa.get_device_info_by_index(index)
            inputs, outputs = int(info["maxInputChannels"]), int(info["maxOutputChannels"])
            yield Device(index, str(info["name"]), inputs, outputs, int(info["defaultSampleRate"]))

    def open_input(self, name: str, channels: int, rate: int = 0) -> Stream:
        """Open the microphone called `name` with `channels`, at `rate` hertz if it can.

        Raises:
            HardwareError: there is none of that name, or it cannot be opened.
        """
        device = find([device for device in self.devices if device.inputs], name, "microphone")
        if device.inputs < channels:
            raise HardwareError(
                f"The microphone {device.name!r} has {device.inputs} channels, not {channels}: see microphone.channels."
            )
        return self._open(device, "microphone", (rate, *INPUT_RATES), (channels,))

    def open_output(self, name: str, rate: int = 0) -> Stream:
        """Open the speaker called `name`, at `rate` hertz if it can, in mono if it can, else in stereo.

        Raises:
            HardwareError: there is none of that name, or it cannot be opened.
        """
        device = find([device for device in self.devices if device.outputs], name, "speaker")
        return self._open(device, "speaker", (rate, *OUTPUT_RATES), (1, 2))

    def _open(self, device: Device, role: str, rates: tuple[int, ...], channel_counts: tuple[int, ...]) -> Stream:
        source = role == "microphone"
        side = "input" if source else "output"
        failures: list[str] = []
        first, usual, *others = rates
        for rate in filter(None, dict.fromkeys((first, usual, device.rate, *others))):
            for channels in channel_counts:
                try:
                    stream = self._pa.open(
                        format=self._pyaudio.paInt16,
                        rate=rate,
                        channels=channels,
                        frames_per_buffer=rate // PERIODS_A_SECOND,
                        **{side: True, f"{side}_device_index": device.number},
                    )
                except OSError as error:
                    failures.append(f"{rate} Hz, {channels} channels: {error.args[0] if error.args else error}")
                    continue
                latency = stream.get_input_latency() if source else stream.get_output_latency()
                return Stream(stream, device.name, rate, channels, latency)
        raise HardwareError(
            f"The {role} {device.name!r} cannot be opened: {_why(failures)}. "
            "Another program may be using it (`fuser -v /dev/snd/*` shows which)."
        )


def find(devices: list[Device], name: str, role: str) -> Device:
    """The device with exactly that name, else the only one that contains it. `hw:CARD=NAME,DEV=N` is understood too.

    Raises:
        HardwareError: none or several match; the message lists those there are.
    """
    wanted = _without_card_number(name)
    for matches in (
        [device for device in devices if device.name == wanted],
        [device for device in devices if wanted.casefold() in device.name.casefold()],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(repr(device.name) for device in matches)
            raise HardwareError(f"{role}.device = {name!r} fits several: {names}. Name one of them.")
    names = ", ".join(repr(device.name) for device in devices) or "none at all"
    close = difflib.get_close_matches(name, [device.name for device in devices], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise HardwareError(f"There is no {role} {name!r}.{hint} This machine has: {names}.")


def _without_card_number(name: str) -> str:
    """`hw:CARD=seeed2micvoicec,DEV=0` as the `(hw:1,0)` that PortAudio ends its names with: the number is of this boot."""
    match = re.fullmatch(r"(?:plug)?hw:(?:CARD=)?([A-Za-z]\w*)(?:,(?:DEV=)?(\d+))?", name)
    link = Path("/proc/asound") / match[1] if match else None
    if match is None or link is None or not link.is_symlink():
        return name
    return f"(hw:{link.readlink().name.removeprefix('card')},{match[2] or 0})"


def _why(failures: list[str]) -> str:
    return "; ".join(failures[:3]) + ("; …" if len(failures) > 3 else "")
