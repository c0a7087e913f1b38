"""Lamps on gpiozero's mock pins, and machines without any."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from device.config import Panel
from device.errors import HardwareError
from device.panel.gpio import NoGpio
from device.panel.lights import Lights, open_lights
from device.panel.look import Look
from device.panel.patterns import OFF, WHITE

LEDS = Panel(lights="leds", leds=(5, 6, 13))
RGB = Panel(lights="rgb", rgb=(22, 23, 24))


@pytest.fixture
def changed(pins):
    """Waits until the pins have the given states; fails after a while."""
    moved = threading.Condition()

    def watch(number):
        pin = pins.pin(number)
        set_state = pin._set_state

        def set_and_tell(value):
            set_state(value)
            with moved:
                moved.notify_all()

        pin._set_state = set_and_tell
        return pin

    watched = {number: watch(number) for number in (5, 6, 13, 22, 23, 24)}

    def wait_for(*numbers, test):
        with moved:
            assert moved.wait_for(lambda: test([watched[n].state for n in numbers]), timeout=5)

    return wait_for


@pytest.fixture
def opened(pins):
    made = []

    def make(panel):
        made.append(open_lights(panel, pin_factory=pins))
        return made[-1]

    yield make
    for lights in made:
        lights.close()


def test_listening_lights_the_first_of_three_lamps_and_stays(opened, changed):
    lights = opened(LEDS)
    lights.show(Look.LISTENING)
    changed(5, 6, 13, test=lambda levels: levels == [1, 0, 0])


def test_the_next_look_takes_the_place_of_the_last(opened, changed):
    lights = opened(LEDS)
    lights.show(Look.CONNECTING)
    changed(6, test=lambda levels: levels == [1])
    lights.show(Look.MUTED)
    changed(5, 6, 13, test=lambda levels: levels == [1, 0, 1])
    lights.show(Look.IDLE)
    changed(5, 6, 13, test=lambda levels: levels == [0, 0, 0])


@pytest.mark.slow
def test_speaking_breathes(opened, changed):
    opened(LEDS).show(Look.SPEAKING)
    changed(6, test=lambda levels: 0.2 < levels[0] < 0.6)
    changed(6, test=lambda levels: levels[0] > 0.9)
    changed(6, test=lambda levels: 0.2 < levels[0] < 0.6)


def test_one_lamp_of_three_colours_shows_colours(opened, changed):
    lights = opened(RGB)
    lights.show(Look.LISTENING)
    changed(22, 23, 24, test=lambda levels: levels == [0, 0, 1])
    lights.show(Look.MUTED)
    changed(22, 23, 24, test=lambda levels: levels == [1, 0, 0])


class RecordingDevice:
    """Stands for a gpiozero device and records the patterns it is given."""

    def __init__(self):
        self.closed = False
        self.shown = []

    def _begin(self, frames):
        if frames is not None:
            self.shown.append(next(frames))

    source = property(fset=_begin)


@pytest.fixture
def recorded():
    """Lights of which each look has one frame."""
    device = RecordingDevice()
    return device, Lights(device, dict.fromkeys(Look, lambda: iter((WHITE,))), ("one", "two", "three"))


def test_the_same_look_again_goes_on_undisturbed(recorded):
    device, lights = recorded
    for look in (Look.SPEAKING, Look.SPEAKING, Look.TOOL, Look.SPEAKING):
        lights.show(look)
    assert len(device.shown) == 3


def test_at_night_a_look_is_dimmed_and_then_goes_on_undisturbed(recorded):
    device, lights = recorded
    for percent in (100, 20, 20, 20, 100):
        lights.show(Look.MUTED, percent)
    assert device.shown == [WHITE, (0.2, 0.2, 0.2), WHITE]


@pytest.mark.parametrize("look", list(Look))
def test_what_is_wrong_and_that_it_is_muted_is_seen_at_any_hour(recorded, look):
    device, lights = recorded
    lights.show(look, 0)
    seen = look in (Look.ERROR, Look.OFFLINE, Look.MUTED)
    assert device.shown == [(0.2, 0.2, 0.2) if seen else OFF]


def test_a_lamp_is_dimmed_by_the_pins(opened, changed):
    lights = opened(RGB)
    lights.show(Look.MUTED, 20)
    changed(22, 23, 24, test=lambda levels: levels == [0.2, 0, 0])
    lights.show(Look.MUTED)
    changed(22, 23, 24, test=lambda levels: levels == [1, 0, 0])


def test_each_lamp_is_lit_alone_and_named_and_then_none(opened, changed):
    lights = opened(LEDS)
    lights.show(Look.MUTED)
    each = lights.each()
    for name, lit in (("listening (GPIO5)", [1, 0, 0]), ("speaking (GPIO6)", [0, 1, 0]), ("tool (GPIO13)", [0, 0, 1])):
        assert next(each) == name
        changed(5, 6, 13, test=lambda levels, lit=lit: levels == lit)
    assert next(each, None) is None
    changed(5, 6, 13, test=lambda levels: levels == [0, 0, 0])
    lights.show(Look.MUTED)
    changed(5, 6, 13, test=lambda levels: levels == [1, 0, 1])


def test_lamps_may_be_closed_while_one_is_shown_alone(opened, changed):
    lights = opened(RGB)
    each = lights.each()
    assert next(each) == "red (GPIO22)"
    changed(22, test=lambda levels: levels == [1])
    lights.close()
    each.close()


def test_a_steady_look_leaves_no_thread_running(opened, changed):
    before = set(threading.enumerate())
    opened(LEDS).show(Look.MUTED, 50)
    changed(5, 6, 13, test=lambda levels: levels == [0.5, 0, 0.5])
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


def test_close_turns_the_lamps_off_and_frees_the_pins(opened, pins):
    states = pins.pin(5).states
    lights = opened(LEDS)
    lights.show(Look.ERROR)
    lights.close()
    lights.close()
    assert states[-1].state == 0
    assert all(pins.pin(number).function == "input" for number in LEDS.leds)
    opened(LEDS)


def test_a_panel_without_lights_has_none(pins):
    assert open_lights(Panel(lights="none"), pin_factory=pins) is None


def test_a_pin_in_use_is_named_and_the_others_are_freed(opened, pins):
    opened(Panel(lights="rgb", rgb=(6, 2, 3)))
    with pytest.raises(HardwareError, match=r"panel\.leds: pin GPIO6 is already in use"):
        open_lights(LEDS, pin_factory=pins)
    opened(Panel(leds=(5, 7, 13)))


def test_a_pin_that_the_library_will_not_claim_is_named(pins):
    claim = pins.pin

    def busy(number):
        if number == 13:
            raise Exception("'GPIO busy'")  # lgpio's error has Exception as its base and quotes in its text
        return claim(number)

    pins.pin = busy
    with pytest.raises(HardwareError, match=r"panel\.leds: pin 13: GPIO busy\. ") as refused:
        open_lights(LEDS, pin_factory=pins)
    assert not isinstance(refused.value, NoGpio)


OPEN = """
import sys, os
from device.config import Panel
from device.panel.buttons import open_button
from device.panel.lights import open_lights
assert "gpiozero" not in sys.modules
assert open_button(Panel(button="none"), print) is None and open_lights(Panel(lights="none")) is None
assert "gpiozero" not in sys.modules
for open_it in (lambda: open_lights(Panel()), lambda: open_button(Panel(), print)):
    try:
        open_it()
    except Exception as error:
        print(type(error).__name__, error)
