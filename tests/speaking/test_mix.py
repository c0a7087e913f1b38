"""What sounds, made one: ramps to the sample, and what must not change what."""

import numpy as np
import pytest

from device.config import Speaker as Settings
from device.events import Chime, PlayChime, StopPlayback
from device.speaking import chimes
from device.speaking.jitter import JitterBuffer
from device.speaking.loudness import CEILING
from device.speaking.mix import DUCKED, Mix
from tests.fakes import tone

RATE = 24_000
PERIOD = 480
AHEAD = PERIOD // 4
LOUD = 8000


class Room:
    """A mix with a reply in it, heard by periods."""

    def __init__(self, reply=None, rate=RATE, **settings):
        self.buffer = JitterBuffer(0.06)
        self.period = rate // 50
        self.mix = Mix(self.buffer, rate, self.period, Settings(**{"volume": 100, "level": False, **settings}))
        if reply is not None:
            self.buffer.push(1, np.asarray(reply, np.int16).tobytes(), RATE)

    def hear(self, periods=1, stop=None):
        """int64; silence as zeros."""
        heard = []
        for number in range(periods):
            samples = self.mix.period(stop if number == 0 else None)
            heard.append(np.zeros(self.period, np.int64) if samples is None else samples.astype(np.int64))
        return np.concatenate(heard)


@pytest.fixture
def room():
    """In which a steady reply has begun."""
    room = Room(np.full(RATE * 5, LOUD))
    room.hear(5)
    return room


def test_a_duck_takes_18_db_within_10_ms_and_without_a_step(room):
    room.mix.duck(True)
    heard = room.hear(2)
    assert heard[0] == LOUD and np.all(heard[PERIOD // 2 :] == int(LOUD * DUCKED))
    assert np.abs(np.diff(heard)).max() < LOUD / 200
    assert 20 * np.log10(heard[-1] / LOUD) == pytest.approx(-18, abs=0.05)


def test_what_was_ducked_comes_back_in_60_ms_and_without_a_step(room):
    room.mix.duck(True)
    room.hear(5)
    room.mix.duck(False)
    heard = room.hear(5)
    assert heard[2 * PERIOD] < LOUD * 0.8 and np.all(heard[3 * PERIOD :] == LOUD)
    assert np.all(np.diff(heard) >= 0) and np.diff(heard).max() < LOUD / 1000


def test_a_raise_in_the_middle_of_a_duck_and_again_has_no_step(room):
    for ducked in (True, False, True, False, True):
        room.mix.duck(ducked)
        assert np.abs(np.diff(room.hear())).max() < LOUD / 200


def test_chimes_are_not_ducked(room):
    room.mix.duck(True)
    room.hear()
    room.mix.own.take(PlayChime(Chime.WAKE))
    expected = chimes.render(Chime.WAKE, RATE)[: 5 * PERIOD] + LOUD * DUCKED / 32768
    assert np.abs(room.hear(5) / 32768 - expected).max() < 1e-4


def test_a_duck_before_a_reply_holds_from_its_first_sample():
    room = Room(np.full(RATE, LOUD))
    room.mix.duck(True)
    heard = room.hear(5)
    assert heard.max() == int(LOUD * DUCKED)


def test_a_stop_ends_the_duck_and_is_not_louder_than_the_ducked_reply_was(room):
    room.mix.duck(True)
    room.hear(2)
    heard = room.hear(2, StopPlayback(1, "stopped"))
    assert heard.max() <= LOUD * DUCKED and np.all(heard[AHEAD:] == 0)
    room.buffer.push(2, np.full(RATE, LOUD, np.int16).tobytes(), RATE)
    assert room.hear(10)[-1] == LOUD


def test_what_was_played_of_a_stopped_reply_is_known_to_the_sample():
    room = Room(np.full(RATE, LOUD))
    heard = np.count_nonzero(room.hear(20)) + np.count_nonzero(room.hear(1, StopPlayback(1, "stopped")))
    assert room.mix.played_s * RATE == pytest.approx(heard, abs=1.5)  # the fade ends with a zero


def test_a_stop_of_an_older_reply_leaves_the_present_one(room):
    room.hear(5, StopPlayback(1, "stopped"))
    room.buffer.push(2, np.full(RATE, LOUD, np.int16).tobytes(), RATE)
    room.hear(10)
    assert np.all(room.hear(5, StopPlayback(1, "stopped")) == LOUD)


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000, 96_000])
def test_after_a_stop_5_ms_are_heard_at_every_rate_even_while_the_limiter_works(rate):
    room = Room(tone(440, 3, RATE, 1.0), rate)
    before = room.hear(20)
    heard = room.hear(3, StopPlayback(1, "interrupted"))
    ahead = rate // 50 // 4
    assert np.abs(before).max() == pytest.approx(CEILING * 32768, rel=0.02), "the limiter works"
    assert np.abs(heard[:ahead]).max() > 5000 and np.all(heard[ahead:] == 0)
    assert abs(heard[0] - before[-1]) < 32768 * 0.25 * RATE / rate


