"""The settings file as it is first written: every setting with what it means, the defaults as comments.

This one runs in the release's own environment, as it asks `device.config` what there is to set.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from device.config import SECTIONS
from device.settings import allowed, rule_of, toml

HEAD = """\
# The settings of Earshot. A setting with a # before it has its default: take the # away to change it.
# After a change: sudo systemctl restart earshot
# Mistakes are told by: earshot config
"""


def document(chosen: Mapping[str, Mapping[str, object]]) -> str:
    """The whole file. `chosen` gives settings that are no defaults, by section and name."""
    lines = [HEAD]
    for name, section in SECTIONS.items():
        lines.append(f"[{name}]")
        defaults = section()
        for one in dataclasses.fields(section):
            default = getattr(defaults, one.name)
            lines += _setting(one, default, chosen.get(name, {}).get(one.name, default))
        lines.append("")
    return "\n".join(lines)


def _setting(one: "dataclasses.Field[object]", default: object, value: object) -> Iterator[str]:
    rule = rule_of(one)
    limits = f": {allowed(one.type, rule)}" if rule.choices or rule.low is not None else ""
    yield f"# {rule.about}{limits}"
    yield f"{'#' if value == default else ''}{one.name} = {toml(value)}"


def news(text: str, chosen: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """What can be set and `text` does not mention, not even as a comment, as lines of a diff. `chosen`: see `document`."""
    known = set()
    section = ""
    for line in text.splitlines():
        if heading := re.match(r"\s*#?\s*\[\s*(\w+)", line):
            section = heading[1]
        elif setting := re.match(r"\s*#?\s*(\w+)\s*=", line):
            known.add((section, setting[1]))
    for name, kind in SECTIONS.items():
        fresh = [one for one in dataclasses.fields(kind) if (name, one.name) not in known]
        if name == "agent":  # a table of its own, most often
            fresh = [one for one in fresh if one.name != "options"]
        if fresh:
            yield f" [{name}]"
        for one in fresh:
            default = getattr(kind(), one.name)
            value = chosen.get(name, {}).get(one.name, default)
            yield from (f"+{line}" for line in _setting(one, default, value))
