"""The event log: a line per event, and no conversation lost to a full disk."""

import contextlib
import fcntl
import json
import logging
import os
import resource
import select
import stat
import subprocess
import sys
import threading
from enum import StrEnum

import pytest

from device.errors import UsageError
from device.eventlog import EventLog


class Colour(StrEnum):
    RED = "red"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "events.jsonl"


@contextlib.contextmanager
def no_room_beyond(size):
    """Files end at `size` bytes, as on a full disk; a write across the end is cut short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_an_event_is_a_line_of_json(file):
    log = EventLog(file)
    log.write(12.3456789, "wake", word="alexa", score=0.5, colour=Colour.RED, missing=None, zero=0, no=False)
    log.write(13, "state", **{"from": "idle", "to": "listening"})
    assert file.read_text() == (
        '{"t": 12.345679, "event": "wake", "word": "alexa", "score": 0.5, "colour": "red", "zero": 0, "no": false}\n'
        '{"t": 13, "event": "state", "from": "idle", "to": "listening"}\n'
    )


def test_text_with_line_breaks_or_half_characters_stays_one_good_line(file):
    EventLog(file).write(1.0, "transcript", text="a\nb\u2028ü \ud800")
    assert len(file.read_bytes().splitlines()) == 1
    assert json.loads(file.read_bytes())["text"] == "a\nb\u2028ü ?"


def test_numbers_that_are_none_are_left_out(file):
    EventLog(file).write(1.0, "wake", score=float("nan"), other=float("inf"))
    assert lines(file) == [{"t": 1.0, "event": "wake"}]


def test_it_appends_and_only_the_owner_may_read(file):
    for n in range(2):
        log = EventLog(str(file))
        log.write(n, "started")
        log.close()
        log.write(n, "late")
    assert [one["t"] for one in lines(file)] == [0, 1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_each_line_is_in_the_file_at_once(file):
    log = EventLog(file)
    for n in range(3):
        log.write(n, "started")
        assert len(lines(file)) == n + 1


def test_without_a_target_nothing_is_written():
    log = EventLog(None)
    log.write(1.0, "started")
    log.close()


def test_a_dash_is_standard_output(capfd):
    log = EventLog("-")
    log.write(1.0, "started")
    log.close()
    print("still open", flush=True)  # noqa: T201
    assert capfd.readouterr().out == '{"t": 1.0, "event": "started"}\nstill open\n'


def test_a_file_that_cannot_be_opened_is_refused_with_the_reason(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, why in [
        (tmp_path, "Is a directory"),
        (tmp_path / "none" / "x", "No such file"),
        (fifo, "No such device"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(UsageError, match=why):
            EventLog(path)


def test_a_full_disk_costs_lines_and_one_warning(caplog):
    log = EventLog("/dev/full")
    for n in range(3):
        log.write(n, "state")
    assert [(record.levelno, "No space left" in record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


def test_when_the_disk_has_room_again_the_torn_line_is_ended_and_the_loss_told_first(file, caplog):
    log = EventLog(file)
    log.write(0.0, "started")
    with no_room_beyond(file.stat().st_size + 9):
        for n in range(1, 4):
            log.write(n, "lost")
    log.write(4.0, "state")
    log.write(5.0, "state")
    first, torn, *rest = file.read_text().splitlines()
    assert json.loads(first)["event"] == "started" and torn == '{"t": 1, '
    assert [json.loads(line) for line in rest] == [
        {"t": 4.0, "event": "dropped", "where": "events", "frames": 3},
        {"t": 4.0, "event": "state"},
        {"t": 5.0, "event": "state"},
    ]
    assert ["cannot be written" in record.getMessage() for record in caplog.records] == [True, False]


def test_a_second_outage_is_warned_of_and_counted_anew(file, caplog):
    log = EventLog(file)
    for n in range(2):
        with no_room_beyond(file.stat().st_size):
            log.write(n, "lost")
        log.write(n, "state")
    assert [one.get("frames") for one in lines(file)] == [1, None, 1, None]
    assert sum("cannot be written" in record.getMessage() for record in caplog.records) == 2


def test_an_end_of_room_within_the_notice_tears_only_one_line(file):
    log = EventLog(file)
    with no_room_beyond(0):
        log.write(0.0, "lost")
    with no_room_beyond(30):
        log.write(1.0, "lost")
    with no_room_beyond(31):  # room for the line's end alone
        log.write(2.0, "lost")
    log.write(3.0, "state")
    torn, *rest = file.read_text().splitlines()
    assert len(torn) == 30
    assert [json.loads(line).get("frames") for line in rest] == [3, None]


@pytest.fixture
def pipe():
    """A pipe of 64 KiB: its reading and its writing end."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 65536)
    yield read, write
    for fd in (read, write):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_a_reader_that_goes_away_costs_lines_only(pipe, caplog):
    read, write = pipe
    log = EventLog(f"/proc/self/fd/{write}")
    log.write(0.0, "started")
    assert json.loads(os.read(read, 100)) == {"t": 0.0, "event": "started"}
    os.close(read)
    log.write(1.0, "state")
    log.write(2.0, "state")
    assert [record.getMessage().count("Broken pipe") for record in caplog.records] == [1]


def test_a_reader_that_sleeps_never_makes_us_wait_even_on_standard_output(pipe):
    read, write = pipe
    stdout = os.dup(1)
    os.dup2(write, 1)  # a blocking pipe, as a shell makes it
    try:
        log = EventLog("-")
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
    worker = threading.Thread(
        target=lambda: [log.write(n, "transcript", text="x" * 9000) for n in range(50)], daemon=True
    )
    worker.start()
    worker.join(10)
    assert not worker.is_alive()
    text = b""
    while select.select([read], [], [], 0)[0]:
        text += os.read(read, 65536)
    log.write(9.0, "state")
    *rest, notice, state = (text + os.read(read, 65536)).splitlines()
    whole = [line for line in rest if line.endswith(b"}")]
    assert 0 < len(whole) < 50
    assert json.loads(notice) == {"t": 9.0, "event": "dropped", "where": "events", "frames": 50 - len(whole)}
    assert json.loads(state) == {"t": 9.0, "event": "state"}


def test_standard_output_that_is_closed_is_refused():
    code = "import os\nfrom device.eventlog import EventLog\n"
    code += "try: EventLog('-')\nexcept Exception as error: os.write(2, b'%r' % error)"
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" >&-', sys.executable, code], capture_output=True, text=True, timeout=30
    )
    assert "UsageError('the event log standard output cannot be written: Bad file descriptor.')" in done.stderr
