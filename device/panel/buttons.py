"""The button: posts what happens to it."""

from collections.abc import Callable
from typing import Any, Protocol

from device.config import Panel
from device.events import ButtonHeld, ButtonPressed, ButtonReleased, Event
from device.panel.gpio import claimed, find_factory

HOLD_S = 1.0
# lgpio tells of an edge only when the level was stable for this long, and a press must silence a reply within 40 ms.
BOUNCE_S = 0.01


class Button(Protocol):
    """What the owner of an open button may do with it."""

    def close(self) -> None:
        """Post no more; free the pin."""


def open_button(panel: Panel, post: Callable[[Event], None], pin_factory: Any = None) -> Button | None:
    """The button between pin `panel.button` and ground; None for none. `post` is called on gpiozero's threads.

    Raises:
        NoGpio: this machine has no GPIO.
        HardwareError: the pin cannot be used; the message names it.
    """
    if panel.button == "none":
        return None
    import gpiozero

    factory = find_factory(pin_factory)
    with claimed(factory, "panel.button", (panel.button,)):
        button = gpiozero.Button(
            panel.button, pull_up=True, hold_time=HOLD_S, bounce_time=BOUNCE_S, pin_factory=factory
        )
    button.when_pressed = lambda: post(ButtonPressed())
    button.when_held = lambda: post(ButtonHeld())
    button.when_released = lambda: post(ButtonReleased())
    opened: Button = button
    return opened
