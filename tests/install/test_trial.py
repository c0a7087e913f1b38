"""A release on trial: it stays if it works, else the one before it is back, whatever happens meanwhile."""

import errno
import fcntl
import os
import subprocess
from itertools import count

import pytest

from device.errors import EarshotError
from device.install import boot, release, trial
from tests.install.machines import CONFIG, checkout, undo


class Sources(dict):
    """Checkouts by what they say, made when they are asked for."""

    def __init__(self, at):
        self.at = at

    def __missing__(self, word):
        self[word] = checkout(self.at / word, word)
        return self[word]


@pytest.fixture
def sources(tmp_path):
    return Sources(tmp_path)


@pytest.fixture
def installed(machine, sources):
    """Release 1 is in use."""
    assert machine.install(sources["one"])
    machine.calls.clear()
    machine.said.clear()
    return machine


def test_the_first_one_is_started_and_greets(machine, sources):
    assert machine.install(sources["one"])
    assert machine.word == "one" and machine.runs == "1"
    assert (machine.places.state / "greet").exists()
    assert not machine.places.trial.exists() and not machine.places.previous.exists()
    assert machine.said == ["Microphone: works"], "what the check says goes where all the rest goes"


def test_one_that_works_is_kept_beside_the_one_before_it(installed, sources):
    seen = []
    installed.meanwhile = lambda: seen.append((installed.word, installed.places.trial.read_text()))
    installed.places.unsettled.touch()
    assert installed.install(sources["two"])
    assert seen == [("two", "1\n")], "while it is checked, the good one is noted"
    assert installed.word == "two" and installed.runs == "2"
    assert release.pointed(installed.places.previous) == "1"
    assert not installed.places.trial.exists() and not installed.places.unsettled.exists()
    assert installed.install(sources["three"])
    assert release.numbers(installed.places) == ["3", "2"]


def test_the_service_manager_reads_the_units_before_anything_is_started(installed, sources):
    installed.install(sources["two"])
    verbs = [call for call in installed.calls if call.startswith("systemctl")]
    assert verbs == [
        "systemctl daemon-reload",
        "systemctl stop earshot.service",
        "systemctl restart earshot-mixer.service",
        "systemctl restart earshot-agent.service",
        "systemctl restart earshot.service",
    ]


def test_it_is_checked_as_the_speakers_user_with_its_key_and_within_a_limit(installed, sources):
    installed.install(sources["two"])
    check = next(call for call in installed.calls if call.startswith("systemd-run"))
    assert check.endswith(" /opt/earshot/current/venv/bin/python -m device check")
    for wanted in ("User=earshot", "LoadCredential=api-key:earshot.api-key", f"RuntimeMaxSec={trial.CHECK_S}"):
        assert f"-p {wanted} " in check


def test_one_that_fails_its_check_goes(installed, sources):
    installed.passes = False
    assert not installed.install(sources["two"])
    assert installed.word == "one" and installed.runs == "1"
    assert not installed.places.trial.exists()
    assert "Microphone: silent" in installed.said and installed.said[-1] == "Going back to release 1."


@pytest.mark.parametrize("works", [True, False])
def test_one_that_takes_the_place_of_another_greets_only_if_it_passed(installed, sources, works):
    greet = installed.places.state / "greet"
    greet.unlink()
    installed.passes = works
    installed.install(sources["two"])
    assert greet.exists() == works


def test_going_back_starts_the_agent_and_the_speaker_anew_with_their_own_units(installed, sources):
    installed.passes = False
    installed.install(sources["two"])
    assert installed.calls[-2:] == [
        "systemctl daemon-reload",
        "systemctl restart --no-block earshot-agent.service earshot.service",
    ]


def test_one_that_does_not_start_goes(installed, sources):
    installed.starts = lambda number: number == "1"
    assert not installed.install(sources["two"])
    assert installed.word == "one" and installed.runs == "1"
    assert "journalctl --unit earshot" in installed.said[1]


