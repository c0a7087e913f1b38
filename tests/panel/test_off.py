"""Lights off after a speaker that could not do it itself."""

import subprocess
import sys
import types

import pytest

from device.config import Panel
from device.panel.gpio import header_chip
from device.panel.off import main, turn_off
from tests.panel.machine import Bus, lamps


@pytest.fixture
def settings(tmp_path):
    def write(text):
        file = tmp_path / "earshot.toml"
        file.write_text(text)
        return str(file)

    return write


@pytest.fixture
def left_on(lgpio):
    """A Pi whose speaker was killed while all its lamps were lit."""
    lgpio.add(0, "raspberrypi-exp-gpio")
    lgpio.add(11, "pinctrl-rp1")
    lgpio.levels.update({(11, pin): 1 for pin in (5, 6, 13, 22, 23, 24)})
    return lgpio


def lit(lgpio):
    return sorted(line for (_, line), level in lgpio.levels.items() if level)


def test_the_three_lamps_of_the_settings_go_off_and_no_other_pin_is_touched(left_on, settings, capsys):
    main([settings("[panel]\nleds = [22, 23, 24]\n")])
    assert lit(left_on) == [5, 6, 13] and header_chip(left_on) == 11
    assert capsys.readouterr().out == "Lights off: pins 22, 23, 24.\n"


def test_the_lamp_of_three_colours_goes_off(left_on):
    turn_off(Panel(lights="rgb", rgb=(22, 23, 24)))
    assert lit(left_on) == [5, 6, 13]


def test_a_pin_that_somebody_uses_is_named_and_the_others_go_off(left_on):
    left_on.busy.add(6)
    assert turn_off(Panel()) == "Lights not off: pin 6: GPIO busy."
    assert {6} == {5, 6, 13} & set(lit(left_on))


def test_apa102_go_off(monkeypatch):
    bus, opened = Bus(), []
    bus.open = lambda *address: opened.append(address)
    monkeypatch.setitem(sys.modules, "spidev", types.SimpleNamespace(SpiDev=lambda: bus))
    assert turn_off(Panel(lights="apa102", apa102=12, spi="0.1")) == "Lights off: APA102 at 0.1."
    assert {lamp[1:] for lamp in lamps(bus.messages[-1], 12)} == {(0, 0, 0)} and bus.closed
    assert opened == [(0, 1)]


def test_without_lights_nothing_is_touched_or_said(left_on, settings, capsys):
    main([settings("[panel]\nlights = 'none'\n")])
    assert capsys.readouterr().out == "" and len(lit(left_on)) == 6


@pytest.mark.parametrize("text", ["[panel]\nleds = 1\nbutton = 99\n", "[", "[panel]\nlights = 'apa102'\n"])
def test_whatever_is_wrong_is_told_in_one_line_and_is_no_failure(settings, capsys, monkeypatch, text):
    monkeypatch.setitem(sys.modules, "spidev", None)
    main([settings(text)])
    told = capsys.readouterr().out
    assert told.startswith("Lights not off: ") and told.count("\n") == 1


def test_only_what_it_needs_is_imported(settings):
    settings = settings("[panel]\nlights = 'none'\n")
    code = (
        f"import sys; sys.argv = ['off', {settings!r}]; import runpy; runpy.run_module('device.panel.off', "
        "run_name='__main__'); assert not {'gpiozero', 'numpy', 'lgpio', 'spidev'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
