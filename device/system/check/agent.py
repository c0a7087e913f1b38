"""The agent: the way to it, up to where it would listen."""

import threading
import time
from collections.abc import Callable

from device.config import Config
from device.errors import EarshotError, SessionError
from device.session.credentials import Key
from device.session.protocols import PROTOCOLS
from device.system import agent
from device.system.check.machine import Machine
from device.system.check.report import Result, failed, ok, skipped

_NETWORK = ("no_network", "name_not_found", "nobody_there", "timeout", "connection_lost", "server_busy", "no_credit")
"""What no release of ours can help, where the agent is another machine's."""
_UNIT = "earshot-agent.service"
STARTING_S = 20.0
"""It loads its speech recognition before it answers."""


def reach(config: Config, key: Key, machine: Machine) -> Result:
    """Tries all steps; an agent of this machine that has just been started is waited for."""
    protocol = config.agent.protocol
    if PROTOCOLS[protocol].problems(config.agent, key.value):
        return skipped("its key is for the service and root alone", "With it: sudo earshot check", protocol=protocol)
    until, pause = time.monotonic() + STARTING_S, threading.Event()
    while True:
        try:
            *_, last = agent.steps(config, key)
            break
        except EarshotError as error:
            code = error.code if isinstance(error, SessionError) else ""
            if code == "nobody_there" and protocol == "local" and _starts(machine) and time.monotonic() < until:
                pause.wait(0.5)
                continue
            outside = code in _NETWORK and protocol != "local"
            return failed(_said(error), _remedy(config, machine), outside=outside, protocol=protocol, code=code)
    return ok(f"{protocol}: {last}, key {key.source}", protocol=protocol, code="")


def check_agent(config: Config, key: Key, tell: Callable[[str], None]) -> int:
    """Tell a line per step on the way to the agent; returns 0 if it is ready, else 1."""
    tell(f"agent {config.agent.protocol}, key {key.source}")
    try:
        for step in agent.steps(config, key):
            tell(f"{'ok':7}{step}")
    except EarshotError as error:
        tell(f"{'FAILED':7}{_said(error)} {_remedy(config, Machine())}".rstrip())
        return 1
    return 0


def _said(error: EarshotError) -> str:
    return f"{error} ({error.code})" if isinstance(error, SessionError) else str(error)


def _starts(machine: Machine) -> bool:
    return machine.run("systemctl", "is-active", _UNIT).output.strip() in ("active", "activating")


def _remedy(config: Config, machine: Machine) -> str:
    if config.agent.protocol != "local":
        return ""
    installed = machine.exists("/opt/earshot/current")
    return f"Start it: `sudo systemctl restart {_UNIT}`." if installed else "Start it: `earshot agent`."
