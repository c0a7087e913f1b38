"""What is made of a network that was seen: how much of a reply is held back, in periods of 20 ms."""

import numpy as np
import pytest

from device.speaking.network import LEAST, MOST, Network


def reply(network, late, *, periods=1.0, pace=1.0, begin=0):
    """A reply whose chunks come so many periods `late` each, in order; what is held back for the next one."""
    network.begin()
    times = np.maximum.accumulate(np.arange(len(late)) * periods / pace + np.asarray(late))
    for time in times:
        network.came(begin + int(np.ceil(time)), periods)
    network.begin()
    return network.held


def unsteady(seconds, worst, seed=1):
    return np.random.default_rng(seed).uniform(0, worst, 50 * seconds)


@pytest.fixture
def network():
    return Network(0.16)


def test_while_nothing_is_known_it_is_what_was_set(network):
    network.begin()
    assert network.held == 8


def test_what_was_set_holds_for_the_whole_beginning_of_the_first_reply(network):
    network.begin()
    for now in range(8):
        network.came(now, 1)
    assert network.held == 8


def test_a_calm_network_has_the_least_after_half_a_second_of_speech(network):
    assert reply(network, [0] * 25) == pytest.approx(LEAST)


def test_what_comes_faster_than_it_is_played_has_the_least_too(network):
    assert reply(network, [0] * 50, pace=5) == LEAST and network.pause == 0


def test_an_unsteady_network_has_what_covers_its_delays(network):
    assert 8 <= reply(network, unsteady(3, 7)) <= 11


def test_it_grows_with_the_delays_and_not_over_the_most():
    held = [reply(Network(0.16), unsteady(4, worst)) for worst in (0, 2, 4, 8, 16)]
    assert held == sorted(held) and held[0] == LEAST and 12 <= held[-1] <= MOST


def test_it_is_remembered_by_the_next_replies(network):
    reply(network, unsteady(3, 7))
    assert reply(network, [0] * 10) >= 8


def test_ten_calm_seconds_of_speech_make_it_forget(network):
    reply(network, unsteady(3, 7))
    for _ in range(5):
        held = reply(network, [0] * 100)
    assert held == LEAST


def test_a_single_late_chunk_is_chance_but_two_are_the_network(network):
    late = [0] * 200
    late[70] = 6
    assert reply(network, late) == LEAST
    late[120] = 6
    assert reply(network, late) >= 8


def test_a_stall_that_no_buffer_covers_changes_nothing_nor_does_what_waited_behind_it(network):
    late = [0] * 300
    late[70] = late[130] = late[180] = 25
    assert reply(network, late) == LEAST


def test_a_stall_that_is_made_good_slowly_changes_little(network):
    late = np.zeros(300)
    for at in (70, 130, 180):
        late[at : at + 12] = np.arange(36, 0, -3)
    assert reply(network, late) <= LEAST + MOST / 2 * 1.25


def test_after_a_stall_delays_count_again(network):
    late = np.zeros(300)
    late[70:82] = np.arange(36, 0, -3)
    late[95] = late[150] = late[220] = 6
    assert reply(network, late) >= 8


def test_a_pause_of_a_sender_that_is_far_ahead_is_no_delay(network):
    network.begin()
    for begin in (0, 60, 120):
        for now in range(begin, begin + 3):
            for _ in range(50):
                network.came(now, 1)
    network.begin()
    assert network.held == LEAST and network.pause == 0


def test_a_first_chunk_that_is_late_itself_shows_by_what_comes_sooner(network):
    for _ in range(2):
        reply(network, [6] + [0] * 60 + [6] + [0] * 60)
    assert network.held >= 8


def test_chunks_of_100_ms_at_the_pace_of_speech_must_last_until_the_next(network):
    assert reply(network, [0] * 40, periods=5) == LEAST
    assert network.pause == 4


def test_what_it_learns_counts_within_a_long_reply_too(network):
    network.begin()
    for now in range(100):
        network.came(now, 1)
    assert network.held == LEAST


def test_a_reply_that_goes_on_after_a_stall_is_measured_as_before(network):
    late = unsteady(8, 7)
    late[40] = late[90] = 25
    assert reply(network, late) >= 8


def test_a_pause_in_a_reply_is_no_stall(network):
    late = np.concatenate((unsteady(2, 7), 150 + unsteady(4, 7)))
    for _ in range(2):
        held = reply(network, late)
    assert held >= 8 and network.pause < 10
