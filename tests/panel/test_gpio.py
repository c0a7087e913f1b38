"""The chip behind the header is found by what it is."""

import pytest

from device.config import Panel
from device.panel.gpio import NoGpio, find_factory
from device.panel.lights import open_lights
from device.panel.look import Look
from tests.panel.machine import until


@pytest.mark.parametrize("label", ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"])
@pytest.mark.parametrize("number", [0, 4, 11])
def test_the_chip_of_the_header_is_found_by_its_label_whatever_its_number(lgpio, number, label):
    lgpio.add(number, label)
    for other in {0, 1, 10, 12} - {number}:
        lgpio.add(other, "gpio-brcmstb@107d508500")
    assert find_factory().chip == number
    assert [held for held in lgpio.open.values() if held is not None] == [number]


def test_lamps_are_driven_on_that_chip_even_where_there_is_no_revision_of_a_pi(lgpio):
    lgpio.add(0, "raspberrypi-exp-gpio")
    lgpio.add(3, "pinctrl-bcm2711")
    lights = open_lights(Panel())
    lights.show(Look.LISTENING)
    until(lambda: [lgpio.levels.get((3, pin)) for pin in (5, 6, 13)] == [1, 0, 0])
    lights.close()
    assert {chip for chip, _ in lgpio.levels} == {3}


def test_lights_and_button_share_a_factory(lgpio):
    lgpio.add(0, "pinctrl-rp1")
    assert find_factory() is find_factory()


def test_a_chip_of_another_kind_is_no_header(lgpio):
    lgpio.add(0, "INT33FF:00")
    with pytest.raises(NoGpio, match=r"\(it has no GPIO chip of a Raspberry Pi: gpiochip0 is INT33FF:00\)\.$"):
        find_factory()
    assert set(lgpio.open.values()) == {None}


def test_a_machine_without_any_chip_says_so(lgpio):
    with pytest.raises(NoGpio, match=r"\(it has no GPIO chip of a Raspberry Pi\)\.$"):
        find_factory()


def test_a_chip_that_may_not_be_opened_is_named_with_the_remedy(lgpio):
    lgpio.add(0, "pinctrl-rp1")
    lgpio.closed_to_us.add(0)
    with pytest.raises(NoGpio, match=r"gpiochip0: can not open gpiochip\. Is this user in the group gpio\?"):
        find_factory()


def test_a_link_to_the_chip_does_no_harm(lgpio):
    lgpio.add(0, "pinctrl-rp1")
    (lgpio.devices / "gpiochip4").symlink_to("gpiochip0")
    assert find_factory().chip == 0


def test_the_environment_may_choose_other_pins(lgpio, monkeypatch):
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    assert type(find_factory()).__name__ == "MockFactory"
    assert not lgpio.open


def test_a_choice_that_fails_is_told_with_the_reason(lgpio, monkeypatch):
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nosuch")
    with pytest.raises(NoGpio, match=r"no GPIO pins can be used on this machine \(.*nosuch"):
        find_factory()
