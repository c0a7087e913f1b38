"""Numbers and durations between words and figures. Pure."""

from collections.abc import Sequence

UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SECONDS = {"second": 1, "minute": 60, "hour": 3600}


def number_words(number: int) -> str:
    """0 to 100 in words; greater numbers stay figures."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        ten, unit = divmod(number, 10)
        return f"{TENS[ten - 2]} {UNITS[unit]}" if unit else TENS[ten - 2]
    return "one hundred" if number == 100 else str(number)


def number_in(words: Sequence[str]) -> int | None:
    """The first number from 0 to 100 in `words`; "a", "an" and "half" are none."""
    for i, word in enumerate(words):
        following = words[i + 1] if i + 1 < len(words) else ""
        if word in ("a", "one") and following == "hundred":
            return 100
        if word in UNITS:
            return UNITS.index(word)
        if word in TENS:
            unit = UNITS.index(following) if following in UNITS[1:10] else 0
            return (TENS.index(word) + 2) * 10 + unit
    return None


def seconds_in(words: Sequence[str]) -> float:
    """The sum of all durations in `words`, in seconds; 0 if there is none."""
    total, start = 0.0, 0
    for i, word in enumerate(words):
        period = SECONDS.get(word.removesuffix("s"))
        if period is None:
            continue
        part = words[start:i]
        number = number_in(part)
        total += period * (number if number is not None else 0.5 if "half" in part else 1)
        start = i + 1
    return total


def duration_words(seconds: float) -> str:
    """A duration as it is said, in its two greatest periods: "one hour and five minutes"."""
    left = max(1, round(seconds))
    if left > 3600:
        left = round(left / 60) * 60  # nobody wants the seconds of hours
    parts = []
    for name, period in sorted(SECONDS.items(), key=lambda item: -item[1]):
        number, left = divmod(left, period)
        if number:
            parts.append(f"{number_words(number)} {name}{'s' if number > 1 else ''}")
    return " and ".join(parts[:2])
