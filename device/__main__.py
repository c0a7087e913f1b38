"""The command line."""

import argparse
import faulthandler
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from device import __version__, config
from device.errors import ConfigError, EarshotError, HardwareError, UsageError
from device.session.credentials import Key, api_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` name (default: those of the process); returns the exit code."""
    options = _parser().parse_args(arguments)
    # A name server that is out of reach would keep us for 10 s and more, the time in which a person wants an answer; it is
    # read when the first name is looked up (resolv.conf(5)).
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")
    try:
        if not options.verbose:
            from device.system.process import quiet_libraries

            quiet_libraries()
        logging.basicConfig(level="DEBUG" if options.verbose else "INFO", format="%(message)s", stream=sys.stderr)
        for library in ("matplotlib", "websockets", "websocket", "asyncio"):
            logging.getLogger(library).setLevel(logging.WARNING)
        faulthandler.enable(sys.stderr)
        code: int = options.command(options)
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except ConfigError as error:
        print("The configuration cannot be used:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {problem}", file=sys.stderr)
        return error.exit_code
    except EarshotError as error:
        print(f"earshot: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains once more when it flushes
        return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help=f"settings (default: {config.DEFAULT_PATH})")
    common.add_argument("-v", "--verbose", action="store_true", help="log every event, and what the libraries say")
    parser = argparse.ArgumentParser(prog="earshot", description="A smart speaker.")
    parser.add_argument("--version", action="version", version=f"earshot {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, parents=[common])
        added.set_defaults(command=run)
        return added

    added = command("run", _run, "Be the speaker, until told to stop.")
    added.add_argument("--events", metavar="FILE", help="write what happens as JSON lines; - for standard output")
    added = command("demo", _demo, "Hold a conversation in a virtual room, and record it.")
    added.add_argument("--real", action="store_true", help="use this machine's microphone and speaker instead")
    added.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="for what it makes (default: demo)"
    )
    added = command("agent", _agent, "Be the built-in agent: a voice server for speakers on this machine.")
    added.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
    added.add_argument("--port", type=_port, default=8765, help="default: 8765")
    added = command("check", _check, "Try each part, and say what is wrong with it.")
    added.add_argument("--agent", action="store_true", help="only the agent, step by step; no speech is sent")
    added.add_argument("--json", action="store_true", help="one JSON object, for programs; nobody is asked anything")
    text = "pack what those who help have to know, without keys, speech, names or addresses"
    added.add_argument("--bundle", nargs="?", const="", metavar="FILE.tar.gz", help=text)
    command("config", _config, "Print the settings in force, without secrets.")
    command("devices", _devices, "List microphones and speakers by the names that settings take.")
    added = command("wake", _wake, "Say where recordings hold a wake word, or how well the settings hear it.")
    added.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a WAV file")
    added.add_argument("--plot", type=_png, metavar="FILE.png", help="draw the score over the waveform, or the table")
    text = "by threshold: of recordings with one wake word each, how many are missed; how often others wake it"
    added.add_argument("--evaluate", nargs=2, type=Path, metavar=("POSITIVE_DIR", "NEGATIVE_DIR"), help=text)
    text = "from now on a word counts in enrolled voices only; FILEs are samples, without any you are asked"
    added.add_argument("--enrol", metavar="NAME", help=text)
    added.add_argument("--word", help="to enrol for (default: the first of wake.words)")
    added = command("status", _status, "Tell how the speaker is that runs on this machine.")
    added.add_argument("--json", action="store_true", help="as a line of JSON, for programs")
    added = command("say", _say, "Tell the agent something in writing, as if it had been said in the running session.")
    added.add_argument("text", metavar="TEXT", help="what to tell it, at most 2000 characters")
    command("stop", _stop, "End the conversation, silence a reply or a ringing timer. The speaker itself goes on.")
    return parser


def _port(text: str) -> int:
    """A TCP port, 0 for any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a whole number from 0 to 65535 is")
    return int(text)


def _png(text: str) -> Path:
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a picture: it has to end in .png")
    return Path(text)


def _settings(options: argparse.Namespace, keyless: bool = False) -> tuple[config.Config, Key]:
    """The settings and the key; all mistakes of the file are reported at once, then all in what the agent needs.

    `keyless`: it may be without a key.
    """
    from device.session.protocols import PROTOCOLS

    settings = config.load(options.config)
    key = api_key(settings.agent, os.environ)
    problems = PROTOCOLS[settings.agent.protocol].problems(settings.agent, key.value)
    if problems and not (keyless and key.value is None):
        raise ConfigError(*problems)
    return settings, key


def _run(options: argparse.Namespace) -> int:
    # Until there is something to end in good form. Not by an exception: a C library that is imported may take it for its own.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from device.app import App
    from device.eventlog import EventLog
    from device.soundcard import SoundCards
    from device.system.process import alone

    settings, key = _settings(options)
    event_log = EventLog(options.events)
    with alone(), SoundCards() as cards:
        return App(settings, key, event_log, cards=cards).run()


def _demo(options: argparse.Namespace) -> int:
    from device.demo.conversation import run

    return run(options.out, config.load(options.config) if options.real else None)


def _agent(options: argparse.Namespace) -> int:
    try:
        from device.agent.server import run
    except ImportError as error:
        raise HardwareError(f"The built-in agent is not installed ({error.name} is missing): run install.sh.") from None
    return run(options.host, options.port)


def _check(options: argparse.Namespace) -> int:
    from device.system.check.agent import check_agent
    from device.system.check.command import Wishes, bundle_path, check

    if options.agent and (options.json or options.bundle is not None):
        raise UsageError("--agent goes with neither --json nor --bundle.")
    # The key of a speaker that is installed is for root alone; who is not can check all the rest.
    keyless = not options.agent and os.geteuid() != 0 and Path("/opt/earshot/current").exists()
    settings, key = _settings(options, keyless)
    if options.agent:
        return check_agent(settings, key, lambda text: print(text, flush=True))
    if not options.verbose:
        logging.disable(logging.WARNING)  # the parts say it themselves
    somebody = sys.stdin is not None and sys.stdin.isatty()
    return check(settings, key, Wishes(options.json, bundle_path(options.bundle), somebody))


def _config(options: argparse.Namespace) -> int:
    settings = config.load(options.config)
    print(config.dump(settings, api_key(settings.agent, os.environ).source), end="")
    return 0


def _devices(options: argparse.Namespace) -> int:
    from device.soundcard import SoundCards

    with SoundCards() as cards:
        for role, listed in (
            ("microphones", [(device, device.inputs) for device in cards.devices]),
            ("speakers", [(device, device.outputs) for device in cards.devices]),
        ):
            print(f"{role}:")
            for device, channels in listed:
                if channels:
                    print(f"  {device.name!r:40} {channels} channels, {device.rate} Hz")
            if not any(channels for _, channels in listed):
                print("  none")
    return 0


def _wake(options: argparse.Namespace) -> int:
    if options.enrol is None and options.word:
        raise UsageError("--word belongs to --enrol NAME.")
    if options.enrol is None and bool(options.files) == bool(options.evaluate):
        raise UsageError("wake takes recordings, or --evaluate and two directories of them: see earshot wake --help.")
    settings = config.load(options.config)
    if options.enrol is not None:
        lines = _enrol(options, settings)
    elif options.evaluate:
        from device.hearing.wake.evaluate import compare

        positive, negative = options.evaluate
        lines = compare(positive, negative, settings.wake, options.plot or Path("evaluation.png"), _passing)
    else:
        from device.hearing.wake.files import search

        lines = search(options.files, settings.wake, options.plot)
    for line in lines:
        print(line, flush=True)
    return 0


def _enrol(options: argparse.Namespace, settings: config.Config) -> Iterator[str]:
    if options.evaluate or options.plot:
        raise UsageError("--enrol goes with neither --evaluate nor --plot.")
    from device.demo.voices import say
    from device.hearing.wake.enrol import enrol

    return enrol(options.enrol, options.word, options.files, settings, say)


def _passing(text: str) -> None:
    """Show `text` until the next one comes, to a person who waits; an empty one takes it away."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _status(options: argparse.Namespace) -> int:
    from device.system.control import ask
    from device.system.describe import describe

    reply = ask("status")
    if not options.json:
        print(describe(_well(reply)))
        return 0
    print(json.dumps(reply))
    return 0 if reply["ok"] else 1


def _say(options: argparse.Namespace) -> int:
    from device.system.control import ask

    _well(ask("say", options.text))
    return 0


def _stop(_: argparse.Namespace) -> int:
    from device.system.control import ask

    _well(ask("stop"))
    return 0


def _well(reply: dict[str, Any]) -> dict[str, Any]:
    """The reply, if the speaker did what it was asked."""
    from device.system.describe import plain

    if not reply["ok"]:
        raise EarshotError(plain(reply.get("message") or "The speaker says no."))
    return reply


if __name__ == "__main__":
    sys.exit(main())
