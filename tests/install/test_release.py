"""Releases side by side, and what is left of them when the power fails."""

import compileall
import subprocess
import sys
from itertools import count
from types import SimpleNamespace

import pytest

from device.install import release
from device.install.places import PARTS, Places
from tests.install.machines import ROOT, checkout


@pytest.fixture
def places(machine):
    return machine.places


@pytest.fixture
def source(tmp_path):
    return checkout(tmp_path / "source", "one")


def test_a_release_holds_what_the_checkout_does_and_nothing_else_of_it(places, source):
    (source / ".git").mkdir()
    (source / "device/__pycache__").mkdir()
    (source / "device/__pycache__/old.pyc").touch()
    (source / "overlays/earshot-panel.dts").chmod(0o600)
    assert release.stage(source, places) == ("1", True)
    made = places.releases / "1"
    assert sorted(path.name for path in made.iterdir()) == sorted([*PARTS, ".digest", "venv"])
    assert (made / "LICENSE").read_text() == "one\n"
    assert (made / "install.sh").stat().st_mode & 0o777 == 0o755
    assert (made / "overlays/earshot-panel.dts").stat().st_mode & 0o777 == 0o644
    assert not (made / "device/__pycache__/old.pyc").exists()
    assert str((made / "venv").readlink()) == f"../../venvs/{release.environment(source)}"


def test_its_bytecode_is_that_of_the_place_where_it_lies(places, source):
    (source / "device/__init__.py").write_text("def where():\n    return where.__code__.co_filename\n")
    release.stage(source, places)
    made = places.releases / "1/device"
    compiled = next(made.glob("__pycache__/__init__.*.pyc"))
    assert bytes(made / "__init__.py") in compiled.read_bytes()
    before = compiled.stat().st_mtime_ns
    compileall.compile_dir(made, quiet=2)
    assert compiled.stat().st_mtime_ns == before


def test_the_same_again_is_the_same_release(places, source, tmp_path):
    release.stage(source, places)
    assert release.stage(source, places) == ("1", False)
    assert release.stage(checkout(tmp_path / "copy", "one"), places) == ("1", False)
    assert release.stage(places.releases / "1", places) == ("1", False), "that is what --rollback's install.sh is"


def test_after_an_upgrade_of_the_system_to_another_python_the_same_is_another_release(places, source, monkeypatch):
    release.stage(source, places)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", SimpleNamespace(major=3, minor=99))
        assert release.stage(source, places) == ("2", True)
        assert release.stage(source, places) == ("2", False)
    assert release.stage(source, places) == ("1", False)


@pytest.mark.parametrize(
    "change",
    [
        lambda source: (source / "LICENSE").write_text("other\n"),
        lambda source: (source / "services/more").touch(),
        lambda source: (source / "overlays/earshot-panel.dts").rename(source / "overlays/other.dts"),
        lambda source: (source / "device/__init__.py").chmod(0o755),
    ],
    ids=["content", "more", "name", "mode"],
)
def test_any_change_makes_another_release(places, source, change):
    release.stage(source, places)
    change(source)
    assert release.stage(source, places) == ("2", True)


def test_the_newest_is_counted_as_a_number(places, source):
    for number in ("9", "10", ".11", "notes"):
        (places.releases / number).mkdir(parents=True)
    assert release.numbers(places) == ["10", "9"]
    assert release.stage(source, places) == ("11", True)


def test_only_what_an_environment_is_made_of_asks_for_another(source):
    before = release.environment(source)
    (source / "LICENSE").write_text("other\n")
    assert release.environment(source) == before
    for name in ("services/requirements.lock", "device/hearing/wake/graph.py"):
        (source / name).write_text("other\n")
        assert release.environment(source) != before
        before = release.environment(source)
    assert before.isalnum()


def test_of_a_run_that_was_interrupted_nothing_gets_into_the_release(places, source):
    left = places.releases / ".1/device/left.py"
    left.parent.mkdir(parents=True)
    left.touch()
    release.stage(source, places)
    assert not (places.releases / "1/device/left.py").exists()
    assert not (places.releases / ".1").exists()


