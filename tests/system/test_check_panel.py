"""What the check says of lights and button where they cannot be used, or not by the speaker."""

import os
import sys

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from device.config import Panel
from device.panel import gpio
from device.system.check import panel
from device.system.check.report import Verdict
from tests.panel.machine import Bus, Lgpio
from tests.system.machines import FakeMachine

OK, WARNING, FAILED, SKIPPED = Verdict.OK, Verdict.WARNING, Verdict.FAILED, Verdict.SKIPPED


@pytest.fixture
def machine(tmp_path):
    return FakeMachine(tmp_path / "machine")


@pytest.fixture
def lgpio(monkeypatch, tmp_path):
    """A machine whose pins gpiozero has not opened yet."""
    made = Lgpio(tmp_path / "dev")
    made.devices.mkdir()
    monkeypatch.setattr(gpio, "_DEVICES", made.devices)
    monkeypatch.setattr(gpio, "import_lgpio", lambda: made)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    return made


@pytest.fixture
def pins(monkeypatch):
    """Pins that root may use."""
    monkeypatch.setattr(panel, "GLANCE_S", 0.001)
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield
    factory.close()


def both(machine, settings=None):
    settings = settings or Panel()
    return panel.lights(settings, machine, False), panel.button(settings, machine, False)


def test_a_pi_whose_pins_are_gone_fails_and_another_machine_has_none(machine, lgpio):
    for found in both(machine):
        assert found.verdict is FAILED and "no GPIO chip of a Raspberry Pi" in found.text and not found.outside
    machine.put("/proc/device-tree/model", "Some Other Board")
    assert [found.verdict for found in both(machine)] == [SKIPPED, SKIPPED]


def test_where_the_reason_says_what_to_do_nothing_else_is_said(machine, monkeypatch):
    def missing(settings, *post):
        raise gpio.NoGpio("lgpio is not installed: sudo apt install python3-lgpio")

    monkeypatch.setattr(panel, "open_lights", missing)
    monkeypatch.setattr(panel, "open_button", missing)
    for machine.is_root in (True, False):
        assert [(found.verdict, found.remedy) for found in both(machine)] == [(FAILED, "")] * 2


def test_who_may_not_use_the_pins_is_told_of_root_and_only_root_and_the_speaker_fail(machine, lgpio):
    lgpio.add(0, "pinctrl-bcm2711")
    lgpio.closed_to_us.add(0)
    assert [(found.verdict, found.remedy) for found in both(machine)] == [(FAILED, "")] * 2
    machine.is_root = False
    for found in both(machine):
        assert found.verdict is WARNING and "sudo earshot check" in found.remedy
    machine.put("/opt/earshot/trial", "0.1\n")
    assert [found.verdict for found in both(machine)] == [FAILED, FAILED]


def test_apa102_without_their_bus_fail_on_a_pi(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "spidev", None)
    found = panel.lights(Panel(lights="apa102", apa102=3), machine, False)
    assert found.verdict is FAILED and "spidev" in found.text and found.remedy == ""


def node(machine, path, mode):
    machine.put(path, "")
    machine.path(path).chmod(mode)


@pytest.fixture
def installed(machine):
    """The speaker has a user of its own, who is in the group of the pins here."""
    machine.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\nearshot:x:990:980::/var/lib/earshot:/usr/sbin/nologin\n")
    machine.put("/etc/group", f"gpio:x:{os.getgid()}:pi,earshot\nother:x:77:pi\n")
    node(machine, "/dev/gpiochip0", 0o660)
    return machine


def test_pins_that_the_speakers_own_user_may_use_are_well(installed, pins):
    assert [found.verdict for found in both(installed)] == [OK, OK]


@pytest.mark.parametrize("why", ["group", "mode"])
def test_pins_that_only_root_may_use_fail(installed, pins, why):
    if why == "group":
        installed.put("/etc/group", f"gpio:x:{os.getgid()}:pi\n")
    else:
        node(installed, "/dev/gpiochip0", 0o640)
    for found in both(installed):
        assert found.verdict is FAILED and "earshot may not use /dev/gpiochip0" in found.text
        assert "install.sh" in found.remedy
    installed.is_root = False
    assert [found.verdict for found in both(installed)] == [OK, OK], "who could open it is not root"


def test_apa102_need_the_node_of_their_own_bus(installed, monkeypatch):
    node(installed, "/dev/spidev0.0", 0o600)
    node(installed, "/dev/spidev0.1", 0o660)
    monkeypatch.setattr(panel, "GLANCE_S", 0.001)
    opened = panel.open_lights
    monkeypatch.setattr(panel, "open_lights", lambda settings: opened(settings, open_spi=lambda address: Bus()))
    settings = [Panel(lights="apa102", apa102=1, spi=spi) for spi in ("0.0", "0.1")]
    assert [panel.lights(one, installed, False).verdict for one in settings] == [FAILED, OK]
