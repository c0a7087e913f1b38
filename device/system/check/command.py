"""The command: which parts are tried, in which order, for how long, and what is told of them."""

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from device.boards import BOARDS
from device.config import Config, dump
from device.errors import EarshotError, UsageError
from device.session.credentials import Key
from device.session.protocols import PROTOCOLS
from device.soundcard import SoundCards
from device.system.check import agent, panel, service, system
from device.system.check.bundle import Bundle, default_path, without_words
from device.system.check.echo import echo
from device.system.check.machine import Machine
from device.system.check.report import Checked, Result, Verdict, all_well, as_json, failed, line, skipped
from device.system.check.sound import Cards, Sound
from device.system.check.wake import wake

log = logging.getLogger(__name__)

LIMIT_S = 15.0
_AS_ROOT = "To check this too: sudo earshot check. It stops the speaker meanwhile."
_FREE = "Stop it, then check again: systemctl stop earshot"
_SOUND_S = LIMIT_S + 5.0
_LEAVE_S = 4.0
_AGENT_S = agent.STARTING_S + LIMIT_S
_WAKE_S = 90.0
"""A machine that has to make the streaming network first takes a minute for it, at the most."""


class Part(NamedTuple):
    """A part to try. `shares`: what it has from the speaker, "sound" or "pins", which only one may have at a time."""

    name: str
    check: Callable[[], Result]
    shares: str = ""
    limit_s: float = LIMIT_S


@dataclass(frozen=True)
class Wishes:
    """How the command was called."""

    as_json: bool = False
    bundle: Path | None = None
    """Where the support bundle goes, if one is wished for."""
    somebody: bool = False
    """Whether there is somebody to see lamps and press the button."""


class Check:
    """Tries one part after the other. `tell` is given a line for each."""

    def __init__(self, machine: Machine, tell: Callable[[str], None]) -> None:
        self._machine = machine
        self._tell = tell
        self.checked: list[Checked] = []
        self.stuck: set[str] = set()
        """What a part that did not end still has."""

    def run(self, parts: Iterable[Part], taken: str = "") -> None:
        """Try `parts`; what they share is not to be had where `taken` says why."""
        for part in parts:
            began = time.monotonic()
            if part.shares and taken:
                result = skipped(taken, _FREE if self._machine.is_root else _AS_ROOT)
            elif part.shares in self.stuck:
                result = skipped(f"what has the {part.shares} does not end")
            else:
                result = self._try(part)
            if result.outside and result.verdict is Verdict.FAILED and self._machine.on_trial:
                result = replace(result, verdict=Verdict.WARNING)
            one = Checked(part.name, result, time.monotonic() - began)
            self.checked.append(one)
            self._tell(line(one))

    def _try(self, part: Part) -> Result:
        """On a thread of its own, for PortAudio waits for ever on a card that gives no sound."""
        results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        thread = threading.Thread(target=lambda: results.put(_outcome(part)), name=f"check-{part.name}", daemon=True)
        try:
            thread.start()
            return results.get(timeout=part.limit_s)
        except KeyboardInterrupt:
            if thread.ident is not None:
                thread.join(_LEAVE_S)  # lamps go off, and the card is given back
            raise
        except queue.Empty:
            self.stuck.add(part.shares or part.name)
            remedy = "If it is a sound card on USB, unplug it and plug it in again; else switch the machine off and on."
            return failed(f"it does not end within {part.limit_s:.0f} s", remedy)


def _outcome(part: Part) -> Result:
    try:
        return part.check()
    except EarshotError as error:
        return failed(str(error), "")
    except Exception as error:
        log.error("! %s", part.name, exc_info=True)
        remedy = "That is a mistake of ours: please report it, with --bundle."
        return failed(f"the check itself fails: {error!r}", remedy)


