"""What a process and all its children take, seen from outside."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
GONE = FileNotFoundError, ProcessLookupError
"""What reading about a process raises that has ended meanwhile."""


class Memory(NamedTuple):
    """In MB, of `processes` together. `rss` counts a page in each process that has it; `pss` divides it among all that do."""

    rss: float
    pss: float
    processes: int

    def __str__(self) -> str:
        of = f" of {self.processes} processes" if self.processes > 1 else ""
        return f"RSS {self.rss:.0f} MB, Pss {self.pss:.0f} MB{of}"


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for one in found:  # grows
        with suppress(*GONE):
            for thread in list(Path(f"/proc/{one}/task").iterdir()):
                with suppress(*GONE):
                    found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds so far, those of children that have ended among them."""
    ticks = 0
    for one in family(pid):
        with suppress(*GONE):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def memory(pid: int) -> Memory:
    """Resident now; of processes of the same user.

    Raises:
        RuntimeError: the process has ended.
    """
    sizes = []
    for one in family(pid):
        with suppress(*GONE):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:]
            sizes.append({name: int(value.split()[0]) * 1024 / 1e6 for name, value in (s.split(":") for s in lines)})
    if not sizes:
        raise RuntimeError(f"Process {pid} has ended, or this kernel keeps no /proc/PID/smaps_rollup.")
    return Memory(sum(size["Rss"] for size in sizes), sum(size["Pss"] for size in sizes), len(sizes))
