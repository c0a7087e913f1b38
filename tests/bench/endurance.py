"""What a thousand sessions and a hundred thousand hostile messages leave behind: nothing. On loopback.

    .venv/bin/python -m tests.bench.endurance [--sessions 1000] [--messages 100000] [--only datagrid …]

Each agent's scripted server is a process of its own, so that what grows here is the speaker's. Exit code 1: a reach is missed.
"""

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import tomllib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from device import events as e
from device.config import Agent
from device.session.protocols import PROTOCOLS
from tests.bench.flood import PATIENCE_S, Speaker, flood
from tests.servers.atoms import KEY
from tests.ways import WAYS, reply

EARLY = 10
"""By this session all that is made once is made."""
REPLY_S = 0.2
FRAMES = 5
MOST_RSS_MB, MOST_TRACED_KB = 2.0, 64.0
"""Reaches. Allocators keep some of what they were given back; a leak of 2 kB a session is seen."""
M_ARENA_MAX = -8
"""mallopt(3). In glibc each of many threads has a heap of its own, and a thousand sessions fill them up: by 2.5 MB where there
is a resampler, after which nothing grows. In one heap a leak is seen beside that."""

Row = tuple[str, str, str, bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=[*WAYS, *PROTOCOLS], help="ways in, and protocols")
    parser.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    logging.disable(logging.CRITICAL)
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    rows: list[Row] = []
    for name in WAYS:
        if name in options.only:
            rows += shown(sessions(name, options.sessions))
    for name in PROTOCOLS:
        if name in options.only:
            rows += shown(hostile(name, options.messages))
    sys.exit(0 if all(fine for *_, fine in rows) else 1)


def shown(rows: list[Row]) -> list[Row]:
    for what, reach, got, fine in rows:
        print(f"{what:64}  {reach:14}  {got}{'' if fine else '   MISSED'}", flush=True)
    return rows


class Held(NamedTuple):
    """What this process holds."""

    threads: int
    sockets: int
    files: int
    rss_mb: float


def held() -> Held:
    gc.collect()
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            links.append(str(entry.readlink()))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    sockets = sum(link.startswith("socket:") for link in links)
    return Held(threading.active_count(), sockets, len(links), pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


# --- sessions in a row


def serve(name: str) -> None:
    """Be that agent: say a reply once some frames have come; end with stdin. Exit code 1: there were violations."""
    way = WAYS[name]
    server = way.serve()
    if way.lever:
        setattr(server, way.lever, KEY)

    def answer(visit: Any) -> None:
        visit.wait(lambda visit: len(visit.frames) >= FRAMES)
        reply(visit, b"\x10\x20" * round(REPLY_S * way.speaks), lead_s=None)

    server.on_ready = answer
    with server:
        print(server.url, flush=True)
        sys.stdin.read()
    sys.exit("\n".join(server.violations[:5]) or 0)


@contextlib.contextmanager
def serving(name: str, complaints: list[str]) -> Iterator[str]:
    """That agent's server, as a process; its URL. What it complains of is known when it has ended."""
    argv = [sys.executable, "-m", "tests.bench.endurance", "--serve", name]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            complaints += process.communicate(timeout=PATIENCE_S)[1].splitlines()
            complaints += [] if process.returncode == 0 else [f"exit code {process.returncode}"]


def sessions(name: str, count: int) -> list[Row]:
    """So many sessions in a row: start, ready, some frames, a reply, stop."""
    way = WAYS[name]
    size = round(REPLY_S * way.speaks) * 2
    complaints: list[str] = []
    with serving(name, complaints) as url:
        speaker = Speaker(Agent(**tomllib.loads(way.tables.format(url=url))["agent"]))
        began = time.monotonic()
        early = held()
        for number in range(1, count + 1):
            speaker.link.start(number, None)
            for _ in range(FRAMES):
                speaker.link.hear(number, bytes(640))
            speaker.until(e.SessionReady, number)
            speaker.until_heard(size)
            speaker.link.stop("button")
            speaker.until(e.SessionEnded, number)
            if number == min(EARLY, count):
                speaker.link.close()
                early = held()
        speaker.link.close()
        took, late = time.monotonic() - began, held()
    what = f"{name}: {count} sessions"
    got = f"{early.threads} {early.sockets} {early.files} -> {late.threads} {late.sockets} {late.files}"
    return [
        (f"{what}, threads, sockets, files", "as at first", got, late[:3] == early[:3]),
        growth(f"{what}, RSS", early.rss_mb, late.rss_mb),
        (f"{what}, violations", "none", "; ".join(complaints)[:80] or "none", not complaints),
        (f"{what}, each took", "report", f"{took / count * 1000:.1f} ms", True),
    ]


def growth(what: str, before: float, after: float) -> Row:
    return what, f"<= {MOST_RSS_MB:g} MB more", f"{before:.1f} -> {after:.1f} MB", after - before <= MOST_RSS_MB


# --- hostile messages


def hostile(name: str, count: int) -> list[Row]:
    """So many hostile messages through sessions of that protocol."""
    told = flood(name, count // 10, seed=0)
    early = held()
    began = time.monotonic()
    told += flood(name, count, seed=1)
    took, late = time.monotonic() - began, held()
    traced = traced_growth(name, max(500, count // 20))
    what = f"{name}: {count} hostile messages"
    ends = told["SessionEnded"] + told["SessionRefused"]
    return [
        (f"{what}, exceptions escaped", "0", str(told["WorkerDied"]), told["WorkerDied"] == 0),
        (f"{what}, threads, files", "as at first", f"{early[:3]} -> {late[:3]}", late[:3] == early[:3]),
        growth(f"{what}, RSS", early.rss_mb, late.rss_mb),
        (f"{what}, Python's memory", f"<= {MOST_TRACED_KB:g} kB more", f"{traced:.1f} kB", traced <= MOST_TRACED_KB),
        (f"{what}, facts, sessions, time", "report", f"{told.total()}, {ends}, {took:.1f} s", True),
    ]


def traced_growth(name: str, count: int) -> float:
    """By how many kB the second half of so many messages makes Python's memory larger."""
    tracemalloc.start()
    sizes = []
    for seed in (2, 3):
        flood(name, count // 2, seed)
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0] / 1000)
    tracemalloc.stop()
    return sizes[1] - sizes[0]


if __name__ == "__main__":
    main()
