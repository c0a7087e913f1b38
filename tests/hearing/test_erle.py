import numpy as np
import pytest

from device.hearing.erle import Erle, dbfs

QUIET, LOUD = 1e-8, 1e-3
"""Mean squares: -80 and -30 dBFS."""


def hear(erle: Erle, seconds: float, heard: float, cleaned: float, played: float) -> None:
    for _ in range(round(seconds * 50)):
        erle.hear(heard, cleaned, played)


@pytest.fixture
def erle() -> Erle:
    """One that has heard the quiet room."""
    erle = Erle()
    hear(erle, 1.0, QUIET, QUIET, 0.0)
    return erle


def test_before_anything_was_played_nothing_is_known(erle):
    assert erle.db is None
    assert erle.reply_db is None


def test_it_is_the_ratio_of_what_was_heard_to_what_is_left(erle):
    hear(erle, 1.0, LOUD, LOUD / 1000, 0.01)
    assert erle.db == pytest.approx(30, abs=0.01)
    assert erle.reply_db == pytest.approx(30, abs=0.01)
    assert erle.return_db == pytest.approx(-10, abs=0.01)


def test_an_echo_that_hardly_stands_out_of_the_noise_is_not_measured(erle):
    hear(erle, 1.0, 10 * QUIET, 10 * QUIET, 0.01)
    assert erle.db is None


def test_an_echo_that_hardly_stands_out_is_known_to_be_soft_although_people_talk_over_it(erle):
    hear(erle, 0.4, 10 * QUIET, 10 * QUIET, 0.01)
    assert erle.soft_dbfs is None, "too early to tell"
    hear(erle, 1.6, 10 * QUIET, 10 * QUIET, 0.01)
    hear(erle, 0.8, LOUD, LOUD, 0.01)
    assert erle.soft_dbfs == pytest.approx(erle.noise_dbfs + 12)
    hear(erle, 1.0, LOUD, LOUD, 0.01)
    assert erle.soft_dbfs is None


def test_a_microphone_that_was_switched_off_is_no_quiet_room(erle):
    hear(erle, 1.0, 0.0, 0.0, 0.0)
    hear(erle, 0.2, QUIET, QUIET, 0.0)
    assert erle.noise_dbfs == pytest.approx(dbfs(QUIET))
    hear(erle, 2.0, 10 * QUIET, 10 * QUIET, 0.01)
    assert erle.soft_dbfs == pytest.approx(erle.noise_dbfs + 12)


def test_a_room_may_be_digitally_silent(erle):
    hear(erle, 1.0, 0.0, 0.0, 0.0)
    hear(erle, 1.0, LOUD, LOUD, 0.0)  # people
    hear(erle, 0.2, 0.0, 0.0, 0.0)
    hear(erle, 1.0, LOUD, LOUD / 1000, 0.01)
    assert erle.db == pytest.approx(30, abs=0.01) and erle.noise_dbfs < -98


def test_what_people_say_while_we_are_silent_is_not_measured(erle):
    hear(erle, 1.0, LOUD, LOUD, 0.0)
    assert erle.db is None


def test_people_who_talk_over_us_do_not_spoil_it(erle):
    rng = np.random.default_rng(1)
    for _ in range(100):
        near = LOUD if rng.random() < 0.6 else 0.0  # they pause 40 % of the time
        hear(erle, 0.1, LOUD + near, LOUD / 1000 + near, 0.01)
    assert erle.reply_db == pytest.approx(30, abs=0.1)


def test_it_follows_when_the_canceller_fails(erle):
    hear(erle, 3.0, LOUD, LOUD / 1000, 0.01)
    hear(erle, 1.1, LOUD, LOUD, 0.01)
    assert erle.db == pytest.approx(0, abs=0.01)


def test_the_next_reply_is_measured_by_itself(erle):
    hear(erle, 2.0, LOUD, LOUD, 0.01)
    erle.forget_reply()
    hear(erle, 2.0, LOUD, LOUD / 1000, 0.01)
    assert erle.reply_db == pytest.approx(30, abs=0.01)


def test_digital_silence_is_minus_100_dbfs():
    assert dbfs(0.0) == -100
    assert dbfs(1.0) == pytest.approx(0, abs=0.01)