def check(
    config: Config,
    key: Key,
    wishes: Wishes,
    *,
    machine: Machine | None = None,
    open_cards: Callable[[], Cards] = SoundCards,
) -> int:
    """Try all parts and print what is wrong; returns 0 if nothing failed, else 1.

    Ends the process itself where a part is stuck, in a driver: it could not end in good form.
    """
    machine = machine or Machine()
    path = wishes.bundle
    if path is not None and path.exists():
        raise UsageError(f"There is a file {path} already: name another for the support bundle.")
    # Whoever reads JSON gets that and nothing else; what is stopped and started is told to people.
    say = _on_stderr if wishes.as_json else _on_stdout
    found = Check(machine, (lambda text: None) if wishes.as_json else _on_stdout)
    journal = service.Journal(machine)
    try:
        # Where a part is stuck, it has the card until this process ends: the speaker is started after all else.
        with service.ending_in_good_form(), contextlib.ExitStack() as pause:
            _all_parts(found, config, key, wishes, machine, journal, open_cards, say, pause)
            if wishes.as_json:
                _on_stdout(as_json(found.checked))
            if path is not None:
                _bundle(path, found, config, key, machine, journal, say)
    except KeyboardInterrupt:
        _on_stderr("The check was broken off.")
        _end(1)
    code = 0 if all_well(found.checked) else 1
    if found.stuck:
        _end(code)
    return code


def _all_parts(
    found: Check,
    config: Config,
    key: Key,
    wishes: Wishes,
    machine: Machine,
    journal: service.Journal,
    open_cards: Callable[[], Cards],
    say: Callable[[str], None],
    pause: contextlib.ExitStack,
) -> None:
    """`pause`: the speaker is stopped until it ends."""
    unit = service.inspect(machine)
    encrypted = config.agent.protocol != "local"
    found.run(
        [
            Part("system", lambda: system.system(machine)),
            Part("power", lambda: system.power(machine)),
            Part("clock", lambda: system.clock(machine, encrypted)),
            Part("disk", lambda: system.disk(machine)),
            Part("memory", lambda: system.memory(machine)),
            Part("service", lambda: service.service(machine, unit, journal)),
            Part("journal", lambda: service.errors(journal)),
        ]
    )
    board = BOARDS.get(machine.text("/etc/earshot/board") or "")
    watched = wishes.somebody and not wishes.as_json
    sound = Sound(config, open_cards, board is not None and board.cancels_echo, machine, say if watched else None)
    taken = pause.enter_context(service.paused(machine, unit, say, lambda: _start(found, machine)))
    found.run([Part("wake words", lambda: wake(config.wake), limit_s=_WAKE_S)])
    try:
        parts = [
            Part("sound cards", sound.cards, "sound"),
            Part("speaker", sound.speaker, "sound"),
            Part("microphone", sound.microphone, "sound", _SOUND_S),
            Part("echo", lambda: echo(config, sound.opened), "sound", _SOUND_S),
            Part("lights", lambda: panel.lights(config.panel, machine, watched), "pins"),
        ]
        found.run(parts, taken)
        if watched and not taken and config.panel.button != "none":
            say(f"Press the button within {panel.PRESS_S:.0f} s.")
        found.run([Part("button", lambda: panel.button(config.panel, machine, watched), "pins")], taken)
    finally:
        if "sound" not in found.stuck:
            sound.close()
    if not found.stuck:
        pause.close()
    found.run([Part("agent", lambda: agent.reach(config, key, machine), limit_s=_AGENT_S)])


def _start(found: Check, machine: Machine) -> None:
    found.run([Part("start", lambda: service.start(machine), limit_s=service.START_S + 1)])
    result = found.checked[-1].result
    if result.verdict is Verdict.FAILED:  # the JSON may be out already
        _on_stderr(f"! {result.text}. {result.remedy}")


def _bundle(
    path: Path,
    found: Check,
    config: Config,
    key: Key,
    machine: Machine,
    journal: service.Journal,
    say: Callable[[str], None],
) -> None:
    secrets = [] if key.value is None else [key.value.reveal()]
    hosts = {protocol.url.partition("://")[2].partition("/")[0] for protocol in PROTOCOLS.values() if protocol.url}
    voices = {file.stem for file in Path(config.wake.voices).glob("*.npz")}
    options = without_words(config.agent.options)
    shown = replace(config, agent=replace(config.agent, options=options))
    given = {"check.json": as_json(found.checked), "config.toml": dump(shown, key.source)}
    told = Bundle(machine, journal, secrets, hosts, voices).write(path, given)
    say(f"{path} holds, without keys, speech, names and addresses:")
    for one in told:
        say(f"  {one}")
    say("Look through it before you pass it on: tar -xzf it, and read.")


def _on_stdout(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _end(code: int) -> None:
    """End here and now: PortAudio crashes when it is taken down under a thread that reads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def bundle_path(given: str | None) -> Path | None:
    """What `--bundle` was given: None without it, an empty text without a name."""
    if given is None:
        return None
    return Path(given) if given else default_path()
