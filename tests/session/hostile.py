"""What a hostile agent may send: messages near those that its protocol knows, without end and from a seed."""

import ast
import copy
import functools
import inspect
import json
import random
import re
from collections.abc import Iterator
from typing import Any

from device.session.protocol import Protocol
from device.session.protocols import PROTOCOLS
from tests.session.exchanges import CASES

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, 10**400, -0.0, 1e308, float("nan"), float("inf"), 16_000, 48_000.5, "401", "4000",
    "", "\ud800", "\x00\n\x1b[31m", "x" * 5000, "é" * 300, "QUJDRA==", "QUJD", "A" * 4001, "=", "wss://[", "ws://a.example",
    [], {}, [[]], {"type": "error"},
)  # fmt: skip
"""Values that a careless reader stumbles over."""


@functools.cache
def words_of(name: str) -> tuple[str, ...]:
    """All words that the source of that protocol, and of those that it is made from, holds as texts."""
    found: set[str] = set()
    for kind in PROTOCOLS[name].__mro__:
        if issubclass(kind, Protocol) and kind is not Protocol:
            tree = ast.parse(inspect.getsource(inspect.getmodule(kind)))  # type: ignore[arg-type]
            texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
            found |= {text for text in texts if isinstance(text, str) and re.fullmatch(r"[A-Za-z][\w.]{1,60}", text)}
    return tuple(sorted(found))


@functools.cache
def names_of(name: str) -> tuple[str, ...]:
    """Those of them that may be names of fields."""
    return tuple(word for word in words_of(name) if re.fullmatch("[a-z_]+|[a-z]+[A-Z][A-Za-z]+", word))


def messages(name: str, seed: int) -> Iterator[str | bytes]:
    """Messages for that protocol: noise, fields in disorder, and recorded messages that were damaged."""
    chance = random.Random(f"{name} {seed}")
    recorded = [
        message.encode() if isinstance(message, str) else message
        for case in CASES.values()
        if case.protocol == name
        for message in case.exchange
    ]
    while True:
        match chance.randrange(8):
            case 0:
                yield chance.randbytes(chance.randrange(700))
            case 1 | 2:
                data = bytearray(chance.choice(recorded))
                for _ in range(chance.randrange(4)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                cut = bytes(data[: chance.choice((len(data), chance.randrange(len(data) + 1)))])
                yield cut if chance.random() < 0.5 else cut.decode("utf-8", "replace")
            case _:
                text = json.dumps(_fields(chance, name, recorded))
                yield text if chance.random() < 0.8 else text.encode("utf-8")


def _fields(chance: random.Random, name: str, recorded: list[bytes]) -> object:
    """A message of fields: one of the recorded with some of them changed, or a new one."""
    fields: dict[str, Any] = {}
    if chance.random() < 0.5:
        try:
            fields = json.loads(chance.choice(recorded))
        except ValueError:
            return chance.choice(ODD)
    else:
        fields["type"] = chance.choice(words_of(name))
    for _ in range(chance.randrange(4)):
        place = fields
        inner = [value for value in fields.values() if isinstance(value, dict)]
        if inner and chance.random() < 0.6:
            place = chance.choice(inner)
        place[chance.choice((*names_of(name), *place))] = _value(chance, name, 3)
    return fields


def _value(chance: random.Random, name: str, depth: int) -> object:
    match chance.randrange(6 if depth else 4):
        case 0:
            return chance.choice(words_of(name))
        case 1:
            return chance.randrange(-5, 60_000)
        case 2 | 3:
            return copy.deepcopy(chance.choice(ODD))  # what it goes into may be changed
        case 4:
            return [_value(chance, name, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(names_of(name)): _value(chance, name, depth - 1) for _ in range(chance.randrange(4))}
