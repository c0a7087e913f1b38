"""The commands of install.sh's Python: what they print, and what their exit code says."""

import sys
from types import SimpleNamespace

import pytest

from device.install import __main__ as commands
from device.install import boot, detect, plan, release, system
from tests.install.machines import CONFIG, checkout


@pytest.fixture
def run(machine, tmp_path, monkeypatch, capsys):
    """Runs a command on the machine; its exit code, and all that it prints."""
    source = checkout(tmp_path / "source", "one")
    monkeypatch.setattr(commands, "HERE", machine.places)
    monkeypatch.setattr(commands, "SOURCE", source)
    monkeypatch.setattr(commands.os, "umask", lambda _: None)
    monkeypatch.setattr(plan, "problems", lambda *_: iter(()))
    monkeypatch.setattr(detect, "board", lambda _: (None, "Plug in a speakerphone."))

    def act(*words):
        monkeypatch.setattr(sys, "argv", ["device.install", *words])
        code = commands.main()
        said = capsys.readouterr()
        return SimpleNamespace(code=code, said=said.out + said.err)

    act.source = source
    return act


@pytest.fixture
def installed(machine, run):
    """Release 1 is in use, on a Raspberry Pi with the board `panel`."""
    machine.config = machine.wire_up()
    machine.install(run.source)
    machine.reboot.unlink()
    machine._systemctl("restart", "earshot.service")
    return machine


def test_there_is_none_before_this_one(installed, run):
    for _ in range(2):
        asked = run("previous")
        assert asked.code == 1 and asked.said == "install.sh: There is no release before this one.\n"
        release.point(installed.places.previous, "1")  # as a power cut at the end of a trial may leave it


def test_the_one_before_this_one_is_named(installed, run, tmp_path):
    installed.install(checkout(tmp_path / "other", "two"))
    assert run("previous").said == "1\n"


def test_an_agent_that_there_is_not_is_told_before_anything_is_done(run):
    asked = run("plan", "--board", "usb", "--agent", "opnai")
    assert asked.code == 1 and "There is no agent opnai. Did you mean openai?" in asked.said


@pytest.mark.parametrize(("agent", "code"), [("openai", 0), ("local", 1)])
def test_another_agent_than_the_settings_have_is_told_and_the_same_one_is_no_problem(machine, run, agent, code):
    assert run("plan", "--board", "usb", "--agent", agent).code == 0, "the first time, any will do"
    system.write(machine.places.settings, b'[agent]\nprotocol = "openai"\n', 0o644)
    asked = run("plan", "--board", "usb", "--agent", agent)
    assert asked.code == code
    assert (f"{machine.places.settings} has another agent than --agent local" in asked.said) == bool(code)


def test_a_board_that_cannot_be_known_is_told(run):
    assert "Plug in a speakerphone." in run("plan").said
    asked = run("plan", "--elsewhere")
    assert asked.code == 1 and "Name the board with --board" in asked.said
    assert run("plan", "--elsewhere", "--board", "panel").code == 0


def test_a_machine_on_which_all_is_in_place_is_settled(installed, run):
    before = installed.tree()
    asked = run("settled", "1")
    assert (asked.code, asked.said) == (0, "")
    assert installed.tree() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda machine: machine.places.unsettled.touch(),
        lambda machine: machine.places.command.unlink(),
        lambda machine: machine.config.write_bytes(CONFIG),
        lambda machine: machine._systemctl("stop"),
        lambda machine: machine.reboot.touch(),
    ],
    ids=["unsettled", "command", "boot settings", "stopped", "restart due"],
)
def test_a_machine_on_which_something_is_not_is_not_settled(installed, run, spoil):
    spoil(installed)
    assert run("settled", "1").code == 1
    assert boot.BEGIN in installed.config.read_bytes() or installed.places.unsettled.exists()


def test_what_was_mended_before_a_run_that_ended_early_is_not_forgotten(installed, run):
    installed.places.command.unlink()
    for _ in range(2):
        assert run("settled", "1").code == 1


def test_another_release_than_the_one_in_use_is_not_settled_and_leaves_all_as_it_is(installed, run):
    before = installed.tree()
    assert run("settled", "2").code == 1
    assert installed.tree() == before


def test_taking_away_gives_the_boot_settings_back_and_says_when_that_counts(installed, run):
    asked = run("remove", "--purge")
    assert asked.code == 0 and "with the next restart" in asked.said
    assert installed.config.read_bytes() == CONFIG and installed.overlay is None
    assert run("remove", "--purge").said == ""


def test_what_is_remembered_grows(run, monkeypatch):
    for words in ("flite", "alsa-utils flite"):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(read=lambda words=words: words))
        run("remember", "packages")
    assert run("recall", "packages").said == "alsa-utils\nflite\n"
