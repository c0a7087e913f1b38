"""What one can do with the virtual Pi's speaker, and see of it."""

import json
import re
from collections.abc import Callable
from typing import Any

from tests.virtual_pi.judging import Scene
from tests.virtual_pi.machine import Machine, Trouble

CARD = "/mnt/card"
ROOM = "python3 /usr/lib/virtual_pi/room.py"
SERVICE = "earshot.service"
_OTHERS = re.compile(
    # What Debian's own tools keep of their work; what changes by itself; what is named after the boot.
    "/var/(lib/(dpkg|apt|systemd|alsa)|cache|log)(/|$)|/etc/(passwd|shadow|group|gshadow|subuid|subgid)-$|.*/systemd-private-"
    f"|/etc/ld.so.cache$|/var/lib/command-not-found|{CARD}"
)
_SUMMED = re.compile("/(etc|boot|home|root|usr/local|var/lib/earshot)(/|$)")

_READING_S = 900.0
"""For what reads their whole disk. Its time runs ahead while it waits for ours, which is slow at times."""


def expect(true: bool, seen: object) -> None:
    """Trouble with what was seen, if something is not as it should be."""
    if not true:
        raise Trouble(str(seen))


class Home:
    """The machine with a speaker on it, or before it has one."""

    def __init__(self, machine: Machine, keep: Callable[[str, bytes], None]) -> None:
        """`keep` stores a file with what was seen, by name."""
        self.machine = machine
        self.run = machine.run
        self.ask = machine.ask
        self.keep = keep
        self.before: dict[str, str] = {}
        """All files before there was anything of ours."""

    def room(self, words: str, limit: float = 60.0) -> dict[str, Any]:
        """What room.py found."""
        found: dict[str, Any] = json.loads(self.run(f"{ROOM} {words}", limit))
        return found

    def hears(self, limit: float = 60.0) -> str:
        """The wake word is played, until the speaker has counted it."""
        found = self.room(f"hear {CARD}/sounds/wake.wav {limit}", limit + 60)
        expect(found["heard"], f"no wake word heard in {limit:.0f} s: {found}")
        return f"hears (time {found['tries']})" if found["tries"] > 1 else "hears"

    def observe(self, name: str, seconds: float, press_after: float | None = None) -> Scene:
        """A scene in the room, kept as a file."""
        press = "" if press_after is None else f" {press_after}"
        found = self.room(f"observe {seconds} {CARD}/sounds/{name}.wav{press}", seconds + 60)
        pcm = self.machine.get("/run/observed.raw")
        self.keep(f"{name}.raw", pcm)
        self.keep(f"{name}.json", json.dumps(found).encode())
        self.room("stop")
        return Scene(found, pcm)

    def main_pid(self) -> int:
        """The firmware's process."""
        pid = int(self.run(f"systemctl show {SERVICE} -p MainPID --value"))
        expect(pid > 0, f"it does not run:\n{self.journal(20)}")
        return pid

    def ready_after(self, t: float, limit: float) -> float:
        """Wait until the service was ready after `t`; how long after. Ready means that frames come from the microphone."""
        found = self.room(f"ready {t} {limit}", limit + 30)
        expect(found["at"] is not None, f"not ready {limit:.0f} s later:\n{self.journal(20)}")
        return float(found["at"]) - t

    def journal(self, lines: int) -> str:
        """What the service said last."""
        return self.ask(f"journalctl -u 'earshot*' --no-pager -n {lines} -o short-monotonic").text

    def files(self, *places: str) -> dict[str, str]:
        """Each file below `places`, on their disk: kind, mode, owner, and what is in it: checksum or target.

        Where only packages and environments lie, size and time stand for the checksum, which takes minutes here.
        """
        where = f"find {' '.join(places)} -xdev"
        found: dict[str, str] = {}
        for line in self.run(f"{where} -printf '%p\\t%y %m %u:%g\\t%l\\t%s %T@\\n'", _READING_S).splitlines():
            name, kind, target, stamp = line.split("\t")
            found[name] = f"{kind} {target}" + (f" {stamp}" if kind[0] == "f" and not _SUMMED.match(name) else "")
        summed = " ".join(place for place in places if place != "/") or "/etc /boot /home /root /usr/local"
        for line in self.run(
            f"find {summed} -path '/opt/*' -prune -o -type f -print0 | xargs -0r sha256sum", _READING_S
        ).splitlines():
            checksum, name = line.split("  ", 1)
            found[name] = f"{found.get(name, '')} {checksum}"
        return {name: text for name, text in found.items() if not _OTHERS.match(name)}

    def release(self) -> str:
        """The number of the release in use."""
        return self.run("basename $(readlink /opt/earshot/current)")

    def written(self) -> tuple[int, float]:
        """Sectors that were written to the disk since boot, and when."""
        done = self.ask("cat /sys/block/vda/stat")
        return int(done.text.split()[6]), done.end

    def mount_card(self) -> None:
        """After each boot."""
        self.run(f"mkdir -p {CARD} && mount -o ro /dev/vdb {CARD}")


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The files that came (+), went (-) or are others now (!)."""
    return [
        ("+" if name not in before else "-" if name not in after else "!") + " " + name
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
