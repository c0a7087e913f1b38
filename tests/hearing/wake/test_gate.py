"""The silence gate: closed in what the room sounds like all the time, open in what stands out from it."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from device.hearing.wake.engine import STEP_S, STEP_SAMPLES
from device.hearing.wake.gate import FLOOR_S, HOLD_S, Gate
from tests.fakes import pink_noise, said, silence, tone

KNOWN_S = FLOOR_S + HOLD_S
"""After so long in a steady noise it is closed."""
LONG_S = KNOWN_S + 0.5
LOW, HIGH = -32_768, 32_767


def opened(gate, sound):
    """Whether it was open, step by step; the rest of the sound that makes no step is left out."""
    steps = sound[: len(sound) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES)
    return np.array([gate.open(step) for step in steps])


def count(seconds):
    """The steps that lie within so long, the last of them in part."""
    return int(np.ceil(seconds / STEP_S))


def closed(room):
    """A gate that has heard a piece of `room` for long, and is closed."""
    gate = Gate()
    assert not opened(gate, room)[-1]
    return gate


@pytest.fixture(scope="module")
def minute():
    """Of pink noise, at full scale."""
    return pink_noise(60, 0.2).astype(np.float32) / 0.2


@pytest.mark.parametrize("dbfs", [-80, -60, -40, -20, -12])
def test_in_a_steady_noise_it_is_closed_however_loud_that_is(minute, dbfs):
    ran = opened(Gate(), np.rint(minute * 10 ** (dbfs / 20)).astype(np.int16))
    assert not ran[count(KNOWN_S)]
    assert ran[count(KNOWN_S) :].mean() < 0.1, "a noise that is steady seems to rise now and then"


def test_digital_silence_closes_it_and_the_faintest_sound_opens_it():
    for room in (
        silence(LONG_S),
        np.full(round(LONG_S * 16_000), 1, np.int16),
        np.full(round(LONG_S * 16_000), LOW, np.int16),
    ):
        ran = opened(Gate(), room)
        assert not ran[count(KNOWN_S) :].any()
    assert opened(closed(silence(LONG_S)), pink_noise(0.5, 0.001)).all()


def test_it_is_open_in_the_first_seconds_until_the_room_is_known():
    for room in (silence(LONG_S), pink_noise(LONG_S, 0.02)):
        assert opened(Gate(), room)[: count(HOLD_S)].all()


VOICES = ["flite:slt", "flite:rms", "flite:kal16", "espeak:en-us", "espeak:en-us+f3"]


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize(("snr_db", "within_s"), [(20, 0.32), (10, 0.32), (0, 0.48)])
def test_a_word_that_rises_from_the_noise_opens_it(voice, snr_db, within_s):
    word = said("hey jarvis", voice).astype(np.float32)
    word *= 0.01 * 32_768 / np.sqrt((word**2).mean()) * 10 ** (snr_db / 20)
    gate = closed(pink_noise(LONG_S, 0.01))
    ran = opened(gate, np.rint(word + pink_noise(2, 0.01, seed=2)[: len(word)]).clip(LOW, HIGH).astype(np.int16))
    assert ran.any() and (ran.argmax() + 1) * STEP_S <= within_s


def test_it_stays_open_for_a_while_after_what_stood_out_and_then_closes():
    gate = closed(silence(LONG_S))
    assert gate.open(tone(440, STEP_S, 16_000))
    ran = opened(gate, silence(HOLD_S + 1))
    hold = int(HOLD_S / STEP_S)
    assert ran[:hold].all() and not ran[hold:].any()


def test_each_sound_begins_the_while_anew():
    gate = closed(silence(LONG_S))
    for _ in range(5):
        assert gate.open(tone(440, STEP_S, 16_000))
        assert opened(gate, silence(HOLD_S - STEP_S)).all()


def test_a_fan_that_is_switched_on_opens_it_and_is_soon_what_the_room_sounds_like():
    gate = closed(pink_noise(LONG_S, 0.001))
    ran = opened(gate, pink_noise(12, 0.02, seed=2))
    assert ran[:2].all() and not ran[count(KNOWN_S) :].any()


MOMENTS = range(0, count(FLOOR_S), 4)
"""Steps by which something may come later: nothing may depend on when the gate was built."""


def test_when_a_fan_is_switched_off_a_whisper_opens_it_at_any_moment():
    fan = pink_noise(LONG_S + FLOOR_S, 0.05)
    for moment in MOMENTS:
        gate = closed(fan[: round(LONG_S * 16_000) + moment * STEP_SAMPLES])
        assert not opened(gate, pink_noise(0.24, 0.001, seed=2)).any()
        assert opened(gate, pink_noise(0.24, 0.005, seed=3)).any()


def test_a_sound_without_a_pause_keeps_it_open_for_a_while_whenever_it_begins():
    noise = pink_noise(LONG_S + FLOOR_S, 0.001)
    for moment in MOMENTS:
        gate = closed(noise[: round(LONG_S * 16_000) + moment * STEP_SAMPLES])
        assert opened(gate, tone(440, FLOOR_S / 2 + HOLD_S, 16_000)).all()


def test_noise_that_grows_by_half_opens_it():
    gate = closed(pink_noise(LONG_S, 0.01))
    assert opened(gate, pink_noise(0.5, 0.01 * 10 ** (5 / 20), seed=2)).any()


@pytest.mark.parametrize("hertz", [250, 1000, 3000])
def test_a_tone_opens_it_in_whatever_band_of_speech_it_is(hertz):
    noise = pink_noise(1, 0.01, seed=2)[: 10 * STEP_SAMPLES]
    assert opened(closed(pink_noise(LONG_S, 0.01)), noise + tone(hertz, 0.8, 16_000, level=0.02)).any()


SAMPLES = st.one_of(
    st.sampled_from([LOW, HIGH, 0, 1]).map(lambda value: np.full(STEP_SAMPLES, value, np.int16)),
    st.integers(0, 2**32 - 1).map(
        lambda seed: np.random.default_rng(seed).integers(LOW, HIGH, STEP_SAMPLES, np.int16, endpoint=True)
    ),
    st.sampled_from([1, 2, 4, 640]).map(lambda n: np.resize(np.repeat(np.int16([LOW, HIGH]), n), STEP_SAMPLES)),
    st.tuples(st.integers(0, STEP_SAMPLES - 1), st.sampled_from([LOW, HIGH, 1])).map(
        lambda click: np.where(np.arange(STEP_SAMPLES) == click[0], click[1], 0).astype(np.int16)
    ),
)


@how(max_examples=40, deadline=None)
@given(st.lists(SAMPLES, min_size=1, max_size=80))
def test_whatever_is_heard_it_is_open_or_closed_and_nothing_overflows(steps):
    gate = Gate()
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in steps:
            before = step.copy()
            assert type(gate.open(step)) is bool
            assert np.array_equal(step, before)
