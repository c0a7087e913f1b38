"""The figures of talking over a reply: the real process in a room where its microphone hears what it plays.

    .venv/bin/python -m tests.bench.talk_over [--turns 40] [--seconds 60]

Times of the agent, of the speaker and of the room are of one clock (CLOCK_MONOTONIC), so they can be subtracted.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from device.demo.card import VirtualCard
from device.demo.echo import response
from device.demo.voices import resample, say
from device.errors import EarshotError
from tests.bench.conversation import show, spread
from tests.bench.usage import cpu_s, memory
from tests.fakes import pink_noise
from tests.house import SPEECH, channels, house
from tests.servers.datagrid import REPLY_RATE, Visit

LONGEST_S = 20.0
"""The reply is shorter."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=40, help="replies that are talked over")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the conversation that is measured")
    options = parser.parse_args()
    with VirtualCard(response()) as card, tempfile.TemporaryDirectory() as folder:
        rows = [("what", "reach", "got")]
        rows += talked_over(card, Path(folder), options.turns)
        rows += conversing(card, Path(folder), options.seconds)
    show(rows)


def talked_over(card: VirtualCard, folder: Path, count: int) -> list[tuple[str, str, str]]:
    """Somebody begins to speak while a reply is played: how soon it is known, and how soon the reply is over then."""
    story = spoken()

    def script(visit: Visit) -> None:
        visit.wait(lambda visit: len(visit.frames) > 110, 10)
        for _ in range(count):
            before = visit.count("interrupted?")
            visit.say(story, lead_s=None)
            visit.wait(lambda visit, before=before: visit.count("interrupted?") > before, LONGEST_S)
            visit.ended.wait(2.0)

    written, heard, found = [], [], []
    pause = np.random.default_rng(2)
    with (
        house(card, folder) as (home, server),
        home.speaker() as firmware,
        card.record(folder / "room.wav") as room,
    ):
        server.on_ready = script
        home.hear("hey jarvis, tell me a story")
        for _ in range(count):
            firmware.wait_for("playback_started", 10)
            firmware.watch_for(2.0 + pause.random())
            home.hear("no, wait a moment")
            began = home.sounds[-1].started
            try:
                confirmed = firmware.wait_for("speech_confirmed", 5)["t"]
            except EarshotError:
                firmware.wait_for("playback_stopped", LONGEST_S)
                continue
            stopped = firmware.wait_for("playback_stopped", 2, reason="interrupted")["t"]
            found.append(confirmed - began)
            written.append(stopped - confirmed)
            heard.append((confirmed, stopped))
    sounding = np.flatnonzero(channels(folder / "room.wav")[1])
    last = [silence(sounding, room.first_sample, stopped) - confirmed for confirmed, stopped in heard]
    return [
        ("who talks over it is understood", ">= 95 %", f"{len(found)} of {count}"),
        ("speech begins -> confirmed", "median <= 350 ms", spread(found)),
        ("speech confirmed -> last sample of the reply written", "p99 <= 60 ms", spread(written)),
        ("speech confirmed -> last sample of the reply at the card (it holds 40 ms)", "report", spread(last)),
    ]


def silence(sounding: np.ndarray, first: float, t: float) -> float:
    """When the sound ended that lasted until `t` or a little later (seconds, CLOCK_MONOTONIC)."""
    at = int(np.searchsorted(sounding, (t - 0.05 - first) * 48_000))
    gaps = np.flatnonzero(np.diff(sounding[at:]) > 4800)
    return float(first + sounding[at + (int(gaps[0]) if len(gaps) else len(sounding) - at - 1)] / 48_000)


def spoken() -> bytes:
    """A reply in the agent's voice: s16le, 24 kHz."""
    return resample(say(SPEECH, "flite:rms"), 16_000, REPLY_RATE).tobytes()


def conversing(card: VirtualCard, folder: Path, seconds: float) -> list[tuple[str, str, str]]:
    """Replies and pauses in turn, in which the microphone hears the replies and a soft noise."""
    story = spoken()

    def script(visit: Visit) -> None:
        while not visit.ended.is_set():
            visit.say(story)
            visit.ended.wait(8.0)

    settings = f"[conversation]\nidle_s = 60.0\nmax_s = {seconds + 60}\n"
    with house(card, folder, settings) as (home, server), home.speaker() as firmware:
        server.on_ready = script
        home.play(pink_noise(seconds + 20, level=10 ** (-60 / 20)), 16_000)
        home.hear("hey jarvis, tell me a story")
        firmware.wait_for("playback_started", 10)
        pid = firmware.process.pid
        before, began = cpu_s(pid), time.monotonic()
        events = firmware.watch_for(seconds)
        used = (cpu_s(pid) - before) / (time.monotonic() - began)
        took = memory(pid)
    cut = sum(event["event"] == "interrupted" for event in events)
    return [
        ("in conversation, half of it replies: CPU", "<= 5 % of a core", f"{used:.1%}; {cut} replies interrupted"),
        ("in conversation: RSS MB", "<= 130", f"{took.rss:.0f} (Pss {took.pss:.0f})"),
    ]


if __name__ == "__main__":
    main()
