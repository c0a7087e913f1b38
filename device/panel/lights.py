"""The lamps: shows a look until the next."""

from typing import Any

from device.config import Panel
from device.panel.gpio import claimed, find_factory
from device.panel.look import Look
from device.panel.patterns import FRAME_S, ONE_LAMP, THREE_LAMPS, Pattern


class Lights:
    """Shows looks on a gpiozero device, whose thread runs the pattern. Used by one thread."""

    def __init__(self, device: Any, patterns: dict[Look, Pattern]) -> None:
        self._device = device
        self._patterns = patterns
        self._look: Look | None = None
        device.source_delay = FRAME_S

    def show(self, look: Look) -> None:
        """Show `look` from now on; the same look again goes on undisturbed."""
        if look is not self._look:
            self._look = look
            self._device.source = self._patterns[look]()

    def close(self) -> None:
        """Lamps off, pins free."""
        if not self._device.closed:
            self._device.source = None  # gpiozero's RGBLED gives up its pins before it ends the thread that sets them
            self._device.close()


def open_lights(panel: Panel, pin_factory: Any = None) -> Lights | None:
    """The lamps that `panel.lights` names, on gpiozero's choice of pins unless `pin_factory` is given; None for none.

    Raises:
        NoGpio: this machine has no GPIO.
        HardwareError: a pin cannot be used; the message names it.
    """
    if panel.lights == "none":
        return None
    import gpiozero

    factory = find_factory(pin_factory)
    pins = panel.leds if panel.lights == "leds" else panel.rgb
    with claimed(factory, f"panel.{panel.lights}", pins):
        if panel.lights == "leds":
            return Lights(gpiozero.LEDBoard(*pins, pwm=True, pin_factory=factory), THREE_LAMPS)
        return Lights(gpiozero.RGBLED(*pins, pwm=True, pin_factory=factory), ONE_LAMP)
