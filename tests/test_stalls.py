"""What is tried again, and what is not. The machine's stalls are a lever here."""

import signal
import time

import pytest

from tests import stalls
from tests.stalls import Witness

pytest_plugins = ["pytester"]

FAILS = """
    import pytest
    from pathlib import Path

    TRIES = Path("tries")

    @pytest.fixture(scope="module")
    def card():
        return "there"

    @pytest.fixture
    def tries(card):
        TRIES.write_text((TRIES.read_text() if TRIES.exists() else "") + "x")
        return len(TRIES.read_text())

    {marker}
    def test_something(tries):
        assert tries > {failures}

    def test_something_else(card):
        assert card == "there"
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Runs a test that fails so many times, on a machine that stood still or not: the outcomes, the tries, and the text."""

    def run(*, failures: int, stall_s: float, marker: str = "@pytest.mark.slow"):
        monkeypatch.setattr(Witness, "__enter__", lambda self: self)
        monkeypatch.setattr(Witness, "__exit__", lambda self, *_: None)
        monkeypatch.setattr(Witness, "longest_s", lambda self, since: stall_s)
        pytester.makepyfile(FAILS.format(marker=marker, failures=failures))
        pytester.makeini("[pytest]\nmarkers = slow")
        result = pytester.runpytest_inprocess("-p", "tests.stalls", "-p", "no:cacheprovider")
        return result.parseoutcomes(), len((pytester.path / "tries").read_text()), result.stdout.str()

    return run


def test_a_failure_while_the_machine_stood_still_is_tried_again_and_said(suite):
    outcomes, tries, text = suite(failures=1, stall_s=0.09)
    assert (outcomes, tries) == ({"passed": 2}, 2)
    assert "test_something: a core stood still for 90 ms" in text


def test_a_failure_while_it_did_not_is_a_failure(suite):
    assert suite(failures=1, stall_s=0.0)[:2] == ({"failed": 1, "passed": 1}, 1)


def test_what_fails_every_time_is_a_failure_however_often_the_machine_stands_still(suite):
    assert suite(failures=99, stall_s=0.09)[:2] == ({"failed": 1, "passed": 1}, 1 + stalls.REPEATS)


def test_what_passes_is_run_once(suite):
    assert suite(failures=0, stall_s=0.09)[:2] == ({"passed": 2}, 1)


def test_what_takes_no_card_is_run_once(suite):
    assert suite(failures=1, stall_s=0.09, marker="")[:2] == ({"failed": 1, "passed": 1}, 1)


@pytest.mark.slow
def test_the_witness_sees_that_it_stood_still():
    began = time.monotonic()
    with Witness() as witness:
        process = witness._process
        while witness.longest_s(began) == 0 and time.monotonic() < began + 10:
            process.send_signal(signal.SIGSTOP)  # the host's doing, to it alone
            time.sleep(0.1)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        assert 0.05 < witness.longest_s(began) < 1.0
        assert witness.longest_s(time.monotonic() + 1) == 0
