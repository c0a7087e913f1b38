"""The parts below the speaker: operating system, power, clock, disk, memory."""

import time
from typing import Any

from device.system.check.machine import Machine
from device.system.check.report import Result, failed, ok, skipped, warning

_MB = 1 << 20
_HOT_C = 80.0
"""From here on a Raspberry Pi slows itself down."""
_FREE_MB, _FULL_MB = 200, 20
_MEMORY_MB = 60
_RELEASED = 2026
"""No clock that is right shows an earlier year."""
_POWER = "Use the power supply made for this model, with a short thick cable, and no hub between."


def system(machine: Machine) -> Result:
    """Operating system and model."""
    release = dict(one.split("=", 1) for one in (machine.text("/etc/os-release") or "").splitlines() if "=" in one)
    name = release.get("PRETTY_NAME", "an unknown system").strip('"')
    kernel = machine.text("/proc/sys/kernel/osrelease") or "unknown"
    figures: dict[str, Any] = {"os": name, "model": machine.model, "kernel": kernel, "bits": machine.bits}
    text = f"{name}, {machine.model or 'not a Raspberry Pi'}, Linux {kernel}"
    if machine.bits < 64:
        return warning(f"{text}, 32 bits", "Use the 64-bit Raspberry Pi OS: the neural networks need it.", **figures)
    return ok(text, **figures)


def power(machine: Machine) -> Result:
    """Under-voltage, throttling, temperature."""
    if not machine.model:
        return skipped("not a Raspberry Pi")
    bits = _throttled(machine)
    if bits is None:
        return skipped("the firmware does not tell", "As root it may: sudo earshot check")
    celsius = _celsius(machine)
    figures = {"throttled": f"{bits:#x}", "temperature_c": celsius}
    at = "temperature unknown" if celsius is None else f"{celsius:.0f} °C"
    if bits & 0x1:
        return warning(f"the voltage is too low now, {at}", _POWER, **figures)
    if bits & 0x10000:
        return warning(f"the voltage was too low since it was switched on, {at}", _POWER, **figures)
    if bits & 0xE or (celsius is not None and celsius >= _HOT_C):
        return warning(f"it is too hot ({at}) and slows itself down", "Give it air or a heat sink.", **figures)
    if bits & 0xE0000:
        return warning(f"it was too hot since it was switched on, {at} now", "Give it air or a heat sink.", **figures)
    return ok(f"enough, never too hot, {at}", **figures)


def _celsius(machine: Machine) -> float | None:
    try:
        return int(machine.text("/sys/class/thermal/thermal_zone0/temp") or "") / 1000
    except ValueError:
        return None


def _throttled(machine: Machine) -> int | None:
    """The firmware's flags: 0x1 too little voltage, 0x2 0x4 0x8 slowed down, the same << 16 for since the start."""
    ran = machine.run("vcgencmd", "get_throttled")
    told = ran.output.strip().partition("throttled=")[2] if ran.code == 0 else ""
    for path in machine.glob("/sys/devices/platform/soc*/soc*firmware/get_throttled"):
        told = told or machine.text(path) or ""
    try:
        return int(told, 16)
    except ValueError:
        return None


def clock(machine: Machine, encrypted: bool) -> Result:
    """Whether the time is right. `encrypted`: the agent is reached over TLS, which needs the year at least."""
    now = machine.now()
    synchronised = machine.exists("/run/systemd/timesync/synchronized")
    if not synchronised:  # another daemon may keep it
        synchronised = machine.run("timedatectl", "show", "-p", "NTPSynchronized", "--value").output.strip() == "yes"
    text = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    figures = {"synchronised": synchronised, "utc": text}
    remedy = "Is there a network? See: timedatectl timesync-status"
    if time.gmtime(now).tm_year < _RELEASED:
        if encrypted:
            text = f"it shows {text}; with such a date no certificate is valid, so no agent is reached"
            return failed(text, remedy, outside=True, **figures)
        return warning(f"it shows {text}", remedy, **figures)
    if not synchronised:
        return warning(f"{text}, not synchronised", remedy, **figures)
    return ok(f"{text}, synchronised", **figures)


def disk(machine: Machine) -> Result:
    """Free space, and whether the card can be written."""
    kind, read_only = _root_mount(machine)
    root = machine.disk("/")
    state = machine.disk("/var/lib/earshot") if machine.exists("/var/lib/earshot") else root
    free = min(root.free, state.free) // _MB
    figures = {"free_mb": free, "size_mb": root.size // _MB, "root": kind, "read_only": read_only}
    text = f"{free} of {root.size // _MB} MB free"
    if read_only:
        remedy = (
            "The card may be failing: see `dmesg | grep -i -e ext4 -e mmc`, then save your settings and replace it."
        )
        return failed("the root file system is read-only", remedy, outside=True, **figures)
    if free < _FULL_MB:
        return failed(text, "Make room: `sudo apt clean`, `sudo journalctl --vacuum-size=20M`", outside=True, **figures)
    if free < _FREE_MB:
        remedy = "An update needs more. Make room: `sudo apt clean`, `sudo journalctl --vacuum-size=20M`"
        return warning(text, remedy, **figures)
    if kind == "overlay":
        return ok(f"{text}, in memory: this system forgets changes when it is switched off", **figures)
    return ok(text, **figures)


def _root_mount(machine: Machine) -> tuple[str, bool]:
    """Kind of the root file system, and whether it is read-only as a whole: in a service's view of it, its mount may be."""
    for one in (machine.text("/proc/self/mountinfo") or "").splitlines():
        mount, _, file_system = one.partition(" - ")
        fields, rest = mount.split(), file_system.split()
        if len(fields) > 4 and fields[4] == "/" and len(rest) > 2:
            kind, read_only = rest[0], "ro" in rest[2].split(",")
            if kind != "rootfs":
                return kind, read_only
    return "unknown", False


def memory(machine: Machine) -> Result:
    """What is left of it."""
    lines = (one.split() for one in (machine.text("/proc/meminfo") or "").splitlines())
    kilobytes = {fields[0].rstrip(":"): int(fields[1]) for fields in lines if len(fields) > 1 and fields[1].isdigit()}
    total, available = kilobytes.get("MemTotal", 0) // 1024, kilobytes.get("MemAvailable", 0) // 1024
    figures = {"total_mb": total, "available_mb": available, "swap_free_mb": kilobytes.get("SwapFree", 0) // 1024}
    text = f"{available} of {total} MB available"
    if available < _MEMORY_MB:
        remedy = (
            "Another program takes it: `ps aux --sort=-rss | head`. On 512 MB use the Lite system, without a desktop."
        )
        return warning(text, remedy, **figures)
    return ok(text, **figures)
