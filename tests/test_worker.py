"""Threads with a name, a stop flag and a death that is noticed."""

import threading

import pytest

from device import worker as module
from device.errors import HardwareError
from device.events import WorkerDied
from device.worker import Worker, stop_all
from tests.fakes import LIMIT_S, Recorder, threads


@pytest.fixture
def posted():
    return Recorder()


def wait(stopping):
    stopping.wait(LIMIT_S)


def run(work, posted):
    worker = Worker("tester", work, posted)
    worker.start()
    worker.join(LIMIT_S)
    assert not worker.is_alive()


def test_it_has_its_name_and_does_not_keep_the_process_alive(posted):
    worker = Worker("tester", wait, posted)
    worker.start()
    assert threads("tester") == [worker] and worker.daemon
    stop_all([worker])
    assert not threads("tester")


def test_a_worker_that_was_told_to_stop_has_not_died(posted):
    worker = Worker("tester", wait, posted)
    worker.start()
    stop_all([worker])
    assert posted.items == []


def test_a_worker_that_fails_says_why(posted):
    def work(stopping):
        raise HardwareError("The microphone is gone.")

    run(work, posted)
    assert posted.items == [WorkerDied("tester", "The microphone is gone.")]


def test_a_failure_without_words_is_named_by_its_kind(posted):
    def work(stopping):
        raise KeyError

    run(work, posted)
    assert posted.items == [WorkerDied("tester", "KeyError()")]


def test_a_worker_that_ends_unasked_has_died(posted):
    run(lambda stopping: None, posted)
    assert posted.items == [WorkerDied("tester", "ended unasked")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_exit_in_a_worker_ends_the_thread_and_is_noticed(posted):
    def work(stopping):
        raise SystemExit(3)

    run(work, posted)
    assert [event.worker for event in posted.items] == ["tester"]


def test_a_failure_while_it_stops_is_no_death(posted):
    def work(stopping):
        stopping.wait(LIMIT_S)
        raise HardwareError("closed under my hands")

    worker = Worker("tester", work, posted)
    worker.start()
    stop_all([worker])
    assert posted.items == []


def test_all_are_told_before_any_is_waited_for(posted):
    barrier, met = threading.Barrier(3), Recorder()

    def work(stopping):
        stopping.wait(LIMIT_S)
        met(barrier.wait(module.JOIN_S / 2))  # breaks if the others have not been told

    workers = [Worker("tester", work, posted) for _ in range(3)]
    for worker in workers:
        worker.start()
    stop_all(workers)
    assert not threads("tester") and sorted(met.items) == [0, 1, 2]


def test_one_that_does_not_end_is_named_and_left(posted, monkeypatch, caplog):
    monkeypatch.setattr(module, "JOIN_S", 0.05)
    hang = threading.Event()
    worker = Worker("stubborn", lambda stopping: hang.wait(LIMIT_S), posted)
    worker.start()
    stop_all([worker])
    assert "stubborn does not end" in caplog.text
    hang.set()
    worker.join(LIMIT_S)


def test_one_that_was_never_started_is_no_trouble(posted):
    stop_all([Worker("tester", wait, posted)])
