"""APA102 on an SPI bus that keeps what is sent."""

import errno
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.config import Panel
from device.panel.apa102 import BRIGHTNESS, Strip, open_spi
from device.panel.gpio import NoGpio
from device.panel.lights import open_lights
from device.panel.look import Look
from device.panel.patterns import BLUE, OFF, RED, WHITE
from tests.panel.machine import Bus, lamps

APA102 = Panel(lights="apa102", apa102=3)
LEVEL = st.floats(0, 1)


@pytest.fixture
def lights(bus):
    opened = open_lights(APA102, open_spi=lambda address: bus)
    yield opened
    opened.close()


@pytest.fixture
def strip(bus):
    made = Strip(2, "0.0", lambda address: bus)
    made.source_delay = 0.001
    yield made
    made.close()


def colours(bus, count=3):
    return {lamp[1:] for lamp in bus.lamps(count)}


@settings(max_examples=40)
@given(st.integers(1, 64), LEVEL, LEVEL, LEVEL)
def test_every_lamp_of_any_number_takes_any_colour(count, red, green, blue):
    bus = Bus()
    strip = Strip(count, "0.0", lambda address: bus)
    assert set(lamps(bus.messages[0], count)) == {(BRIGHTNESS, 0, 0, 0)}
    strip._show((red, green, blue))
    assert set(bus.lamps(count)) == {(BRIGHTNESS, round(255 * red), round(255 * green), round(255 * blue))}


def test_they_are_moderately_bright():
    assert 0 < BRIGHTNESS / 31 * 60 <= 12  # mA a lamp


def test_all_lamps_show_the_colour_of_the_look(lights, bus):
    lights.show(Look.LISTENING)
    bus.wait(lambda bus: colours(bus) == {(0, 0, 255)})
    lights.show(Look.MUTED)
    bus.wait(lambda bus: colours(bus) == {(255, 0, 0)})
    lights.show(Look.IDLE)
    bus.wait(lambda bus: colours(bus) == {(0, 0, 0)})


def test_at_night_they_take_their_own_steps_of_brightness_first(lights, bus):
    lights.show(Look.LISTENING, 20)
    bus.wait(lambda bus: set(bus.lamps(3)) == {(1, 0, 0, 255)})
    lights.show(Look.LISTENING, 4)
    bus.wait(lambda bus: set(bus.lamps(3)) == {(1, 0, 0, 51)})
    lights.show(Look.LISTENING)
    bus.wait(lambda bus: set(bus.lamps(3)) == {(BRIGHTNESS, 0, 0, 255)})


@given(st.integers(0, 100))
def test_any_percent_is_what_the_lamps_show_in_the_end(percent):
    bus = Bus()
    strip = Strip(1, "0.0", lambda address: bus)
    part = strip.dim(percent)
    strip._show((part, 0.0, 0.0))
    ((brightness, red, _, _),) = bus.lamps(1)
    assert 0 <= part <= 1 and 1 <= brightness <= BRIGHTNESS
    assert brightness * red / 255 == pytest.approx(BRIGHTNESS * percent / 100, abs=BRIGHTNESS / 2 / 255)


def test_a_colour_that_stays_is_sent_once_at_each_brightness(lights, bus):
    for percent in (100, 20):
        before = len(bus.messages)
        for _ in range(5):
            lights.show(Look.MUTED, percent)
            bus.wait(lambda bus: colours(bus) == {(255, 0, 0)})
        assert len(bus.messages) == before + 1


def test_they_blink(lights, bus):
    lights.show(Look.TOOL)
    for level in (255, 0):
        bus.wait(lambda bus, level=level: colours(bus) == {(level, level, level)})


def test_they_are_dark_from_the_beginning_and_when_closed(lights, bus):
    assert colours(bus) == {(0, 0, 0)}
    lights.show(Look.ERROR)
    bus.wait(lambda bus: colours(bus) == {(255, 0, 0)})
    lights.close()
    lights.close()
    assert colours(bus) == {(0, 0, 0)} and bus.closed


def test_what_is_shown_already_is_not_sent_again_and_no_buffer_is_made_for_it(strip, bus):
    strip.source = iter([RED] * 5 + [BLUE] * 5 + [OFF] * 5 + [WHITE])
    bus.wait(lambda bus: colours(bus, 2) == {(255, 255, 255)})
    assert len(bus.messages) == 1 + 4
    assert len(bus.buffers) == 1


def test_each_colour_is_shown_alone_and_named(lights, bus):
    each = lights.each()
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        assert next(each) == f"all lamps {name}"
        bus.wait(lambda bus, colour=colour: colours(bus) == {colour})
    assert next(each, None) is None
    bus.wait(lambda bus: colours(bus) == {(0, 0, 0)})


def test_lamps_that_are_lost_are_told_once_and_the_speaker_goes_on(lights, bus, caplog):
    bus.fail = OSError(errno.ENODEV, "No such device")
    lights.show(Look.ERROR)
    bus.wait(lambda bus: bus.attempts == 2)
    lights.show(Look.TOOL)
    lights.show(Look.LISTENING)
    lights.close()
    assert bus.attempts == 2 and bus.closed
    assert [record.getMessage() for record in caplog.records] == [
        "! the lights at /dev/spidev0.0 cannot be set any more (No such device). Going on without them."
    ]


class SpiDev:
    """The class of the module spidev, with a fault."""

    fault = None
    closed = False

    def open(self, bus, device):
        self.opened = (bus, device)
        if self.fault:
            raise OSError(self.fault, "not so")

    def close(self):
        self.closed = True


@pytest.fixture
def spidev(monkeypatch):
    module = types.ModuleType("spidev")
    module.SpiDev = type("SpiDev", (SpiDev,), {})
    monkeypatch.setitem(sys.modules, "spidev", module)
    return module


def test_the_bus_and_chip_select_of_the_settings_are_opened(spidev):
    opened = open_spi("1.2")
    assert opened.opened == (1, 2) and opened.mode == 0 and 0 < opened.max_speed_hz <= 8_000_000


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (errno.ENOENT, r'panel\.spi: there is no /dev/spidev0\.0\. "dtparam=spi=on" in config\.txt'),
        (errno.EACCES, r"panel\.spi: /dev/spidev0\.0 cannot be used: not so\. Is this user in the group spi\?"),
    ],
)
def test_a_bus_that_cannot_be_used_is_named_with_the_remedy(spidev, fault, told):
    spidev.SpiDev.fault = fault
    with pytest.raises(NoGpio, match=told) as refused:  # which the speaker forgives
        open_lights(APA102)
    assert refused.value.forbidden is (fault == errno.EACCES)


def test_without_the_module_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spidev", None)
    with pytest.raises(NoGpio, match="apt install python3-spidev"):
        open_lights(APA102)
