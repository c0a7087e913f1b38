"""A conversation on one sheet: who sounded when, what the firmware knew, showed and was told."""

import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from device.demo.echo import heard_of
from device.demo.figures import read_stereo
from device.demo.stream import Event

INK, FAINT, PAPER = "#23282d", "#8a939b", "#ffffff"
MICROPHONE, SPEAKER, BUTTON, WAKE, TOOL = "#2f6b9a", "#b5651d", "#b3202c", "#2a7d4f", "#6a4c93"
ECHO, OVER = "#e3b98c", "#a3195b"
STATES = {
    "idle": "#eceff1",
    "connecting": "#e6bd45",
    "listening": "#a9cbe2",
    "speaking": "#f0c39a",
    "closing": "#d5d9dc",
    "offline": "#cfc4dc",
    "error": "#e6a1a1",
    "muted": "#d9a7b0",
    "ending": "#cfe0ec",
    "tool": "#9a77c4",
}
"""Looks and states share names and colours."""
COLUMNS = 3000  # of a waveform: two per pixel
CHARACTER = 8.2  # pixels of an average letter
SLIVER = 3.0  # pixels: a tool call of a millisecond is seen, too
PLOT = 1440  # pixels of the time axis
BEHIND = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}  # lines do not cross what is written


def draw(events: list[Event], wav: Path, path: Path, lines: list[str]) -> None:
    """Draw the recording `wav` and the `events` around it as a PNG of 1600 by 900 pixels, with `lines` under the title.

    The events are the firmware's event log with "recording" (`t` of the first sample), "person" (`text`, `seconds`)
    and "finger" among them, in order of time.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style: Any = {"font.family": "DejaVu Sans", "font.size": 11, "text.color": INK, "axes.edgecolor": FAINT}
    with mpl.rc_context(style):
        heights = [3.2, 3.2, 0.8, 0.8]
        figure, rows = plt.subplots(4, sharex=True, figsize=(16, 9), dpi=100, height_ratios=heights, facecolor=PAPER)
        figure.subplots_adjust(left=0.085, right=0.985, top=0.85, bottom=0.075, hspace=0.14)
        figure.text(0.012, 0.955, "A conversation with Earshot", fontsize=19, weight="bold", va="center")
        figure.text(0.012, 0.915, "     ".join(lines), fontsize=11, color="#4c555c", va="center")
        _fill(rows, events, wav)
        _legend(figure, events)
        figure.savefig(path)
        plt.close(figure)


def _fill(rows: Any, events: list[Event], wav: Path) -> None:
    stereo, rate = read_stereo(wav)
    zero = next((e["t"] for e in events if e["event"] == "wake"), events[0]["t"])
    happened = [event | {"t": event["t"] - zero} for event in events]
    begin = next(e["t"] for e in happened if e["event"] == "recording")
    end = begin + len(stereo) / rate
    for row, name in zip(rows, ("microphone\nhears", "speaker\nplays", "state", "lights"), strict=True):
        row.set_ylabel(name, rotation=0, ha="left", va="center", fontsize=11.5, weight="bold", color=INK)
        row.yaxis.set_label_coords(-0.08, 0.35 if "\n" in name else 0.5)
        row.patch.set_visible(False)  # a mark goes through from top to bottom
        row.set_yticks([])
        row.tick_params(length=0)
        row.spines[["top", "right", "left", "bottom"]].set_visible(False)
    person = [(e["t"], f"“{e['text']}”") for e in happened if e["event"] == "person"]
    answers = [(e["t"], f"“{e['text']}”") for e in happened if e["event"] == "transcript" and e["role"] != "user"]
    for row, samples, colour, texts in (
        (rows[0], stereo[:, 0], MICROPHONE, person),
        (rows[1], stereo[:, 1], SPEAKER, answers),
    ):
        peak = _waveform(row, samples, begin, end, colour)
        row.set_ylim(-1.45 * peak, 2.2 * peak)  # words above the sound, tools below it
        _texts(row, texts, begin, end, colour)
    _waveform(rows[0], heard_of(stereo[:, 1]), begin, end, ECHO)
    _band(rows[2], [(e["t"], e["to"]) for e in happened if e["event"] == "state"], begin, end)
    _band(rows[3], [(e["t"], e["look"]) for e in happened if e["event"] == "light"], begin, end)
    _marks(rows, happened, begin, end)
    rows[3].set_xlim(begin, end)
    rows[3].tick_params(length=4, color=FAINT)
    rows[3].set_xlabel("seconds since the wake word was detected", color="#4c555c", loc="left")


def _waveform(row: Any, samples: np.ndarray, begin: float, end: float, colour: str) -> float:
    """Returns its peak."""
    width = max(1, len(samples) // COLUMNS)
    columns = samples[: len(samples) // width * width].reshape(-1, width) / 32768
    t = np.linspace(begin, end, len(columns))
    row.fill_between(t, columns.min(axis=1), columns.max(axis=1), color=colour, linewidth=0.4)
    return max(0.05, float(np.abs(columns).max(initial=0)))


def _texts(row: Any, texts: list[tuple[float, str]], begin: float, end: float, colour: str) -> None:
    """Each text from its time on, wrapped so that it ends before the next begins."""
    for (t, text), (until, _) in pairwise([*texts, (end, "")]):
        room = (until - t) / (end - begin) * PLOT
        size = max(9, int(room / CHARACTER) - 1)
        wrapped = textwrap.wrap(text, size, max_lines=3, placeholder=" …”", break_long_words=False)
        place = row.get_xaxis_transform()
        row.text(t, 0.97, "\n".join(wrapped), transform=place, va="top", color=colour, linespacing=1.25, bbox=BEHIND)


def _band(row: Any, changes: list[tuple[float, str]], begin: float, end: float) -> None:
    row.set_ylim(0, 1)
    changes = [(begin, "idle"), *changes]
    for (t, name), (until, _) in pairwise([*changes, (end, "")]):
        left, right = max(t, begin), min(until, end)
        pixel = (end - begin) / PLOT
        short = right - left < SLIVER * pixel
        seen = max(right, left + SLIVER * pixel)
        row.axvspan(left, seen, 0.1, 0.9, color=STATES.get(name, "#dddddd"), linewidth=0, zorder=1.5 if short else 1)
        if right - left > (len(name) * CHARACTER + 8) * pixel:
            row.text((left + right) / 2, 0.5, name, ha="center", va="center", fontsize=10.5)


def _marks(rows: Any, happened: list[Event], begin: float, end: float) -> None:
    free = [float("-inf")] * 2  # from when on there is room for names, above the sound and above those
    for event in happened:
        match event:
            case {"event": "wake", "score": score}:
                name, colour = f"wake word {score:.2f}", WAKE
            case {"event": "finger"}:
                name, colour = "button", BUTTON
            case {"event": "interrupted", "by": "speech"}:
                name, colour = "talked over", OVER
            case {"event": "tool_call", "status": "started", "tool": tool}:
                _tool(rows[1], event["t"], tool, end)
                continue
            case _:
                continue
        half = len(name) / 2 * CHARACTER * (end - begin) / PLOT
        height = 0 if free[0] <= event["t"] - half else 1
        free[height] = event["t"] + half
        _line(rows, event["t"], colour, name, height)


def _tool(row: Any, t: float, tool: str, end: float) -> None:
    place = row.get_xaxis_transform()
    row.plot([t], [0.07], "D", color=TOOL, markersize=6, transform=place)
    if t < end * 0.92:
        row.text(t, 0.07, f"   tool: {tool}", color=TOOL, va="center", ha="left", transform=place)
    else:  # at the edge, below the tools before it
        row.text(t, 0.04, f"tool: {tool}", color=TOOL, va="top", ha="right", transform=place)


def _legend(figure: Any, events: list[Event]) -> None:
    """The colours of the bands, most of which are too short for their name somewhere."""
    from matplotlib.patches import Patch

    used = {e.get("to") or e.get("look") for e in events if e["event"] in ("state", "light")}
    patches = [Patch(color=colour, label=name) for name, colour in STATES.items() if name in used]
    patches.append(Patch(color=ECHO, label="the speaker, as the microphone hears it"))
    figure.legend(
        handles=patches, loc="lower right", bbox_to_anchor=(0.992, 0.005), ncols=10, frameon=False, fontsize=10
    )


def _line(rows: Any, t: float, colour: str, name: str, height: int) -> None:
    place = rows[0].get_xaxis_transform()
    top, bottom = rows[0].get_position(), rows[-1].get_position()
    depth = (bottom.y0 - top.y0) / top.height
    rows[0].plot([t, t], [depth, 1.0], color=colour, linewidth=1.3, transform=place, clip_on=False)
    for row in rows[1:]:
        row.axvline(t, color=colour, linewidth=1.3, zorder=2.5)
    where = {"ha": "center", "va": "bottom", "transform": place, "clip_on": False}
    rows[0].text(t, 1.03 + 0.08 * height, name, color=colour, weight="bold", **where)
