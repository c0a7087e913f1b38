"""A row of APA102 lamps on an SPI bus, all of one colour. Works with SK9822, which are sold under the same name, too."""

import importlib
import logging
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from device.panel.gpio import NoSpi
from device.panel.patterns import FRAME_S, OFF, Frame

log = logging.getLogger(__name__)

BRIGHTNESS = 5
"""Of 31, at most: a white lamp takes 10 mA then. With all of it, it glares and takes 60 mA."""
SPEED_HZ = 1_000_000
"""The lamps take more, long wires do not."""
_STOP_S = 1.0
_START = 4


class Spi(Protocol):
    """What is used of `spidev.SpiDev`."""

    def writebytes2(self, message: bytearray) -> None:
        """Send it, in pieces if it is long."""

    def close(self) -> None:
        """Give the bus up."""


def open_spi(address: str) -> Spi:
    """The SPI bus at `address`, bus.chip-select. The lamps have no chip select; others on the bus may have one.

    Raises:
        NoSpi: it cannot be used.
    """
    try:
        spi: Any = importlib.import_module("spidev").SpiDev()
    except ImportError:
        raise NoSpi('panel.lights = "apa102" needs the module spidev: sudo apt install python3-spidev.') from None
    try:
        spi.open(*map(int, address.split(".")))
        spi.mode = 0
        spi.max_speed_hz = SPEED_HZ
    except FileNotFoundError:
        raise NoSpi(
            f'panel.spi: there is no /dev/spidev{address}. "dtparam=spi=on" in config.txt and a restart make it.'
        ) from None
    except OSError as error:
        spi.close()
        raise NoSpi(
            f"panel.spi: /dev/spidev{address} cannot be used: {error.strerror}. Is this user in the group spi?",
            forbidden=isinstance(error, PermissionError),
        ) from error
    opened: Spi = spi
    return opened


def dark(count: int) -> bytearray:
    """The message that turns `count` lamps off: start frame, four bytes a lamp (brightness, blue, green, red), end."""
    # Each lamp passes the data on half a clock late, so the last needs count / 2 bits more; SK9822 show a colour at the
    # next 32 zero bits. Ones instead would be white to a lamp beyond the count.
    end = 4 + -(-count // 16)
    return bytearray(_START) + bytearray((0xE0 | BRIGHTNESS, 0, 0, 0)) * count + bytearray(end)


class Strip:
    """The lamps, as a device that `Lights` can drive, like gpiozero's. Used by one thread; patterns have another."""

    def __init__(self, count: int, address: str, open_spi: Callable[[str], Spi] = open_spi) -> None:
        """Raises NoSpi when the bus cannot be used."""
        self.source_delay = FRAME_S
        self.closed = False
        self._where = f"/dev/spidev{address}"
        self._spi = open_spi(address)
        self._lost = False
        self._message = dark(count)
        self._lamps = range(_START, _START + 4 * count, 4)
        self._brightness = BRIGHTNESS
        self._shown: Frame | None = None
        self._source: Iterator[Frame] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._show(OFF)

    @property
    def source(self) -> Iterator[Frame] | None:
        """The frames of red, green and blue to show, one per `source_delay`; None to show no others."""
        return self._source

    @source.setter
    def source(self, frames: Iterator[Frame] | None) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)
            if self._thread.is_alive():
                self._lose("does not answer")
        self._source = frames
        self._thread = None
        if frames is None or self._lost:
            return
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._play, args=(frames, self._stopping), name="lights", daemon=True)
        self._thread.start()

    def dim(self, percent: int) -> float:
        """Take so many percent of the brightness from now on; returns which part of each level remains to be taken.

        The lamps have 31 steps of brightness beside the 255 of each colour, so a dim colour fades as smoothly as a bright one.
        """
        steps = BRIGHTNESS * percent / 100
        self._brightness = max(1, math.ceil(steps))
        self._shown = None
        return steps / self._brightness

    def close(self) -> None:
        """Lamps off, bus free."""
        if not self.closed:
            self.source = None
            self._show(OFF)
            self.closed = True
            self._spi.close()

    def _play(self, frames: Iterator[Frame], stopping: threading.Event) -> None:
        for frame in frames:
            self._show(frame)
            if self._lost or stopping.wait(self.source_delay):
                break

    def _show(self, frame: Frame) -> None:
        if frame == self._shown or self._lost:
            return
        red, green, blue = (round(255 * level) for level in frame)
        message = self._message
        for lamp in self._lamps:
            message[lamp] = 0xE0 | self._brightness
            message[lamp + 1], message[lamp + 2], message[lamp + 3] = blue, green, red
        try:
            self._spi.writebytes2(message)
        except OSError as error:
            self._lose(error.strerror or str(error))
        self._shown = frame

    def _lose(self, reason: str) -> None:
        self._lost = True
        log.warning("! the lights at %s cannot be set any more (%s). Going on without them.", self._where, reason)