def test_one_that_failed_is_kept_until_another_one_passes_to_be_tried_again_when_all_is_mended(installed, sources):
    """Its environment is 200 MB to download."""
    installed.passes = False
    installed.install(sources["two"])
    assert release.numbers(installed.places) == ["2", "1"]
    assert len(list(installed.places.venvs.iterdir())) == 2
    installed.passes = True
    assert installed.install(sources["two"])
    assert installed.word == "two" and release.pointed(installed.places.current) == "2"


def test_one_that_failed_goes_when_another_one_passes(installed, sources):
    installed.passes = False
    installed.install(sources["two"])
    installed.passes = True
    assert installed.install(sources["three"])
    assert release.numbers(installed.places) == ["3", "1"]
    assert len(list(installed.places.venvs.iterdir())) == 2


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, subprocess.CalledProcessError(1, "systemd-sysusers")])
def test_one_that_cannot_even_be_tried_goes_at_once(installed, sources, error, monkeypatch):
    put, failing = trial.put, [error]

    def fails_once(places):
        put(places)
        while failing:
            raise failing.pop()

    monkeypatch.setattr(trial, "put", fails_once)
    assert not installed.install(sources["two"])
    assert installed.word == "one" and installed.runs == "1"
    assert not installed.places.trial.exists()
    assert installed.said == [f"Release 2 cannot be used: {error}", "Going back to release 1."]


def test_without_one_to_go_back_to_what_cannot_be_tried_is_an_error(machine, sources, monkeypatch):
    machine.sysusers_code = 1
    with pytest.raises(subprocess.CalledProcessError):
        machine.install(sources["one"])
    machine.sysusers_code = 0
    assert machine.install(sources["one"]), "and the next run goes on"


def test_without_one_to_go_back_to_it_is_kept_and_fails(machine, sources):
    machine.passes = False
    assert not machine.install(sources["one"])
    assert machine.word == "one" and machine.runs == "1"
    assert machine.said[-1].startswith("`earshot check` found")
    assert (machine.places.state / "greet").exists(), "it speaks all the same"


def test_one_that_never_started_does_not_greet_at_its_next_start(machine, sources):
    machine.starts = lambda number: False
    assert not machine.install(sources["one"])
    assert not (machine.places.state / "greet").exists()


def test_the_one_in_use_is_tried_without_going_back(installed, sources):
    """As after a change of its settings."""
    installed.install(sources["two"])
    for passes in (False, True):
        installed.passes = passes
        installed.meanwhile = lambda: pytest.fail("on trial") if installed.places.trial.exists() else None
        assert installed.install(sources["two"]) == passes
        assert installed.word == "two"
        assert release.pointed(installed.places.previous) == "1"


def test_back_and_forth(installed, sources):
    installed.install(sources["two"])
    assert trial.switch("1", installed.places, installed.said.append)
    assert installed.word == "one"
    assert release.pointed(installed.places.previous) == "2"
    assert trial.switch("2", installed.places, installed.said.append)
    assert installed.word == "two"


def test_the_one_before_is_shown_its_check_but_has_only_to_start(installed, sources):
    """Who rolls back may do so for what the check finds."""
    installed.install(sources["two"])
    installed.passes = False
    installed.said.clear()
    assert trial.switch("1", installed.places, installed.said.append)
    assert installed.word == "one" and installed.runs == "1"
    assert installed.said == ["Microphone: silent"]
    installed.starts = lambda number: number == "1"
    assert not trial.switch("2", installed.places, installed.said.append)
    assert installed.word == "one" and installed.runs == "1"


def test_the_one_in_use_has_to_pass_even_where_a_power_cut_made_it_the_one_before_as_well(installed, sources):
    release.point(installed.places.previous, "1")
    installed.passes = False
    assert not installed.install(sources["one"])


