"""What this machine is, whether it can be a speaker, and what will be done to it. Reads only."""

import os
import shutil
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from device.errors import HardwareError
from device.install import boot, detect
from device.install.places import PARTS, Places
from device.install.release import environment
from device.install.system import USER, user_is_ours

LEAST_MEMORY_MB = 380
"""A Raspberry Pi Zero 2 W shows its 512 MB less what the graphics take; the speaker itself needs 90."""
NEEDED_MB = 1000
"""The environment has 450 MB, its downloads 170 while it is made, Debian's packages 60; the rest is for the card to live."""


def machine(places: Places, elsewhere: bool) -> Iterator[str]:
    """What this machine is, a line each. `elsewhere`: its system is for another one."""
    release = _os_release(places)
    model = "another one" if elsewhere else f"{detect.model() or 'no Raspberry Pi'}, {_memory_mb()} MB of memory"
    yield f"machine   {model}, {_free_mb(places)} MB free on its disk"
    yield f"system    {release.get('PRETTY_NAME', 'unknown')}"


def problems(places: Places, source: Path, offline: bool) -> Iterator[str]:
    """What keeps this machine from being a speaker."""
    if missing := [part for part in PARTS if not (source / part).exists()]:
        yield f"This directory is not whole: {', '.join(missing)} is missing. Get Earshot again."
        return
    release = _os_release(places)
    try:
        old = int(release.get("VERSION_ID", "99")) < 12
    except ValueError:
        old = False
    if old:
        yield (
            f"This system is {release.get('PRETTY_NAME')}. Earshot needs Raspberry Pi OS of 2023 (Bookworm) or newer: "
            "write a new card."
        )
    if _memory_mb() < LEAST_MEMORY_MB:
        yield f"This machine has {_memory_mb()} MB of memory; {LEAST_MEMORY_MB} are needed."
    fresh = not (places.venvs / environment(source) / "stamp").exists()
    if fresh and _free_mb(places) < NEEDED_MB:
        yield f"{_free_mb(places)} MB are free where /opt is; {NEEDED_MB} are needed. Make room, or take a larger card."
    made = max((source / part).stat().st_mtime for part in PARTS)
    if not offline and time.time() < made - 86400:
        yield (
            f"The clock says {time.strftime('%d %B %Y')}, which is before Earshot was made; without the right time no "
            "download can be trusted. Wait until the network has set it (timedatectl tells), and run this again."
        )
    if not user_is_ours(places) and _has_user(places):
        yield (
            f"Here is a user {USER} already, and no speaker: the speaker needs that name for itself. Give that user another: "
            f"sudo usermod --login NEW {USER} && sudo groupmod --new-name NEW {USER}"
        )
    try:
        boot.find(places.root)
    except HardwareError as error:
        yield str(error)
    if os.statvfs(places.root).f_flag & os.ST_RDONLY:
        yield f"Nothing can be written to {places.root}: is its file system read-only (raspi-config, overlay file system)?"


def agent_set(places: Places) -> str | None:
    """Which agent the settings name, if there are any."""
    try:
        return str(tomllib.loads(places.settings.read_text()).get("agent", {}).get("protocol", "local"))
    except (OSError, ValueError, AttributeError):
        return None


def _os_release(places: Places) -> dict[str, str]:
    lines = _text(places.root / "etc/os-release").splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _has_user(places: Places) -> bool:
    return any(line.startswith(f"{USER}:") for line in _text(places.root / "etc/passwd").splitlines())


def _memory_mb() -> int:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def _free_mb(places: Places) -> int:
    opt = places.root / "opt"
    return shutil.disk_usage(opt if opt.is_dir() else places.root).free // 1_000_000


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
