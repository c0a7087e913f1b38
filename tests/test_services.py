"""What systemd is told of the speaker: valid, tight, with a reason where it is not, and true to the command line."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from device.__main__ import _parser
from device.install import places

SERVICES = Path(__file__).parent.parent / "services"
UNITS = ("earshot.service", "earshot-agent.service", "earshot-mixer.service", "earshot-undo.service")
RELEASED = places.UNITS
"""Those that come with each release."""
EXECS = ("ExecCondition", "ExecStart", "ExecStopPost")
STRICT = {
    "LockPersonality": {"yes"},
    "MemoryDenyWriteExecute": {"yes"},
    "NoNewPrivileges": {"yes"},
    "PrivateDevices": {"yes"},
    "PrivateNetwork": {"yes"},
    "PrivateTmp": {"yes"},
    "PrivateUsers": {"yes"},
    "ProtectClock": {"yes"},
    "ProtectControlGroups": {"yes"},
    "ProtectHome": {"yes"},
    "ProtectHostname": {"yes"},
    "ProtectKernelLogs": {"yes"},
    "ProtectKernelModules": {"yes"},
    "ProtectKernelTunables": {"yes"},
    "RestrictNamespaces": {"yes"},
    "RestrictRealtime": {"yes"},
    "RestrictSUIDSGID": {"yes"},
    "CapabilityBoundingSet": {""},
    "IPAddressDeny": {"any"},
    "ProcSubset": {"pid"},
    "ProtectProc": {"invisible"},
    "ProtectSystem": {"strict"},
    "SystemCallArchitectures": {"native"},
    "SystemCallFilter": {"@system-service", "~@privileged @resources"},
    "UMask": {"0077"},
}
"""What a service has that needs no exemption."""


class Unit:
    """A unit file: `values` of a setting in their order, and the text of its comments."""

    def __init__(self, name: str) -> None:
        text = (SERVICES / name).read_text()
        self.comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
        joined = re.sub(r"\\\n\s*", "", text)
        self._pairs = re.findall(r"^(\w+)=(.*)$", joined, re.MULTILINE)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def commands(self) -> list[list[str]]:
        return [shlex.split(value.lstrip("-").replace("$$", "$")) for name in EXECS for value in self.values(name)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A machine with our units and, in the place of every program they run, one that does nothing."""
    made = tmp_path_factory.mktemp("root")
    units = made / "etc/systemd/system"
    units.mkdir(parents=True)
    for target in ("basic", "multi-user", "shutdown", "sound", "sysinit"):
        (units / f"{target}.target").write_text("[Unit]\n")
    for name in UNITS:
        shutil.copy(SERVICES / name, units)
        for program, *_ in Unit(name).commands():
            stub = made / program.removeprefix("/")
            stub.parent.mkdir(parents=True, exist_ok=True)
            stub.write_text("#!/bin/sh\n")
            stub.chmod(0o755)
    return made


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_the_unit(root, name):
    assert run("systemd-analyze", "verify", "--man=no", f"--root={root}", name) == (0, "")


def test_a_mistake_in_a_unit_would_be_seen(root, tmp_path):
    wrong = tmp_path / "wrong"
    shutil.copytree(root, wrong)
    with (wrong / "etc/systemd/system/earshot.service").open("a") as unit:
        unit.write("[Service]\nPrivateTemp=yes\n")
    assert "PrivateTemp" in run("systemd-analyze", "verify", "--man=no", f"--root={wrong}", "earshot.service")[1]


@pytest.mark.parametrize(("name", "limit"), [("earshot.service", 2.0), ("earshot-agent.service", 1.5)])
def test_systemd_finds_little_exposed(name, limit):
    code, said = run("systemd-analyze", "security", "--no-pager", "--offline=yes", str(SERVICES / name))
    assert code == 0, said
    assert float(re.search(r"Overall exposure level for \S+ ([\d.]+)", said)[1]) <= limit


@pytest.mark.parametrize("name", ["earshot.service", "earshot-agent.service"])
@pytest.mark.parametrize("setting", STRICT)
def test_what_is_not_strict_has_its_reason_in_the_unit(name, setting):
    unit = Unit(name)
    assert set(unit.values(setting)) == STRICT[setting] or f"{setting}=" in unit.comments


@pytest.mark.parametrize("name", UNITS)
def test_every_command_of_a_unit_exists(name):
    for program, *arguments in Unit(name).commands():
        if "python" not in program:
            continue
        flag, module, *rest = arguments
        assert flag == "-m" and find_spec(module)
        if module == "device":
            _parser().parse_args(rest)


