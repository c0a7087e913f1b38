"""What goes out to the agent: in which order, what is kept, and what is not sent at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.events import Dropped, FirstAudioSent, WorkerDied
from device.session.outbox import BACKLOG_S, Outbox, _Ready
from device.worker import Worker
from tests.fakes import LIMIT_S, FakeConnection, Recorder, tone, wait_until

FULL = round(BACKLOG_S * 50)


class Numbers:
    """What the outbox needs of a protocol."""

    hears = 16_000

    def audio(self, pcm):
        return int.from_bytes(pcm, "little")


class Bench:
    """An outbox at work, in which a frame is a number of four bytes, and is sent as that number."""

    def __init__(self):
        self.events = Recorder()
        self.outbox = Outbox(7, Numbers(), self.events)
        self.worker = Worker("link-send", self.outbox.work, self.events)
        self.worker.start()

    def hear(self, *numbers):
        for number in numbers:
            self.outbox.hear(number.to_bytes(4, "little"))

    def taken(self):
        """Wait until all that was put in is taken out; the last of it may still be at work."""
        wait_until(self.outbox._inbox.empty)

    def ready(self):
        line = FakeConnection()
        self.outbox.ready(line)
        return line

    def stop(self):
        self.worker.stopping.set()
        self.outbox.lost(0)
        self.worker.join(LIMIT_S)
        assert not self.worker.is_alive() and not self.events.of(WorkerDied)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.stop()


def test_what_came_before_it_was_ready_goes_first(bench):
    bench.hear(1, 2)
    line = bench.ready()
    bench.hear(3)
    line.sent.wait(lambda sent: sent == [1, 2, 3])
    assert bench.events.items == [FirstAudioSent(7)]


def test_an_order_goes_out_after_the_frames_before_it_and_before_those_after_it(bench):
    line = bench.ready()
    bench.hear(1, 2)
    bench.outbox.order(["interrupt"])
    bench.hear(3)
    bench.outbox.order(["stop", "really"])
    line.sent.wait(lambda sent: sent == [1, 2, "interrupt", 3, "stop", "really"])


def test_an_order_without_a_connection_is_not_kept(bench):
    bench.outbox.order(["interrupt"])
    bench.hear(1)
    line = bench.ready()
    line.sent.wait(lambda sent: sent == [1])


def test_what_is_said_between_two_connections_goes_to_the_second(bench):
    first = bench.ready()
    bench.hear(1)
    first.sent.wait_for(1)
    bench.outbox.lost(1_000_000)
    bench.hear(2, 3)
    second = bench.ready()
    second.sent.wait(lambda sent: sent == [2, 3])
    assert first.sent.items == [1] and bench.events.items == [FirstAudioSent(7)] * 2


def test_a_frame_that_could_not_be_sent_goes_to_the_next_connection(bench):
    first = bench.ready()
    first.broken = True
    bench.hear(1, 2)
    assert first.aborted.wait(LIMIT_S)
    second = bench.ready()
    second.sent.wait(lambda sent: sent == [1, 2])
    assert first.sent.items == [] and bench.events.items == [FirstAudioSent(7)]


def test_an_order_that_could_not_be_sent_breaks_the_connection_and_loses_no_frame(bench):
    first = bench.ready()
    first.broken = True
    bench.outbox.order(["interrupt"])
    bench.hear(1)
    assert first.aborted.wait(LIMIT_S)
    bench.ready().sent.wait(lambda sent: sent == [1])


def test_what_the_network_had_taken_and_not_delivered_goes_to_the_next_connection_first(bench):
    first = bench.ready()
    first.undelivered = 2
    bench.hear(1, 2, 3, 4, 5)
    first.sent.wait(lambda sent: sent == [1, 2, 3, 4, 5])
    bench.taken()
    bench.outbox.lost(first.acknowledged())
    bench.hear(6)
    second = bench.ready()
    second.sent.wait(lambda sent: sent == [4, 5, 6])


def test_an_agent_that_hears_at_another_rate_gets_the_same_sound():
    sent = []

    class At24kHz:
        hears = 24_000

        def audio(self, pcm):
            sent.append(np.frombuffer(pcm, np.int16))
            return "audio"

    convert = Outbox(7, At24kHz(), Recorder())
    convert._take(_Ready(FakeConnection()))
    frames = tone(440, 1.0, 16_000).reshape(50, 320)
    for frame in frames:
        convert._take(frame.tobytes())
        convert._flush()
    sound = np.concatenate(sent).astype(float)
    assert 0.99 * 24_000 < len(sound) <= 24_000
    best = max(np.corrcoef(sound[n : n + 20_000], tone(440, 1.0, 24_000)[:20_000])[0, 1] for n in range(60))
    assert best > 0.999


def test_of_a_full_backlog_the_oldest_goes_and_all_that_goes_is_counted(bench):
    for start in range(0, FULL + 70, 10):
        bench.hear(*range(start, start + 10))
        bench.taken()
    line = bench.ready()
    line.sent.wait(lambda sent: len(sent) == FULL)
    assert line.sent.items == list(range(70, FULL + 70))
    bench.events.wait(lambda _: sum(event.frames for event in bench.events.of(Dropped)) == 70)
    assert len(bench.events.of(Dropped)) == 2, "one for 50, one for the rest"


def test_what_cannot_even_be_taken_in_is_dropped_and_counted():
    events = Recorder()
    outbox = Outbox(7, bytes, events)
    for _ in range(FULL + 50):
        outbox.hear(b"")
    outbox.order(["stop"])
    assert events.items == [Dropped("link", 50)]
    assert outbox._inbox.qsize() == FULL + 1, "an order is never dropped"


def test_it_ends_soon_though_nothing_comes(bench):
    bench.worker.stopping.set()
    bench.worker.join(LIMIT_S)
    assert not bench.worker.is_alive()


@given(st.lists(st.sampled_from(["frame"] * 5 + ["ready", "lost", "order"]), max_size=50))
def test_whatever_happens_each_frame_is_sent_once_and_in_order(steps):
    bench, lines, said = Bench(), [], 0
    for step in [*steps, "ready"]:
        if step == "frame":
            bench.hear(said)
            said += 1
        elif step == "ready":
            lines.append(bench.ready())
        elif step == "lost":
            bench.outbox.lost(1_000_000)
        else:
            bench.outbox.order(["order"])
    bench.outbox.order(["end"])
    lines[-1].sent.wait(lambda sent: "end" in sent)
    bench.stop()
    assert [item for line in lines for item in line.sent.items if isinstance(item, int)] == list(range(said))
