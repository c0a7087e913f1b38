"""A reply of the speaker as lines for people. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any


def describe(reply: Mapping[str, Any]) -> str:
    """Aligned lines, one per field of the reply, in its order; fields of fields get lines of their own.

    A name that ends in _s is a number of seconds, `volume` a percentage; {"code", "message"} is an error.
    """
    rows = [row for row in _rows(reply) if row[0] != "ok"]
    width = max((len(label) for label, _ in rows), default=0)
    return "\n".join(f"{label:{width}}  {value}" for label, value in rows)


def plain(text: object) -> str:
    """Text that may come from an agent, without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in str(text))


def duration(seconds: float) -> str:
    """As people say it: 45 s, 12 min, 3 h 5 min, 2 d 4 h."""
    minutes = int(seconds) // 60
    if minutes < 1:
        return f"{int(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def _rows(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        label = plain(prefix + name.replace("_", " "))
        if not isinstance(value, dict):
            yield label.removesuffix(" s") if name.endswith("_s") else label, _value(name, value)
        elif value.keys() == {"code", "message"}:
            yield label, plain(f"{value['code']}: {value['message']}")
        else:  # counters need no title; what is counted within them does
            yield from _rows(value, "" if name == "counters" else f"{prefix}{name} ")


def _value(name: str, value: object) -> str:
    match value:
        case None | "":
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() | float() if name.endswith("_s"):
            return duration(value)
        case int() if name == "volume":
            return f"{value} %"
    return plain(value)
