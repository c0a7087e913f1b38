"""A finger for the button: GPIO pins that exist only in memory, moved from another process.

The firmware takes them by gpiozero's own choice, GPIOZERO_PIN_FACTORY=earshot_demo, and knows nothing of them.
"""

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

from gpiozero.pins.mock import MockFactory, MockPWMPin

from device.errors import HardwareError

FACTORY = "earshot_demo"  # its name in the entry point group gpiozero_pin_factories
SOCKET = "EARSHOT_DEMO_PINS"  # environment: the path of the socket that orders come by


class LeverFactory(MockFactory):  # type: ignore[misc]  # gpiozero has no types
    """Mock pins, PWM included, that obey the datagrams at the socket EARSHOT_DEMO_PINS: `17 low`, `17 high`."""

    def __init__(self) -> None:
        super().__init__(pin_class=MockPWMPin)
        path = os.environ.get(SOCKET)
        if not path:
            raise HardwareError(
                f"the pin factory {FACTORY} is for `earshot demo`: it needs the path of a socket in {SOCKET}"
            )
        self._closed = False
        self._path = Path(path)
        self._path.unlink(missing_ok=True)  # of a firmware that was killed
        self._orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._orders.bind(path)
        threading.Thread(target=self._obey, name="levers", daemon=True).start()

    def close(self) -> None:
        """Close all pins and the socket. gpiozero closes its factory once more when Python ends."""
        super().close()
        if not self._closed:
            self._closed = True
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it may be closed already
                self._orders.shutdown(socket.SHUT_RDWR)  # wakes the thread, which then closes it

    def _obey(self) -> None:
        while not self._closed:
            number, _, level = self._orders.recv(100).decode("ascii", "replace").partition(" ")
            # Only what the firmware has opened: to make a pin here would race with the firmware making it.
            for info, pin in list(self.pins.items()):
                if info.name == f"GPIO{number}" and pin.function == "input" and level in ("low", "high"):
                    pin.drive_low() if level == "low" else pin.drive_high()
        self._orders.close()


class Levers:
    """The finger. `path` is the firmware's EARSHOT_DEMO_PINS; buttons pull their pin low."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {"GPIOZERO_PIN_FACTORY": FACTORY, SOCKET: str(path)}

    def press(self, pin: int) -> float:
        """Push the button at BCM number `pin`, and return when (seconds, CLOCK_MONOTONIC)."""
        return self._move(pin, "low")

    def release(self, pin: int) -> float:
        """Let it come up, and return when."""
        return self._move(pin, "high")

    def tap(self, pin: int, seconds: float = 0.15) -> float:
        """Push it for `seconds`, and return when it went down."""
        pressed = self.press(pin)
        threading.Event().wait(seconds)
        self.release(pin)
        return pressed

    def _move(self, pin: int, level: str) -> float:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as orders:
            now = time.monotonic()
            try:
                orders.sendto(f"{pin} {level}".encode(), str(self.path))
            except OSError as failure:
                raise HardwareError(
                    f"the button at GPIO{pin} cannot be moved: no firmware has opened the pins"
                ) from failure
        return now
