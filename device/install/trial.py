"""A release is used only once it has shown that it works; else the one before it is back, whatever happens meanwhile.

While a release is on trial, the file `places.trial` names the good one. Who finds it without anybody at work on it goes back to
that: services/earshot-undo.service at boot, and `recover` at the next run of install.sh.
"""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from device.errors import EarshotError
from device.install import boot
from device.install.choice import kept_board
from device.install.places import AGENT, MIXER, REBOOT, SERVICE, Places
from device.install.release import numbers, point, pointed, prune
from device.install.system import USER, Say, is_booted, put, put_undo, systemctl, write

CHECK_S = 180
"""`earshot check` takes a few seconds, on the slowest machine a minute."""


def switch(number: str, places: Places, say: Say) -> bool:
    """Use release `number` from now on, if it passes; whether it does. Without a release before it, it is kept anyway.

    One that was in use before has to start, and no more: who goes back to it may have a reason that the check finds too.

    Raises:
        EarshotError: another one is on trial.
        OSError: the disk is full, or may not be written.
    """
    with _alone(places):
        good = pointed(places.current)
        if good == number:
            good = None
        if good:
            write(places.trial, f"{good}\n".encode(), 0o644)
            os.sync()
        try:
            wrong = _try(number, good, places, say)
            if wrong is None:
                return _keep(good, places, say)
        except (OSError, subprocess.SubprocessError) as error:
            if not good:
                raise
            wrong = f"Release {number} cannot be used: {error}"
        say(wrong)
        if good:
            say(f"Going back to release {good}.")
            _back(good, places)
        return False


def recover(places: Places, say: Say) -> None:
    """Go back from a release whose trial was interrupted, if there is one.

    Raises:
        EarshotError: it is on trial now.
        OSError: the disk is full, or may not be written.
    """
    if not places.trial.exists():
        return
    with _alone(places):
        good = places.trial.read_text().strip()
        if good in numbers(places):
            say(f"An update was interrupted: going back to release {good} first.")
            _back(good, places)
        places.trial.unlink(missing_ok=True)


def _try(number: str, good: str | None, places: Places, say: Say) -> str | None:
    """Let the release be the one in use; what is wrong with it, if anything."""
    point(places.current, number)
    put(places)
    if not good:
        prepare_boot(places, say)
    if not is_booted() or (is_restart_due() and not good):  # it cannot show anything before the next start
        (places.state / "greet").touch()
        if is_booted():
            # A card that is there already must not have its present volumes stored when the machine goes down.
            systemctl("daemon-reload")
            systemctl("restart", "--no-block", MIXER)
        return None
    return _wrong(places, say, proven=bool(good) and number == pointed(places.previous), alone=not good)


def prepare_boot(places: Places, say: Say) -> bool:
    """Have the machine start with what the board needs, by the release in use; whether anything was changed.

    Raises:
        HardwareError: the boot partition cannot be written.
    """
    board = kept_board(places)
    if board is None:
        return False
    done = boot.apply(places.root, board, places.current / "overlays")
    for sentence in done.sentences:
        say(sentence)
    if done.changed or done.reboot:
        REBOOT.touch()
    return done.changed


def is_restart_due() -> bool:
    """Whether the machine runs on other boot settings than it has."""
    return REBOOT.exists()


def _keep(good: str | None, places: Places, say: Say) -> bool:
    if good:
        prepare_boot(places, say)  # not before: what it brings would outlive a release that fails
        point(places.previous, good)
    put_undo(places)
    for file in (places.trial, places.unsettled):
        file.unlink(missing_ok=True)
    prune(places)
    os.sync()
    return True


def _back(good: str, places: Places) -> None:
    """The release that failed stays until another one succeeds: it is tried again when what was wrong is mended."""
    point(places.current, good)
    try:
        put(places)
        places.trial.unlink(missing_ok=True)
    finally:  # on a full disk, the rest is done at the next start
        os.sync()
        if is_booted():
            systemctl("daemon-reload")
            systemctl("restart", "--no-block", AGENT, SERVICE)


def _wrong(places: Places, say: Say, proven: bool, alone: bool) -> str | None:
    """What is wrong with the release in use, if anything. `proven`: it has only to start. `alone`: there is no other."""
    systemctl("daemon-reload")
    systemctl("stop", SERVICE)  # it has the sound card, which the check needs
    systemctl("restart", MIXER)
    systemctl("restart", AGENT)
    passed = _passes(say) or proven
    found = None if passed else "`earshot check` found what it says above. After mending it: sudo earshot check"
    if found and not alone:
        return found
    (places.state / "greet").touch()
    if not systemctl("restart", SERVICE):
        (places.state / "greet").unlink(missing_ok=True)
        return "The speaker does not start. What it says: journalctl --unit earshot --lines 20"
    return found


def _passes(say: Say) -> bool:
    """Whether `earshot check` passes, as the speaker's own user and with its key. What it says is passed on."""
    properties = {
        "User": USER,
        "LoadCredential": "api-key:earshot.api-key",
        "Environment": "PYTHONPATH=/opt/earshot/current PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1",
        "RuntimeMaxSec": str(CHECK_S),
    }
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect"]
    for name, value in properties.items():
        command += ["-p", f"{name}={value}"]
    command += ["/opt/earshot/current/venv/bin/python", "-m", "device", "check"]
    # Through us: a terminal that is gone must not make the check fail.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, errors="replace") as process:
        for line in process.stdout or ():
            say(line.rstrip())
    return process.returncode == 0


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    places.opt.mkdir(parents=True, exist_ok=True)
    fd = os.open(places.opt, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise EarshotError("A release is on trial at this moment. Run this again in a few minutes.") from None
    finally:
        os.close(fd)
