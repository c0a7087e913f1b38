"""The linear filter takes out our echo, and mutes nobody."""

import numpy as np

from device.audio import FRAME_SAMPLES, RATE
from device.hearing.linear import Linear
from tests.fakes import pink_noise, silence


def echo_of(played, late_s=0.03):
    """In a small room: a direct sound and a tail of 0.1 s, half as loud on the whole."""
    rng = np.random.default_rng(2)
    t = np.arange(round(0.1 * RATE)) / RATE
    response = rng.standard_normal(len(t)) * np.exp(-t / 0.015)
    response[0] = 5
    response *= 0.5 / np.sqrt(np.sum(response**2))
    heard = np.convolve(played, response)[: len(played)]
    return np.concatenate((np.zeros(round(late_s * RATE)), heard))[: len(played)]


def left_of(played, heard, linear=None):
    linear = linear or Linear()
    frames = zip(played.reshape(-1, FRAME_SAMPLES), heard.reshape(-1, FRAME_SAMPLES), strict=True)
    return np.concatenate([linear.take_out(ours, all_of_it) for ours, all_of_it in frames])


def db(sound):
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-9)


def test_an_echo_is_softer_by_20_db_after_2_s():
    played = pink_noise(3, 0.1)
    heard = echo_of(played).astype(np.int16)
    left = left_of(played, heard)
    assert db(heard[2 * RATE :]) - db(left[2 * RATE :]) > 20


def test_who_talks_over_it_is_left_as_they_are():
    played, person = pink_noise(4, 0.1), pink_noise(4, 0.03, seed=5)
    person[: 2 * RATE] = 0
    heard = (echo_of(played) + person).astype(np.int16)
    changed = left_of(played, heard)[2 * RATE :] - person[2 * RATE :].astype(float)
    assert db(person[2 * RATE :]) - db(changed) > 8


def test_nothing_is_changed_while_nothing_was_played():
    person = pink_noise(1, 0.05)
    assert np.abs(left_of(silence(1), person) - person.astype(int)).max() <= 1


def test_it_never_makes_a_frame_louder():
    linear = Linear()
    played = pink_noise(2, 0.1)
    left_of(played, echo_of(played).astype(np.int16), linear)
    heard = echo_of(played, late_s=0.09).astype(np.int16)  # all is different now
    left = left_of(played, heard, linear)
    frames = zip(left.reshape(-1, FRAME_SAMPLES), heard.reshape(-1, FRAME_SAMPLES), strict=True)
    assert all(db(ours) <= db(all_of_it) + 0.1 for ours, all_of_it in frames)