def test_a_checkout_that_is_not_whole_makes_none(places, source):
    (source / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"README\.md"):
        release.stage(source, places)
    assert release.numbers(places) == []


def test_a_power_cut_leaves_a_whole_release_or_none(places, source, power, tmp_path):
    release.stage(source, Places(tmp_path / "other"))
    assert power.steps[-2:] == ["sync", "rename .1 1"], "its files are on the disk before its name is"
    total = len(power.steps)
    for step in [*range(0, total, 9), total - 2, total - 1]:
        with power.cut(step):
            release.stage(source, places)
        assert release.numbers(places) == []
    assert release.stage(source, places) == ("1", True)
    assert release.digest(places.releases / "1") == release.digest(source)


def test_a_link_is_that_of_a_release_only_if_it_leads_to_one(places):
    places.opt.mkdir(parents=True)
    assert release.pointed(places.current) is None
    release.point(places.current, "3")
    assert release.pointed(places.current) is None, "there is no such release"
    (places.releases / "3").mkdir(parents=True)
    assert release.pointed(places.current) == "3"
    places.current.unlink()
    places.current.symlink_to("releases/other")
    (places.releases / "other").mkdir()
    assert release.pointed(places.current) is None
    places.current.unlink()
    (places.opt / "current").mkdir()
    assert release.pointed(places.current) is None


def test_a_power_cut_at_any_step_leaves_the_link_as_it_was_or_as_it_shall_be(places, power):
    for number in "12":
        (places.releases / number).mkdir(parents=True)
    release.point(places.current, "1")
    for step in count():
        with power.cut(step):
            release.point(places.current, "2")
            break
        assert release.pointed(places.current) in ("1", "2")
    assert step == 4
    assert release.pointed(places.current) == "2"
    assert not [path for path in places.opt.iterdir() if path.name.startswith(".")]


def test_only_the_release_in_use_and_the_one_before_are_kept(places, tmp_path):
    for word in ("one", "two", "three"):
        source = checkout(tmp_path / word, word)
        number, _ = release.stage(source, places)
        (places.venvs / release.environment(source) / "bin").mkdir(parents=True)
    release.point(places.current, number)
    release.point(places.previous, "2")
    release.prune(places)
    assert release.numbers(places) == ["3", "2"]
    assert len(list(places.venvs.iterdir())) == 2
    assert all((places.releases / number / "venv/bin").is_dir() for number in "23")


def test_what_a_power_cut_left_half_removed_is_taken_for_nothing_whole(places, power):
    """Neither the release by who installs it again, nor the environment by who finds its stamp."""
    old, environment = places.releases / "1", places.venvs / "old"
    (places.releases / "2").mkdir(parents=True)
    (places.releases / "2/venv").symlink_to("../../venvs/new")
    release.point(places.current, "2")
    for step in count():
        for path in (old / "device/main.py", old / "LICENSE", environment / "bin/python", environment / "pyvenv.cfg"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        for mark in (old / release.DIGEST, environment / "stamp"):
            mark.touch()
        with power.cut(step):
            release.prune(places)
            break
        if (old / release.DIGEST).exists():
            assert (old / "device/main.py").exists() and (old / "LICENSE").exists()
        if (environment / "stamp").exists():
            assert (environment / "bin/python").exists() and (environment / "pyvenv.cfg").exists()
    assert step > 8
    assert not old.exists() and not environment.exists()


@pytest.mark.slow
def test_the_release_of_this_checkout_starts(places):
    """In the Python here: that of a release is the same, with the packages of its lock."""
    number, _ = release.stage(ROOT, places)
    done = subprocess.run(
        [sys.executable, "-s", "-c", "import device.install.__main__ as room; print(room.SOURCE)"],
        cwd=places.releases / number,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(places.releases / number), done.stderr


def test_a_full_disk_is_an_error_and_leaves_no_release(places, source, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space"):
        release.stage(source, places)
    assert release.numbers(places) == []
