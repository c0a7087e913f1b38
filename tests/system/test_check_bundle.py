"""The support bundle: what is in it, what is not, and who may read it."""

import dataclasses
import errno
import io
import json
import os
import stat
import tarfile

import pytest

from device.config import Config, Panel
from device.errors import UsageError
from device.session.credentials import Key, Secret
from device.system.check import agent as agent_part
from device.system.check import bundle, command
from device.system.check.command import Wishes, bundle_path, check
from device.system.check.report import ok
from tests.system.machines import FakeMachine, Room, entry

NO_PANEL = Config(panel=Panel(button="none", lights="none"))
KEY = "plain-words-only"
CONFIG_TXT = """\
# Settings of the owner, whose wife is Ada
[0x4c0ffee1]
dtparam=audio=on
wifi_passphrase=hunter2
[all]
dtoverlay=vc4-kms-v3d
# BEGIN earshot (made by install.sh)
dtoverlay=earshot-i2s
# END earshot
"""
FILES = {
    "/proc/sys/kernel/hostname": "kitchen-of-ada\n",
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nadal:x:1000:1000:Ada Lovelace,,,:/home/adal:/bin/sh\ne:x:9:9::/:/x\n",
    "/etc/earshot/board": "i2s\n",
    "/boot/firmware/config.txt": CONFIG_TXT,
    "/proc/asound/cards": " 0 [earshoti2s     ]: simple-card - earshot-i2s\n",
    "/proc/asound/pcm": "00-00: playback 1 : capture 1\n",
    "/sys/bus/usb/devices/1-1/idVendor": "2886\n",
    "/sys/bus/usb/devices/1-1/idProduct": "0018\n",
    "/sys/bus/usb/devices/1-1/product": "ReSpeaker 4 Mic Array\n",
    "/sys/bus/usb/devices/1-1/serial": "SERIAL4711\n",
}
OURS = (
    entry("= ready; say hey_jarvis")
    + entry("= error code=nobody_there message=192.168.17.3 does not answer kitchen-of-ada")
    + entry("= error code=timeout")
    + entry('{"t": 1, "event": "transcript", "role": "user", "text": "my diagnosis"}')
    + entry("= timer name=chemotherapy in_s=60")
    + entry(f"! the key is {KEY}, said Ada Lovelace at /home/adal")
)
KERNEL = (
    entry("hwmon hwmon1: Undervoltage detected!", 2, "kernel")
    + entry("bcm2835-i2s fe203000.i2s: bclk", 6, "kernel")
    + entry("wlan0: associated with AP b8:27:eb:12:34:56", 6, "kernel")
    + entry("Kernel command line: snd_bcm2835.enable=1 root=PARTUUID=738a4d67-02 regdom=GB", 5, "kernel")
    + entry("brcmfmac: no room in the bedroom", 6, "kernel")
    + entry("python invoked oom-killer", 4, "kernel")
)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "wake", lambda settings: ok("loaded"))
    monkeypatch.setattr(agent_part.agent, "steps", lambda config, key: iter(["it is ready"]))
    for name in ("SUDO_USER", "SUDO_UID", "SUDO_GID", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    machine = FakeMachine(tmp_path / "machine", FILES)
    machine.programs["journalctl"] = lambda line: KERNEL if line.endswith(" -k") else OURS
    return machine


def made(machine, path, config=None, **wishes):
    """The files of a bundle, by name, and all of it as text."""
    key = Key(Secret(KEY), "from EARSHOT_API_KEY")
    check(config or Config(), key, Wishes(bundle=path, **wishes), machine=machine, open_cards=lambda: Room(cable=0.1))
    with tarfile.open(path) as tar:
        files = {one.name.rpartition("/")[2]: tar.extractfile(one).read().decode() for one in tar}
        assert all(one.name.startswith("earshot-support/") and one.uid == 0 and not one.uname for one in tar)
    return files, "\n".join(files.values())


def test_it_holds_what_those_who_help_have_to_know_and_says_so(machine, tmp_path, capsys):
    files, _ = made(machine, tmp_path / "b.tar.gz")
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in files)
    assert {part["part"] for part in json.loads(files["check.json"])["parts"]} >= {"microphone", "agent"}
    assert "threshold = 0.5" in files["config.toml"]
    assert "board i2s" in files["versions.txt"] and "numpy " in files["versions.txt"]
    assert files["usb.txt"] == "2886 0018  ReSpeaker 4 Mic Array\n"
    assert "earshoti2s" in files["sound.txt"] and "capture 1" in files["sound.txt"]
    assert files["boot.txt"].count("dtoverlay=earshot-i2s") == 1 and "vc4-kms-v3d" in files["boot.txt"]
    assert all(one in files["kernel.txt"] for one in ("Undervoltage", "bclk", "oom-killer"))
    assert "say hey_jarvis" in files["journal.txt"]
    assert files["events.txt"].split() == ["2", "error", "1", "ready", "1", "timer", "1", "transcript"]


