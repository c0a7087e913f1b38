"""When it is night, by the owner's hours. Pure.

Only the clock on the wall counts: where summer time begins or ends, a night is an hour shorter or longer, and nothing else.
"""

import re
from datetime import time

_HOURS = re.compile(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)", re.ASCII)
_LOOSE = re.compile(r"(\d{1,2})(?:[.:h]?(\d\d))?h?(am|pm)?", re.ASCII)
_DASH = re.compile("[-\u2013\u2014]")


def hours(text: str) -> tuple[time, time] | None:
    """From when to when it is night, of "22:00-06:30"; None for an empty text, which is never.

    Raises:
        ValueError: it is something else; the message is the predicate of a sentence.
    """
    if not text.strip():
        return None
    if not (parts := _HOURS.fullmatch(text.strip())):
        raise ValueError(f'must be two times of day, such as "22:00-06:30", or empty for never.{_meant(text)}')
    hour, minute, end_hour, end_minute = map(int, parts.groups())
    try:
        begin, end = time(hour, minute), time(end_hour, end_minute)
    except ValueError:
        raise ValueError(f"names a time that no day has: they go from 00:00 to 23:59.{_meant(text)}") from None
    if begin == end:
        raise ValueError("ends when it begins; leave it empty if it is never night.")
    return begin, end


def is_night(night: tuple[time, time] | None, now: time) -> bool:
    """Whether `now`, of the clock on the wall, is in `night`, which begins and ends as `hours` says and may pass midnight."""
    if night is None:
        return False
    begin, end = night
    return begin <= now < end if begin < end else not end <= now < begin


def softened(volume: int, percent: int) -> int:
    """So many percent of a volume, but no silence that was not asked for."""
    return max(round(volume * percent / 100), min(volume, percent, 1))


def _meant(text: str) -> str:
    """A question to append, where somebody wrote the times in another way."""
    found = [_LOOSE.fullmatch(part) for part in _DASH.split("".join(text.lower().split()))]
    try:
        begin, end = (_time(one) for one in found if one)
    except ValueError:  # not two, or not times either
        return ""
    return f' Did you mean "{begin:%H:%M}-{end:%H:%M}"?' if begin != end else ""


def _time(found: "re.Match[str]") -> time:
    hour, minute = int(found[1]), int(found[2] or 0)
    if found[3] and 1 <= hour <= 12:
        hour = hour % 12 + (12 if found[3] == "pm" else 0)
    return time(0 if (hour, minute) == (24, 0) else hour, minute)
