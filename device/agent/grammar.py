"""The little language of phrases, and what is made of it: a JSGF grammar for the ear and a matcher for text.

A phrase is made of lower-case words, `[optional]` parts, `(one | other)` choices and the `<rules>` below. Pure.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from device.agent.quantities import TENS, UNITS, number_words

RULES = {
    "unit": " | ".join(UNITS[1:10]),
    "teen": " | ".join(UNITS[10:]),
    "ten": " | ".join(TENS),
    "number": "zero | <unit> | <teen> | <ten> [<unit>] | (one | a) hundred",
    "period": "second | seconds | minute | minutes | hour | hours",
    "duration": "<number> <period> [and <number> <period>] | (a | one) (minute | second) | an hour | half an hour",
}
# What comes before a command: the device sends from half a second before its detection on, so often only the word's end.
WAKE = "[hey] jarvis"
_TOKEN = re.compile(r"[a-z']+|<[a-z]+>|[\[\]()|]")
_MEANING = {"[": "(?:", "]": ")?", "(": "(?:", ")": ")", "|": "|"}


@dataclass(frozen=True, slots=True)
class Command:
    """What can be said, as a phrase, and what it calls."""

    name: str
    phrase: str
    call: Callable[..., Any]


def _tokens(phrase: str) -> Iterator[str]:
    if junk := _TOKEN.sub(" ", phrase).strip():
        raise ValueError(f"{phrase!r} is not a phrase: {junk!r} has no meaning in it")
    yield from _TOKEN.findall(phrase)


@cache
def pattern(phrase: str) -> str:
    """The phrase as a regular expression over words that each end in one space."""
    parts = []
    for token in _tokens(phrase):
        if token[0] == "<":
            parts.append(f"(?:{pattern(RULES[token[1:-1]])})")
        else:
            parts.append(_MEANING.get(token, f"{token} "))
    return "".join(parts)


def vocabulary(commands: Sequence[Command]) -> set[str]:
    """Every word that can be heard."""
    phrases = [*RULES.values(), WAKE, *(command.phrase for command in commands)]
    return {token for phrase in phrases for token in _tokens(phrase) if token[0] not in "<[]()|"}


def jsgf(commands: Sequence[Command]) -> str:
    """The grammar of all commands, each with or without the wake word before it, and the wake word alone."""
    lines = ["#JSGF V1.0;", "grammar commands;"]
    lines += [f"<{name}> = {phrase};" for name, phrase in RULES.items()]
    lines += [f"<command{i}> = {command.phrase};" for i, command in enumerate(commands)]
    lines += [f"<command> = {' | '.join(f'<command{i}>' for i in range(len(commands)))};", f"<wake> = {WAKE};"]
    return "\n".join([*lines, "public <utterance> = [<wake>] <command> | <wake>;", ""])


def words_of(text: str) -> list[str]:
    """The words of written text as they are spoken: lower case, numbers up to a hundred in words, no punctuation."""
    words = re.findall(r"\d{1,3}(?!\d)|[a-z']+|%", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    spoken = (number_words(int(word)) if word.isdigit() else "percent" if word == "%" else word for word in words)
    return [word for part in spoken for word in part.split() if word != "please"]


def find(words: list[str], commands: Sequence[Command]) -> tuple[Command, list[str]] | None:
    """The first command that `words` are a whole phrase of, and the words without the wake word."""
    said = without_wake(words)
    line = "".join(f"{word} " for word in said)
    return next(((command, said) for command in commands if re.fullmatch(pattern(command.phrase), line)), None)


def without_wake(words: list[str]) -> list[str]:
    """`words` after the wake word, if they begin with it."""
    line = "".join(f"{word} " for word in words)
    match = re.match(pattern(WAKE), line)
    return line[match.end() :].split() if match else words
