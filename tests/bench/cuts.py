"""A network cable that is pulled while somebody speaks to an agent: what of it the agent never hears, or hears twice.

It is seen in the sound itself: what each connection brought is found in a recording of the room.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from device.demo.card import VirtualCard
from device.demo.voices import resample, say
from device.session.outbox import BACKLOG_S
from tests.bench.far import far
from tests.fakes import wait_until
from tests.house import BUTTON, NO_CANCELLER, SPEECH, VOICE, channels, faults, offset_s
from tests.room.cable import Cable
from tests.ways import WAYS, Way

BEFORE_S, AFTER_S, BACK_S = 3.0, 4.0, 10.0
"""Speech before a cut and after it is mended, and how long the agent may then hear nothing."""
VOICES = VOICE, "flite:rms", "flite:awb", "flite:kal16"
"""One after the other say the same: no part of a speech is like another."""
FLYING_S = 0.1
"""May be heard twice: it arrived, and its acknowledgement did not."""
EDGE_S = 0.02
"""A resampler keeps 2 ms at the end of a connection, and `faults` is as exact as a sample of the card."""
SLACK_S = 0.5
"""From the first frame that is kept to the cut, and from the mending to the first that is sent again."""

Row = tuple[str, str, str, bool]
"""What, reach, got, and whether the reach is met."""


class Cut(NamedTuple):
    """What a cut did. `back_s`: from its end to the first frame at the agent; `looks`: of the light, seconds since the cut."""

    lost_s: float
    doubled_s: float
    differ: int
    compared: int
    back_s: float
    looks: list[tuple[float, str]]
    connections: int


def cuts(cable: Cable, card: VirtualCard, folder: Path, names: list[str], lengths: list[float]) -> list[Row]:
    """All lengths for the first way in, and for the others the one in the middle: what differs is how they connect anew."""
    rows = []
    for name in names:
        for cut_s in lengths if name == names[0] else sorted(lengths)[len(lengths) // 2 :][:1]:
            rows.append(row_of(name, cut_s, cut_off(cable, card, folder / f"{name} {cut_s:g}", WAYS[name], cut_s)))
    return rows


def row_of(name: str, cut_s: float, cut: Cut) -> Row:
    most_s = round(cut_s + cut.back_s - BACKLOG_S + SLACK_S, 1) if cut_s > BACKLOG_S else 0.0
    met = cut.lost_s <= most_s + EDGE_S and cut.doubled_s <= FLYING_S and cut.differ == 0 and cut.back_s <= BACK_S
    got = f"{cut.lost_s:.2f} s lost, {cut.doubled_s:.2f} s doubled, {cut.differ} of {cut.compared} loud frames differ; "
    got += f"heard again {cut.back_s:.1f} s after, {cut.connections} connections; light: "
    got += ", ".join(f"{look} {t:.1f}" for t, look in cut.looks) or "unchanged"
    return f"{name}: cut of {cut_s:g} s in the user's speech", f"{most_s:g} s lost", got, bool(met)


def cut_off(cable: Cable, card: VirtualCard, folder: Path, way: Way, cut_s: float) -> Cut:
    """Pull the cable while somebody speaks, and plug it in again."""
    settings = f"[conversation]\nidle_s = 20.0\n{NO_CANCELLER}"
    with far(cable, card, way, folder, settings) as (home, server, firmware), card.record(folder / "room.wav"):
        home.play(speech(BEFORE_S + cut_s + BACK_S + AFTER_S), 16_000)
        firmware.wait_for("first_audio_sent", 10)
        firmware.watch_for(BEFORE_S)
        pulled = time.monotonic()
        cable.pull()
        firmware.watch_for(cut_s)
        plugged = time.monotonic()
        cable.plug()
        wait_until(lambda: heard_since(server.visits, plugged), BACK_S)
        firmware.watch_for(AFTER_S)
        home.levers.tap(BUTTON)
        firmware.wait_for("session_ended", 10, reason="button")
        assert server.violations == []
    looks = [(e["t"] - pulled, e["look"]) for e in firmware.events if e["event"] == "light" and e["t"] > pulled]
    back = min(t for visit in server.visits for t, _ in visit.frames if t > plugged) - plugged
    lost, doubled, differ, compared = losses(channels(folder / "room.wav")[0], way, server.visits)
    return Cut(lost, doubled, differ, compared, back, looks[:-1], len(server.visits))


def heard_since(visits: list[Any], t: float) -> bool:
    return any(visit.frames and visit.frames[-1][0] > t for visit in visits)


def speech(seconds: float) -> np.ndarray:
    """The wake word, and speech without a pause: int16 at 16 kHz."""
    said = [say(f"hey jarvis, {SPEECH}", VOICES[0]), *(say(SPEECH, voice) for voice in VOICES[1:])]
    return np.concatenate(said)[: round(seconds * 16_000)]


def losses(room: np.ndarray, way: Way, visits: list[Any]) -> tuple[float, float, int, int]:
    """Seconds lost and doubled from one connection to the next, and what `faults` says of each by itself, added up."""
    if way.hears != 16_000:
        room = narrow((room * 32767).astype(np.int16), 48_000) / 32768
    lost = doubled = 0.0
    differ = compared = 0
    end = None
    for visit in visits:
        got = np.frombuffer(visit.audio, np.int16)
        if not len(got):
            continue
        if way.hears != 16_000:
            got = resample(narrow(got, way.hears), way.hears, 16_000)
        start = offset_s(room, got)
        gap = start - end if end is not None else 0.0
        lost, doubled = lost + max(0.0, gap), doubled + max(0.0, -gap)
        end = start + len(got) / 16_000
        wrong, loud = faults(room, got)
        differ, compared = differ + wrong, compared + loud
    return lost, doubled, differ, compared


def narrow(pcm: np.ndarray, rate: int) -> np.ndarray:
    """`pcm` below 4 kHz: above it the speaker's resampler, fast and not perfect, has a part in what is compared."""
    return resample(resample(pcm, rate, 8_000), 8_000, rate)
