"""`earshot check` as a whole, on a machine and with sound cards that are not there: order, limits, the service, its end."""

import dataclasses
import json
import os
import signal
from types import SimpleNamespace

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from device.boards import BOARDS
from device.config import Config
from device.errors import HardwareError, NetworkError
from device.session.credentials import Key, Secret
from device.system.check import agent as agent_part
from device.system.check import command, panel, sound, streams
from device.system.check.command import Wishes, check
from device.system.check.report import ok
from tests.fakes import wait_until
from tests.system.machines import FakeMachine, Room

pytestmark = pytest.mark.slow  # the whole command, on threads with limits

NAMES = (
    "system", "power", "clock", "disk", "memory", "service", "journal", "wake words", "sound cards", "speaker",
    "microphone", "echo", "lights", "button", "start", "agent",
)  # fmt: skip
SHARED = ("sound cards", "speaker", "microphone", "echo", "lights", "button")


@pytest.fixture
def machine(tmp_path):
    return FakeMachine(tmp_path / "machine")


@pytest.fixture(autouse=True)
def rest(monkeypatch):
    """Networks, echo and agent that are well, mock pins, short looks, and an end that does not end the tests."""
    monkeypatch.setattr(command, "wake", lambda settings: ok("loaded"))
    monkeypatch.setattr(command, "echo", lambda config, cards: ok("taken out"))
    monkeypatch.setattr(agent_part.agent, "steps", lambda config, key: iter(["it is ready"]))
    monkeypatch.setattr(panel, "GLANCE_S", 0.001)
    monkeypatch.setattr(panel, "SEEN_S", 0.001)
    monkeypatch.setattr(panel, "PRESS_S", 0.05)
    monkeypatch.setattr(command, "_LEAVE_S", 0.1)
    monkeypatch.setattr(sound, "_LISTEN_S", 0.3)
    monkeypatch.setattr(streams, "_AFTER_S", 0.3)
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)

    def end(code):
        raise SystemExit(code)

    monkeypatch.setattr(command, "_end", end)
    yield factory
    factory.close()


def run(machine, room, **wishes):
    return check(Config(), Key(None, "none is set"), Wishes(**wishes), machine=machine, open_cards=lambda: room)


def verdicts(capsys):
    """Of the parts, by name, of a check with --json."""
    told = json.loads(capsys.readouterr().out)
    for part in told["parts"]:
        assert list(part) == ["part", "verdict", "text", "remedy", "figures", "seconds"]
    return told["ok"], {part["part"]: part["verdict"] for part in told["parts"]}


def test_where_all_is_well_every_part_is_told_and_the_code_is_0(machine, capsys):
    assert run(machine, Room(cable=0.1)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[9:28].strip() for line in lines if line.startswith("ok ")] == list(NAMES)
    assert all(line.endswith(" s)") for line in lines if line.startswith("ok "))


def test_json_is_one_object_and_nothing_else(machine, capsys):
    assert run(machine, Room(cable=0.1), as_json=True, somebody=True) == 0
    assert verdicts(capsys) == (True, dict.fromkeys(NAMES, "ok"))


def test_a_warning_fails_nothing_and_says_what_to_do_below(machine, capsys):
    assert run(machine, Room()) == 0
    warned = capsys.readouterr().out.partition("warning  speaker")[2].splitlines()
    assert warned[1].startswith(" " * 28 + "If you heard")


def test_what_fails_is_told_and_makes_the_code_1_while_the_rest_is_tried(machine, capsys):
    room = Room()
    room.gone = True
    assert run(machine, room, as_json=True) == 1
    well, found = verdicts(capsys)
    assert not well and [name for name, verdict in found.items() if verdict == "FAILED"] == ["speaker", "microphone"]
    assert found["agent"] == "ok"


def test_a_mistake_of_ours_in_one_part_costs_only_that_part(machine, capsys, monkeypatch):
    monkeypatch.setattr(command, "wake", lambda settings: 1 / 0)
    assert run(machine, Room(cable=0.1), as_json=True) == 1
    assert [name for name, verdict in verdicts(capsys)[1].items() if verdict != "ok"] == ["wake words"]


def test_a_speaker_that_runs_is_stopped_and_started_again(machine, capsys):
    room = Room(cable=0.1)
    machine.programs["systemctl start"] = lambda line: "" if room.terminated.is_set() else 1
    assert run(machine, room) == 0
    assert [line for line in machine.ran.items if "systemctl st" in line] == [
        "systemctl stop earshot.service", "systemctl start --no-block earshot.service",
    ]  # fmt: skip
    assert "the speaker is started again" in capsys.readouterr().out, "or the cards were not given back first"


def test_the_speaker_runs_again_before_the_agent_which_needs_no_card_is_tried(machine, monkeypatch):
    started = []

    def steps(config, key):
        started.extend(machine.ran.items)
        yield "it is ready"

    monkeypatch.setattr(agent_part.agent, "steps", steps)
    assert run(machine, Room(cable=0.1)) == 0
    assert started[-1] == "systemctl start --no-block earshot.service"


