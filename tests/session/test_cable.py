"""A conversation over a network cable that is pulled while the user speaks: it goes on, and what can be kept is not lost."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from device.audio import FRAME_S
from device.session.outbox import BACKLOG_S
from tests.fakes import wait_until
from tests.room.cable import FAR, Cable
from tests.servers.datagrid import DatagridServer
from tests.session import talker

pytestmark = pytest.mark.slow
log = logging.getLogger(__name__)

BEFORE_S, AFTER_S = 3.0, 8.0
"""Speech before the cut, and after it."""
BACK_S = 6.0
"""After the cable is plugged in; more than the longest pause between two tries by then, and the handshakes."""
FLYING = 5
"""Frames that may be sent twice: they arrived, and their acknowledgement did not."""
SLACK_S = 0.5
"""From the first frame that is kept to the pull, and from the plug to the first that is sent again."""
REPLY = bytes(range(256)) * 100


class Cut(NamedTuple):
    """What became of a conversation. Frames are 20 ms of the user's speech."""

    visits: list[list[int]]
    """The numbers of the frames that each connection brought, in order."""
    lost: list[int]
    doubled: list[int]
    back_s: float
    """From the plug to the first frame at the server."""
    events: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


@pytest.fixture
def far_server(monkeypatch):
    """A server at the far end of a cable, whose process is the test's."""
    if reason := Cable.why_not():
        pytest.skip(reason)
    with Cable() as cable:
        server = DatagridServer()
        with monkeypatch.context() as patch:
            patch.setattr(socket, "create_server", lambda address, **_: cable.listener(address[1]))
            server.__enter__()
        yield cable, server
        server.__exit__(None, None, None)


def pull(cable: Cable, server: DatagridServer, cut_s: float, log_file: Path) -> Cut:
    """Pull the cable for `cut_s` while the user speaks."""
    pause = threading.Event()
    frames = round((BEFORE_S + cut_s + AFTER_S) / FRAME_S)
    server.on_ready = lambda visit: visit.say(REPLY, lead_s=None)
    argv = [sys.executable, "-m", talker.__name__, f"ws://{FAR}:{server.port}", str(frames)]
    with log_file.open("wb") as told, cable.near(argv, stdin=subprocess.PIPE, stdout=told) as speaker:
        server.visit().wait(lambda visit: len(visit.frames) >= BEFORE_S / FRAME_S)
        cable.pull()
        pause.wait(cut_s)
        plugged = time.monotonic()
        cable.plug()
        wait_until(
            lambda: any(talker.number(pcm) == frames - 1 for visit in server.visits for _, pcm in visit.frames), 30
        )
        speaker.communicate(timeout=10)
    visits = [[talker.number(pcm) for _, pcm in visit.frames] for visit in server.visits]
    counts = Counter(number for visit in visits for number in visit)
    return Cut(
        visits,
        [number for number in range(frames) if number not in counts],
        [number for number, count in counts.items() if count > 1],
        min(t for visit in server.visits for t, _ in visit.frames if t > plugged) - plugged,
        [json.loads(line) for line in log_file.read_text().splitlines()],
    )


@pytest.mark.parametrize("cut_s", [1.0, 3.0, 5.0, 20.0])
def test_a_cable_pulled_in_the_middle_of_speech_costs_no_more_than_what_cannot_be_kept(far_server, cut_s, tmp_path):
    cable, server = far_server
    cut = pull(cable, server, cut_s, tmp_path / "told")
    lost, doubled = len(cut.lost), len(cut.doubled)
    log.info("cut of %g s: %d frames lost, %d doubled, back after %.1f s", cut_s, lost, doubled, cut.back_s)
    assert server.violations == []
    assert cut.back_s < BACK_S
    assert doubled <= FLYING
    assert all(visit == sorted(visit) for visit in cut.visits)
    assert lost * FRAME_S <= max(0.0, cut_s + cut.back_s - BACKLOG_S + SLACK_S)
    assert lost <= sum(event["frames"] for event in cut.of("Dropped")) <= lost + FLYING
    assert sum(event["bytes"] for event in cut.of("heard")) == len(cut.visits) * len(REPLY)
    assert [event["reason"] for event in cut.of("SessionEnded")] == ["button"]
