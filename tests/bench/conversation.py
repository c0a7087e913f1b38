"""The figures of a conversation: the real process on the virtual sound card, against a scripted agent on loopback.

    .venv/bin/python -m tests.bench.conversation [--turns 40] [--minutes 10] [--idle 60]

Times of the agent and of the speaker are of one clock (CLOCK_MONOTONIC), so they can be subtracted.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from device.demo.card import VirtualCard
from device.demo.processes import Firmware
from tests.bench.usage import cpu_s, memory
from tests.fakes import pink_noise
from tests.house import BUTTON, NO_CANCELLER, SPEECH, channels, faults, house, tone
from tests.servers.datagrid import Visit


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=40, help="sessions, and presses of the button")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the long conversation")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of pink noise")
    options = parser.parse_args()
    with VirtualCard() as card, tempfile.TemporaryDirectory() as folder:
        rows = [("what", "reach", "got")]
        rows += starts(card, Path(folder), 10)
        rows += turns(card, Path(folder), options.turns)
        rows += presses(card, Path(folder), options.turns)
        rows += loss(card, Path(folder))
        rows += idle(card, Path(folder), options.idle)
        rows += long(card, Path(folder), options.minutes)
    show(rows)


def show(rows: list[tuple[str, str, str]]) -> None:
    """Print them as a table."""
    width, wanted = (max(len(row[column]) for row in rows) for column in (0, 1))
    for what, reach, got in rows:
        print(f"{what:{width}}  {reach:{wanted}}  {got}")


def starts(card: VirtualCard, folder: Path, count: int) -> list[tuple[str, str, str]]:
    """From the command to `ready`, Python's own start included."""
    took = []
    with house(card, folder) as (home, _):
        for _ in range(count):
            began = time.monotonic()
            with home.speaker() as firmware:
                took.append(firmware.events[-1]["t"] - began)
    return [("start -> ready", "<= 1.5 s", spread(took, "s", 1))]


def turns(card: VirtualCard, folder: Path, count: int) -> list[tuple[str, str, str]]:
    """Sessions with one answer each: how long until the agent hears us, and until we hear it."""

    def script(visit: Visit) -> None:
        visit.wait(lambda visit: len(visit.frames) > 60, 10)
        visit.say(tone(0.3), chunk_s=0.02, lead_s=0.0)  # at the pace of speech: the buffer has to fill first
        visit.ended.wait(1.0)
        visit.send("ended")

    first, heard = [], []
    with house(card, folder) as (home, server), home.speaker() as firmware:
        server.on_ready = script
        for number in range(count):
            home.hear("hey jarvis, what time is it")
            wake = firmware.wait_for("wake", 10)
            received = firmware.wait_for("reply_started", 10)
            heard.append(firmware.wait_for("playback_started", 2)["t"] - received["t"])
            first.append(server.visits[number].frames[0][0] - wake["t"])
            firmware.wait_for("session_ended", 10)
            firmware.watch_for(1.0)  # the refractory time of the wake word, which began two seconds ago
    return [
        ("wake word fires -> first frame at the agent", "p95 <= 60 ms", spread(first)),
        (
            "first audio received -> written, adaptive jitter buffer, first reply",
            "<= 200 ms",
            f"{heard[0] * 1000:.0f} ms",
        ),
        ("first audio received -> written, adaptive jitter buffer, later ones", "p95 <= 90 ms", spread(heard[1:])),
    ]


def presses(card: VirtualCard, folder: Path, count: int) -> list[tuple[str, str, str]]:
    """From the edge at the button's pin to the last sample of the reply handed to ALSA."""

    def script(visit: Visit) -> None:
        visit.wait(lambda visit: len(visit.frames) > 20, 10)
        for number in range(count):
            visit.say(tone(20.0))
            visit.wait(lambda visit, number=number: visit.count("interrupted?") > number, 20)

    took = []
    pause = np.random.default_rng(1)
    with house(card, folder) as (home, server), home.speaker() as firmware:
        server.on_ready = script
        home.hear("hey jarvis, tell me a story")
        for _ in range(count):
            firmware.wait_for("playback_started", 10)
            firmware.watch_for(0.3 + pause.random() / 10)
            pressed = home.levers.tap(BUTTON, 0.05)
            took.append(firmware.wait_for("playback_stopped", 2, reason="interrupted")["t"] - pressed)
    return [("button -> last sample of the reply written", "p99 <= 40 ms", spread(took))]


