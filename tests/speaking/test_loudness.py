"""Leveller and limiter on sounds of every kind: what comes out, and how its gain moves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.speaking.loudness import CEILING, MOST_BOOST_DB, MOST_DB, TARGET_DBFS, Boost, Leveller, Limiter, from_db
from tests.fakes import tone

RATE = 24_000
PERIOD = 480
AHEAD = PERIOD // 4


def limited(sound, limiter=None, rate=RATE):
    """`sound` (floats) through a limiter, as periods with what follows them; and the gain at each sample."""
    period, ahead = rate // 50, rate // 200
    limiter = limiter or Limiter(rate, ahead)
    count = len(sound) // period
    sound = np.concatenate((sound, np.zeros(ahead))).astype(np.float32)
    blocks = [limiter.limit(sound[n * period : (n + 1) * period + ahead].copy()) for n in range(count)]
    out = np.concatenate(blocks)
    return out, gain_of(sound[: len(out)], out)


def gain_of(sound, out):
    """What each sample was multiplied by; where there is too little to see it, what lies between its neighbours."""
    seen = np.flatnonzero(np.abs(sound) > 1e-3)
    return np.interp(np.arange(len(sound)), seen, out[seen].astype(np.float64) / sound[seen])


def db(factor):
    return 20 * np.log10(factor)


def syllables(seconds, level):
    """Like speech: noise in syllables of 200 ms with pauses, at `level` dBFS without them; float32."""
    noise = np.random.default_rng(1).standard_normal(round(seconds * RATE))
    t = np.arange(len(noise)) / RATE
    envelope = np.where(t % 0.25 < 0.2, np.sin(np.pi * (t % 0.25) / 0.2) ** 2, 0.0)
    sound = noise * envelope * (t % 3.0 < 2.5)
    loud = np.sqrt(np.mean(sound[envelope > 0.3] ** 2))
    return (sound / loud * from_db(level)).astype(np.float32)


def levelled(sound, leveller):
    """`sound` through the leveller, and its gain in dB after each period."""
    out, gains = [], []
    for start in range(0, len(sound) - PERIOD + 1, PERIOD):
        out.append(leveller.level(sound[start : start + PERIOD]))
        gains.append(leveller.gain_db)
    return np.concatenate(out), np.array(gains)


finite = st.floats(-100, 100, width=32)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(finite, min_size=1, max_size=8), min_size=1, max_size=6), st.data())
def test_no_sample_is_over_the_ceiling_whatever_comes_and_however_wrong_what_was_foreseen(kinds, data):
    limiter = Limiter(RATE, AHEAD)
    for values in kinds:
        block = np.zeros(PERIOD + AHEAD, np.float32)
        at = data.draw(st.integers(0, PERIOD))
        block[at : at + len(values)] = values
        assert np.abs(limiter.limit(block)).max() <= CEILING * (1 + 1e-6)


def test_what_is_within_the_ceiling_is_not_touched_at_all():
    sound = tone(440, 0.4, RATE, 0.89) / np.float32(32768)
    out, _ = limited(sound)
    assert np.array_equal(out, sound[: len(out)])


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000, 96_000])
def test_a_peak_is_met_by_a_gain_that_goes_down_before_it_and_up_after_it_without_a_step(rate):
    period = rate // 50
    sound = np.full(30 * period, 0.5)
    sound[10 * period + 7 : 10 * period + 9] = 4.0
    _, gain = limited(sound, rate=rate)
    peak = 10 * period + 7
    assert gain[peak] == pytest.approx(CEILING / 4, rel=1e-3)
    assert np.all(gain[: peak - rate // 200 - 1] == 1.0) and gain[peak - rate // 400] < 0.8
    assert np.abs(np.diff(gain)).max() < 1.01 / (rate / 200), "it falls in no less than 5 ms"
    assert np.abs(np.diff(db(gain[peak + rate // 200 + 2 :]))).max() * rate < 21, "it rises by 20 dB a second"


def test_a_loud_voice_is_not_made_to_breathe():
    _, gain = limited(syllables(8, -12) * 2)
    moving = db(gain[RATE:])
    assert moving.min() < -3, "this sound needs the limiter"
    assert np.abs(moving[24:] - moving[:-24]).max() < 4, "dB in a millisecond"
    rising = moving[RATE // 20 :] - moving[: -RATE // 20]
    assert rising.max() < 1.1, "dB in 50 ms"


def test_after_silence_the_limiter_has_let_go():
    limiter = Limiter(RATE, AHEAD)
    limited(np.full(5 * PERIOD, 3.0), limiter)
    for _ in range(50):
        limiter.rest(PERIOD)
    sound = np.full(2 * PERIOD, 0.5, np.float32)
    assert np.array_equal(limited(sound, limiter)[0], sound)


@pytest.mark.parametrize("dbfs", [-31, -26, -20, -14, -9])
def test_every_voice_comes_to_the_same_loudness(dbfs):
    out, gains = levelled(syllables(12, dbfs), Leveller(0.02))
    last = out[-4 * RATE :].astype(float)
    loud = last[np.abs(last) > 0.003]
    assert gains[-1] == pytest.approx(TARGET_DBFS - dbfs, abs=1.5)
    assert 10 * np.log10(np.mean(loud**2)) == pytest.approx(TARGET_DBFS, abs=2.0)


@pytest.mark.parametrize(("dbfs", "gain"), [(-45, MOST_DB), (0, -MOST_DB)])
def test_a_voice_is_changed_by_12_db_at_the_most(dbfs, gain):
    assert levelled(syllables(8, dbfs), Leveller(0.02))[1][-1] == gain


@pytest.mark.parametrize("dbfs", [-35, -26, -9])
def test_the_level_of_a_first_reply_moves_slowly_from_where_it_is_and_then_hardly_at_all(dbfs):
    out, gains = levelled(syllables(12, dbfs), Leveller(0.02))
    assert abs(gains[0]) <= 0.12 and np.diff(gains).max() * 50 < 3.001 and np.diff(gains).min() * 50 > -6.001
    assert np.ptp(gains[350:]) < 1.0, "dB, once it knows the voice"
    applied = db(gain_of(syllables(12, dbfs)[: len(out)], out))
    assert np.abs(np.diff(applied)).max() < 0.001, "no step from sample to sample"


def test_the_next_reply_begins_as_loud_as_the_last_one_ended():
    leveller = Leveller(0.02)
    _, gains = levelled(syllables(6, -29), leveller)
    out, _ = levelled(np.full(PERIOD, 0.01, np.float32), leveller)
    assert db(out[0] / 0.01) == pytest.approx(gains[-1], abs=1e-3)


def test_silence_between_words_does_not_raise_the_voice():
    leveller = Leveller(0.02)
    _, gains = levelled(syllables(12, -22), leveller)
    quiet = (np.random.default_rng(1).standard_normal(20 * RATE) * from_db(-60)).astype(np.float32)
    assert levelled(quiet, leveller)[1][-1] == pytest.approx(gains[-1], abs=0.5)


def test_one_syllable_is_not_taken_for_the_voice():
    leveller = Leveller(0.02)
    levelled(syllables(0.2, -6), leveller)
    assert levelled(np.zeros(2 * RATE, np.float32), leveller)[1][-1] > -3


def test_pauses_in_which_a_room_is_heard_do_not_count_as_the_voice():
    rng = np.random.default_rng(2)
    room = (rng.standard_normal(20 * RATE) * from_db(-48)).astype(np.float32)
    voice = syllables(20, -26) * (np.arange(20 * RATE) % (2 * RATE) < RATE / 2)
    assert levelled(voice + room, Leveller(0.02))[1][-1] == pytest.approx(6, abs=1.5)


def test_one_loud_word_does_not_make_the_voice_softer_for_long():
    leveller = Leveller(0.02)
    before = levelled(syllables(12, -20), leveller)[1][-1]
    loud = levelled(syllables(0.5, -8), leveller)[1][-1]
    after = levelled(syllables(20, -20), leveller)[1][-1]
    assert before - loud < 3.5 and after == pytest.approx(before, abs=1.0)


def test_a_quiet_room_needs_no_more_and_a_loud_one_9_db_at_the_most():
    boost = Boost()
    assert boost.of(-55.0) == 0.0
    assert boost.of(-50.0) == 0.0
    assert boost.of(-39.0) == pytest.approx(5.0)
    assert boost.of(-20.0) == MOST_BOOST_DB


def test_a_quieter_room_than_any_before_is_the_new_measure():
    boost = Boost()
    assert boost.of(-40.0) == 0.0 and boost.of(-60.0) == 0.0
    assert boost.of(-40.0) == pytest.approx(7.0)


def test_the_own_noise_of_a_microphone_is_no_quieter_room():
    boost = Boost()
    boost.of(-100.0)
    assert boost.of(-69.0) == 0.0
