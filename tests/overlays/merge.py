"""Applies a compiled overlay to a device tree by the rules of Raspberry Pi's firmware, which are not those of fdtoverlay.

Only what our overlays use is here; anything else is an error, not a guess.
"""

import copy
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_BEGIN_NODE, _END_NODE, _PROPERTY, _NOP, _END = 1, 2, 3, 4, 9
_WORDS = {"y": 1, "yes": 1, "on": 1, "true": 1, "down": 1, "n": 0, "no": 0, "off": 0, "false": 0, "up": 2}


class MergeError(Exception):
    """The overlay or its parameters do not fit the tree."""


@dataclass
class Node:
    """A node of a device tree: properties as they lie in the blob, big endian."""

    properties: dict[str, bytes] = field(default_factory=dict)
    children: dict[str, "Node"] = field(default_factory=dict)

    def at(self, path: str) -> "Node":
        node = self
        for name in path.split("/"):
            if name:
                node = node.children[name]
        return node

    def everything(self) -> Iterator["Node"]:
        yield self
        for child in self.children.values():
            yield from child.everything()

    def cells(self, name: str) -> list[int]:
        value = self.properties[name]
        return list(struct.unpack(f">{len(value) // 4}I", value))

    def strings(self, name: str) -> list[str]:
        return self.properties[name].decode().split("\0")[:-1]

    def by_phandle(self, phandle: int) -> "Node | None":
        found = (node for node in self.everything() if node.properties.get("phandle") == struct.pack(">I", phandle))
        return next(found, None)

    def pointed(self, root: "Node", name: str) -> "Node":
        """What the first cell of a property refers to."""
        node = root.by_phandle(self.cells(name)[0])
        if node is None:
            raise MergeError(f"{name} refers to no node")
        return node


def read(blob: bytes) -> Node:
    """The tree of a compiled device tree (.dtb, .dtbo)."""
    magic, _, structure, strings = struct.unpack_from(">4I", blob)
    if magic != 0xD00DFEED:
        raise MergeError("not a device tree")

    def text(offset: int) -> str:
        return blob[offset : blob.index(b"\0", offset)].decode()

    root = Node()
    parents = [root]
    at = structure
    while (token := struct.unpack_from(">I", blob, at)[0]) != _END:
        at += 4
        if token == _BEGIN_NODE:
            name = text(at)
            parents.append(parents[-1].children.setdefault(name, Node()))
            at += (len(name) + 4) & ~3
        elif token == _END_NODE:
            parents.pop()
        elif token == _PROPERTY:
            length, name_at = struct.unpack_from(">2I", blob, at)
            parents[-1].properties[text(strings + name_at)] = blob[at + 8 : at + 8 + length]
            at += 8 + ((length + 3) & ~3)
        elif token != _NOP:
            raise MergeError(f"token {token} in a device tree")
    return root.children[""]


def apply(base: Node, overlay: Node, parameters: Mapping[str, str] | None = None) -> Node:
    """The base with the overlay in it; both given trees stay as they are.

    A parameter without a value ("dtoverlay=board,no-lights") has the value "true".

    Raises:
        MergeError: a symbol, parameter, value or fragment that does not exist, with its name.
    """
    base, overlay = copy.deepcopy(base), copy.deepcopy(overlay)
    _resolve_symbols(base, overlay)
    _move_phandles(overlay, _highest_phandle(base))
    overrides = overlay.children.get("__overrides__", Node()).properties
    for name, value in (parameters or {}).items():
        if name not in overrides:
            raise MergeError(f"unknown parameter {name}")
        for target, change in _targets(overrides[name]):
            _override(overlay, target, change, value)
    for name, fragment in overlay.children.items():
        if name.startswith("fragment@") and "__overlay__" in fragment.children:
            _merge(_target(base, overlay, fragment), fragment.children["__overlay__"], top=True)
    return base


def _highest_phandle(tree: Node) -> int:
    return max((node.cells("phandle")[0] for node in tree.everything() if "phandle" in node.properties), default=0)


