"""A machine to check that is made of files and of what its programs say, and sound cards in a room."""

import json
import threading

import numpy as np

from device.errors import HardwareError
from device.soundcard import Device
from device.system.check.machine import Disk, Machine, Ran
from tests.fakes import LIMIT_S, Recorder

PI = "Raspberry Pi Zero 2 W Rev 1.0"
MB = 1 << 20
HEALTHY = {
    "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n',
    "/proc/device-tree/model": f"{PI}\0",
    "/proc/sys/kernel/osrelease": "6.12.47+rpt-rpi-v8\n",
    "/proc/self/mountinfo": "29 1 179:2 / / ro,noatime shared:1 - ext4 /dev/root rw\n36 29 0:7 / /proc rw - proc proc rw\n",
    "/proc/meminfo": "MemTotal:  430000 kB\nMemFree: 10 kB\nMemAvailable:  200000 kB\nSwapFree: 0 kB\nHugePages_Total: 0\n",
    "/run/systemd/timesync/synchronized": "",
    "/sys/class/thermal/thermal_zone0/temp": "45123\n",
}
PROGRAMS = {
    "vcgencmd": "throttled=0x0\n",
    "systemctl show": "LoadState=loaded\nActiveState=active\nNRestarts=0\n",
    "journalctl": "",
}


def entry(message, priority=6, source="earshot", seconds=12.5):
    """A line of the journal as `journalctl -o json` gives it."""
    fields = {"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": source}
    return json.dumps(fields | {"__MONOTONIC_TIMESTAMP": str(round(seconds * 1e6))}) + "\n"


class FakeMachine(Machine):
    """A healthy Raspberry Pi on which the speaker runs as a service. Levers: its files, `programs`, `clock`, `disks`."""

    def __init__(self, root, files=None, **programs):
        super().__init__(root, self._ran)
        self.is_root = True
        self.bits = 64
        self.programs = PROGRAMS | {name.replace("_", " "): said for name, said in programs.items()}
        """What each program says, by the beginning of its command; an int is what it ends with."""
        self.ran = Recorder()
        self.clock = 1_800_000_000.0
        self.disks = {"/": Disk(30_000 * MB, 20_000 * MB)}
        for path, text in (HEALTHY | (files or {})).items():
            self.put(path, text)

    def put(self, path, text):
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def take(self, path):
        self.path(path).unlink()

    def now(self):
        return self.clock

    def disk(self, path):
        return self.disks.get(path, self.disks["/"])

    def _ran(self, command, limit_s):
        line = " ".join(command)
        self.ran(line)
        said = next((said for name, said in self.programs.items() if line.startswith(name)), 0)
        said = said(line) if callable(said) else said
        return Ran(said, "") if isinstance(said, int) else Ran(0, said)


class Room:
    """Sound cards whose microphone hears `around` (int16, at `rate`), and through `cable` what the speaker plays.

    A read goes on at once: time is what was read. Levers: `stuck` (a read waits until `released`), `gone`, `delay` (samples).
    """

    def __init__(self, around=None, cable=0.0, rate=16_000, channels=1):
        self.rate, self.channels = rate, channels
        noise = np.random.default_rng(1).normal(scale=30, size=rate * 4).astype(np.int16)
        self.around = noise if around is None else around
        self.cable = cable
        self.delay = rate // 20
        self.microphone_name = "fake microphone"
        self.devices = (Device(0, "fake card (hw:1,0)", channels, 2, rate),)
        self.released = threading.Event()
        self.stuck = False
        self.gone = False
        self.opened = Recorder()
        self.terminated = threading.Event()
        self.played = bytearray()
        """What the speaker was given last, int16."""

    def __exit__(self, *_):
        self.terminated.set()

    def open_input(self, name, channels, rate):
        self.opened("microphone")
        if self.gone:
            raise HardwareError("There is no microphone 'default'.")
        return Microphone(self)

    def open_output(self, name, rate):
        self.opened("speaker")
        if self.gone:
            raise HardwareError("There is no speaker 'default'.")
        self.played = bytearray()
        return Loudspeaker(self)


class Microphone:
    def __init__(self, room):
        self.name = room.microphone_name
        self.room, self.rate, self.channels, self.period = room, room.rate, room.channels, room.rate // 50
        self.at = 0

    def read(self, periods=1):
        if self.room.stuck:
            self.room.released.wait(LIMIT_S)
        span = slice(self.at, self.at + periods * self.period)
        self.at = span.stop
        sound = self.room.around[span].astype(np.float64)
        if self.room.played and self.room.cable:
            # So far it was written before it is read, whatever the delay.
            piece = slice(max(0, span.start - self.room.delay), max(0, span.stop - self.room.delay))
            played = np.frombuffer(self.room.played, np.int16)[piece].astype(np.float64) * self.room.cable
            sound[: len(played)] += played if sound.ndim == 1 else played[:, None]
        if sound.ndim == 1:
            sound = np.repeat(sound[:, None], self.channels, axis=1)
        return np.clip(sound, -32_768, 32_767).astype(np.int16).tobytes()

    def close(self):
        pass


class Loudspeaker:
    name = "fake speaker"
    channels = 1
    latency_s = 0.04

    def __init__(self, room):
        self.room, self.rate, self.period = room, room.rate, room.rate // 50

    def has_room(self):
        return True

    def write(self, pcm):
        self.room.played += pcm

    def close(self):
        pass
