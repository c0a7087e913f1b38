"""The button on gpiozero's mock pins."""

import queue

import pytest

from device.config import Panel
from device.errors import HardwareError
from device.events import ButtonHeld, ButtonPressed, ButtonReleased
from device.panel import buttons
from device.panel.buttons import open_button

PANEL = Panel(button=17)


@pytest.fixture
def posted():
    return queue.Queue()


@pytest.fixture
def pin(pins, posted):
    """The pin of an open button."""
    button = open_button(PANEL, posted.put, pin_factory=pins)
    yield pins.pin(17)
    button.close()


def test_the_pin_is_pulled_up_and_a_short_glitch_is_no_press(pin):
    assert pin.pull == "up"
    assert 0 < pin.bounce <= 0.01  # it delays every press, which must silence a reply within 40 ms


def test_a_short_press_is_pressed_and_released(pin, posted):
    pin.drive_low()
    pin.drive_high()
    assert [posted.get_nowait() for _ in range(2)] == [ButtonPressed(), ButtonReleased()]
    assert posted.empty()


def test_a_press_of_a_second_is_held_once(pins, posted, monkeypatch):
    assert buttons.HOLD_S == 1.0
    monkeypatch.setattr(buttons, "HOLD_S", 0.02)
    button = open_button(PANEL, posted.put, pin_factory=pins)
    pin = pins.pin(17)
    pin.drive_low()
    assert [posted.get(timeout=5) for _ in range(2)] == [ButtonPressed(), ButtonHeld()]
    pin.drive_high()
    assert posted.get(timeout=5) == ButtonReleased()
    assert posted.empty()
    button.close()


def test_a_closed_button_posts_no_more_and_frees_the_pin(pins, posted):
    button = open_button(PANEL, posted.put, pin_factory=pins)
    button.close()
    open_button(PANEL, posted.put, pin_factory=pins).close()
    pins.pin(17).drive_low()
    assert posted.empty()


def test_a_panel_without_a_button_has_none(pins, posted):
    assert open_button(Panel(button="none"), posted.put, pin_factory=pins) is None


def test_a_pin_in_use_is_named(pins, pin, posted):
    with pytest.raises(HardwareError, match=r"panel\.button: pin GPIO17 is already in use"):
        open_button(PANEL, posted.put, pin_factory=pins)
