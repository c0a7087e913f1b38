"""What each look is on the lamps."""

from itertools import combinations, islice, pairwise

import pytest

from device.panel.look import Look
from device.panel.patterns import FRAME_S, OFF, ONE_LAMP, THREE_LAMPS, dimmed
from device.state import ENDING_S

TABLES = [THREE_LAMPS, ONE_LAMP]
STEADY = {Look.MUTED, Look.LISTENING, Look.IDLE}
TOLD_BY_RHYTHM = set(Look) - {Look.ENDING}
"""That one is the listening light, which goes down."""


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
    for look in TOLD_BY_RHYTHM:
        frames = seconds(table[look], 20)
        assert len(frames) == (1 if look in STEADY else 500)
        assert len(set(frames)) == 1 or look not in STEADY


@pytest.mark.parametrize("table", TABLES)
def test_before_it_stops_listening_that_light_goes_down_slowly_and_never_out(table):
    (listening,) = table[Look.LISTENING]()
    frames = list(table[Look.ENDING]())
    assert len(frames) == pytest.approx(ENDING_S / FRAME_S, abs=1)
    assert frames[0] == listening and 0.02 < max(frames[-1]) < 0.2
    assert all(0 <= max(one) - max(other) < 0.05 for one, other in pairwise(frames))
    assert on_and_off(frames) == on_and_off([listening])


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("part", [1.0, 0.2, 0.01, 0.001])
def test_a_dimmed_look_has_the_same_rhythm_and_is_never_brighter(table, part):
    for look, pattern in table.items():
        plain, dim = seconds(pattern, 2), list(islice(dimmed(pattern(), part), round(2 / FRAME_S)))
        assert on_and_off(dim) == on_and_off(plain), look
        assert all(
            level <= max(part * plain, min(part, 0.01))
            for level, plain in zip(sum(dim, ()), sum(plain, ()), strict=True)
        )
        assert min(level for level in sum(dim, (1.0,)) if level) >= min(part, 0.01), "less is nothing to the pins"
        assert part < 1 or dim == plain


def test_of_nothing_nothing_is_seen():
    assert set(islice(dimmed(THREE_LAMPS[Look.SPEAKING](), 0.0), 100)) == {OFF}


@pytest.mark.parametrize("table", TABLES)
def test_all_looks_differ(table):
    for one, other in combinations(Look, 2):
        assert seconds(table[one], 4) != seconds(table[other], 4), (one, other)


def test_three_lamps_tell_the_looks_apart_by_which_are_lit_when():
    seen = {tuple(on_and_off(seconds(THREE_LAMPS[look], 4))) for look in TOLD_BY_RHYTHM}
    assert len(seen) == len(TOLD_BY_RHYTHM)


def test_one_lamp_has_a_rhythm_or_a_colour_of_its_own_for_each_look():
    def colours(frames):
        return {tuple(round(level / max(frame), 1) for level in frame) for frame in frames if max(frame)}

    seen = [
        (on_and_off([(max(f), 0, 0) for f in fs]), colours(fs))
        for fs in (seconds(ONE_LAMP[look], 4) for look in TOLD_BY_RHYTHM)
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
