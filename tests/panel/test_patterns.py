"""What each look is on the lamps."""

from itertools import combinations, islice, pairwise

import pytest

from device.panel.look import Look
from device.panel.patterns import FRAME_S, ONE_LAMP, THREE_LAMPS

TABLES = [THREE_LAMPS, ONE_LAMP]
STEADY = {Look.MUTED, Look.LISTENING, Look.IDLE}


def seconds(pattern, s):
    return list(islice(pattern(), round(s / FRAME_S)))


def on_and_off(frames):
    """What is seen without colour or shades: which lamps are lit when. A steady frame is seen on and on."""
    lit = [tuple(level > 0 for level in frame) for frame in frames]
    return (lit * 100)[:100]


@pytest.mark.parametrize("table", TABLES)
def test_every_look_has_a_pattern_of_frames_that_a_lamp_can_show(table):
    assert set(table) == set(Look)
    for pattern in table.values():
        for frame in seconds(pattern, 4):
            assert len(frame) == 3 and all(type(level) is float and 0 <= level <= 1 for level in frame)


@pytest.mark.parametrize("table", TABLES)
def test_a_steady_pattern_is_one_frame_and_the_others_never_end(table):
    for look, pattern in table.items():
        frames = seconds(pattern, 20)
        assert len(frames) == (1 if look in STEADY else 500)
        assert len(set(frames)) == 1 or look not in STEADY


@pytest.mark.parametrize("table", TABLES)
def test_all_looks_differ(table):
    for one, other in combinations(Look, 2):
        assert seconds(table[one], 4) != seconds(table[other], 4), (one, other)


def test_three_lamps_tell_the_looks_apart_by_which_are_lit_when():
    seen = {tuple(on_and_off(seconds(pattern, 4))) for pattern in THREE_LAMPS.values()}
    assert len(seen) == len(Look)


def test_one_lamp_has_a_rhythm_or_a_colour_of_its_own_for_each_look():
    def colours(frames):
        return {tuple(round(level / max(frame), 1) for level in frame) for frame in frames if max(frame)}

    seen = [
        (on_and_off([(max(f), 0, 0) for f in fs]), colours(fs)) for fs in (seconds(p, 4) for p in ONE_LAMP.values())
    ]
    assert all(one != other for one, other in combinations(seen, 2))


@pytest.mark.parametrize("table", TABLES)
def test_idle_is_dark_and_every_other_look_is_bright_at_some_time(table):
    for look, pattern in table.items():
        assert max(max(frame) for frame in seconds(pattern, 4)) == pytest.approx(0 if look is Look.IDLE else 1)


@pytest.mark.parametrize("table", TABLES)
def test_nothing_flashes_more_than_three_times_a_second(table):
    for look, pattern in table.items():
        lit = [any(frame) for frame in seconds(pattern, 1)]
        assert sum(now and not before for before, now in pairwise(lit)) <= 3, look


def test_a_pattern_shown_again_begins_anew():
    assert seconds(THREE_LAMPS[Look.SPEAKING], 1) == seconds(THREE_LAMPS[Look.SPEAKING], 1)