print(sorted(os.listdir()))
"""


def run(tmp_path, **environ):
    room = tmp_path / "room"
    room.mkdir()
    return subprocess.run(
        [sys.executable, "-c", OPEN],
        cwd=room, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip


def test_a_machine_without_the_library_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    (tmp_path / "lgpio.py").write_text("raise ImportError\n")
    done = run(tmp_path, PYTHONPATH=str(tmp_path))
    said = "NoGpio no GPIO pins can be used on this machine (lgpio is not installed: sudo apt install python3-lgpio)."
    assert done.stdout.count(said) == 2
    assert done.stderr == "" and done.stdout.endswith("[]\n")


def test_the_import_of_the_library_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    (tmp_path / "lgpio.py").write_text(
        "import os\nopen('.lgd-nfy0', 'w').close()\n"
        f"open({str(tmp_path / 'imports')!r}, 'a').write(str(os.environ.get('LG_WD') == os.getcwd()) + ' ' + os.getcwd())\n"
        "SET_PULL_NONE = SET_PULL_UP = SET_PULL_DOWN = BOTH_EDGES = RISING_EDGE = FALLING_EDGE = 0\n"
        "def gpiochip_open(chip): raise Exception('can not open gpiochip')\n"
    )
    done = run(tmp_path, PYTHONPATH=str(tmp_path))
    assert done.stdout.count("NoGpio") == 2
    same, where = (tmp_path / "imports").read_text().split(" ")
    assert same == "True" and where.startswith("/dev/shm/"), "the disk may be full"  # noqa: S108
    assert not Path(where).exists()
    assert done.stderr == "" and done.stdout.endswith("[]\n")