@pytest.mark.parametrize(("ended", "off"), [("exited", False), ("killed", True), ("dumped", True)])
def test_the_lights_are_put_out_after_a_speaker_that_could_not_do_it_itself(ended, off):
    (command,) = Unit("earshot.service").values("ExecStopPost")
    program, *arguments = shlex.split(command.removeprefix("-").replace("$$", "$"))
    python = "/opt/earshot/current/venv/bin/python -m device.panel.off"
    assert command.count("$$") == command.count("$") / 2, "systemd itself knows no EXIT_CODE when it reads the unit"
    assert python in arguments[-1] and find_spec("device.panel.off")
    arguments[-1] = arguments[-1].replace(python, "echo off")
    done = subprocess.run([program, *arguments], env={"EXIT_CODE": ended}, capture_output=True, text=True, timeout=10)
    assert (done.stdout == "off\n") is off


@pytest.mark.parametrize("name", UNITS)
def test_nothing_is_imported_from_where_the_speaker_may_write(name):
    unit = Unit(name)
    if any("python" in program for program, *_ in unit.commands()):
        environment = " ".join(unit.values("Environment")).split()
        assert {"PYTHONPATH=/opt/earshot/current", "PYTHONSAFEPATH=1", "PYTHONNOUSERSITE=1"} <= set(environment)


def test_the_speaker_tries_for_ever_but_not_with_wrong_settings():
    unit = Unit("earshot.service")
    assert unit.values("Restart") == ["always"]
    assert unit.values("StartLimitIntervalSec") == ["0"]
    assert unit.values("RestartPreventExitStatus") == ["78 2"]


def test_a_hung_speaker_is_gone_in_time_to_hear_again_within_20_s():
    unit = Unit("earshot.service")
    hang = sum(int(unit.values(name)[0]) for name in ("WatchdogSec", "TimeoutAbortSec"))
    assert unit.values("RestartSec") == ["500ms"]
    assert hang + 0.5 + 4 + 3 <= 20, "4 s to start, 3 s for lights off and the mixer, on a slow machine"


def test_the_speaker_needs_no_network():
    unit = Unit("earshot.service")
    assert "network" not in " ".join(unit.values("After") + unit.values("Wants") + unit.values("Requires"))


@pytest.fixture
def opt(tmp_path):
    """/opt/earshot while release 2 is on trial, and 1 was good."""
    for number in "12":
        services = tmp_path / "releases" / number / "services"
        services.mkdir(parents=True)
        for name in UNITS:
            (services / name).write_text(number)
    (tmp_path / "units").mkdir()
    for name in UNITS:
        (tmp_path / "units" / name).write_text("2")
    (tmp_path / "current").symlink_to("releases/2")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sync").symlink_to("/bin/true")  # it would wait for all disks of this machine
    return tmp_path


def undo(opt):
    shell = [
        word.replace("/etc/systemd/system/", f"{opt}/units/") for word in Unit("earshot-undo.service").commands()[0]
    ]
    path = f"{opt / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(shell, cwd=opt, env={"PATH": path}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert not (opt / "trial").exists()
    number = (opt / "current").readlink().name
    assert {(opt / "units" / name).read_text() for name in RELEASED} == {number}, "the units are those of the release"
    assert (opt / "units/earshot-undo.service").read_text() == "2", "and this one is nobody's but its own"
    return number


def test_an_interrupted_update_is_undone(opt):
    (opt / "trial").write_text("1\n")
    (opt / ".current").symlink_to("releases/2")  # what a power cut may leave
    assert undo(opt) == "1"
    assert {path.name for path in opt.iterdir()} == {"bin", "units", "releases", "current"}


@pytest.mark.parametrize("good", ["", "7\n"])
def test_without_a_release_to_go_back_to_the_new_one_stays(opt, good):
    (opt / "trial").write_text(good)
    assert undo(opt) == "2"


def test_the_user_is_made_with_its_groups(tmp_path):
    (tmp_path / "etc").mkdir()
    code, said = run("systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(SERVICES / "sysusers.conf"))
    assert code == 0, said
    assert {"audio", "gpio", "spi", "earshot"} <= set(re.findall(r"group '(\w+)'", said))


def test_its_directory_is_made_and_closed_to_others(tmp_path):
    text = (SERVICES / "tmpfiles.conf").read_text()
    config = tmp_path / "etc/tmpfiles.d/earshot.conf"
    config.parent.mkdir(parents=True)
    # who runs the test may have no other user's directories to give
    config.write_text(text.replace(" earshot earshot", f" {os.getuid()} {os.getgid()}"))
    code, said = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(config))
    assert code == 0, said
    state = tmp_path / "var/lib/earshot"
    assert [oct(path.stat().st_mode & 0o777) for path in (state, state / "voices")] == ["0o750", "0o700"]
    assert Unit("earshot.service").values("StateDirectoryMode") == ["0750"], "or systemd changes it again and again"


def test_the_journal_settings_are_settings():
    parser = configparser.ConfigParser(comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(SERVICES / "journald.conf")
    assert parser.sections() == ["Journal"]
    assert parser["Journal"]["Storage"] == "volatile"
