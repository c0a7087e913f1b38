"""A conversation made up for the tests: events in the words of the event log, and its sound."""

import wave
from pathlib import Path

import numpy as np

from device.demo.echo import heard_of
from device.demo.stream import Event

RATE = 48_000
BEGIN = 100.0  # CLOCK_MONOTONIC of the recording's first sample
WAKE = BEGIN + 2.5
LENGTH = 40.0


def event(t: float, name: str, **fields: object) -> Event:
    return {"t": WAKE + t, "event": name, **fields}


def reply(t: float, text: str, end: float, reason: str) -> list[Event]:
    """A reply that is received at `t` and heard 70 ms later, until `end`."""
    return [
        event(t - 0.3, "transcript", role="agent", text=text),
        event(t, "reply_started"),
        event(t + 0.065, "playback_started"),
        event(t + 0.065, "state", **{"from": "listening", "to": "speaking"}),
        event(t + 0.065, "light", look="speaking"),
        event(end, "playback_stopped", reason=reason),
        event(end, "state", **{"from": "speaking", "to": "listening"}),
        event(end, "light", look="listening"),
    ]


def tool(t: float, name: str) -> list[Event]:
    return [
        event(t, "tool_call", tool=name, status="started"),
        event(t, "light", look="tool"),
        event(t + 0.1, "tool_call", tool=name, status="completed"),
        event(t + 0.1, "light", look="listening"),
    ]


def conversation() -> list[Event]:
    """Question, answer, story, button, another story, wake word, a third that is talked over, goodbye."""
    events = [
        event(-2.5, "recording", file="conversation.wav"),
        event(-0.9, "person", text="hey jarvis, what time is it", seconds=1.9),
        event(0.0, "wake", word="hey_jarvis", score=0.981, audio_t=WAKE - 0.03),
        event(0.0, "state", **{"from": "idle", "to": "connecting"}),
        event(0.0, "light", look="connecting"),
        event(0.03, "session_ready"),
        event(0.03, "state", **{"from": "connecting", "to": "listening"}),
        event(0.03, "light", look="listening"),
        event(0.035, "first_audio_sent"),
        event(1.7, "transcript", role="user", text="what time is it"),
        *tool(1.72, "time"),
        *reply(2.2, "It is seven minutes past three in the afternoon.", 4.6, "drained"),
        event(5.4, "person", text="tell me a story", seconds=1.1),
        *tool(7.2, "story"),
        *reply(
            7.6,
            "Once upon a time there was a lighthouse keeper who had never seen the sea by day.",
            12.02,
            "interrupted",
        ),
        event(12.0, "finger", pin=17),
        event(12.01, "button", kind="pressed"),
        event(12.02, "interrupted", by="button"),
        event(12.9, "person", text="tell me another story", seconds=1.4),
        *tool(15.1, "story"),
        *reply(15.5, "In a village at the foot of a hill lived a clock that was always late.", 20.95, "interrupted"),
        event(20.0, "person", text="hey jarvis", seconds=0.9),
        event(20.94, "wake", word="hey_jarvis", score=0.968, audio_t=WAKE + 20.9),
        event(20.95, "interrupted", by="wake_word"),
        *reply(26.5, "On a hill at the edge of a wood stood a windmill that nobody used.", 29.85, "interrupted"),
        event(29.5, "person", text="what time is it", seconds=1.1),
        event(29.72, "ducked"),
        event(29.84, "interrupted", by="speech"),
        event(32.0, "person", text="goodbye", seconds=0.7),
        *tool(33.4, "goodbye"),
        *reply(33.7, "Goodbye. It was nice talking to you.", 36.0, "drained"),
        event(36.1, "session_ended", reason="agent"),
        event(36.1, "state", **{"from": "listening", "to": "idle"}),
        event(36.1, "light", look="idle"),
    ]
    return sorted(events, key=lambda e: float(e["t"]))


def sound(path: Path) -> None:
    """Noise where somebody speaks: left the person and the echo, right the replies."""
    noise = np.random.default_rng(1).normal(scale=3000, size=int(LENGTH * RATE)).astype(np.int16) | 1
    stereo = np.zeros((len(noise), 2), np.int16)

    def fill(side: int, start: float, end: float) -> None:
        part = slice(round((start - BEGIN) * RATE), round((end - BEGIN) * RATE))
        stereo[part, side] = noise[part]

    events = conversation()
    for e in events:
        if e["event"] == "person":
            fill(0, e["t"], e["t"] + e["seconds"])
    starts = [e["t"] for e in events if e["event"] == "reply_started"]
    ends = [e["t"] for e in events if e["event"] == "playback_stopped"]
    for start, end in zip(starts, ends, strict=True):
        fill(1, start + 0.07, end)
    stereo[:, 0] += np.rint(heard_of(stereo[:, 1])).astype(np.int16)
    with wave.open(str(path), "wb") as wav:
        wav.setparams((2, 2, RATE, 0, "NONE", "not compressed"))
        wav.writeframes(stereo.tobytes())
