"""The way to the GPIO pins, for lights and button."""

import contextlib
import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from device.errors import HardwareError

# What the drivers of the chip behind the header call it: Pi 5, Pi 4, all before. Its number differs between kernels
# (Pi 5: 4, 0, and 11 to 15 were seen), and other chips of the same Pi may have 0.
HEADERS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")
_DEVICES = Path("/dev")
_PI_3B = 0xA02082


class NoGpio(HardwareError):
    """This machine has no GPIO that can be used; the speaker works without lights and button."""

    def __init__(self, reason: object, forbidden: bool = False) -> None:
        """`forbidden`: it is there, but not for this user."""
        super().__init__(f"no GPIO pins can be used on this machine ({reason}).")
        self.forbidden = forbidden


class NoSpi(NoGpio):
    """This machine has no SPI bus that can be used; the speaker works without lights."""

    def __init__(self, sentence: str, forbidden: bool = False) -> None:
        HardwareError.__init__(self, sentence)
        self.forbidden = forbidden


def find_factory(given: Any = None) -> Any:
    """The given gpiozero pin factory, else the one that GPIOZERO_PIN_FACTORY names, else lgpio's on the header's chip.

    To be called while no thread uses relative paths.

    Raises:
        NoGpio: with the reason.
    """
    from gpiozero import Device

    if given is not None or Device.pin_factory is not None:
        return given or Device.pin_factory
    if os.environ.get("GPIOZERO_PIN_FACTORY", "lgpio") == "lgpio":
        Device.pin_factory = _header_factory()
    else:
        try:
            Device.ensure_pin_factory()
        except Exception as error:  # each library has errors of its own
            raise NoGpio(error) from None
    return Device.pin_factory


def _header_factory() -> Any:
    chip = header_chip(import_lgpio())
    from gpiozero.pins.lgpio import LGPIOFactory

    factory = LGPIOFactory(chip=chip)
    # It would look in /proc, which may be hidden, for what is the same for all that have this header: the names of the
    # pins and which of them have resistors.
    factory._get_revision = lambda: _PI_3B
    return factory


def import_lgpio() -> Any:
    """The module lgpio. Its import makes a FIFO in the working directory, which may be read-only, and leaves it there.

    To be called while no thread uses relative paths.

    Raises:
        NoGpio: it is not installed, or does not work.
    """
    try:
        with tempfile.TemporaryDirectory(dir=_memory()) as room, contextlib.chdir(room):
            os.environ["LG_WD"] = room  # where it makes the FIFO; it opens it in the working directory
            return importlib.import_module("lgpio")
    except ImportError:
        raise NoGpio("lgpio is not installed: sudo apt install python3-lgpio") from None
    except Exception as error:  # of any kind: lgpio raises its own, with Exception as their base
        raise NoGpio(f"lgpio: {error}") from None
    finally:
        os.environ.pop("LG_WD", None)


def _memory() -> str | None:
    """A folder for what is needed for a moment: in memory, where it can be had, for the disk may be full."""
    memory = "/dev/shm"  # noqa: S108 (nothing of a fixed name is made there)
    return memory if os.access(memory, os.W_OK) else None


def header_chip(lgpio: Any) -> int:
    """The number of the GPIO chip whose lines are the pins of the header.

    Raises:
        NoGpio: there is none, or it may not be used.
    """
    others, closed = [], []
    for device in sorted(_DEVICES.glob("gpiochip[0-9]*")):
        number = int(device.name.removeprefix("gpiochip"))
        try:
            label = _label(lgpio, number)
        except Exception as error:  # lgpio's own
            closed.append(f"{device}: {str(error).strip(chr(39))}")
            continue
        if label in HEADERS:
            return number
        others.append(f"{device.name} is {label}")
    if closed:
        raise NoGpio(f"{'; '.join(closed)}. Is this user in the group gpio?", forbidden=True)
    raise NoGpio(f"it has no GPIO chip of a Raspberry Pi{': ' if others else ''}{', '.join(others)}")


def _label(lgpio: Any, number: int) -> str:
    handle = lgpio.gpiochip_open(number)
    try:
        _, _, _, label = lgpio.gpio_get_chip_info(handle)
        return str(label)
    finally:
        lgpio.gpiochip_close(handle)


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
