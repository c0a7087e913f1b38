"""When it is night, by hours that an owner writes."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import checks, night

TIMES = st.times().map(lambda t: t.replace(second=0, microsecond=0))
ANY = st.times()


def text(begin, end):
    return f"{begin:%H:%M}-{end:%H:%M}"


@pytest.mark.parametrize(
    ("now", "is_night"),
    [
        ("21:59:59", False),
        ("22:00", True),
        ("23:59:59", True),
        ("00:00", True),
        ("06:29:59", True),
        ("06:30", False),
        ("12:00", False),
    ],
)
def test_a_night_over_midnight_begins_and_ends_to_the_second(now, is_night):
    assert night.is_night(night.hours("22:00-06:30"), time.fromisoformat(now)) is is_night


@pytest.mark.parametrize(
    ("now", "is_night"), [("12:59", False), ("13:00", True), ("14:59", True), ("15:00", False), ("00:00", False)]
)
def test_a_nap_at_noon_is_a_night_too(now, is_night):
    assert night.is_night(night.hours("13:00-15:00"), time.fromisoformat(now)) is is_night


@given(ANY)
def test_without_hours_it_is_never_night(now):
    assert night.hours("") is night.hours("  ") is None
    assert not night.is_night(None, now)


@given(TIMES, TIMES, ANY)
def test_what_is_no_night_is_the_day_between(begin, end, now):
    if begin != end:
        assert night.is_night(night.hours(text(begin, end)), now) is not night.is_night(
            night.hours(text(end, begin)), now
        )


@given(TIMES, TIMES)
def test_it_is_as_long_as_the_hours_say(begin, end):
    if begin == end:
        return
    minutes = [time(n // 60, n % 60) for n in range(24 * 60)]
    long = timedelta(hours=end.hour - begin.hour, minutes=end.minute - begin.minute) % timedelta(days=1)
    assert sum(night.is_night((begin, end), now) for now in minutes) == long // timedelta(minutes=1)


@pytest.mark.parametrize(("day", "long"), [("2026-03-29", 7.5), ("2026-10-25", 9.5), ("2026-06-01", 8.5)])
def test_where_the_clock_is_changed_the_one_on_the_wall_counts(day, long):
    begin = datetime.fromisoformat(f"{day}T12:00+00:00") - timedelta(days=1)
    hours = night.hours("22:00-06:30")
    quarters = (begin + timedelta(minutes=15 * n) for n in range(96))
    assert sum(night.is_night(hours, at.astimezone(ZoneInfo("Europe/Berlin")).time()) for at in quarters) / 4 == long


@pytest.mark.parametrize("written", ["22:00-6:30", " 22:00 - 06:30 "])
def test_hours_may_be_written_with_spaces_and_without_noughts(written):
    assert night.hours(written) == (time(22), time(6, 30))
    assert not list(checks.hours(written))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("22-6", "22:00-06:00"), ("22.00-6.30", "22:00-06:30"), ("10pm-6:30am", "22:00-06:30"),
        ("10 PM - 12 AM", "22:00-00:00"),
        ("2200-0630", "22:00-06:30"), ("22h-6h30", "22:00-06:30"), ("22:00\u201306:30", "22:00-06:30"),
        ("18:00-24:00", "18:00-00:00"),
    ],
)  # fmt: skip
def test_hours_in_another_way_of_writing_are_understood_but_not_taken(written, meant):
    (said,) = checks.hours(written)
    assert said.endswith(f'Did you mean "{meant}"?')
    assert not list(checks.hours(meant))


@pytest.mark.parametrize(
    "written",
    [
        "25:00-06:00",
        "24:30-06:00",
        "22:00-06:75",
        "22:00",
        "22:00-06:00-07:00",
        "always",
        "-",
        "22:00-22:00",
        "30pm-6am",
    ],
)
def test_what_are_no_hours_is_refused_in_a_sentence(written):
    (said,) = checks.hours(written)
    assert said.startswith(f'is "{written}", but ') and said.endswith(".")


@given(st.text())
def test_whatever_is_written_is_hours_or_refused(written):
    for said in checks.hours(written):
        assert said.startswith("is ")


@given(st.integers(0, 100), st.integers(0, 100))
def test_the_night_is_softer_and_silent_only_where_that_was_asked_for(volume, percent):
    soft = night.softened(volume, percent)
    assert 0 <= soft <= volume
    assert (soft == 0) is (volume == 0 or percent == 0)
    assert soft == pytest.approx(volume * percent / 100, abs=1)
