"""The benchmark of agents over a network measures what it says; its figures are asked for elsewhere."""

import numpy as np
import pytest

from device.demo.voices import say
from tests.bench import agents, cuts
from tests.house import SPEECH, VOICE
from tests.room.cable import Cable
from tests.ways import WAYS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cable():
    if reason := Cable.why_not():
        pytest.skip(reason)
    with Cable(agents.DELAY_S) as cable:
        yield cable


def test_the_round_trip_is_the_cable_s(cable):
    assert agents.round_trip(cable) == pytest.approx(2 * agents.DELAY_S, abs=0.005)


def test_every_way_in_has_its_round_trips():
    assert set(agents.TRIPS) == set(WAYS)


@pytest.mark.parametrize("name", list(agents.TRIPS))
def test_a_session_over_a_network_begins_in_steps_that_are_seen(cable, card, tmp_path, name):
    way = WAYS[name]
    [wake] = agents.wakes(cable, card, tmp_path, way, 1)

    assert 2 * agents.DELAY_S * agents.TRIPS[name] < wake.first < 1.0
    assert {f"{step}_ms" for step, seconds in wake.steps.items() if seconds} == way.steps
    assert wake.connected <= wake.ready < wake.first - agents.DELAY_S
    if wake.steps["token"]:  # what can overlap does
        assert wake.connected < sum(wake.steps.values()) - 2 * agents.DELAY_S


def test_a_cut_in_speech_is_measured(cable, card, tmp_path):
    cut = cuts.cut_off(cable, card, tmp_path, WAYS["datagrid"], 1.0)
    what, _, got, met = cuts.row_of("datagrid", 1.0, cut)
    assert met, f"{what}: {got}"
    assert cut.compared > 200


@pytest.mark.parametrize(("skipped_s", "lost_s", "doubled_s"), [(0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (-0.2, 0.0, 0.2)])
def test_what_is_lost_or_doubled_between_connections_is_seen(skipped_s, lost_s, doubled_s):
    class Visit:
        def __init__(self, pcm: np.ndarray) -> None:
            self.audio = pcm.tobytes()

    speech = say(SPEECH, VOICE)
    room = np.interp(np.arange(0, len(speech), 1 / 3), np.arange(len(speech)), speech / 32768)
    middle, skipped = 80_000, round(skipped_s * 16_000)
    visits = [Visit(speech[8_000:middle]), Visit(speech[:0]), Visit(speech[middle + skipped : -8_000])]

    lost, doubled, differ, compared = cuts.losses(room, WAYS["datagrid"], visits)
    assert (lost, doubled) == (pytest.approx(lost_s, abs=1e-3), pytest.approx(doubled_s, abs=1e-3))
    assert differ == 0 and compared > 200


def test_a_reach_that_is_missed_is_told():
    good = cuts.Cut(0.0, 0.02, 0, 500, 1.0, [], 2)
    for bad in ({"lost_s": 0.1}, {"doubled_s": 0.2}, {"differ": 1}, {"back_s": 20.0}):
        assert cuts.row_of("datagrid", 5.0, good)[3]
        assert not cuts.row_of("datagrid", 5.0, good._replace(**bad))[3]
    assert cuts.row_of("datagrid", 20.0, good._replace(lost_s=11.2))[3]
