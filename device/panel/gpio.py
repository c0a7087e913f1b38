"""The way to the GPIO pins, for lights and button."""

import contextlib
import importlib
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from device.errors import HardwareError


class NoGpio(HardwareError):
    """This machine has no GPIO that can be used; the speaker works without lights and button."""


def find_factory(given: Any = None) -> Any:
    """The given gpiozero pin factory, else gpiozero's own choice. To be called while no thread uses relative paths.

    Raises:
        NoGpio: with the reason.
    """
    from gpiozero import Device
    from gpiozero.exc import NativePinFactoryFallback

    if given is not None or Device.pin_factory is not None:
        return given or Device.pin_factory
    if os.environ.get("GPIOZERO_PIN_FACTORY", "lgpio") == "lgpio":
        _import_lgpio()
    with warnings.catch_warnings(record=True) as fallbacks:
        warnings.simplefilter("always")
        # gpiozero's last resort has no PWM and no Pi 5. As an error it is passed over, like the others that failed.
        warnings.simplefilter("error", NativePinFactoryFallback)
        try:
            Device.ensure_pin_factory()
        except Exception as error:  # each library has errors of its own
            # The first is lgpio's, the one that works on every Pi.
            reason = str(fallbacks[0].message).removeprefix("Falling back from ") if fallbacks else error
            raise NoGpio(f"no GPIO pins can be used on this machine ({reason}).") from None
    return Device.pin_factory


@contextlib.contextmanager
def claimed(factory: Any, setting: str, pins: Iterable[int]) -> Iterator[None]:
    """Claims the pins for a device that the body makes; turns what goes wrong into sentences that name the pin.

    Raises:
        HardwareError: a pin is in use or cannot do what is asked of it.
    """
    number = None
    try:
        for number in pins:
            factory.pin(number)  # lgpio says "GPIO busy" here, without saying which
        number = None
        yield
    except Exception as error:  # gpiozero's own, and those of the library behind it
        which = "" if number is None else f"pin {number}: "
        reason = str(error).strip("'")
        raise HardwareError(
            f"{setting}: {which}{reason}. Is another program or overlay using it? Choose another pin or none."
        ) from error


def _import_lgpio() -> None:
    """Import lgpio. That makes a FIFO in the working directory, which may be read-only, and leaves it there."""
    # If this fails, for want of a place to write too, gpiozero meets the reason again and tells it.
    with contextlib.suppress(Exception), tempfile.TemporaryDirectory() as room, contextlib.chdir(room):
        os.environ["LG_WD"] = room  # where it makes the FIFO; it opens it in the working directory
        importlib.import_module("lgpio")
    os.environ.pop("LG_WD", None)