@pytest.mark.parametrize("why", ["another machine", "a restart is due"])
def test_where_it_cannot_show_anything_it_is_kept_and_greets_later(machine, sources, why):
    machine.booted = why != "another machine"
    if machine.booted:
        machine.reboot.touch()
    assert machine.install(sources["one"])
    assert machine.word == "one" and machine.runs is None
    started = [call for call in machine.calls if call.startswith(("systemctl restart", "systemd-run"))]
    # A card that is there already gets the board's volumes now, before alsactl stores those it has.
    assert started == (["systemctl restart --no-block earshot-mixer.service"] if machine.booted else [])
    assert (machine.places.state / "greet").exists()


def test_a_restart_that_is_due_is_no_excuse_for_one_that_takes_the_place_of_another(installed, sources):
    installed.reboot.touch()
    installed.passes = False
    assert not installed.install(sources["two"])
    assert installed.word == "one"


def test_two_at_a_time_are_refused(installed, sources):
    fd = os.open(installed.places.opt, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    installed.places.trial.write_text("1\n")
    for act in (
        lambda: trial.switch("1", installed.places, print),
        lambda: trial.recover(installed.places, print),
    ):
        with pytest.raises(EarshotError, match="in a few minutes"):
            act()
    assert installed.places.trial.exists()
    os.close(fd)
    trial.recover(installed.places, print)
    assert not installed.places.trial.exists()


def test_a_run_that_was_killed_is_taken_back_by_the_next(installed, sources):
    def killed():
        raise KeyboardInterrupt

    installed.meanwhile = killed
    with pytest.raises(KeyboardInterrupt):
        installed.install(sources["two"])
    assert installed.word == "two"
    trial.recover(installed.places, installed.said.append)
    assert installed.word == "one" and installed.runs == "1"
    assert installed.said == ["An update was interrupted: going back to release 1 first."]
    assert not installed.places.trial.exists()


@pytest.mark.parametrize("noted", ["", "\n", "7\n"])
def test_a_note_that_names_no_release_changes_nothing(installed, noted):
    for act in (lambda: trial.recover(installed.places, print), installed.boot):
        installed.places.trial.write_text(noted)
        act()
        assert installed.word == "one"
        assert not installed.places.trial.exists()


def test_nothing_to_recover_is_silent(installed):
    trial.recover(installed.places, installed.said.append)
    assert installed.said == [] and installed.calls == []


@pytest.mark.parametrize("works", [True, False])
def test_a_power_cut_at_any_step_of_an_update_leaves_a_whole_release(installed, sources, power, works, monkeypatch):
    monkeypatch.setattr(trial, "prune", lambda _: None)  # cut short in test_release
    places, installed.passes = installed.places, works
    number = installed.prepare(sources["two"])
    for step in count(int(works), 2):
        release.point(places.current, "1")
        trial.put(places)
        places.previous.unlink(missing_ok=True)
        with power.cut(step):
            trial.switch(number, places, installed.said.append)
            break
        wanted = "one" if places.trial.exists() or release.pointed(places.current) == "1" else "two"
        installed.boot()
        assert installed.word == wanted
        assert works or wanted == "one"
        assert not places.trial.exists()
    assert step > 12
    assert installed.word == ("two" if works else "one")


def test_the_good_one_is_noted_on_the_disk_before_the_link_is_changed(installed, sources, power):
    number = installed.prepare(sources["two"])
    power.steps.clear()
    trial.switch(number, installed.places, installed.said.append)
    noted = next(n for n, step in enumerate(power.steps) if step.startswith("replace") and step.endswith(" trial"))
    changed = power.steps.index("replace .current current")
    over = power.steps.index("unlink trial")
    assert power.steps[noted - 1] == "fsync" and "sync" in power.steps[noted:changed]
    assert "sync" in power.steps[changed:over], "and the trial is over only when the link is there"


@pytest.mark.parametrize("failing", ["ln", "mv", "cp", "sync", "rm"])
def test_going_back_at_boot_may_be_interrupted_as_well(installed, sources, failing):
    release.point(installed.places.current, installed.prepare(sources["two"]))
    trial.put(installed.places)
    assert installed.word == "two"
    installed.places.trial.write_text("1\n")
    assert undo(installed.places, failing) != 0
    assert release.pointed(installed.places.current) in ("1", "2")
    assert installed.places.trial.exists()
    assert undo(installed.places) == 0
    assert installed.word == "one"
    assert not installed.places.trial.exists() and not (installed.places.opt / ".current").is_symlink()


def test_what_goes_back_at_boot_is_that_of_the_last_release_that_passed(installed, sources):
    said = lambda: installed.places.undo.read_text().splitlines()[-1]  # noqa: E731
    seen = []
    installed.meanwhile = lambda: seen.append(said())
    installed.passes = False
    installed.install(sources["two"])
    assert seen == ["# one"] and said() == "# one"
    installed.passes = True
    installed.install(sources["two"])
    assert seen == ["# one"] * 2 and said() == "# two"


# --- What the machine starts with -----------------------------------------------------------------------------------


@pytest.fixture
def wired(machine):
    """A Raspberry Pi with button and lamps."""
    machine.config = machine.wire_up()
    return machine


@pytest.fixture
def flashed(wired, sources):
    """Release 1 is in use there, and the machine has been started since."""
    wired.install(sources["one"])
    wired.reboot.unlink()
    wired.said.clear()
    return wired


def test_the_first_one_brings_its_overlay_before_the_restart_without_which_it_shows_nothing(wired, sources):
    assert wired.install(sources["one"])
    assert wired.overlay == "one" and boot.BEGIN in wired.config.read_bytes()
    assert wired.reboot.exists() and wired.runs is None
    assert (wired.places.state / "greet").exists()


def test_one_that_works_brings_its_overlay_once_it_has_passed(flashed, sources):
    seen = []
    flashed.meanwhile = lambda: seen.append((flashed.overlay, flashed.reboot.exists()))
    assert flashed.install(sources["two"])
    assert seen == [("one", False)]
    assert flashed.overlay == "two" and flashed.reboot.exists()


def test_one_that_fails_leaves_no_overlay(flashed, sources):
    flashed.passes = False
    flashed.install(sources["two"])
    assert flashed.overlay == "one" and not flashed.reboot.exists()


def test_one_whose_overlay_cannot_be_written_goes(flashed, sources, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # where dtc is not
    assert not flashed.install(sources["two"])
    assert flashed.word == "one" and flashed.runs == "1" and flashed.overlay == "one"
    assert not flashed.places.trial.exists()
    assert "device-tree-compiler" in flashed.said[-2]


def test_an_overlay_that_is_there_asks_for_no_restart(flashed):
    assert not trial.prepare_boot(flashed.places, flashed.said.append)
    assert not flashed.reboot.exists() and flashed.said == []


def test_lines_that_the_machine_was_not_started_with_yet_ask_for_one(flashed):
    (flashed.places.root / "proc").mkdir()
    (flashed.places.root / "proc/stat").write_text("btime 1000\n")
    assert not trial.prepare_boot(flashed.places, flashed.said.append)
    assert flashed.reboot.exists()


def test_what_the_boot_settings_have_in_its_way_is_said(flashed):
    """By another board, as this one has no sound card."""
    (flashed.places.current / "overlays/earshot-mems-amp.dts").write_text(
        (flashed.places.current / "overlays/earshot-panel.dts").read_text()
    )
    flashed.config.write_bytes(CONFIG + b"dtoverlay=hifiberry-dac\n")
    flashed.places.board.write_text("mems-amp\n")
    assert trial.prepare_boot(flashed.places, flashed.said.append)
    assert "hifiberry-dac" in flashed.said[0]


@pytest.mark.parametrize("noted", [None, b"", b"gone\n", b"\xff\xfe"])
def test_without_a_board_that_is_known_the_boot_settings_stay(wired, sources, noted):
    wired.places.board.unlink() if noted is None else wired.places.board.write_bytes(noted)
    assert wired.install(sources["one"])
    assert wired.config.read_bytes() == CONFIG and not wired.reboot.exists()
