"""The events of a conversation as lines for people."""

import textwrap
from typing import TextIO

from device.demo.stream import Event

WIDTH = 80
COLOURS = {"person": "1", "button": "1;31", "ear": "36", "agent": "34", "speaker": "33", "light": "2", "error": "31"}
BY = {"button": "the button", "wake_word": "the wake word", "agent": "the agent", "speech": "talking"}


def describe(event: Event) -> tuple[str, str] | None:
    """Who does what, or None for what a listener would not notice."""
    match event:
        case {"event": "person", "text": text}:
            return "person", f'"{text}"'
        case {"event": "wake", "word": word, "score": score}:
            return "ear", f"wake word {word}, score {score:.2f}"
        case {"event": "light", "look": look}:
            return "light", look
        case {"event": "button", "kind": kind}:
            return "button", kind
        case {"event": "session_ready"}:
            return "agent", "ready for audio"
        case {"event": "first_audio_sent"}:
            return "agent", "is sent the first audio"
        case {"event": "tool_call", "tool": tool, "status": status}:
            return "agent", f"tool {tool} {status}"
        case {"event": "transcript", "role": "user", "text": text}:
            return "agent", f'understood "{text}"'
        case {"event": "transcript", "text": text}:
            return "agent", f'answers "{text}"'
        case {"event": "reply_started"}:
            return "agent", "reply comes in"
        case {"event": "playback_started"}:
            return "speaker", "reply is played"
        case {"event": "playback_stopped", "reason": reason}:
            return "speaker", f"silent ({reason})"
        case {"event": "chime", "chime": chime}:
            return "speaker", f"chime ({chime})"
        case {"event": "interrupted", "by": by}:
            return "agent", f"interrupted by {BY.get(by, by)}"
        case {"event": "ducked"}:
            return "speaker", "softer: somebody may be talking"
        case {"event": "raised"}:
            return "speaker", "as loud as before"
        case {"event": "resumed"}:
            return "speaker", "plays on: nothing was said"
        case {"event": "stop_word", "word": word}:
            return "ear", f"stop word {word}"
        case {"event": "echo", "erle_db": float(db)}:
            return "ear", f"heard its own voice {db:.0f} dB softer than it was"
        case {"event": "retry", "in_s": seconds, "why": why}:
            return "error", f"{why}; trying again in {seconds:.1f} s"
        case {"event": "error", "message": message}:
            return "error", message
        case {"event": "dropped", "where": where, "frames": frames}:
            return "error", f"{frames} frames lost at {where}"
        case {"event": "session_ended", "reason": reason}:
            return "agent", f"session ended ({reason})"
    return None


class Narrator:
    """Writes a line per event, with the seconds since the wake word was heard first. Colours are for terminals."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begin: float | None = None

    def __call__(self, event: Event) -> None:
        """Tell one event, if it is worth telling."""
        if event["event"] == "wake" and self._begin is None:
            self._begin = event["t"]
        told = describe(event)
        if told is None:
            return
        who, what = told
        time = "" if self._begin is None else f"{event['t'] - self._begin:.2f}"
        what = textwrap.shorten(what, WIDTH - 18, placeholder=" …" + '"' * (what[-1] == '"'))
        line = f"{time:>7}  {who:<8} {what}"
        if self._out.isatty():
            line = f"\x1b[{COLOURS[who]}m{line}\x1b[0m"
        self.say(line)

    def say(self, text: str) -> None:
        """Write `text` as it is."""
        self._out.write(text + "\n")
        self._out.flush()