def test_a_speaker_that_does_not_start_again_is_a_failure_of_the_check(machine, capsys):
    machine.programs["systemctl start"] = 1
    assert run(machine, Room(cable=0.1), as_json=True) == 1
    told = capsys.readouterr()
    well, found = json.loads(told.out)["ok"], {one["part"]: one["verdict"] for one in json.loads(told.out)["parts"]}
    assert not well and found["start"] == "FAILED" and "sudo systemctl start earshot" in told.err


@pytest.mark.parametrize("state", ["activating", "reloading"])
def test_a_speaker_that_is_about_to_run_is_stopped_too(machine, state):
    machine.programs["systemctl show"] = f"LoadState=loaded\nActiveState={state}\nNRestarts=1\n"
    run(machine, Room())
    assert "systemctl stop earshot.service" in machine.ran.items


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_speaker_that_did_not_run_is_not_started(machine, state):
    machine.programs["systemctl show"] = f"LoadState=loaded\nActiveState={state}\nNRestarts=0\n"
    run(machine, Room())
    assert not [line for line in machine.ran.items if "systemctl st" in line]


def test_who_is_not_root_leaves_the_speaker_alone_and_is_told_how_to_check_the_rest(machine, capsys):
    machine.is_root = False
    room = Room()
    assert run(machine, room) == 0
    out = capsys.readouterr().out
    for name in SHARED:
        line = next(line for line in out.splitlines() if line[9:28].strip() == name)
        assert line.startswith("skipped") and "the speaker runs" in line
    assert "sudo earshot check" in out and room.opened.items == []
    assert not [line for line in machine.ran.items if "systemctl st" in line]


def test_a_speaker_that_cannot_be_stopped_keeps_its_card(machine, capsys):
    machine.programs["systemctl stop"] = 1
    room = Room()
    run(machine, room, as_json=True)
    _, found = verdicts(capsys)
    assert {found[name] for name in SHARED} == {"skipped"} and room.opened.items == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_check_that_is_broken_off_starts_the_speaker_again(machine, number):
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)]
    room = Room()
    room.stuck = True
    room.opened = lambda role: os.kill(os.getpid(), number)
    with pytest.raises(SystemExit) as ended:
        run(machine, room)
    room.released.set()
    assert ended.value.code == 1 and machine.ran.items[-1] == "systemctl start --no-block earshot.service"
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)] == before


def test_a_card_that_is_stuck_is_waited_for_no_longer_than_its_limit(machine, capsys, monkeypatch):
    monkeypatch.setattr(command.Part.__new__, "__defaults__", ("", 0.2))
    room = Room()
    room.stuck = True
    with pytest.raises(SystemExit) as ended:  # its thread cannot be ended in good form
        run(machine, room, as_json=True)
    room.released.set()
    told = json.loads(capsys.readouterr().out)["parts"]
    found = {part["part"]: part["verdict"] for part in told}
    assert max(part["seconds"] for part in told) < 2
    assert ended.value.code == 1 and found["speaker"] == "FAILED" and found["microphone"] == "skipped"
    assert found["lights"] == found["agent"] == "ok" and not room.terminated.is_set()


