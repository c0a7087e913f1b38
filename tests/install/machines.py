"""A machine to flash: a root directory, a service manager that can be led astray, and power that can be cut."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from device.install import release, system, trial
from device.install.places import PARTS, SERVICE, UNDO, UNITS, Places

ROOT = Path(__file__).parent.parent.parent
PASSWD = "root:x:0:0:root:/root:/bin/bash\n"
GROUP = "root:x:0:\naudio:x:29:\n"
ENVIRONMENT = ("bin/python", "pyvenv.cfg")
TEXTS = {name: (ROOT / "services" / name).read_text() for name in (*UNITS, UNDO)}
CONFIG = b"dtparam=audio=on\n"
OVERLAY = '/dts-v1/;\n/plugin/;\n/ {{ fragment@0 {{ target-path = "/"; __overlay__ {{ word = "{}"; }}; }}; }};\n'


def checkout(at: Path, word: str) -> Path:
    """A source tree that says `word`, in all its units too, with pins and an overlay of its own."""
    for name in ("device/hearing/wake/graph.py", "device/__init__.py", "services/requirements.lock"):
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(f"# {word}\n")
    (at / "overlays").mkdir(exist_ok=True)
    (at / "overlays/earshot-panel.dts").write_text(OVERLAY.format(word))
    for name in (*UNITS, UNDO):
        (at / "services" / name).write_text(f"{TEXTS[name]}# {word}\n")
    for name in ("sysusers.conf", "tmpfiles.conf", "journald.conf"):
        shutil.copy(ROOT / "services" / name, at / "services")
    for name in PARTS:
        if "." in name or name == "LICENSE":
            (at / name).write_text(f"{word}\n")
    (at / "install.sh").chmod(0o755)
    return at


class Machine:
    """Levers: `booted`; what programs answer: `passes`, `sysusers_code`, `starts` by release; `meanwhile`: during the check.

    `calls`: the programs of the system that were run. `said`: what was told to the owner.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places = Places(root)
        for name in ("etc/systemd/system/multi-user.target.wants", "etc/sysusers.d", "etc/tmpfiles.d", "usr/local/bin"):
            (root / name).mkdir(parents=True)
        for name in ("var/lib", "opt", "run"):
            (root / name).mkdir(parents=True)
        (root / "etc/passwd").write_text(PASSWD)
        (root / "etc/group").write_text(GROUP)
        self.booted = True
        self.passes = True
        self.sysusers_code = 0
        self.starts: Callable[[str | None], bool] = lambda number: True
        self.meanwhile: Callable[[], None] = lambda: None
        self.calls: list[str] = []
        self.runs: str | None = None  # the release that the service runs
        self.said: list[str] = []
        self._run, self._popen = subprocess.run, subprocess.Popen
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(subprocess, "Popen", self.popen)
        for name in ("fsync", "sync"):  # they take long where others write
            monkeypatch.setattr(os, name, lambda *_: None)
        for module in (system, trial):
            monkeypatch.setattr(module, "is_booted", lambda: self.booted)
        self.reboot = root / "run/earshot-reboot"
        monkeypatch.setattr(trial, "REBOOT", self.reboot)

    def run(self, command, check=False, **how):  # type: ignore[no-untyped-def]
        """What stands for the programs of the system."""
        name, *words = map(str, command)
        act = getattr(self, "_" + name.replace("-", "_"), None)
        if act is None:
            return self._run(command, check=check, **how)
        self.calls.append(" ".join([name, *words]))
        code = act(*words) or 0
        if check and code:
            raise subprocess.CalledProcessError(code, command)
        return SimpleNamespace(returncode=code)

    def popen(self, command, *words, **how):  # type: ignore[no-untyped-def]
        """The same, for a program whose output is read."""
        if command[0] != "systemd-run":
            return self._popen(command, *words, **how)
        code = self.run(command).returncode
        said = "Microphone: works\n" if code == 0 else "Microphone: silent\n"
        return nullcontext(SimpleNamespace(returncode=code, stdout=[said]))

    def install(self, source: Path) -> bool:
        """As install.sh does it; whether the release is in use."""
        trial.recover(self.places, self.said.append)
        return trial.switch(self.prepare(source), self.places, self.said.append)

    def prepare(self, source: Path) -> str:
        """Put a release with its environment there; its number."""
        number, _ = release.stage(source, self.places)
        environment = self.places.venvs / release.environment(source)
        if not (environment / "stamp").exists():
            for part in (*ENVIRONMENT, "stamp"):
                (environment / part).parent.mkdir(parents=True, exist_ok=True)
                (environment / part).touch()
        return number

    def wire_up(self) -> Path:
        """It is a Raspberry Pi with the board `panel`; its config.txt."""
        config = self.places.root / "boot/firmware/config.txt"
        config.parent.mkdir(parents=True)
        config.write_bytes(CONFIG)
        system.write(self.places.board, b"panel\n", 0o644)
        return config

    def boot(self) -> None:
        """What earshot-undo.service does when the machine starts."""
        if self.places.trial.exists():
            undo(self.places)

    @property
    def word(self) -> str:
        """What the release in use says, if it is whole, with an environment that is, and the units are its own."""
        wanted = ["device/hearing/wake/graph.py", "overlays/earshot-panel.dts", "services/journald.conf", *PARTS[3:]]
        wanted += [f"venv/{part}" for part in ENVIRONMENT]
        missing = [one for one in wanted if not (self.places.current / one).exists()]
        assert not missing, missing
        word = (self.places.current / "LICENSE").read_text().strip()
        for unit in UNITS:
            assert (self.places.systemd / "system" / unit).read_text().splitlines()[-1] == f"# {word}"
        return word

    @property
    def overlay(self) -> str | None:
        """What the overlay says with which the machine starts, if there is one."""
        path = self.places.root / "boot/firmware/overlays/earshot-panel.dtbo"
        content = path.read_bytes() if path.exists() else b""
        return next((word for word in ("one", "two") if b"%b\0" % word.encode() in content), None)

    def tree(self) -> dict[str, tuple[int, Path | bytes | None]]:
        """All there is below the root: mode and content, or where a link leads."""
        found: dict[str, tuple[int, Path | bytes | None]] = {}
        for path in sorted(self.places.root.rglob("*")):
            name = str(path.relative_to(self.places.root))
            content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[name] = (path.lstat().st_mode, content)
        return found

    def _systemctl(self, verb: str, *words: str) -> int:
        if verb == "stop":
            self.runs = None
        if verb == "is-active":
            return 0 if self.runs else 3
        if verb == "restart" and SERVICE in words:
            number = release.pointed(self.places.current)
            self.runs = number if self.starts(number) else None
            return 0 if self.runs else 1
        return 0

    def _systemd_run(self, *words: str) -> int:
        assert self.runs is None, "the speaker has the sound card, which the check needs"
        self.meanwhile()
        return 0 if self.passes else 1

    def _systemd_sysusers(self, *words: str) -> int:
        passwd, group = self.places.root / "etc/passwd", self.places.root / "etc/group"
        if "\nearshot:" not in passwd.read_text():
            passwd.write_text(passwd.read_text() + "earshot:x:990:990::/var/lib/earshot:/usr/sbin/nologin\n")
        if self.sysusers_code:
            return self.sysusers_code
        for name in ("earshot", *system.GROUPS):
            if f"\n{name}:" not in group.read_text():
                group.write_text(group.read_text() + f"{name}:x:990:\n")
        return 0

    def _systemd_tmpfiles(self, *words: str) -> int:
        (self.places.state / "voices").mkdir(parents=True, exist_ok=True)
        return 0

    def _userdel(self, *words: str) -> int:  # Debian: USERGROUPS_ENAB, so the group of that name goes with it
        return self._without("passwd", words[-1]) or self._without("group", words[-1])

    def _chown(self, *words: str) -> int:  # for which the tests would have to be root
        return 0

    def _groupdel(self, *words: str) -> int:
        return self._without("group", words[-1])

    def _without(self, database: str, name: str) -> int:
        path = self.places.root / "etc" / database
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith(f"{name}:")))
        return 0


