"""A slow test that fails while the machine itself stood still is tried again, and the end of the run says so.

The host of a virtual machine takes its cores away, at times for 90 ms at once; a sound card holds 40 ms, and no program plays
through that. The witness is a process of its own that has nothing to do but to be woken in time.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

STALL_S = 0.02
"""So much too late is a stall: a period of sound."""
REPEATS = 3
_TICK_S = 0.005


class Witness:
    """Sees the stalls of every core while its context lasts."""

    def __enter__(self) -> "Witness":
        self._seen = tempfile.TemporaryFile()
        command = [sys.executable, str(Path(__file__).resolve())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._seen.close()

    def longest_s(self, since: float) -> float:
        """The longest stall that ended after `since` (seconds, CLOCK_MONOTONIC); 0 if there was none."""
        return max((end - start for start, end in self._stalls() if end > since), default=0.0)

    def _stalls(self) -> Iterator[tuple[float, float]]:
        # The process writes at the offset that the file has for both of us: reading must not move it.
        for line in os.pread(self._seen.fileno(), os.fstat(self._seen.fileno()).st_size, 0).splitlines():
            start, end = line.split()
            yield float(start), float(end)


class Repeats:
    """The plugin; the witness comes with the first slow test."""

    def __init__(self) -> None:
        self._witness: Witness | None = None
        self._begun = time.monotonic()
        self._repeated: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Function, nextitem: pytest.Item | None) -> bool | None:
        if not item.get_closest_marker("slow"):
            return None
        if self._witness is None:
            self._witness = Witness().__enter__()
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._run(item, nextitem, self._witness):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _run(self, item: pytest.Function, nextitem: pytest.Item | None, witness: Witness) -> list[pytest.TestReport]:
        for _ in range(REPEATS):
            began = time.monotonic()
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
            failures = [report.longreprtext for report in reports if report.failed]
            longest_s = witness.longest_s(began)
            if not failures or longest_s < STALL_S:
                return reports
            why = failures[0].splitlines()[-1]
            self._repeated.append(f"{item.nodeid}: a core stood still for {longest_s * 1000:.0f} ms; {why}")
            item._initrequest()  # as pytest-rerunfailures does: the fixtures are made anew
        return runtestprotocol(item, log=False, nextitem=nextitem)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._witness:
            longest_s = self._witness.longest_s(self._begun)
            terminalreporter.section("stalls of the machine")
            terminalreporter.write_line(
                f"The longest was {longest_s * 1000:.0f} ms. Tried again: {len(self._repeated)}."
            )
            for line in self._repeated:
                terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        if self._witness:
            self._witness.__exit__()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Repeats(), "repeats")


def _watch(core: int) -> None:
    os.sched_setaffinity(0, {core})
    with suppress(PermissionError):  # without real time, other programs' work looks like a stall as well
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    last = time.monotonic()
    while True:
        time.sleep(_TICK_S)
        now = time.monotonic()
        if now - last > _TICK_S + STALL_S:
            os.write(1, f"{last + _TICK_S} {now}\n".encode())
        last = now


if __name__ == "__main__":
    for core in os.sched_getaffinity(0):
        threading.Thread(target=_watch, args=(core,), daemon=True).start()
    sys.stdin.read()  # until the tests are over
