"""What of Earshot lies outside its own directory: put there, put there again, taken away; and the key."""

import os
import subprocess
from itertools import count

import pytest

from device.errors import UsageError
from device.install import key, release, system
from device.install.places import UNDO, UNITS
from tests.install.machines import GROUP, PASSWD, checkout

KEY = "sk-hunter2"


@pytest.fixture
def places(machine, tmp_path):
    """A release is in use, and nothing outside its directory knows."""
    release.point(machine.places.current, machine.prepare(checkout(tmp_path / "source", "one")))
    return machine.places


@pytest.fixture
def update(machine, tmp_path):
    """Another release gets into use."""

    def act():
        release.point(machine.places.current, machine.prepare(checkout(tmp_path / "other", "two")))

    return act


def enabled(places):
    wants = places.systemd / "system/multi-user.target.wants"
    return {path.name: str(path.readlink()) for path in wants.iterdir()}


def test_units_and_the_like_are_files_of_the_release_in_use(places, update):
    """`systemctl disable` would remove a unit that is a link."""
    for change in (lambda: None, update):
        change()
        assert system.put(places)
        for path, name in places.copies().items():
            assert not path.is_symlink() and path.stat().st_mode & 0o777 == 0o644
            assert path.read_bytes() == (places.current / "services" / name).read_bytes()
    assert {path.name for path in places.copies()} == {*UNITS, "earshot.conf"}


def test_what_starts_at_boot_is_enabled_the_first_time_and_the_owners_to_say_later_on(places, update):
    system.put(places)
    all_of_it = {name: f"/etc/systemd/system/{name}" for name in ("earshot.service", "earshot-undo.service")}
    assert enabled(places) == all_of_it
    (places.systemd / "system/multi-user.target.wants/earshot.service").unlink()  # sudo systemctl disable earshot
    update()
    system.put(places)
    assert list(enabled(places)) == ["earshot-undo.service"]
    system.take_away(places, purge=False)
    update()
    system.put(places)
    assert enabled(places) == all_of_it, "a new installation is a first time"


def test_a_power_cut_in_the_first_time_leaves_nothing_disabled(places, power):
    for step in count(0, 3):
        with power.cut(step):
            system.put(places)
            break
        if (places.systemd / "system/earshot.service").exists():
            assert len(enabled(places)) == 2
    assert step > 9


def test_what_goes_back_at_boot_is_a_file_that_needs_no_release(places, update):
    system.put(places)
    assert places.undo.is_file() and not places.undo.is_symlink()
    assert "python" not in places.undo.read_text()
    update()
    system.put(places)
    assert places.undo.read_text().endswith("# one\n"), (
        "that of a good release, which the new one has yet to show to be"
    )
    places.undo.unlink()
    system.put(places)
    assert places.undo.exists()


def test_how_the_log_is_kept_counts_at_once_where_it_is_new(machine, places):
    asked = "systemctl try-restart systemd-journald.service"
    system.put(places)
    system.put(places)
    assert machine.calls.count(asked) == 1, "the log is in memory, and forgotten by a restart"
    (places.current / "services/journald.conf").write_text("[Journal]\n")
    system.put(places)
    assert machine.calls.count(asked) == 2


def test_nobody_is_asked_where_no_service_manager_runs(machine, places):
    machine.booted = False
    system.put(places)
    assert not [call for call in machine.calls if call.startswith("systemctl")]


def test_the_command_runs_the_release_in_use(places):
    system.put(places)
    assert places.command.stat().st_mode & 0o777 == 0o755
    assert subprocess.run(["sh", "-n", places.command], check=False).returncode == 0
    text = places.command.read_text()
    assert "PYTHONPATH=/opt/earshot/current " in text and " exec /opt/earshot/current/venv/bin/python " in text
    assert "PYTHONSAFEPATH=1" in text, "root does not run what lies where it happens to be"


def test_a_second_time_changes_nothing(machine, places):
    system.put(places)
    before = machine.tree()
    assert not system.put(places)
    assert machine.tree() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda places: places.command.unlink(),
        lambda places: places.command.write_text("other\n"),
        lambda places: places.command.chmod(0o700),
        lambda places: (places.root / "etc/tmpfiles.d/earshot.conf").unlink(),
        lambda places: (places.systemd / "system/earshot-agent.service").write_text(""),
        lambda places: (places.root / "etc/passwd").write_text(""),
        lambda places: (places.root / "etc/group").write_text(GROUP),
    ],
    ids=["command gone", "command changed", "mode", "file gone", "unit changed", "user gone", "groups gone"],
)
def test_what_was_spoilt_is_mended_and_counts_as_a_change(machine, places, spoil):
    system.put(places)
    before = machine.tree()
    spoil(places)
    assert system.put(places)
    after = machine.tree()
    for name in ("etc/passwd", "etc/group"):  # the order of their lines is nobody's business
        before.pop(name), after.pop(name)
    assert after == before


def test_a_link_in_the_place_of_a_unit_gives_way(places):
    path = places.systemd / "system/earshot-agent.service"
    path.symlink_to(places.current / "services/earshot-agent.service")
    assert system.put(places)
    assert not path.is_symlink()


def test_a_user_that_cannot_be_made_is_an_error(machine, places):
    machine.sysusers_code = 1
    with pytest.raises(subprocess.CalledProcessError):
        system.put(places)


def test_taken_away_with_everything_it_is_as_before(machine, tmp_path):
    before = machine.tree()
    machine.install(checkout(tmp_path / "source", "one"))
    key.keep(KEY, machine.places)
    system.write(machine.places.settings, b"", 0o644)
    system.write(machine.places.board, b"usb\n", 0o644)
    system.unsettle(machine.places)
    system.take_away(machine.places, purge=True)
    assert machine.tree() == before


