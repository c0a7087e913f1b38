"""What of Earshot lies outside its own directory: units, links, the command, the user. The same again changes nothing."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device.install.places import SERVICE, UNDO, Places
from device.replacing import replacing

# PYTHONSAFEPATH: root does not run whatever lies in the directory where it happens to be.
COMMAND = """#!/bin/sh
PYTHONPATH=/opt/earshot/current PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1 exec /opt/earshot/current/venv/bin/python -m device "$@"
"""
GROUPS = ("audio", "gpio", "spi")
"""Of which the user is a member: sysusers.conf makes those that a system does not have."""
USER = "earshot"
Say = Callable[[str], None]


def put(places: Places) -> bool:
    """Bring units, command and user up to the release in use; whether anything had to be changed.

    Raises:
        OSError: the disk is full, or may not be written.
        subprocess.CalledProcessError: the user cannot be made.
    """
    services = places.current / "services"
    remember_directories(places, *places.copies(), *places.wanted(), places.command)
    if not (places.systemd / "system" / SERVICE).exists():  # later on, what starts at boot is the owner's to say
        for path, to in places.wanted().items():
            _link(path, to)
    if not places.undo.exists():
        put_undo(places)
    changed = {path for path, name in places.copies().items() if write(path, (services / name).read_bytes(), 0o644)}
    if write(places.command, COMMAND.encode(), 0o755):
        changed.add(places.command)
    if places.journald in changed and is_booted():
        systemctl("try-restart", "systemd-journald.service")
    missing = _missing(places, "group", GROUPS)
    if missing or _missing(places, "passwd", (USER,)):
        remember(places, groups=sorted({*recall(places, "groups"), *missing}))
        subprocess.run([*_in_root("systemd-sysusers", places), "earshot.conf"], check=True)
        changed.add(places.root / "etc/passwd")
    subprocess.run([*_in_root("systemd-tmpfiles", places), "--create", "earshot.conf"], check=False)
    return bool(changed)


def put_undo(places: Places) -> None:
    """Take the unit that goes back at boot from the release in use, which has to be a good one. Raises OSError."""
    write(places.undo, (places.current / "services" / UNDO).read_bytes(), 0o644)


def take_away(places: Places, purge: bool) -> None:
    """Remove all that `put` made, the releases, and with `purge` the settings, the key and what the speaker kept."""
    for path in (*places.copies(), *places.wanted(), places.undo, places.command):
        _remove(path)
    root = [] if places.root == Path("/") else ["--root", str(places.root)]
    if user_is_ours(places):
        subprocess.run(["userdel", *root, USER], check=False, capture_output=True)
    for group in recall(places, "groups"):
        subprocess.run(["groupdel", *root, group], check=False, capture_output=True)
    if purge:
        _remove(places.key)
        shutil.rmtree(places.etc, ignore_errors=True)
        shutil.rmtree(places.state, ignore_errors=True)
    elif places.state.exists():  # or the next user who is made gets the number, and with it the voices
        subprocess.run(["chown", "--recursive", "root:root", places.state], check=False, capture_output=True)
    made = [places.root / name for name in recall(places, "directories")]
    for directory in sorted(made, key=lambda path: len(path.parts), reverse=True):
        _remove_empty(directory)
    shutil.rmtree(places.opt, ignore_errors=True)


def user_is_ours(places: Places) -> bool:
    """Whether the user `earshot`, if there is one, is the speaker and no person."""
    return any(fields[0] == USER and "/var/lib/earshot" in fields[5:6] for fields in _entries(places, "passwd"))


def write(path: Path, content: bytes, mode: int) -> bool:
    """Let the file hold that, whole or not at all; whether it held something else. Raises OSError."""
    try:
        if not path.is_symlink() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh:
        fresh.touch(mode=0o600)
        fresh.write_bytes(content)
        fresh.chmod(mode)
    return True


def unsettle(places: Places) -> None:
    """Note that something was changed, so that the speaker has to be started anew. Raises OSError."""
    write(places.unsettled, b"", 0o644)


def remember_directories(places: Places, *files: Path) -> None:
    """Make the directories of these files, and remember those that were not here. Raises OSError."""
    fresh = {parent for path in files for parent in path.parents if not parent.exists()}
    if fresh:
        names = {str(path.relative_to(places.root)) for path in fresh}
        remember(places, directories=sorted({*recall(places, "directories"), *names}))
    for directory in sorted(fresh):
        directory.mkdir(mode=0o755, exist_ok=True)


def recall(places: Places, what: str) -> list[str]:
    """What was remembered under that name: things that were not here before Earshot."""
    try:
        return list(json.loads(places.made.read_text()).get(what, ()))
    except (OSError, ValueError):
        return []


def remember(places: Places, **things: list[str]) -> None:
    """Remember, instead of what was remembered under these names. Raises OSError."""
    try:
        known: dict[str, Any] = json.loads(places.made.read_text())
    except (OSError, ValueError):
        known = {}
    write(places.made, json.dumps({**known, **things}, indent=1).encode() + b"\n", 0o644)


def systemctl(*words: str) -> bool:
    """Ask the service manager of this machine; whether it did so."""
    return subprocess.run(["systemctl", *words], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def is_booted() -> bool:
    """Whether systemd runs here: sd_booted(3). It does not where an image is being made."""
    return Path("/run/systemd/system").is_dir()


def _link(path: Path, to: str) -> bool:
    if path.is_symlink() and str(path.readlink()) == to:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(to)
    fresh.replace(path)
    return True


def _missing(places: Places, database: str, names: tuple[str, ...]) -> list[str]:
    """Which of the names are not in /etc/group, /etc/passwd."""
    known = {fields[0] for fields in _entries(places, database)}
    return [name for name in names if name not in known]


def _entries(places: Places, database: str) -> list[list[str]]:
    """The lines by their fields; some have few, such as a `+` of NIS, and people's names come in any encoding."""
    try:
        lines = (places.root / "etc" / database).read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return [line.split(":") for line in lines]


def _in_root(command: str, places: Places) -> list[str]:
    return [command] if places.root == Path("/") else [command, f"--root={places.root}"]


def _remove(path: Path) -> None:
    """With what a power cut left of its making: files of `replacing`, links of `_link`."""
    for one in (path, path.with_name(f".{path.name}.new"), *path.parent.glob(f"{path.stem}.[0-9]*")):
        one.unlink(missing_ok=True)


def _remove_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
