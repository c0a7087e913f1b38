"""Checks a TOML table against a dataclass, finds every mistake at once and tells each in a sentence. Pure."""

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
SECRET_WORDS = ("key", "token", "secret", "password")


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What a setting means and allows. Limits hold for each element of a list or table."""

    about: str
    low: float | None = None
    high: float | None = None
    above_low: bool = False
    """Whether `low` itself is too low."""
    choices: tuple[str, ...] = ()
    check: Callable[[Any], Iterable[str]] | None = None
    """Yields what else is wrong with a value of the right type, as the predicate of a sentence: "is empty"."""


def rule_of(field: "dataclasses.Field[Any]") -> Rule:
    """The rule that the field's metadata spells out."""
    return Rule(**field.metadata)


def read(section: type[T], name: str, table: Mapping[str, object]) -> tuple[T, set[str], list[str]]:
    """The section with what `table` says, defaults in the place of mistakes; the keys with mistakes; the mistakes."""
    fields = {field.name: field for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    hints = get_type_hints(section)
    good: dict[str, Any] = {}
    bad: set[str] = set()
    problems: list[str] = []
    for key, value in table.items():
        if key not in fields:
            problems.append(_unknown(name, key, fields))
            continue
        found: list[str] = []
        rule = rule_of(fields[key])
        fitted = _fit(f"{name}.{key}", value, hints[key], rule, found)
        if not found and rule.check:
            found += [f"{name}.{key} {predicate}" for predicate in rule.check(fitted)]
        if found:
            bad.add(key)
            problems += found
        else:
            good[key] = fitted
    return section(**good), bad, problems


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question to append to a sentence, or nothing if no known word is near."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


def looks_secret(key: str) -> bool:
    """Whether a value under this key must not be shown."""
    return any(word in key.lower() for word in SECRET_WORDS)


def toml(value: object) -> str:
    """A value as TOML, on one line.

    Raises:
        TypeError: for what TOML cannot say.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():  # JSON's escapes are TOML's, except that TOML wants DEL escaped as well
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() if value > 1 << 64:  # Python refuses to write or read thousands of decimal digits
            return hex(value)
        case int() | float():
            return repr(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(toml(item) for item in value)}]"
        case Mapping():
            return f"{{{', '.join(f'{toml_key(key)} = {toml(item)}' for key, item in value.items())}}}"
    raise TypeError(f"TOML has no {type(value).__name__}")


def toml_key(key: str) -> str:
    """A key as TOML: bare where it may be, else quoted."""
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else toml(key)


def _unknown(section: str, key: str, known: Iterable[str]) -> str:
    if looks_secret(key):
        return (
            f"{section}.{_short(key)} is not a setting: secrets do not belong in this file. Give the API key as the "
            "systemd credential api-key, in EARSHOT_API_KEY, or in a file of its own that agent.api_key_file names."
        )
    return f"{section}.{_short(key)} is not a setting.{did_you_mean(key, known) or f' Known are {_or(known)}.'}"


def _fit(name: str, value: object, hint: Any, rule: Rule, problems: list[str]) -> Any:
    """The value as the hint's type, within the rule; what is wrong goes to `problems`."""
    kind = get_origin(hint) or hint
    if kind is tuple and isinstance(value, list):
        element, *more = get_args(hint)
        size = len(value) if more == [...] else 1 + len(more)
        if len(value) == size:
            return tuple(_fit(f"{name}[{n}]", item, element, rule, problems) for n, item in enumerate(value))
    elif kind is dict and isinstance(value, dict):
        element = get_args(hint)[1]
        return {key: _fit(f"{name}.{_short(key)}", item, element, rule, problems) for key, item in value.items()}
    elif _suits(value, hint, rule):
        return float(value) if hint is float else value  # type: ignore[arg-type]
    problems.append(_refusal(name, value, hint, rule))
    return value


def _suits(value: object, hint: Any, rule: Rule) -> bool:
    """Whether a plain value is of the type and within the limits. TOML's true is no number, its 8 is a good 8.0."""
    if hint is object:
        return True
    if get_origin(hint) in (Union, UnionType):
        return any(_suits(value, one, rule) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if isinstance(value, int) or (isinstance(value, float) and hint is float):
        return hint in (int, float) and _within(value, rule)
    return isinstance(value, str) and hint is str and (not rule.choices or value in rule.choices)


def _within(value: float, rule: Rule) -> bool:
    """Every number has limits, so nan and inf are out as well."""
    assert rule.low is not None and rule.high is not None
    return rule.low <= value <= rule.high and not (rule.above_low and value == rule.low)


def _refusal(name: str, value: object, hint: Any, rule: Rule) -> str:
    words = rule.choices
    if get_origin(hint) in (Union, UnionType):
        words = tuple(word for one in get_args(hint) if get_origin(one) is Literal for word in get_args(one))
    question = did_you_mean(value, words) if isinstance(value, str) else ""
    return f"{name} is {show(value)}; it must be {allowed(hint, rule)}.{question}"


def allowed(hint: Any, rule: Rule) -> str:
    """In words, what a setting of this type takes."""
    if rule.choices:
        return _or(toml(choice) for choice in rule.choices)
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(allowed(one, rule) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return _or(toml(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        element, *more = get_args(hint)
        size = "" if more == [...] else f" of {1 + len(more)}"
        return f"a list{size}, each {allowed(element, rule)}"
    if get_origin(hint) is dict:
        element = get_args(hint)[1]
        return "a table" if element is object else f"a table, each {allowed(element, rule)}"
    limits = "" if rule.low is None else f" {'above' if rule.above_low else 'from'} {rule.low:g} to {rule.high:g}"
    return {bool: "true or false", int: "a whole number" + limits, float: "a number" + limits, str: "text"}[hint]


def show(value: object) -> str:
    """A wrong value for a message: short, on one line."""
    match value:
        case str():
            return toml(_short(value))
        case bool() | int() | float():
            return _short(toml(value))
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "a table"
    return "a date or time"


def _short(text: str) -> str:
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= 200 else printable[:199] + "…"


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
