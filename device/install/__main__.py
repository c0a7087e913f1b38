"""What install.sh has Python do: everything but apt's and pip's work. A command each; the exit code says how it went."""

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

from device.boards import BOARDS
from device.checks import AGENTS
from device.errors import EarshotError, UsageError
from device.install import boot, debs, key, plan, release, system, trial
from device.install.choice import chosen_board
from device.install.places import SERVICE, Places
from device.settings import did_you_mean

SOURCE = Path(__file__).parent.parent.parent
"""The checkout, or the release, that this is part of."""
HERE = Places()


def main() -> int:
    """Carry out the command; returns the exit code."""
    os.umask(0o022)
    for stream in (sys.stdout, sys.stderr):  # whatever the terminal can show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args()
    try:
        return int(options.run(options) or 0)
    except EarshotError as error:
        print(f"install.sh: {error}", file=sys.stderr)
    except OSError as error:
        print(f"install.sh: {error.filename or 'the disk'}: {error.strerror or error}.", file=sys.stderr)
    except subprocess.SubprocessError as error:
        print(f"install.sh: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="device.install")
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: object, *words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name)
        added.set_defaults(run=run)
        for word in words:
            added.add_argument(word)
        return added

    about = argparse.ArgumentParser(add_help=False)
    about.add_argument("--board")
    about.add_argument("--agent")
    about.add_argument("--elsewhere", action="store_true", help="what runs here is not the machine it is for")
    for name, run in (("plan", _plan), ("configure", _configure)):
        added = commands.add_parser(name, parents=[about])
        added.set_defaults(run=run)
        if name == "plan":
            added.add_argument("--offline", action="store_true")
    command("boards", _boards)
    command("recover", lambda _: trial.recover(HERE, _say))
    command("stage", _stage)
    command("environment", lambda _: _say(release.environment(SOURCE)))
    command("key", _key)
    command("settled", _settled, "number")
    command("switch", lambda options: not trial.switch(options.number, HERE, _say), "number")
    command("previous", _previous)
    command("remember", _remember, "what")
    command("recall", lambda options: _say("\n".join(system.recall(HERE, options.what))), "what")
    command("remove", _remove).add_argument("--purge", action="store_true")
    command("index", lambda options: debs.index(Path(options.directory)), "directory")
    return parser


def _say(text: str) -> None:
    """To whoever watches. A terminal whose connection broke must not stop an update half-way."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _boards(_: argparse.Namespace) -> None:
    for name, board in BOARDS.items():
        _say(f"{name:20} {board.title}")


def _plan(options: argparse.Namespace) -> int:
    for line in plan.machine(HERE, elsewhere=options.elsewhere):
        _say(line)
    wrong = list(plan.problems(HERE, SOURCE, options.offline))
    if options.agent and options.agent not in AGENTS:
        known = did_you_mean(options.agent, AGENTS) or f" There are {', '.join(AGENTS)}."
        wrong.append(f"There is no agent {options.agent}.{known}")
    elif options.agent and plan.agent_set(HERE) not in (None, options.agent):
        wrong.append(
            f"{HERE.settings} has another agent than --agent {options.agent}: change protocol below [agent] there."
        )
    try:
        _, why = chosen_board(HERE, options.board, options.elsewhere)
        _say(f"board     {why}")
    except UsageError as error:
        wrong.append(str(error))
    if wrong:
        print("install.sh: This cannot be done yet:", *(f"  - {one}" for one in wrong), sep="\n", file=sys.stderr)
    return 1 if wrong else 0


def _stage(_: argparse.Namespace) -> None:
    number, fresh = release.stage(SOURCE, HERE)
    if fresh:
        print(f"Release {number} is in place", file=sys.stderr, flush=True)
    _say(number)


def _key(_: argparse.Namespace) -> None:
    if key.keep(sys.stdin.buffer.read().decode(errors="replace"), HERE):
        system.unsettle(HERE)
        _say("The key is stored where only root and the speaker can read it")


def _configure(options: argparse.Namespace) -> None:
    from device.install import configure  # reads settings, for which it needs the environment

    configure.configure(HERE, options.board, options.agent, options.elsewhere, _say)


def _settled(options: argparse.Namespace) -> int:
    if release.pointed(HERE.current) != options.number:
        return 1
    if system.put(HERE) or trial.prepare_boot(HERE, _say):
        system.unsettle(HERE)  # for the next run, if this one ends before the speaker is started anew
    runs = not system.is_booted() or (system.systemctl("is-active", SERVICE) and not trial.is_restart_due())
    return 0 if runs and not HERE.unsettled.exists() else 1


def _previous(_: argparse.Namespace) -> None:
    number = release.pointed(HERE.previous)
    if number in (None, release.pointed(HERE.current)):
        raise UsageError("There is no release before this one.")
    _say(number)


def _remember(options: argparse.Namespace) -> None:
    system.remember(HERE, **{options.what: sorted({*system.recall(HERE, options.what), *sys.stdin.read().split()})})


def _remove(options: argparse.Namespace) -> None:
    if boot.remove(HERE.root).changed:
        _say("The sound board's overlay goes with the next restart")
    system.take_away(HERE, options.purge)


if __name__ == "__main__":
    sys.exit(main())
