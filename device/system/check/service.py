"""The speaker as a service: how it fares, what its log says, and how the sound card is had from it for a while."""

import contextlib
import functools
import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from device.system.check.machine import Machine
from device.system.check.report import Result, failed, ok, skipped, warning

UNIT = "earshot.service"
UNITS = (UNIT, "earshot-agent.service", "earshot-mixer.service", "earshot-undo.service")
_STOP_S = 30.0
START_S = 10.0
_JOURNAL_S = 10.0
_ENTRIES = 2000
_SHOWN = 3
_MANY_RESTARTS = 3
_LOOK = "See what it says: journalctl -u earshot -b"


class Service(NamedTuple):
    """What systemd knows of the unit."""

    installed: bool
    state: str = ""
    restarts: int = 0

    @property
    def runs(self) -> bool:
        """Whether it has the sound card, or is about to take it."""
        return self.state in ("active", "activating", "reloading", "deactivating")


def inspect(machine: Machine) -> Service:
    """How the unit is now."""
    ran = machine.run("systemctl", "show", UNIT, "-p", "LoadState,ActiveState,NRestarts")
    told = dict(line.split("=", 1) for line in ran.output.splitlines() if "=" in line)
    if ran.code or told.get("LoadState", "not-found") == "not-found":
        return Service(False)
    restarts = told.get("NRestarts", "")
    return Service(True, told.get("ActiveState", ""), int(restarts) if restarts.isdecimal() else 0)


def service(machine: Machine, found: Service, journal: "Journal") -> Result:
    """State, restarts, kills by the watchdog."""
    if not found.installed:
        return skipped("the speaker is not installed as a service")
    kills = sum("Watchdog timeout" in entry.message for entry in journal.entries or ())
    figures = {"state": found.state, "restarts": found.restarts, "watchdog_kills": kills}
    text = f"{found.state}, restarted {found.restarts} times, {kills} times because it hung"
    if found.state == "failed":
        return failed(text, f"{_LOOK}; then: sudo systemctl restart earshot", outside=True, **figures)
    if not found.runs and not machine.on_trial:
        return warning(text, "Start it: sudo systemctl start earshot", **figures)
    if kills or found.restarts >= _MANY_RESTARTS:
        return warning(text, _LOOK, **figures)
    return ok(text, **figures)


class Entry(NamedTuple):
    """A line of the journal. `seconds` since the machine started; `priority` as syslog has it, 3 is an error."""

    seconds: float
    source: str
    priority: int
    message: str

    @property
    def event(self) -> str:
        """The name of the event that our own log line tells of, or empty. Lines that begin with a wake word tell of none."""
        if found := re.match(r"= (\w+)(?=;|\s*$| \w+=)", self.message):
            return found[1]
        if self.message.startswith("{"):
            with contextlib.suppress(ValueError, AttributeError):
                return str(json.loads(self.message).get("event", ""))
        return ""

    @property
    def is_error(self) -> bool:
        return self.priority <= 3 or self.message.startswith("! ") or self.event == "error"

    @property
    def is_private(self) -> bool:
        """Whether it may hold what somebody said or was told; a timer has a name that was spoken."""
        return self.event in ("transcript", "citation", "timer")


class Journal:
    """The last lines of our units since the machine was started, read once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @functools.cached_property
    def entries(self) -> list[Entry] | None:
        """The oldest first; None where we may not read them."""
        found = entries(self._machine, *(part for unit in UNITS for part in ("-u", unit)))
        # Who may read no more than the log of their own programs is told of no lines, and of no error.
        return found if found or self._machine.is_root else None


def entries(machine: Machine, *chosen: str) -> list[Entry] | None:
    """The last lines of the journal since the start, of what options of journalctl choose; None if it does not tell."""
    fields = "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER"
    command = ("journalctl", "-b", "-q", "--no-pager", "-o", "json", fields, "-n", str(_ENTRIES), *chosen)
    ran = machine.run(*command, limit_s=_JOURNAL_S)
    if ran.code:
        return None
    return [entry for line in ran.output.splitlines() if (entry := _entry(line)) is not None]


def _entry(line: str) -> Entry | None:
    try:
        found = json.loads(line)
        message = found.get("MESSAGE", "")
        if isinstance(message, list):  # bytes, where it is not UTF-8
            message = bytes(message).decode("utf-8", "replace")
        seconds = int(found.get("__MONOTONIC_TIMESTAMP", 0)) / 1e6
        source = str(found.get("SYSLOG_IDENTIFIER", "?"))
        return Entry(seconds, source, int(found.get("PRIORITY", 6)), str(message))
    except (ValueError, TypeError, AttributeError):
        return None


def counts(found: list[Entry]) -> dict[str, int]:
    """How often each event is in our lines."""
    return dict(Counter(entry.event for entry in found if entry.event))


def errors(journal: Journal) -> Result:
    """What went wrong since the machine was started."""
    found = journal.entries
    if found is None:
        return skipped("the journal is not ours to read", "As root it may be read: sudo earshot check")
    wrong = [entry for entry in found if entry.is_error and not entry.is_private]
    last = [entry.message[:160] for entry in wrong[-_SHOWN:]]
    figures = {"errors": len(wrong), "last": last}
    if not wrong:
        return ok("no errors of ours since the machine was started", **figures)
    told = f"{len(wrong)} errors since the machine was started; the last: {last[-1]}"
    return warning(
        told, "The next lines say whether that is still so. All of it: journalctl -u 'earshot*' -b", **figures
    )


@contextlib.contextmanager
def paused(machine: Machine, found: Service, tell: Callable[[str], None], start: Callable[[], None]) -> Iterator[str]:
    """Have sound card and pins to ourselves; yields why not, or an empty text.

    A service that runs is stopped, and `start` called whatever happens meanwhile; one that does not is left alone.
    """
    if not found.runs:
        yield ""
        return
    if not machine.is_root:
        yield "the speaker runs, and has the sound card and the pins"
        return
    tell("The speaker runs: it is stopped for this check, and started again.")
    try:
        ran = machine.run("systemctl", "stop", UNIT, limit_s=_STOP_S)
        yield "" if ran.code == 0 else "the speaker runs, and could not be stopped"
    finally:
        with _undisturbed():
            start()


def start(machine: Machine) -> Result:
    """Start what was stopped, without waiting for it to be ready: that may take as long as a card that does not come."""
    ran = machine.run("systemctl", "start", "--no-block", UNIT, limit_s=START_S)
    if ran.code:
        return failed("the speaker is not started again", "Start it: sudo systemctl start earshot")
    return ok("the speaker is started again")


@contextlib.contextmanager
def ending_in_good_form() -> Iterator[None]:
    """A kill or a lost terminal ends us as Ctrl-C does, by an exception: what was stopped is to be started again.

    On the main thread, which imports nothing meanwhile: a C library might take the exception for its own.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


def _undisturbed() -> contextlib.AbstractContextManager[None]:
    return _handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _handling(handler: "signal._HANDLER", *numbers: signal.Signals) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
