"""Levers on one side, gpiozero's Button and LED on the other."""

import queue
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpiozero import LED, PWMLED, Button

from device.demo.pins import LeverFactory, Levers
from device.errors import HardwareError


@pytest.fixture
def levers(tmp_path: Path) -> Levers:
    return Levers(tmp_path / "pins")


@pytest.fixture
def factory(levers: Levers, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeverFactory]:
    for name, value in levers.env.items():
        monkeypatch.setenv(name, value)
    factory = LeverFactory()
    yield factory
    factory.close()


def watched(button: Button) -> "queue.Queue[tuple[str, float]]":
    seen: queue.Queue[tuple[str, float]] = queue.Queue()
    button.when_pressed = lambda: seen.put(("pressed", time.monotonic()))
    button.when_released = lambda: seen.put(("released", time.monotonic()))
    return seen


def test_a_tap_is_a_press_and_a_release(levers: Levers, factory: LeverFactory) -> None:
    with Button(17, pin_factory=factory) as button:
        seen = watched(button)
        at = levers.tap(17, 0.05)
        (down, pressed), (up, released) = seen.get(timeout=1), seen.get(timeout=1)
    assert (down, up) == ("pressed", "released")
    assert at <= pressed and released - at >= 0.05


def test_other_buttons_stay_where_they_are(levers: Levers, factory: LeverFactory) -> None:
    with Button(17, pin_factory=factory) as one, Button(27, pin_factory=factory) as other:
        seen = watched(one)
        levers.press(27)
        levers.press(17)
        assert seen.get(timeout=1)[0] == "pressed"
        assert other.is_pressed and seen.empty()
        levers.release(27)
        levers.release(17)
        assert seen.get(timeout=1)[0] == "released"


def test_lights_are_pins_of_the_same_factory(factory: LeverFactory) -> None:
    with LED(22, pin_factory=factory) as led, PWMLED(18, pin_factory=factory) as dimmed:
        led.on()
        dimmed.value = 0.25
        assert factory.pin("GPIO22", pin_class=None).state == 1 and dimmed.value == 0.25


def test_nonsense_moves_nothing_and_is_survived(levers: Levers, factory: LeverFactory) -> None:
    nonsense = [b"", b"17", b"17 up", b"low", b"\xff\xff", b"18 low", b"99 low", b"17 low " * 40]
    with Button(17, pin_factory=factory) as button, LED(18, pin_factory=factory):
        seen = watched(button)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as finger:
            for order in nonsense:
                finger.sendto(order, str(levers.path))
        levers.press(17)
        levers.release(17)
        assert [seen.get(timeout=1)[0] for _ in range(2)] == ["pressed", "released"] and seen.empty()


def test_a_finger_without_a_firmware_is_told_so(levers: Levers) -> None:
    with pytest.raises(HardwareError, match="GPIO17"):
        levers.press(17)


def test_the_factory_without_a_socket_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EARSHOT_DEMO_PINS", raising=False)
    with pytest.raises(HardwareError, match="EARSHOT_DEMO_PINS"):
        LeverFactory()


def test_another_process_takes_the_pins_by_gpiozeros_own_choice(levers: Levers) -> None:
    program = (
        "import gpiozero\nb = gpiozero.Button(17)\nprint('open', flush=True)\nprint(b.wait_for_press(5), flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**levers.env, "PATH": ""}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    levers.press(17)
    assert process.communicate(timeout=5)[0] == "True\n"
    assert process.returncode == 0 and not levers.path.exists()
