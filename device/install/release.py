"""Releases side by side: a directory each, and a link that names the one in use.

A directory appears whole, by a rename, and so does the link: whenever the power fails, there is a release to start.
"""

import compileall
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from device.install.places import PARTS, Places

DIGEST = ".digest"
_PINS = ("services/requirements.lock", "device/hearing/wake/graph.py")
"""What an environment is made of: a change of these needs another one."""


def digest(source: Path) -> str:
    """A checksum of all that makes a release: names, contents, and who may run it."""
    total = hashlib.sha256()
    for path in _files(source):
        runs = bool(path.stat().st_mode & 0o100)
        total.update(f"{path.relative_to(source)}\0{runs}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()


def stage(source: Path, places: Places) -> tuple[str, bool]:
    """The number of the release that holds what `source` does, made if there is none; and whether it was made.

    Raises:
        OSError: the disk is full, or damaged.
    """
    wanted, needed = digest(source), environment(source)
    for number in numbers(places):
        release = places.releases / number
        # After an upgrade of the system it needs another environment, for another Python.
        if _noted(release) == wanted and (release / "venv").readlink().name == needed:
            return number, False
    number = str(max(map(int, numbers(places)), default=0) + 1)
    fresh = places.releases / f".{number}"
    shutil.rmtree(fresh, ignore_errors=True)  # of a run that was interrupted
    for path in _files(source):
        to = fresh / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        to.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    (fresh / "venv").symlink_to(f"../../venvs/{needed}")
    # Its user may not write there, and would compile it anew at each start. It will lie elsewhere by then.
    compileall.compile_dir(fresh / "device", quiet=2, stripdir=fresh, prependdir=places.releases / number)
    (fresh / DIGEST).write_text(wanted)
    os.sync()
    fresh.rename(places.releases / number)
    return number, True


def environment(source: Path) -> str:
    """The name of the Python environment that this source needs."""
    total = hashlib.sha256(f"{sys.version_info.major}.{sys.version_info.minor}".encode())
    for name in _PINS:
        total.update((source / name).read_bytes())
    return total.hexdigest()[:12]


def numbers(places: Places) -> list[str]:
    """The releases there are, the newest first."""
    found = [path.name for path in places.releases.glob("*") if path.name.isdecimal()]
    return sorted(found, key=int, reverse=True)


def pointed(link: Path) -> str | None:
    """The number of the release to which `link` leads, if it is there."""
    if link.is_symlink() and (number := link.readlink().name).isdecimal() and link.is_dir():
        return number
    return None


def point(link: Path, number: str) -> None:
    """Let `link` lead to a release, from one moment to the next."""
    fresh = link.with_name(f".{link.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(f"releases/{number}")
    fresh.replace(link)
    os.sync()


def prune(places: Places) -> None:
    """Remove all releases but the one in use and the one before, and the environments that nobody needs."""
    kept = {pointed(places.current), pointed(places.previous)}
    for number in numbers(places):
        if number not in kept:
            _remove(places.releases / number, DIGEST)
    needed = {(places.releases / number / "venv").readlink().name for number in kept if number}
    for path in places.venvs.glob("*"):
        if path.name not in needed:
            _remove(path, "stamp")


def _remove(directory: Path, mark: str) -> None:
    """First what says that it is whole: the power may fail before the rest is gone."""
    with suppress(OSError):
        (directory / mark).unlink()
    shutil.rmtree(directory, ignore_errors=True)


def _noted(release: Path) -> str | None:
    try:
        return (release / DIGEST).read_text()
    except OSError:
        return None


def _files(source: Path) -> Iterator[Path]:
    for part in PARTS:
        path = source / part
        if path.is_dir():
            yield from (
                found for found in sorted(path.rglob("*")) if found.is_file() and "__pycache__" not in found.parts
            )
        else:
            yield path
