"""install.sh makes a speaker, on the machine of working fakes: what it has Python do, and in which order."""

import fcntl
import os
import pty
from pathlib import Path

import pytest

from tests.test_install import APT_GET, DPKG_QUERY, PYTHON, Machine

pytestmark = pytest.mark.slow
ROOM = r"""
words=$*
if [[ $words == *"-m device.install "* ]]; then
    words=${words#*-m device.install }
    echo "room $words" >>"$MACHINE/calls"
    case $words in
        plan*) [[ ! -f $MACHINE/cannot ]] || { echo "no sound card" >&2; exit 1; } ;;
        stage) mkdir -p "$MACHINE/opt/earshot/releases/2"; echo 2 ;;
        environment) echo hash ;;
        key) cat >"$MACHINE/key" ;;
        settled*) [[ -f $MACHINE/settled ]] ;;
        switch*) [[ ! -f $MACHINE/fails ]] || { echo "no answer" >&2; exit 1; } ;;
        previous) echo 1 ;;
        recall*) echo flite ;;
        remember*) cat >"$MACHINE/remembered" ;;
    esac
    exit
fi
"""


class Flashed(Machine):
    """With the directories that belong to the system below `state`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for name in ("install.sh", "device/install/flash.sh"):
            path = self.here / name
            text = path.read_text()
            for place in ("/opt/earshot", "/run/", "/var/tmp", "/etc/earshot"):  # noqa: S108
                text = text.replace(place, f"{self.state}{place}")
            path.write_text(text)
        for place in ("run/systemd/system", "var/tmp"):
            (self.state / place).mkdir(parents=True)
        (self.here / "services").mkdir()
        (self.here / "services/requirements.lock").write_text("numpy==1\n")
        for tool in ("comm", "mv", "sort", "sleep"):
            (self.bin / tool).symlink_to(f"/usr/bin/{tool}")
        self.has(
            "python3-venv",
            "python3-pyaudio",
            "espeak-ng",
            "flite",
            "alsa-utils",
            "python3-spidev",
            "device-tree-compiler",
        )
        self.program("python3", ROOM + PYTHON)
        self.program(
            "systemd-run", 'echo "systemd-run $*" >>"$MACHINE/calls"; while [[ $1 == -* ]]; do shift; done; exec "$@"'
        )
        for name in ("systemctl", "apt-mark"):
            self.program(name, f'echo "{name} $*" >>"$MACHINE/calls"')

    def lever(self, name: str) -> None:
        (self.state / name).touch()

    @property
    def rooms(self) -> list[str]:
        """What Python was asked to do."""
        return [line.removeprefix("room ") for line in self.calls.splitlines() if line.startswith("room ")]


@pytest.fixture
def machine(tmp_path: Path) -> Flashed:
    return Flashed(tmp_path)


def test_everything_is_done_in_its_order(machine: Flashed) -> None:
    code, output = machine.run("--board", "panel", "--agent", "openai", "--yes")
    assert code == 0, output
    about = "--board panel --agent openai"
    order = ["recover", f"plan {about}", "stage", "environment", f"configure {about}", "settled 2", "switch 2"]
    assert machine.rooms == order
    calls = machine.calls
    assert calls.index("room environment") < calls.index("pip --no-input install") < calls.index("room configure")
    assert output.splitlines()[-1].startswith('Done: say "hey jarvis".')
    assert (machine.state / "opt/earshot/venvs/hash/stamp").exists()
    assert not list((machine.state / "var/tmp").iterdir())


def test_a_new_release_outlives_the_terminal(machine: Flashed) -> None:
    machine.run("--yes")
    run = next(line for line in machine.calls.splitlines() if line.startswith("systemd-run"))
    assert f"PYTHONPATH={machine.state}/opt/earshot/releases/2 " in run and run.endswith(" -m device.install switch 2")


def test_a_second_time_nothing_is_changed_and_it_says_so(machine: Flashed) -> None:
    machine.run("--yes")
    (machine.state / "calls").unlink()
    machine.lever("settled")
    code, output = machine.run()
    assert (code, output) == (0, "Nothing to change: release 2 is installed and runs.\n")
    assert machine.rooms == ["recover", "plan", "stage", "environment", "configure", "settled 2"]
    assert "pip" not in machine.calls and "apt-get" not in machine.calls


def test_what_stands_against_it_stops_it_before_anything_is_changed(machine: Flashed) -> None:
    machine.has()
    machine.lever("cannot")
    code, output = machine.run("--yes")
    assert code == 1 and output == "no sound card\n"
    assert machine.calls == "room recover\nroom plan\n"


def test_a_dry_run_says_what_would_be_done_and_needs_no_rights(machine: Flashed) -> None:
    machine.has("python3-venv")
    machine.program("id", "echo 1000")
    code, output = machine.run("--dry-run", "--board", "panel")
    assert code == 0, output
    assert "alsa-utils" in output and output.endswith("Nothing was changed.\n")
    assert machine.rooms == ["plan --board panel", "environment"]
    assert sorted(path.name for path in machine.state.iterdir()) == ["calls", "installed", "run", "var"]


def test_a_release_that_fails_is_an_error_with_a_way_on(machine: Flashed) -> None:
    machine.lever("fails")
    code, output = machine.run("--yes")
    assert code == 1
    assert output.splitlines()[-2] == "no answer"
    assert "Release 2 does not work as it should" in output and "run this again" in output


def test_a_key_of_a_file_never_shows(machine: Flashed, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-hunter2\n")
    code, output = machine.run("--key-file", str(tmp_path / "key"))
    assert code == 0
    assert (machine.state / "key").read_text() == "sk-hunter2\n"
    assert "hunter2" not in output + machine.calls
    assert machine.calls.index("room key") < machine.calls.index("room configure")


def test_the_key_is_the_one_question_and_is_not_shown(machine: Flashed) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"sk-hunter2\n")
    process = machine.start(stdin=theirs)
    output, _ = process.communicate(timeout=20)
    os.close(theirs)
    assert process.returncode == 0, output
    assert "which is not shown" in output and "hunter2" not in output
    assert (machine.state / "key").read_text() == "sk-hunter2"


def test_an_update_needs_something_to_update(machine: Flashed) -> None:
    code, output = machine.run("--update")
    assert code == 1 and "Earshot is not installed here" in output
    assert "plan" not in machine.calls


def test_back_to_the_release_before(machine: Flashed) -> None:
    code, output = machine.run("--rollback")
    assert code == 0 and "Release 1 runs again.\nDone" in output
    assert machine.rooms == ["recover", "previous", "switch 1"]


@pytest.mark.parametrize("purge", [False, True])
def test_it_is_taken_away_after_it_was_stopped(machine: Flashed, purge: bool) -> None:
    machine.program("apt-get", 'echo "apt-get $*" >>"$MACHINE/calls"; echo "Purg flite [1]"')
    code, output = machine.run("--uninstall", *(["--purge"] if purge else []))
    assert code == 0, output
    assert machine.rooms == ["recover", "recall packages", f"remove{' --purge' if purge else ''}"]
    calls = machine.calls
    assert calls.index("systemctl stop earshot.service") < calls.index("room remove") < calls.index("daemon-reload")
    assert calls.index("room remove") < calls.index("apt-mark auto flite")
    assert (" purge flite\n" in calls.replace("--simulate purge", "")) == purge
    assert ("are kept" in output) != purge
    assert not (machine.state / "run/earshot-install.lock").exists()


def test_what_an_interrupted_run_installed_is_remembered_by_the_next_one(machine: Flashed) -> None:
    machine.has("python3-venv")
    machine.program(
        "apt-get", r"""[[ $* != *" install "* ]] || { echo flite >>"$MACHINE/installed"; kill -9 $PPID; }"""
    )
    machine.program(
        "dpkg-query",
        r"""if [[ $# == 2 ]]; then sed "s/^/installed /" "$MACHINE/installed"; exit; fi""" + DPKG_QUERY,
    )
    assert machine.run("--yes")[0] == -9
    machine.program("apt-get", APT_GET)
    code, output = machine.run("--yes")
    assert code == 0, output
    remembered = (machine.state / "remembered").read_text().split()
    assert {"flite", "alsa-utils"} <= {*remembered} and "python3-venv" not in remembered
    assert not (machine.state / "opt/earshot/packages-before").exists()


def test_two_at_a_time_are_refused(machine: Flashed) -> None:
    with (machine.state / "run/earshot-install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, output = machine.run("--yes")
    assert code == 1 and "Another run is at work" in output
    assert machine.calls == ""


def test_without_a_network_nothing_is_asked_of_it(machine: Flashed, tmp_path: Path) -> None:
    machine.has("python3-venv")
    (tmp_path / "a stick/debs").mkdir(parents=True)
    (tmp_path / "a stick/debs/Packages").touch()
    code, output = machine.run("--offline", str(tmp_path / "a stick"), "--yes")
    assert code == 0, output
    assert machine.rooms[1] == "plan --offline" and "remember packages" in machine.rooms
    gets = [line for line in machine.calls.splitlines() if line.startswith("apt-get")]
    assert gets and all("Dir::Etc::SourceParts=/dev/null" in line for line in gets)
    assert "--no-index --find-links" in next(
        line for line in machine.calls.splitlines() if " install --no-user" in line
    )
