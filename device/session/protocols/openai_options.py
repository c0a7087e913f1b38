"""The options of OpenAI's Realtime sessions, and the `session` object that they make. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from device.session.protocols.messages import table
from device.session.protocols.options import ANYTHING, TEXT, TEXTS, option_problems

DEFAULT_MODEL = "gpt-realtime"
RATE = 24_000
"""Hertz, the only one it has for PCM."""
_LONGEST_MS = 3_600_000.0
_ANSWERS: dict[str, Any] = {"create_response": bool, "interrupt_response": bool}
TURN_DETECTION: dict[str, dict[str, Any]] = {
    "server_vad": {
        "threshold": (0.0, 1.0),
        "prefix_padding_ms": (0.0, _LONGEST_MS),
        "silence_duration_ms": (0.0, _LONGEST_MS),
        "idle_timeout_ms": (0.0, _LONGEST_MS),
        **_ANSWERS,
    },
    "semantic_vad": {"eagerness": ("low", "medium", "high", "auto"), **_ANSWERS},
}
"""What `turn_detection` may hold, by its `type`. To have none is not offered: nobody would tell when a turn is over."""
OPTIONS: dict[str, Any] = {
    "instructions": TEXT,
    "voice": TEXT,
    "speed": (0.25, 1.5),
    "noise_reduction": ("far_field", "near_field", "none"),
    "transcription": {"model": TEXT, "language": TEXT, "prompt": TEXT},
    "max_output_tokens": (1.0, 4096.0),
    "reasoning": ANYTHING,
    "tools": ANYTHING,
    "tool_choice": ANYTHING,
    "parallel_tool_calls": bool,
    "prompt": ANYTHING,
    "truncation": ANYTHING,
    "tracing": ANYTHING,
    "include": TEXTS,
}


def problems_of(vendor: str, options: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with `options`, a sentence each."""
    turns = table(options.get("turn_detection"))
    kind = turns.get("type")
    # A wrong type is told of; its fields are then not measured by either.
    fields = TURN_DETECTION.get(kind) if isinstance(kind, str) else None
    fields = fields or {name: ANYTHING for known in TURN_DETECTION.values() for name in known}
    yield from option_problems(
        vendor, options, {**OPTIONS, "turn_detection": {"type": tuple(TURN_DETECTION), **fields}}
    )
    if turns and "type" not in turns:
        yield f"agent.options.turn_detection needs a type: {' or '.join(TURN_DETECTION)}."
    whole = {"max_output_tokens": options.get("max_output_tokens")}
    whole |= {f"turn_detection.{name}": value for name, value in turns.items() if name.endswith("_ms")}
    for name, value in whole.items():
        if isinstance(value, float):
            yield f"agent.options.{name} must be a whole number."
    for name, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            yield f"agent.options.{name} holds a date, nan or inf, which cannot be sent."


def settings(options: Mapping[str, object]) -> dict[str, Any]:
    """The `session` of `session.update`."""
    rest = dict(options)
    noise = rest.pop("noise_reduction", "far_field")  # nobody holds a speaker to the mouth
    sound = {"format": {"type": "audio/pcm", "rate": RATE}}
    hearing: dict[str, Any] = {**sound, "noise_reduction": None if noise == "none" else {"type": noise}}
    hearing |= {name: rest.pop(name) for name in ("turn_detection", "transcription") if name in rest}
    speaking = sound | {name: rest.pop(name) for name in ("voice", "speed") if name in rest}
    audio = {"input": hearing, "output": speaking}
    return {"type": "realtime", "output_modalities": ["audio"], "audio": audio, **rest}


def other_format(session: Mapping[str, Any]) -> str | None:
    """The input or output that is told to have another format, which would be noise. What is not told is as we asked."""
    for way in ("input", "output"):
        told = table(table(table(session.get("audio")).get(way)).get("format"))
        if told.get("type") not in (None, "audio/pcm") or told.get("rate") not in (None, RATE):
            return way
    return None
