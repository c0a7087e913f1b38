"""How long to wait before the next try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.session.retry import FIRST_S, LONGEST_S, delay_s


def test_the_wait_doubles_up_to_half_a_minute():
    assert [delay_s(attempt, 1.0) for attempt in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_jitter_takes_off_up_to_a_half():
    assert delay_s(3, 0.0) == pytest.approx(2.0) and delay_s(3, 0.5) == pytest.approx(3.0)


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_however_often_it_is_tried_the_wait_has_its_limits(attempt, jitter):
    assert FIRST_S / 2 <= delay_s(attempt, jitter) <= LONGEST_S
