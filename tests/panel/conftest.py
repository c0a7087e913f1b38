"""Pins without hardware: gpiozero's own, and lgpio's on chips that a test chooses."""

import sys

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPWMPin

from device.panel import gpio
from tests.panel.machine import Bus, Lgpio


@pytest.fixture
def pins():
    factory = MockFactory(pin_class=MockPWMPin)
    yield factory
    factory.close()


@pytest.fixture
def lgpio(monkeypatch, tmp_path):
    """lgpio on a machine without GPIO chips, until the test adds some."""
    made = Lgpio(tmp_path / "dev")
    made.devices.mkdir()
    monkeypatch.setattr(gpio, "_DEVICES", made.devices)
    monkeypatch.setitem(sys.modules, "lgpio", made)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)  # it keeps the lgpio it first saw
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr(Device, "pin_factory", None)
    yield made
    if Device.pin_factory is not None:
        Device.pin_factory.close()
    sys.modules.pop("gpiozero.pins.lgpio", None)


@pytest.fixture
def bus():
    return Bus()