def test_the_speaker_is_started_last_where_a_part_keeps_the_card_until_the_check_ends(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(command.Part.__new__, "__defaults__", ("", 0.2))
    room = Room()
    room.stuck = True
    path = tmp_path / "b.tar.gz"
    written = []
    machine.programs["systemctl start"] = lambda line: written.append(path.exists()) or ""
    with pytest.raises(SystemExit):
        run(machine, room, bundle=path)
    room.released.set()
    assert machine.ran.items[-1] == "systemctl start --no-block earshot.service" and written == [True]


def test_on_trial_a_release_is_not_blamed_for_what_it_cannot_help(machine, capsys, monkeypatch):
    machine.clock = 0.0
    machine.take("/run/systemd/timesync/synchronized")
    machine.programs["systemctl show"] = "LoadState=loaded\nActiveState=failed\nNRestarts=5\n"
    room = Room()
    room.around = room.around * 0
    assert run(machine, room, as_json=True) == 1
    assert verdicts(capsys)[1]["microphone"] == "FAILED"
    machine.put("/opt/earshot/trial", "0.1\n")
    assert run(machine, room, as_json=True) == 0
    assert verdicts(capsys)[1]["microphone"] == "warning"
    room.gone = True
    assert run(machine, room, as_json=True) == 1


@pytest.mark.parametrize(("protocol", "code"), [("local", 1), ("datagrid", 0)])
def test_on_trial_a_network_that_is_gone_is_no_reason_to_go_back(machine, monkeypatch, protocol, code):
    def nobody(config, key):
        raise NetworkError("nobody_there", "Nobody answers.")
        yield

    monkeypatch.setattr(agent_part.agent, "steps", nobody)
    machine.put("/opt/earshot/trial", "0.1\n")
    config = dataclasses.replace(Config(), agent=dataclasses.replace(Config().agent, protocol=protocol, agent_id="a"))
    key = Key(Secret("k"), "from a test")
    assert check(config, key, Wishes(as_json=True), machine=machine, open_cards=lambda: Room(cable=0.1)) == code


def test_the_agent_of_this_machine_is_waited_for_while_it_starts(machine, capsys, monkeypatch):
    answers = iter([NetworkError("nobody_there", "Nobody answers."), None])

    def steps(config, key):
        if wrong := next(answers):
            raise wrong
        yield "it is ready"

    monkeypatch.setattr(agent_part.agent, "steps", steps)
    machine.programs["systemctl is-active earshot-agent"] = "active\n"
    assert run(machine, Room(cable=0.1)) == 0


def test_an_agent_of_this_machine_that_does_not_run_fails_with_how_to_start_it(machine, capsys, monkeypatch):
    def nobody(config, key):
        raise NetworkError("nobody_there", "Nobody answers.")
        yield

    monkeypatch.setattr(agent_part.agent, "steps", nobody)
    machine.programs["systemctl is-active earshot-agent"] = "failed\n"
    machine.put("/opt/earshot/current/x", "")
    assert run(machine, Room(cable=0.1)) == 1
    assert "Start it: `sudo systemctl restart earshot-agent.service`." in capsys.readouterr().out


def test_without_the_key_that_is_roots_alone_the_agent_is_skipped(machine, capsys):
    config = dataclasses.replace(Config(), agent=dataclasses.replace(Config().agent, protocol="datagrid", agent_id="a"))
    room = Room(cable=0.1)
    assert check(config, Key(None, ""), Wishes(as_json=True), machine=machine, open_cards=lambda: room) == 0
    assert verdicts(capsys)[1]["agent"] == "skipped"


def test_somebody_is_asked_to_press_the_button(machine, capsys, rest, monkeypatch):
    assert run(machine, Room(cable=0.1), somebody=True) == 0
    out = capsys.readouterr().out
    assert "Press the button within" in out and "warning  button" in out and "GPIO17" in out
    opened = panel.open_button

    def press(settings, post):
        button = opened(settings, post)
        rest.pin(17).drive_low()
        return button

    monkeypatch.setattr(panel, "open_button", press)
    assert run(machine, Room(cable=0.1), somebody=True) == 0
    assert "pin 17, pressed" in capsys.readouterr().out


def test_nobody_is_asked_where_nobody_is(machine, capsys):
    assert run(machine, Room(cable=0.1)) == 0
    assert "Press" not in capsys.readouterr().out


def test_a_check_that_is_broken_off_leaves_no_lamp_lit(machine, rest, monkeypatch):
    monkeypatch.setattr(command, "_LEAVE_S", 5.0)
    monkeypatch.setattr(panel, "GLANCE_S", 0.1)
    real, states = panel.open_lights, []

    def interrupted(settings):
        os.kill(os.getpid(), signal.SIGINT)
        return real(settings)

    def end(code):
        states.extend(rest.pin(pin).state for pin in (5, 6, 13))
        raise SystemExit(code)

    monkeypatch.setattr(panel, "open_lights", interrupted)
    monkeypatch.setattr(command, "_end", end)
    with pytest.raises(SystemExit):
        run(machine, Room(cable=0.1))
    assert len(states) == 3 and not any(states)


def test_the_board_says_whether_the_microphone_is_to_hear_the_speaker(machine, capsys):
    name = next(board.name for board in BOARDS.values() if board.cancels_echo)
    machine.put("/etc/earshot/board", f"{name}\n")
    assert run(machine, Room(), as_json=True) == 0
    assert verdicts(capsys)[1]["speaker"] == "ok"


def test_each_lamp_is_lit_in_turn_and_then_none(machine, rest, monkeypatch):
    lit = iter([(1, 0, 0), (0, 1, 0), (0, 0, 1)])

    def states():
        return tuple(rest.pin(pin).state for pin in (5, 6, 13))

    class Pause:
        def wait(self, seconds):
            wanted = next(lit)
            wait_until(lambda: states() == wanted)  # gpiozero's thread sets the pins

    monkeypatch.setattr(panel, "threading", SimpleNamespace(Event=Pause))
    assert run(machine, Room(cable=0.1)) == 0
    assert next(lit, None) is None and not any(states())


def test_a_pin_that_is_taken_fails_with_its_name(machine, capsys, monkeypatch):
    def taken(settings, post):
        raise HardwareError("panel.button: pin 17: GPIO busy.")

    monkeypatch.setattr(panel, "open_button", taken)
    assert run(machine, Room(), as_json=True) == 1
    assert verdicts(capsys)[1]["button"] == "FAILED"