def test_nothing_in_it_is_anybodys_business(machine, tmp_path):
    _, text = made(machine, tmp_path / "b.tar.gz")
    for private in (
        KEY, "192.168.17.3", "kitchen-of-ada", "adal", "Lovelace", "my diagnosis", "chemotherapy", "SERIAL4711",
        "b8:27", "hunter2", "whose wife", "4c0ffee1", "738a4d67", "regdom", "bedroom",
    ):  # fmt: skip
        assert private not in text, private


def test_the_names_of_those_who_are_enrolled_are_not_in_it(machine, tmp_path):
    (tmp_path / "grandma_rose.npz").touch()
    machine.programs["journalctl"] = entry("= grandma_rose is heard")
    config = Config(wake=dataclasses.replace(Config().wake, voices=str(tmp_path)))
    files, text = made(machine, tmp_path / "b.tar.gz", config)
    assert "grandma_rose" not in text and files["journal.txt"].endswith("= <name> is heard\n")


def test_of_the_agents_options_only_names_and_numbers_are_in_it(machine, tmp_path):
    options = {"greeting": "Good morning, dear", "speed": 3, "who": {"home": ["at Marsh Farm"]}}
    config = Config(agent=dataclasses.replace(Config().agent, options=options))
    files, text = made(machine, tmp_path / "b.tar.gz", config)
    assert "Good morning" not in text and "Marsh Farm" not in text
    assert all(name in files["config.toml"] for name in ("greeting", "speed = 3", "home"))


def test_nothing_is_left_of_one_that_cannot_be_written_to_its_end(machine, tmp_path, monkeypatch):
    def full(tar, name, text):
        tar.fileobj.write(b"the first half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle, "_add", full)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        made(machine, tmp_path / "b.tar.gz")
    assert not (tmp_path / "b.tar.gz").exists()


def test_only_its_owner_may_read_it_whatever_the_umask(machine, tmp_path):
    before = os.umask(0)
    try:
        made(machine, tmp_path / "b.tar.gz")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "b.tar.gz").stat().st_mode) == 0o600


def test_who_called_sudo_gets_it(machine, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(bundle.os, "fchown", lambda descriptor, user, group: given.append((user, group)))
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1001")
    made(machine, tmp_path / "b.tar.gz")
    assert given == [(1000, 1001)]


def test_what_is_there_is_never_overwritten_and_no_link_is_followed(machine, tmp_path):
    (tmp_path / "b.tar.gz").write_text("a letter")
    with pytest.raises(UsageError, match="already"):
        made(machine, tmp_path / "b.tar.gz")
    assert (tmp_path / "b.tar.gz").read_text() == "a letter" and machine.ran.items == []
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(UsageError, match="cannot be written"):
        made(machine, tmp_path / "link")
    assert not (tmp_path / "target").exists()


def test_with_json_only_json_is_on_standard_output(machine, tmp_path, capsys):
    made(machine, tmp_path / "b.tar.gz", NO_PANEL, as_json=True)
    told = capsys.readouterr()
    assert json.loads(told.out)["ok"] and "journal.txt" in told.err


def test_a_machine_that_tells_nothing_makes_a_bundle_too(tmp_path):
    machine = FakeMachine(tmp_path / "machine", {}, journalctl=127)
    machine.is_root = False
    path = tmp_path / "b.tar.gz"
    packed = bundle.Bundle(machine, command.service.Journal(machine), [], [])
    assert len(packed.write(path, {})) == 7
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        assert b"not ours to read" in tar.extractfile("earshot-support/journal.txt").read()


def test_a_bundle_without_a_name_gets_one_by_the_time(tmp_path):
    assert bundle_path(None) is None and str(bundle_path("x")) == "x"
    assert bundle_path("").name.startswith("earshot-support-20") and bundle_path("").name.endswith(".tar.gz")
