"""Every figure of talking over the speaker, one benchmark after the other, with pictures: an hour on a quiet machine.

    .venv/bin/python -m tests.bench.duplex DIR

draws DIR/echo.png (ERLE over time) and DIR/barge_in.png (one barge-in: echo, cleaned, detector, gain of playback). Exit code 1:
a reach is missed.
"""

import argparse
import subprocess
import sys
from pathlib import Path

BENCHES = (
    "tests.bench.echo --picture {folder}/echo.png",
    "tests.bench.barge_in --picture {folder}/barge_in.png",
    "tests.bench.barge_in",
    "tests.bench.stop_word",
    "tests.bench.jitter",
    "tests.bench.talk_over",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.duplex")
    parser.add_argument("folder", type=Path, help="of the pictures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    missed = 0
    for bench in BENCHES:
        print(f"\n{bench.split()[0]}", flush=True)
        missed |= subprocess.run([sys.executable, "-m", *bench.format(folder=folder).split()], check=False).returncode
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
