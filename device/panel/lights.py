"""The lamps: shows a look until the next."""

from collections.abc import Callable, Iterator
from typing import Any

from device.config import Panel
from device.panel import apa102
from device.panel.gpio import claimed, find_factory
from device.panel.look import Look
from device.panel.patterns import EACH, FRAME_S, OFF, ONE_LAMP, THREE_LAMPS, Pattern, dimmed

_COLOURS = ("red", "green", "blue")
_ALWAYS_SEEN = (Look.ERROR, Look.OFFLINE, Look.MUTED)
_LEAST_PERCENT = 20
"""What is wrong, and that nobody is listened to, is to be seen at any hour."""


class Lights:
    """Shows looks on a gpiozero device, or one like it, whose thread runs the pattern. Used by one thread."""

    def __init__(
        self,
        device: Any,
        patterns: dict[Look, Pattern],
        lamps: tuple[str, ...],
        dim: Callable[[int], float] = lambda percent: percent / 100,
    ) -> None:
        """`lamps`: what is seen when each of the three values of a frame is 1 alone.

        `dim` has the device do what it can for so many percent of its brightness, and gives the part left to the frames.
        """
        self._device = device
        self._patterns = patterns
        self._lamps = lamps
        self._dim = dim
        self._shown: tuple[Look, int] | None = None
        device.source_delay = FRAME_S

    def show(self, look: Look, percent: int = 100) -> None:
        """Show `look` from now on, at `percent` of the brightness; the same again goes on undisturbed."""
        shown = look, max(percent, _LEAST_PERCENT) if look in _ALWAYS_SEEN else percent
        if shown != self._shown:
            self._shown = shown
            self._device.source = None  # or a frame of the last look would be as bright as this one
            self._device.source = dimmed(self._patterns[look](), self._dim(shown[1]))

    def each(self) -> Iterator[str]:
        """Light each lamp (or colour) alone and yield its name, which is lit until the next is asked for; then none."""
        self._shown = None
        try:
            for name, frame in zip(self._lamps, EACH, strict=True):
                self._device.source = iter((frame,))
                yield name
        finally:
            if not self._device.closed:
                self._device.source = iter((OFF,))

    def close(self) -> None:
        """Lamps off, pins free."""
        if not self._device.closed:
            self._device.source = None  # gpiozero's RGBLED gives up its pins before it ends the thread that sets them
            self._device.close()


def open_lights(
    panel: Panel, pin_factory: Any = None, open_spi: Callable[[str], apa102.Spi] = apa102.open_spi
) -> Lights | None:
    """The lamps that `panel.lights` names; None for none. `pin_factory`: see `gpio.find_factory`.

    Raises:
        NoGpio: this machine has no GPIO, or no SPI bus that can be used.
        HardwareError: a pin cannot be used; the message names it.
    """
    if panel.lights == "none":
        return None
    if panel.lights == "apa102":
        strip = apa102.Strip(panel.apa102, panel.spi, open_spi)
        return Lights(strip, ONE_LAMP, tuple(f"all lamps {colour}" for colour in _COLOURS), strip.dim)
    import gpiozero

    factory = find_factory(pin_factory)
    leds = panel.lights == "leds"
    pins = panel.leds if leds else panel.rgb
    names = ("listening", "speaking", "tool") if leds else _COLOURS
    lamps = tuple(f"{name} (GPIO{pin})" for name, pin in zip(names, pins, strict=True))
    with claimed(factory, f"panel.{panel.lights}", pins):
        if leds:
            return Lights(gpiozero.LEDBoard(*pins, pwm=True, pin_factory=factory), THREE_LAMPS, lamps)
        return Lights(gpiozero.RGBLED(*pins, pwm=True, pin_factory=factory), ONE_LAMP, lamps)