def loss(card: VirtualCard, folder: Path) -> list[tuple[str, str, str]]:
    """What the agent got against what the room played: pre-roll, backlog and live, one offset over all of it."""
    with (
        house(card, folder, NO_CANCELLER) as (home, server),
        home.speaker() as firmware,
        card.record(folder / "room.wav"),
    ):
        server.ready_after_s = 0.8
        home.hear(f"hey jarvis, {SPEECH}")
        firmware.wait_for("session_ended", 60)
    got = np.frombuffer(server.visits[0].audio, np.int16)
    differ, compared = faults(channels(folder / "room.wav")[0], got)
    what = "speech lost, doubled or changed between wake word and agent"
    return [(what, "0", f"{differ} of {compared} loud frames, pre-roll, backlog and live")]


def idle(card: VirtualCard, folder: Path, seconds: float) -> list[tuple[str, str, str]]:
    """Listening to pink noise, as numbers.md measured its peers: 1.4 s and 123 MB for linux-voice-assistant."""
    with house(card, folder) as (home, _), home.speaker() as firmware:
        home.play(pink_noise(seconds + 5, level=10 ** (-30 / 20)), 16_000)
        firmware.watch_for(2.0)
        pid = firmware.process.pid
        before = cpu_s(pid)
        firmware.watch_for(seconds)
        used = (cpu_s(pid) - before) * 60 / seconds
        took = memory(pid)
    return [
        ("idle in pink noise, CPU s per 60 s (linux-voice-assistant 1.4)", "report", f"{used:.2f}"),
        ("idle in pink noise, RSS MB (linux-voice-assistant 123)", "<= 110", f"{took.rss:.0f}"),
        ("idle in pink noise, Pss MB", "report", f"{took.pss:.0f}"),
    ]


def long(card: VirtualCard, folder: Path, minutes: float) -> list[tuple[str, str, str]]:
    """One conversation with answers, interruptions and pauses."""
    if not minutes:
        return []

    def script(visit: Visit) -> None:
        while not visit.ended.is_set():
            visit.say(tone(8.0))
            visit.ended.wait(4.0)

    settings = f"[conversation]\nidle_s = 60.0\nmax_s = {minutes * 60 + 60}\n"
    with house(card, folder, settings) as (home, server), home.speaker() as firmware:
        server.on_ready = script
        home.hear("hey jarvis, tell me a story")
        firmware.wait_for("session_ready", 10)
        resident = []
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            firmware.watch_for(10.0)
            home.levers.tap(BUTTON, 0.05) if playing(firmware) else None
            resident.append(memory(firmware.process.pid).rss)
        faults = [event for event in firmware.events if event["event"] in ("dropped", "error", "retry")]
        replies = sum(event["event"] == "playback_started" for event in firmware.events)
    what = f"a conversation of {minutes:g} minutes, {replies} replies: drops, underruns, errors"
    growth = f"{resident[len(resident) // 10]:.1f} -> {resident[-1]:.1f}"
    return [(what, "0", str(faults or 0)), ("RSS MB after a tenth of it -> at its end", "flat", growth)]


def playing(firmware: Firmware) -> bool:
    """Whether the last thing that playback did was to start."""
    names = [event["event"] for event in firmware.events if event["event"].startswith("playback")]
    return bool(names) and names[-1] == "playback_started"


def spread(values: list[float], unit: str = "ms", scale: float = 1000) -> str:
    """Median, 95th and 99th percentile, largest."""
    median, p95, p99 = np.percentile(values, [50, 95, 99]) * scale
    digits = 0 if unit == "ms" else 2
    numbers = f"median {median:.{digits}f}, p95 {p95:.{digits}f}, p99 {p99:.{digits}f}"
    return f"{numbers}, max {max(values) * scale:.{digits}f} {unit} of {len(values)}"


if __name__ == "__main__":
    main()
