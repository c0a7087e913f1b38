"""Makes the virtual Pi and tells its story: time and verdict of each step, printed and kept."""

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MethodType

from tests.virtual_pi import card, tree
from tests.virtual_pi.home import Home
from tests.virtual_pi.machine import Machine, Trouble
from tests.virtual_pi.story import COMPARISONS, INSTALLATION, STORIES, leaves_nothing

Step = Callable[[Home], str]
Story = tuple[str, list[Step]]


class Log:
    """Prints what happens, and keeps it in `directory`, with what was seen besides."""

    def __init__(self, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.directory = directory
        self.failed: list[str] = []
        self.begin = time.monotonic()
        self._file = (directory / "log.txt").open("w")

    def say(self, text: str) -> None:
        """To both."""
        for file in (sys.stdout, self._file):
            file.write(f"{text}\n")
            file.flush()

    def keep(self, name: str, data: bytes) -> None:
        """A file."""
        (self.directory / name).write_bytes(data)

    def attempt(self, name: str, work: Callable[[], object]) -> bool:
        """Do a step; whether it went well."""
        start = time.monotonic()
        try:
            seen, verdict = work(), "fine"
        except Exception as error:  # what fails in a step is that step's; the others have their own say
            seen, verdict = (
                error if isinstance(error, Trouble) else "".join(traceback.format_exception(error)),
                "FAILED",
            )
            self.failed.append(name)
        text = "" if seen is None else str(seen).strip().replace("\n", "\n" + " " * 8)
        self.say(f"{time.monotonic() - start:6.1f} s  {verdict:6}  {name}: {text}")
        return verdict == "fine"


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests/virtual_pi/run", description=__doc__)
    parser.add_argument("--log", type=Path, default=tree.cache() / "log", metavar="DIR", help="where it is kept")
    parser.add_argument(
        "--only", metavar="WORDS", help="of the steps after the installation, those with one of these words"
    )
    parser.add_argument(
        "--disk", type=Path, metavar="FILE", help="keep the installed disk here; if it is there, begin with it"
    )
    options = parser.parse_args()
    fresh = options.disk is None or not options.disk.exists()
    stories = chosen(options.only, fresh)
    if not stories:
        parser.error(f"no step has one of the words {options.only!r}")
    for kind in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, lambda *_: sys.exit(1))  # so that the machine is ended, and its files go
    log = Log(options.log)
    with tempfile.TemporaryDirectory(prefix="virtual_pi.", dir="/var/tmp") as room:  # /tmp may be in memory
        tell(log, Path(room), stories, options.disk, fresh)
    log.say(
        f"{time.monotonic() - log.begin:6.1f} s in all; "
        + (f"FAILED: {', '.join(log.failed)}" if log.failed else "fine")
    )
    return 1 if log.failed else 0


def tell(log: Log, room: Path, stories: list[Story], kept: Path | None, fresh: bool) -> None:
    """Make it, install unless there is an installed disk, and live through the stories."""
    made: list[Path] = []
    makers: tuple[tuple[str, Callable[[], Path]], ...] = (
        ("Debian", tree.base_tree),
        ("GPIO chip", lambda: tree.gpio_modules(made[0])),
        ("disk", lambda: tree.disk(made[0], made[1])),
        ("downloads", lambda: card.downloads(made[0], room)),
        ("card", lambda: card.image(room, made[3])),
    )
    for name, maker in makers:
        if not log.attempt(name, lambda maker=maker: made.append(maker())):  # type: ignore[misc]
            return
    folder, cards = made[2], made[4]
    disk = room / "disk.img" if fresh or not kept else kept
    before: dict[str, str] = {}
    if fresh:
        tree.run("cp", "--sparse=always", folder / "disk.img", disk)
        with Machine(folder, disk, cards, log.directory / "console.txt", hurried=True) as machine:
            home = Home(machine, log.keep)
            if not all(told(log, home, "installation", step) for step in (machine.start, *INSTALLATION)):
                return
            before = home.before
        if kept:
            tree.run("cp", "--sparse=always", disk, f"{kept}.part")
            Path(f"{kept}.part").rename(kept)

    def live(name: str, steps: list[Step]) -> None:
        copy = room / f"{name}.img"
        tree.run("cp", "--sparse=always", disk, copy)
        with Machine(folder, copy, cards, log.directory / f"{name}.console.txt") as machine:
            home = Home(machine, log.keep)
            home.before = before
            machine.start()
            home.mount_card()
            home.ready_after(0.0, 150)
            # Each has its turn, whatever became of the others.
            fine = [told(log, home, name, step) for step in (*steps, machine.power_off)]
            if not all(fine):
                raise Trouble("see above")

    # Each takes one processor. Daemons: a signal ends the main thread, and QEMU with them.
    lives = [
        threading.Thread(target=log.attempt, args=(name, partial(live, name, steps)), name=name, daemon=True)
        for name, steps in stories
    ]
    for life in lives:
        life.start()
    for life in lives:
        life.join()


def chosen(words: str | None, fresh: bool) -> list[Story]:
    """The stories, or of their steps those with one of the `words`. What was there before an installation is known when it is
    `fresh`: only then `leaves_nothing` can tell."""
    stories = []
    for name, steps in (STORIES if words is None else STORIES | COMPARISONS).items():
        wanted = [step for step in steps if words is None or any(word in step.__name__ for word in words.split())]
        if not fresh and leaves_nothing in wanted:
            wanted.remove(leaves_nothing)
        if wanted:
            stories.append((name, wanted))
    return stories


def told(log: Log, home: Home, story: str, step: Callable[..., object]) -> bool:
    """Do a step, and keep what the services said if it fails."""
    work = step if isinstance(step, MethodType) else lambda: step(home)
    fine = log.attempt(f"{story}, {step.__name__.replace('_', ' ')}", work)
    if not fine:
        log.keep(f"{story}.{step.__name__}.journal.txt", journal(home.machine))
    return fine


def journal(machine: Machine) -> bytes:
    """What all services said; best effort."""
    try:
        return machine.ask("journalctl --no-pager -o short-monotonic -n 2000").output
    except (Trouble, OSError) as trouble:  # OSError: it is off
        return str(trouble).encode()


if __name__ == "__main__":
    sys.exit(main())
