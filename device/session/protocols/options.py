"""Checks `agent.options` against what a protocol knows, and the other settings of an agent. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from device.config import Agent
from device.session.credentials import Secret
from device.settings import did_you_mean

TEXT, TEXTS, ANYTHING = "text", "list of texts", "anything"
_LARGEST = 1e300


def option_problems(vendor: str, options: Mapping[str, object], known: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with `options`, a sentence each.

    `known` gives for each name what it takes: `TEXT`, `TEXTS`, `ANYTHING`, bool, float, the longest text as an int, a range as
    a pair of floats, choices as any other tuple, or a table of such.
    """
    return _problems(vendor, "agent.options", options, known)


def key_problem(agent: Agent, key: Secret | None) -> Iterator[str]:
    """A sentence where the key that this agent needs is missing."""
    if key is None:
        yield (
            f'agent.protocol = "{agent.protocol}" needs an API key: put it into the systemd credential api-key, '
            "the variable EARSHOT_API_KEY, or a file that agent.api_key_file names."
        )


def access_problem(agent: Agent, known: Sequence[str]) -> Iterator[str]:
    """A sentence where `agent.access` is not among the `known` ways in."""
    if agent.access and agent.access not in known:
        ways = " or ".join(f'"{way}"' for way in known)
        only = f"leave it out, or use {ways}" if known else "leave it out: there is one way only"
        # Not shown: somebody may have put the key itself here.
        yield f'agent.access is not right for protocol "{agent.protocol}": {only}.{did_you_mean(agent.access, known)}'


def _problems(vendor: str, where: str, options: Mapping[str, object], known: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if name not in known:
            yield f"{where}.{name} is not an option of {vendor}.{did_you_mean(name, known)}"
            continue
        match known[name]:
            case dict() as inner if isinstance(value, Mapping):
                yield from _problems(vendor, f"{where}.{name}", value, inner)
            case expected if not _fits(value, expected):
                yield f"{where}.{name} must be {_describe(expected)}."


def _fits(value: object, expected: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match expected:
        case "anything":
            return True
        case "text":
            return isinstance(value, str)
        case "list of texts":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case int():
            return isinstance(value, str) and len(value) <= expected
        case (float(), float()):
            return number and expected[0] <= value <= expected[1]
        case tuple():
            return not isinstance(value, bool) and value in expected
        case dict():
            return False  # a table was looked into already
    if expected is float:  # JSON has neither nan nor infinity
        return number and -_LARGEST < value < _LARGEST  # type: ignore[operator]
    return isinstance(value, bool)


def _describe(expected: Any) -> str:
    match expected:
        case int():
            return f"a text of at most {expected} characters"
        case (float(), float()):
            return f"a number from {expected[0]:g} to {expected[1]:g}"
        case tuple():
            return " or ".join(f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in expected)
        case dict():
            return f"a table with {', '.join(expected)}"
        case str():
            return f"a {expected}"
    return "true or false" if expected is bool else "a number"
