"""What a check says: a verdict for each part, in words and as figures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_INDENT = 28


class Verdict(StrEnum):
    """How a part is. Only a failure makes the whole fail."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """What was found out about a part. `figures` are of types that JSON knows, their names end with the unit."""

    verdict: Verdict
    text: str
    remedy: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    outside: bool = False
    """Whether no release of this program can be to blame: then it is no reason to go back to the one before."""


def ok(text: str, **figures: object) -> Result:
    return Result(Verdict.OK, text, "", figures)


def warning(text: str, remedy: str, **figures: object) -> Result:
    return Result(Verdict.WARNING, text, remedy, figures)


def failed(text: str, remedy: str, *, outside: bool = False, **figures: object) -> Result:
    return Result(Verdict.FAILED, text, remedy, figures, outside)


def skipped(text: str, remedy: str = "", **figures: object) -> Result:
    return Result(Verdict.SKIPPED, text, remedy, figures)


@dataclass(frozen=True, slots=True)
class Checked:
    """A part, what was found out about it, and how long that took."""

    part: str
    result: Result
    seconds: float


def all_well(parts: Sequence[Checked]) -> bool:
    """Whether nothing failed."""
    return all(one.result.verdict is not Verdict.FAILED for one in parts)


def line(one: Checked) -> str:
    """For a person: verdict, part, text and seconds, and below it what to do."""
    result = one.result
    first = f"{result.verdict:9}{one.part:{_INDENT - 9}}{result.text} ({one.seconds:.1f} s)"
    return f"{first}\n{'':{_INDENT}}{result.remedy}" if result.remedy else first


def as_json(parts: Sequence[Checked]) -> str:
    """For a program: one object."""
    listed = [
        {
            "part": one.part,
            "verdict": one.result.verdict.value,
            "text": one.result.text,
            "remedy": one.result.remedy,
            "figures": one.result.figures,
            "seconds": round(one.seconds, 3),
        }
        for one in parts
    ]
    return json.dumps({"ok": all_well(parts), "parts": listed}, ensure_ascii=False)