def undo(places: Places, failing: str = "") -> int:
    """Run what earshot-undo.service has the shell do; its exit code. The power is cut before it does `failing`."""
    unit = places.undo.read_text().replace("\\\n", " ").replace("/etc/systemd", str(places.systemd))
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart=/bin/sh"))
    script = command.partition("-ec '")[2].rstrip("'").replace("$$", "$")
    script = f"sync() {{ :; }}; {failing or 'none'}() {{ exit 1; }}; {script}"  # sync takes long where others write
    done = subprocess.run(["/bin/sh", "-ec", script], cwd=places.opt, capture_output=True, check=False)
    return done.returncode


class PowerCut(BaseException):
    """Nothing that runs outlives it."""


class Power:
    """Fails before the n-th change of the disk, and at every one after it. `steps` records what was done."""

    CHANGES = ("chmod", "fsync", "mkdir", "rename", "replace", "rmdir", "symlink", "sync", "unlink")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self._left: int | None = None
        self._pid = 1000
        monkeypatch.setattr(os, "getpid", lambda: self._pid)
        for name in self.CHANGES:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, change):  # type: ignore[no-untyped-def]
        def watched(*words, **how):  # type: ignore[no-untyped-def]
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise PowerCut
            done = change(*words, **how)
            self.steps.append(" ".join([name, *(Path(word).name for word in words if isinstance(word, str | Path))]))
            return done

        return watched

    @contextmanager
    def cut(self, after: int) -> Iterator[None]:
        """The power lasts for so many changes."""
        self._left = after
        try:
            yield
        except PowerCut:
            pass
        finally:
            self._left = None
            self._pid += 1  # what runs after it is another process
