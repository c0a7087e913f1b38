"""The short form of `tests.bench.endurance`: sessions in a row, and hostile messages, leave nothing behind."""

import logging

import pytest

from device.session.protocols import PROTOCOLS
from tests.bench.endurance import hostile, sessions
from tests.ways import WAYS


@pytest.fixture(autouse=True)
def no_log():
    """pytest keeps every line of it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def missed(rows):
    return [row for row in rows if not row[-1]]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_thirty_sessions_in_a_row_leave_nothing_behind(way):
    assert missed(sessions(way, 30)) == []


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_thousand_hostile_messages_let_no_exception_escape_and_leave_nothing_behind(protocol):
    assert missed(hostile(protocol, 2000)) == []
