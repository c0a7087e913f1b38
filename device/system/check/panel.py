"""The parts at the pins: each lamp in turn, and the button."""

import os
import queue
import threading
import time

from device.config import Panel
from device.events import ButtonPressed, Event
from device.panel.buttons import open_button
from device.panel.gpio import NoGpio
from device.panel.lights import open_lights
from device.system.check.machine import Machine
from device.system.check.report import Result, failed, ok, skipped, warning

SEEN_S, GLANCE_S = 1.0, 0.2
"""For how long a lamp is lit: where somebody watches, and where perhaps nobody does."""
PRESS_S = 10.0
USER = "earshot"
_GROUPS = "Run install.sh again: it puts that user into the groups gpio and spi, which own them on Raspberry Pi OS."
_PINS = "/dev/gpiochip[0-9]*"


def lights(panel: Panel, machine: Machine, watched: bool) -> Result:
    """Each lamp in turn."""
    try:
        opened = open_lights(panel)
    except NoGpio as error:
        return _no_pins(error, machine)
    if opened is None:
        return skipped("there are none (panel.lights)")
    pause = threading.Event()
    lamps = []
    try:
        for name in opened.each():
            lamps.append(name)
            pause.wait(SEEN_S if watched else GLANCE_S)
    finally:
        opened.close()
    text = f"lit one after the other: {', '.join(lamps)}"
    closed = _closed_to_speaker(machine, f"/dev/spidev{panel.spi}" if panel.lights == "apa102" else _PINS)
    return failed(f"{text}; {closed}", _GROUPS, lamps=lamps) if closed else ok(text, lamps=lamps)


def button(panel: Panel, machine: Machine, watched: bool) -> Result:
    """Opens the pin and, where somebody is there, waits for a press."""
    pressed: queue.SimpleQueue[Event] = queue.SimpleQueue()
    try:
        opened = open_button(panel, pressed.put)
    except NoGpio as error:
        return _no_pins(error, machine)
    if opened is None:
        return skipped("there is none (panel.button)")
    try:
        if closed := _closed_to_speaker(machine, _PINS):
            return failed(f"pin {panel.button} can be used by root; {closed}", _GROUPS)
        if not watched:
            return ok(f"pin {panel.button} can be used; nobody was asked to press it", pressed=None)
        if _was_pressed(pressed):
            return ok(f"pin {panel.button}, pressed", pressed=True)
    finally:
        opened.close()
    remedy = f"It connects GPIO{panel.button} to ground while it is pressed; panel.button names the pin."
    return warning(f"pin {panel.button}: no press in {PRESS_S:.0f} s", remedy, pressed=False)


def _was_pressed(events: "queue.SimpleQueue[Event]") -> bool:
    until = time.monotonic() + PRESS_S
    while (left := until - time.monotonic()) > 0:
        try:
            if isinstance(events.get(timeout=left), ButtonPressed):
                return True
        except queue.Empty:
            break
    return False


def _no_pins(error: NoGpio, machine: Machine) -> Result:
    if not machine.model:
        return skipped(str(error))
    if error.forbidden and not machine.is_root and not machine.on_trial:  # to whoever asks, not to the speaker
        return warning(str(error), "As root: sudo earshot check")
    return failed(str(error), "")


def _closed_to_speaker(machine: Machine, nodes: str) -> str:
    """Whether the user that the speaker runs as may use none of the device nodes, which root may: a sentence, or nothing."""
    user = next((one for one in _entries(machine, "/etc/passwd") if one[0] == USER and len(one) > 3), None)
    paths = machine.glob(nodes)
    if not machine.is_root or user is None or not paths:
        return ""
    groups = {one[2] for one in _entries(machine, "/etc/group") if len(one) > 3 and USER in one[3].split(",")}
    if any(_may_use(machine.path(path).stat(), user[2], {user[3], *groups}) for path in paths):
        return ""
    return f"the speaker's own user {USER} may not use {' or '.join(paths)}"


def _entries(machine: Machine, path: str) -> list[list[str]]:
    return [line.split(":") for line in (machine.text(path) or "").splitlines()]


def _may_use(node: os.stat_result, user: str, groups: set[str]) -> bool:
    """Whether it may be read and written. The numbers are as the files of users and groups have them."""
    shift = 6 if str(node.st_uid) == user else 3 if str(node.st_gid) in groups else 0
    return (node.st_mode >> shift) & 0o6 == 0o6
