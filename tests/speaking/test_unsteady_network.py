"""Replies through a network that hesitates: the real process on the virtual sound card, against an agent on a real socket."""

import time

import numpy as np
import pytest

from tests.bench.jitter import Network
from tests.house import channels, house, tone

pytestmark = pytest.mark.slow

CHUNK_S, HOLE_S = 0.02, 0.005


def say_late(visit, times, pcm):
    """Send the chunks of a reply at their times (seconds from now)."""
    begin, step = time.monotonic(), round(CHUNK_S * 24_000) * 2
    for number, late in enumerate(times):
        visit.ended.wait(max(0.0, begin + late - time.monotonic()))
        visit.say(pcm[number * step : (number + 1) * step], lead_s=None)


def played(card, folder, times):
    """What the speaker plays of a tone whose chunks come at these times (float64, 48 kHz), and its events."""

    def script(visit):
        visit.wait(lambda visit: len(visit.frames) > 80, 10)  # the chime is over
        say_late(visit, times, tone(len(times) * CHUNK_S))
        visit.ended.wait(1.5)
        visit.send("ended")

    with house(card, folder) as (home, server), home.speaker() as firmware, card.record(folder / "room.wav") as room:
        server.on_ready = script
        home.hear("hey jarvis, tell me a story")
        started = firmware.wait_for("playback_started", 30)["t"]
        firmware.wait_for("session_ended", 30)
    room.stop()
    return channels(folder / "room.wav")[1][round((started - room.first_sample) * 48_000) :], firmware.events


def holes(sound):
    """How long each silence between two sounds is, seconds."""
    apart = np.diff(np.flatnonzero(np.abs(sound) > np.abs(sound).max() / 20)) / 48_000
    return apart[apart > HOLE_S]


def clicks(sound):
    """The largest step over that of the tone."""
    return np.abs(np.diff(sound)).max() / (np.abs(sound).max() * 2 * np.pi * 440 / 48_000)


def test_chunks_up_to_130_ms_late_are_heard_without_a_hole(card, tmp_path):
    times, _ = Network(CHUNK_S, jitter_s=0.13).times(np.random.default_rng(3), 4.0)
    sound, events = played(card, tmp_path, times)
    assert len(holes(sound)) == 0 and clicks(sound) < 1.5
    assert not [event for event in events if event["event"] == "dropped"]


def test_a_stall_of_half_a_second_is_one_gap_that_is_faded(card, tmp_path):
    times, _ = Network(CHUNK_S).times(np.random.default_rng(3), 4.0)
    times[100:] = np.maximum(times[100:], times[100] + 0.5)
    sound, _ = played(card, tmp_path, times)
    (hole,) = holes(sound)
    assert 0.25 < hole < 0.5 and clicks(sound) < 1.5