def test_taken_away_it_leaves_what_is_the_owners(machine, places):
    system.put(places)
    key.keep(KEY, places)
    system.write(places.settings, b"[wake]\n", 0o644)
    system.take_away(places, purge=False)
    assert places.settings.exists() and places.key.exists() and (places.state / "voices").is_dir()
    assert not places.opt.exists() and not places.command.exists()
    assert not [path for path in (*places.copies(), *places.wanted(), places.undo) if os.path.lexists(path)]
    assert f"chown --recursive root:root {places.state}" in machine.calls, (
        "or the next user gets the voices by its number"
    )
    system.take_away(places, purge=False)  # and again does no harm


ADA = "earshot:x:1000:1000:Ada:/home/earshot:/bin/bash\n"


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        (ADA, False),
        (ADA.replace("/home/", "/srv/var/lib/"), False),
        ("earshot:x:990:990::/var/lib/earshot:/usr/sbin/nologin\n", True),
        ("other:x:990:990::/var/lib/earshot:/usr/sbin/nologin\n", False),
        ("+\n\n#\nearshot:x:990:990:\udce4:/var/lib/earshot:/bin/false\n", True),
    ],
    ids=["person", "elsewhere", "speaker", "other", "odd lines"],
)
def test_only_the_speaker_is_removed_and_nobody_of_that_name(machine, places, line, ours):
    passwd = (PASSWD + line).encode(errors="surrogateescape")
    (places.root / "etc/passwd").write_bytes(passwd)
    assert system.user_is_ours(places) == ours
    machine._userdel = lambda *_: 0
    system.take_away(places, purge=True)
    assert any(call.startswith("userdel") for call in machine.calls) == ours


def test_where_nobody_is_there_is_no_user_of_ours(machine):
    (machine.places.root / "etc/passwd").unlink()
    assert not system.user_is_ours(machine.places)


def test_groups_that_were_there_before_stay(machine, places):
    (places.root / "etc/group").write_text(GROUP + "spi:x:999:\n")
    system.put(places)
    assert system.recall(places, "groups") == ["gpio"]
    system.take_away(places, purge=True)
    assert (places.root / "etc/group").read_text() == GROUP + "spi:x:999:\n"


def test_a_directory_of_others_files_stays(machine, places):
    system.put(places)
    key.keep(KEY, places)
    for path in (places.systemd / "journald.conf.d/other.conf", places.key.with_name("other")):
        path.touch()
    system.take_away(places, purge=True)
    assert (places.systemd / "journald.conf.d/other.conf").exists() and places.key.with_name("other").exists()


def test_a_power_cut_at_any_step_leaves_nothing_that_is_not_mended_and_taken_away(machine, power):
    before, places = machine.tree(), machine.places
    ended = False
    for step in count(1, 2):
        services = places.releases / "1/services"
        services.mkdir(parents=True)
        for name in (UNDO, *places.copies().values()):
            (services / name).touch()
        release.point(places.current, "1")
        with power.cut(step):
            system.put(places)
            key.keep(KEY, places)
            ended = True
        if step % 4 == 1:
            system.put(places)
            assert not system.put(places)
        system.take_away(places, purge=True)
        assert machine.tree() == before
        if ended:
            break
    assert step > 20


def test_what_was_remembered_is_added_to_and_outlives_a_broken_file(machine, places):
    system.remember(places, packages=["flite"])
    system.remember(places, groups=["spi"])
    assert system.recall(places, "packages") == ["flite"] and system.recall(places, "groups") == ["spi"]
    assert system.recall(places, "more") == []
    places.made.write_text("{")
    assert system.recall(places, "packages") == []
    system.remember(places, packages=["flite"])
    assert system.recall(places, "packages") == ["flite"]


def test_a_link_is_not_written_through(machine, places):
    """What another user could make of a file that is written as root."""
    victim = places.root / "victim"
    victim.write_text("same")
    places.board.parent.mkdir(parents=True)
    places.board.symlink_to(victim)
    assert system.write(places.board, b"same", 0o644)
    assert not places.board.is_symlink() and victim.read_text() == "same"


def test_the_key_is_stored_for_root_alone(places):
    assert key.keep(f"  {KEY}\n", places)
    assert places.key.read_text() == f"{KEY}\n"
    assert places.key.stat().st_mode & 0o777 == 0o600
    assert places.key.parent.stat().st_mode & 0o777 == 0o700
    assert not key.keep(KEY, places), "the same again is no change"
    assert key.keep("sk-other", places)


def test_a_key_that_others_could_read_is_closed(places):
    key.keep(KEY, places)
    places.key.chmod(0o644)
    assert key.keep(KEY, places)
    assert places.key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("wrong", ["", " \n", f"{KEY} more", f"{KEY}\nmore", f"{KEY}\0", f"{KEY}é", f"{KEY}\ufffd"])
def test_what_is_no_key_is_refused_without_being_shown(places, wrong):
    key.keep("sk-good", places)
    with pytest.raises(UsageError) as refused:
        key.keep(wrong, places)
    assert "hunter2" not in str(refused.value)
    assert places.key.read_text() == "sk-good\n"


def test_directories_that_were_there_before_stay_even_if_they_are_empty(machine, tmp_path):
    was_there, made = machine.places.journald.parent, machine.places.root / "etc/sysusers.d"
    was_there.mkdir(parents=True)
    made.rmdir()
    machine.install(checkout(tmp_path / "source", "one"))
    assert made.exists()
    system.take_away(machine.places, purge=True)
    assert was_there.exists() and not made.exists()
