"""What a recorded conversation measures."""

import wave
from pathlib import Path
from statistics import median

import numpy as np

from device.demo.stream import Event

QUIET_S = 0.25  # a silence this long is the end of what is played, not a gap in it


def read_stereo(path: Path) -> tuple[np.ndarray, int]:
    """The samples of a WAV file, int16 of shape (n, 2), and its rate in Hz."""
    with wave.open(str(path)) as wav:
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2), wav.getframerate()


def figures(events: list[Event], wav: Path) -> dict[str, list[float]]:
    """Milliseconds, by what they are: from the event log, and from what the recording says was really heard."""
    stereo, rate = read_stereo(wav)
    first = next(e["t"] for e in events if e["event"] == "recording")
    sounding = np.flatnonzero(stereo[:, 1])

    def sound_from(t: float) -> int:
        return int(np.searchsorted(sounding, (t - first) * rate))

    def heard(t: float) -> list[float]:
        i = sound_from(t)
        return [(first + sounding[i] / rate - t) * 1000] if i < len(sounding) else []

    def silent(t: float) -> list[float]:
        i = sound_from(t)
        gaps = np.flatnonzero(np.diff(sounding[i:]) > QUIET_S * rate)
        last = i + int(gaps[0]) if len(gaps) else len(sounding) - 1
        return [max(0.0, (first + sounding[last] / rate - t) * 1000)] if i < len(sounding) else [0.0]

    sent = _after(events, "wake", "first_audio_sent")
    return {
        "wake word detected → first audio sent": [(b["t"] - a["t"]) * 1000 for a, b in sent[:1]],
        "reply received → heard": [ms for e in events if e["event"] == "reply_started" for ms in heard(e["t"])],
        "button pressed → silence": [ms for e in events if e["event"] == "finger" for ms in silent(e["t"])],
        "talked over → silence": [ms for t in _talked_over(events) for ms in silent(t)],
    }


def show(measured: dict[str, list[float]]) -> list[str]:
    """A line per figure: the median, and the range where there are several."""
    lines = []
    for name, values in measured.items():
        several = f" ({min(values):.0f} to {max(values):.0f}, {len(values)} times)" if len(values) > 1 else ""
        lines.append(f"{name}: {median(values):.0f} ms{several}" if values else f"{name}: not measured")
    return lines


def _talked_over(events: list[Event]) -> list[float]:
    """When those began to speak who interrupted by it."""
    last, begun = 0.0, []
    for event in events:
        if event["event"] == "person":
            last = event["t"]
        elif event["event"] == "interrupted" and event["by"] == "speech":
            begun.append(last)
    return begun


def _after(events: list[Event], cause: str, effect: str) -> list[tuple[Event, Event]]:
    """Each `cause` with the first `effect` that follows it."""
    pairs = []
    for i, event in enumerate(events):
        if event["event"] == cause:
            pairs += [(event, e) for e in events[i:] if e["event"] == effect][:1]
    return pairs
