"""The figures of agents over a network: the real process at one end of a cable with a round trip of 40 ms, its agent at the
other, behind TLS; the voice comes by the virtual sound card.

    .venv/bin/python -m tests.bench.agents [--wakes 20] [--cuts 1 5 20] [--way NAME ...]

A session begins with `wake` in the event log, and with the first frame of sound at the agent the user is heard; both times are
of one clock (CLOCK_MONOTONIC). What is ours of the time between is all but the network's round trips: `TRIPS` times the round
trip that is measured, which is the median of some TCP connections by the same cable. So the agent's part, the cable's own
delays and the encryption at both ends are counted as ours.

The agent's name is found in /etc/hosts: a DNS server's round trip, and there is one at least for an agent far away, would be
added by the network. The system's certificates are loaded besides those of the tests, as in a real speaker.

What a cut of the network loses is in `cuts`. Exit code 1: a reach is missed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from device.demo.card import VirtualCard
from tests.bench import cuts
from tests.bench.conversation import spread
from tests.bench.cuts import Row
from tests.bench.far import far
from tests.house import BUTTON
from tests.room.cable import FAR, Cable
from tests.ways import WAYS, Way

DELAY_S = 0.02
"""Each way."""
OURS_S = 0.06
TRIPS = {
    "datagrid": 4.5,
    "datagrid-handoff": 5.5,
    "atoms": 3.5,
    "atoms-header": 3.5,
    "atoms-call": 4.5,
    "workbuddy": 5.5,
    "savants": 5.5,
    "openai": 4.5,
}
"""Round trips from the first packet to the first frame of sound at the agent, if all that can overlap does: TCP, TLS (1.3) and
the upgrade one each; the session's first message and its answer one, except with Atoms, whose first message comes with the
answer to the upgrade; the frame half a one. A token costs three, of which two are the TCP and TLS of the agent meanwhile."""
STEPS = "token", "name", "tcp", "tls", "upgrade"


class Wake(NamedTuple):
    """One session's beginning: its `connected` line, and seconds since `wake`."""

    steps: dict[str, float]
    connected: float
    ready: float
    first: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wakes", type=int, default=20, help="sessions of each agent and way in, besides the first")
    parser.add_argument("--cuts", type=float, nargs="*", default=[1.0, 5.0, 20.0], help="seconds")
    parser.add_argument(
        "--way", nargs="*", default=list(TRIPS), choices=list(TRIPS), help="only these agents and ways in"
    )
    options = parser.parse_args()
    if reason := Cable.why_not():
        print(reason)
        return
    with Cable(DELAY_S) as cable, VirtualCard() as card, tempfile.TemporaryDirectory() as folder:
        rows = beginnings(cable, card, Path(folder), options.way, options.wakes) if options.wakes else []
        rows += cuts.cuts(cable, card, Path(folder), options.way, options.cuts)
    table = [("what", "reach", "got", True), *rows]
    width, reach_width = (max(len(row[column]) for row in table) for column in (0, 1))
    for what, reach, got, met in table:
        print(f"{what:{width}}  {reach:{reach_width}}  {got}{'' if met else '  MISSED'}")
    sys.exit(0 if all(row[3] for row in rows) else 1)


def beginnings(cable: Cable, card: VirtualCard, folder: Path, names: list[str], count: int) -> list[Row]:
    trip = round_trip(cable)
    rows: list[Row] = [("round trip of the cable, median", "report", f"{trip * 1000:.1f} ms", True)]
    cold = []
    for name in names:
        first, *rest = wakes(cable, card, folder / name, WAYS[name], count + 1)
        ours = [wake.first - TRIPS[name] * trip for wake in rest]
        cold.append(first.first - TRIPS[name] * trip)
        what = f"{name}: wake -> first frame at the agent"
        rows.append((what, "report", spread([wake.first for wake in rest]), True))
        rows.append((f"{name}: its parts, medians", "report", parts(rest), True))
        what = f"{name}: ours, all but {TRIPS[name]} round trips"
        rows.append((what, "p95 <= 60 ms", spread(ours), bool(np.percentile(ours, 95) <= OURS_S)))
    met = bool(np.percentile(cold, 95) <= OURS_S)
    rows.append(("ours in the first session after the start, all ways in", "p95 <= 60 ms", spread(cold), met))
    return rows


def round_trip(cable: Cable) -> float:
    """Seconds that TCP takes to connect: the kernels alone answer."""
    took = []
    with cable.listener() as listener:
        for _ in range(20):
            with cable.dialler() as dialler:
                began = time.monotonic()
                dialler.connect((FAR, listener.getsockname()[1]))
                took.append(time.monotonic() - began)
            listener.accept()[0].close()
    return median(took)


def wakes(cable: Cable, card: VirtualCard, folder: Path, way: Way, count: int) -> list[Wake]:
    """So many sessions of one process, each ended by the button."""
    found = []
    with far(cable, card, way, folder, "[wake]\nrefractory_s = 0.5\n") as (home, server, firmware):
        for number in range(1, count + 1):
            home.hear("hey jarvis")
            began = firmware.wait_for("wake", 10)["t"]
            connected = firmware.wait_for("connected", 10)
            ready = firmware.wait_for("session_ready", 10)
            visit = server.visit(number)
            visit.wait(lambda visit: visit.frames)
            home.levers.tap(BUTTON)
            firmware.wait_for("session_ended", 5, reason="button")
            steps = {step: connected.get(f"{step}_ms", 0.0) / 1000 for step in STEPS}
            since = (t - began for t in (connected["t"], ready["t"], visit.frames[0][0]))
            found.append(Wake(steps, *since))
        assert server.violations == []
    return found


def parts(wakes: list[Wake]) -> str:
    """The split; what was done beside the token is what name, TCP and TLS would have cost after it."""

    def ms(value: Callable[[Wake], float]) -> float:
        return median(value(wake) for wake in wakes) * 1000

    each = {step: ms(lambda wake, step=step: wake.steps[step]) for step in STEPS}
    way_there = f"name {each['name']:.0f}, tcp {each['tcp']:.0f}, tls {each['tls']:.0f}"
    told = f"token {each['token']:.0f} (beside it: {way_there})" if each["token"] else way_there
    told += f", upgrade {each['upgrade']:.0f}, ready {ms(lambda wake: wake.ready - wake.connected):.0f}"
    told += f", frame {ms(lambda wake: wake.first - wake.ready):.0f} ms"
    if each["token"]:
        sum_, took = sum(each.values()), ms(lambda wake: wake.connected)
        told += f"; connected after {took:.0f}, one after the other {sum_:.0f}"
    return told


if __name__ == "__main__":
    main()