def test_what_is_too_loud_together_is_limited_and_not_clipped():
    room = Room(tone(330, 2, RATE, 0.9))
    room.hear(10)
    room.mix.own.take(PlayChime(Chime.TIMER))
    heard = room.hear(30)
    assert np.abs(heard).max() <= CEILING * 32768
    assert np.count_nonzero(np.abs(np.diff(heard)) == 0) < 200, "no flat tops"


def test_a_loud_beginning_in_our_own_words_is_foreseen():
    room = Room()
    room.mix.own.say(np.repeat(np.float32([0.5, 2.0]), PERIOD))
    heard = room.hear(2) / 32768
    assert heard[PERIOD - 1] < 0.5 * CEILING / 2 * 1.05 and np.all(heard[: PERIOD - AHEAD - 1] > 0.49)


def test_the_volume_is_behind_the_limiter():
    loud, soft = (Room(tone(330, 1, RATE, 1.0), volume=volume).hear(40) for volume in (100, 50))
    assert np.abs(soft - loud / 4).max() <= 1


@pytest.mark.parametrize(("dbfs", "level"), [(-35, -23), (-8, -20)])
def test_a_reply_begins_at_the_loudness_it_has_and_comes_to_the_level_of_all(dbfs, level):
    sound = tone(330, 8, RATE, 10 ** ((dbfs + 3) / 20))
    heard = Room(sound, level=True).hear(390)
    begin = heard[AHEAD : AHEAD + 5 * PERIOD] / np.where(sound[: 5 * PERIOD] == 0, 1, sound[: 5 * PERIOD])
    assert np.all((np.abs(begin) < 1.02) & ((begin > 0.93) | (np.abs(sound[: 5 * PERIOD]) < 50)))
    end = heard[-50 * PERIOD :] / 32768
    assert 20 * np.log10(np.sqrt(np.mean(end**2))) == pytest.approx(level, abs=0.3)


def test_it_speaks_up_by_3_db_a_second_while_it_speaks(room):
    room = Room(np.full(RATE * 5, LOUD // 4), louder_in_noise=True)
    room.hear(5)
    for noise in (-60, -30):
        room.mix.room(noise)
    heard = room.hear(200) / (LOUD // 4)
    assert 20 * np.log10(heard[50 * PERIOD]) == pytest.approx(3, abs=0.1)
    assert 20 * np.log10(heard[-1]) == pytest.approx(9, abs=0.1)
    assert np.abs(np.diff(heard)).max() < 0.001


def test_it_speaks_up_with_what_the_volume_leaves_before_the_limiter_has_to():
    room = Room(louder_in_noise=True, volume=60)
    for noise in (-60, -30):
        room.mix.room(noise)
    room.hear()
    room.buffer.push(1, tone(330, 2, RATE, 0.85).tobytes(), RATE)
    heard = room.hear(50)[10 * PERIOD :] / 32768
    assert np.abs(heard).max() == pytest.approx(0.85, rel=0.03), "8.9 dB softer, 9 dB louder"
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert spectrum[round(990 * len(heard) / RATE)] < spectrum.max() / 1000, "no distortion"


def test_however_loud_the_room_no_sample_is_over_the_ceiling():
    room = Room(tone(330, 2, RATE, 1.0), louder_in_noise=True)
    for noise in (-60, -20):
        room.mix.room(noise)
    assert np.abs(room.hear(80)).max() <= CEILING * 32768