def _add(node: Node, name: str, offset: int, number: int, to: int | None = None) -> None:
    """Writes a cell: the number, plus what `to` says or what is there."""
    value = bytearray(node.properties[name])
    there = struct.unpack_from(">I", value, offset)[0] if to is None else to
    struct.pack_into(">I", value, offset, number + there)
    node.properties[name] = bytes(value)


def _resolve_symbols(base: Node, overlay: Node) -> None:
    symbols = base.children.get("__symbols__", Node()).properties
    for symbol, places in overlay.children.get("__fixups__", Node()).properties.items():
        if symbol not in symbols:
            raise MergeError(f"can't find symbol {symbol}")
        target = base.at(symbols[symbol].rstrip(b"\0").decode())
        for place in places.decode().split("\0")[:-1]:
            path, name, offset = place.split(":")
            _add(overlay.at(path), name, int(offset), target.cells("phandle")[0], to=0)


def _move_phandles(overlay: Node, by: int) -> None:
    for node in overlay.everything():
        if "phandle" in node.properties:
            _add(node, "phandle", 0, by)

    def references(fixups: Node, node: Node) -> None:
        for name in fixups.properties:
            for offset in fixups.cells(name):
                _add(node, name, offset, by)
        for name, child in fixups.children.items():
            references(child, node.children[name])

    references(overlay.children.get("__local_fixups__", Node()), overlay)


def _targets(override: bytes) -> Iterator[tuple[int, str]]:
    while override:
        end = override.index(b"\0", 4)
        yield struct.unpack_from(">I", override)[0], override[4:end].decode()
        override = override[end + 1 :]


def _override(overlay: Node, target: int, change: str, value: str) -> None:
    if target == 0:
        _switch_fragments(overlay, change, value)
        return
    node = overlay.by_phandle(target)
    if node is None:
        raise MergeError(f"phandle {target} of {change} is not in the overlay")
    if cell := re.fullmatch(r"([^:]+):(\d+)", change):
        name, offset = cell[1], int(cell[2])
        node.properties[name] = node.properties.get(name, b"").ljust(offset + 4, b"\0")
        _add(node, name, offset, _number(value), to=0)
    elif re.fullmatch(r"[^.;:#?!\[{=]+", change):
        if change == "status":
            value = "okay" if _number(value) else "disabled"
        node.properties[change] = value.encode() + b"\0"
    else:
        raise MergeError(f"{change}: this kind of override is not known here")


def _number(value: str) -> int:
    if value in _WORDS:
        return _WORDS[value]
    try:
        return int(value, 0)
    except ValueError:
        raise MergeError(f"{value} is no number") from None


def _switch_fragments(overlay: Node, change: str, value: str) -> None:
    if not re.fullmatch(r"([-+=!]\d+)+", change):
        raise MergeError(f"{change}: this kind of override is not known here")
    for how, number in re.findall(r"([-+=!])(\d+)", change):
        if f"fragment@{number}" not in overlay.children:
            raise MergeError(f"fragment {number} does not exist")
        fragment = overlay.children[f"fragment@{number}"].children
        body = fragment.pop("__overlay__", None) or fragment.pop("__dormant__")
        active = how == "+" or (how == "=" and _number(value) != 0) or (how == "!" and _number(value) == 0)
        fragment["__overlay__" if active else "__dormant__"] = body


def _target(base: Node, overlay: Node, fragment: Node) -> Node:
    if "target-path" in fragment.properties:
        return base.at(fragment.strings("target-path")[0])
    phandle = fragment.cells("target")[0]
    if overlay.by_phandle(phandle):
        raise MergeError("a fragment that changes the overlay itself is not known here")
    return fragment.pointed(base, "target")


def _merge(target: Node, source: Node, *, top: bool) -> None:
    for name, value in source.properties.items():
        if not (top and name == "phandle"):  # a label on __overlay__ is for overrides alone
            target.properties[name] = value
    for name, child in source.children.items():
        _merge(target.children.setdefault(name, Node()), child, top=False)
