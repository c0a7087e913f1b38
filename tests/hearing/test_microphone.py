"""The microphone: exact frames out of whatever the card gives, and what happens when it gives nothing."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.audio import FRAME_BYTES
from device.config import Microphone as Settings
from device.errors import HardwareError
from device.events import Dropped, WorkerDied
from device.hearing import microphone as module
from device.hearing.microphone import Converter, Microphone
from device.worker import Worker
from tests.fakes import LIMIT_S, Clock, FakeInput, Recorder, tone, wait_until


def interleaved(*channels):
    return np.stack(channels, axis=1).reshape(-1).astype(np.int16).tobytes()


def converted(converter, pcm, step):
    frames = [frame for start in range(0, len(pcm), step) for frame in converter.frames(pcm[start : start + step])]
    assert all(len(frame) == FRAME_BYTES for frame in frames)
    return np.frombuffer(b"".join(frames), np.int16)


@pytest.mark.parametrize("rate", [8_000, 16_000, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_card_gives_frames_of_640_bytes_with_the_sound_it_heard(rate, channels):
    heard = tone(440, 1, rate)
    quiet = np.zeros_like(heard)
    pcm = interleaved(*[heard if number == channels - 1 else quiet for number in range(channels)])
    sound = converted(Converter(rate, channels, channels - 1), pcm, rate // 50 * channels * 2)
    assert 16_000 - 640 <= len(sound) <= 16_000
    middle = sound[4000:12000].astype(float)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 220  # 440 Hz in half a second
    assert abs(np.sqrt(np.mean(middle**2)) / (0.5 * 32767 / np.sqrt(2)) - 1) < 0.02


def test_a_mix_is_the_mean_of_all_channels():
    pcm = interleaved(np.full(320, 1000), np.full(320, -3000), np.full(320, 32767))
    assert set(converted(Converter(16_000, 3, "mix"), pcm, len(pcm))) == {10255}


def test_a_mix_of_the_loudest_does_not_overflow():
    for level in (32767, -32768):
        pcm = interleaved(np.full(320, level), np.full(320, level))
        assert set(converted(Converter(16_000, 2, "mix"), pcm, len(pcm))) == {level}


def test_the_loudest_sound_is_clipped_and_does_not_wrap_round():
    square = np.where(np.arange(48_000) % 480 < 240, 32767, -32768).astype(np.int16)
    sound = converted(Converter(48_000, 1, 0), square.tobytes(), 1920).astype(int)
    assert sound.max() == 32767 and sound.min() == -32768
    assert np.abs(np.diff(sound)).max() < 66_000 and (np.abs(np.diff(sound)) > 40_000).sum() < 250


@given(st.lists(st.integers(0, 900), max_size=20))
def test_however_the_sound_is_cut_no_sample_is_lost_or_doubled(lengths):
    sound = np.arange(sum(lengths), dtype=np.int16)
    converter, frames, start = Converter(16_000, 1, 0), [], 0
    for length in lengths:
        frames += converter.frames(sound[start : start + length].tobytes())
        start += length
    out = np.frombuffer(b"".join(frames), np.int16)
    assert len(out) == len(sound) - len(sound) % 320
    assert np.array_equal(out, sound[: len(out)])


class Bench:
    """A microphone at work. Each opening gets a stream of its own."""

    def __init__(self, rate=16_000, channels=1, channel=0):
        self.streams = Recorder()
        self.frames = Recorder()
        self.events = Recorder()
        self.fails = None
        self.awake = threading.Event()
        self.awake.set()
        self._shape = (rate, channels)
        settings = Settings(channels=channels, channel=channel)
        self.microphone = Microphone(settings, self.frames, self.events, open_stream=self._open, awake=self.awake)
        self.worker = Worker("microphone", self.microphone.work, self.events)

    def _open(self):
        if self.fails:
            raise self.fails
        stream = FakeInput(*self._shape)
        self.streams(stream)
        return stream

    def stream(self, number=1):
        return self.streams.wait(lambda streams: len(streams) >= number)[number - 1]

    def stop(self):
        self.worker.stopping.set()
        for stream in self.streams.items:
            for _ in range(4):
                stream.capture()
        self.worker.join(LIMIT_S)
        assert not self.worker.is_alive()


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    if bench.worker.ident is not None:
        bench.stop()


def test_every_frame_is_heard_in_order_and_the_stream_is_closed_at_the_end(bench):
    bench.worker.start()
    stream = bench.stream()
    for number in range(20):
        stream.capture(np.full(320, number, np.int16).tobytes())
    bench.frames.wait(lambda frames: len(frames) == 20)
    assert [frame.pcm[0] for frame in bench.frames.items] == list(range(20))
    times = [frame.t for frame in bench.frames.items]
    assert times == sorted(times)
    bench.stop()
    assert stream.closed.is_set()
    assert bench.events.items == []


@pytest.fixture
def resting(bench):
    bench.awake.clear()
    bench.worker.start()
    return bench


def capture(stream, *numbers):
    """Periods that can be told apart."""
    for number in numbers:
        stream.capture(bytes([number]) * 640)


def heard(bench, count):
    """The numbers of what was heard."""
    return [frame.pcm[0] for frame in bench.frames.wait(lambda frames: len(frames) >= count)]


def test_while_nobody_listens_a_step_of_the_engine_is_taken_at_a_time(resting):
    stream = resting.stream()
    capture(stream, *range(8))
    assert heard(resting, 8) == list(range(8))
    stream.reads.wait(lambda reads: reads == [4, 4, 4])


def test_frames_taken_together_have_their_own_times(resting, monkeypatch):
    monkeypatch.setattr(module, "time", Clock(now=7.0))
    capture(resting.stream(), 1, 2, 3, 4)
    frames = resting.frames.wait(lambda frames: len(frames) == 4)
    assert [frame.t for frame in frames] == pytest.approx([6.94, 6.96, 6.98, 7.0])


def test_when_somebody_is_to_listen_each_frame_comes_as_it_is_captured(resting):
    stream = resting.stream()
    stream.reads.wait_for(4)
    resting.awake.set()
    capture(stream, 1, 2, 3, 4)
    assert heard(resting, 4) == [1, 2, 3, 4]
    capture(stream, 5)
    assert heard(resting, 5)[-1] == 5
    stream.reads.wait(lambda reads: reads == [4, 1, 1])


@pytest.mark.parametrize("listened", [1, 2, 3, 4, 7])
def test_after_listening_the_first_step_is_no_longer_than_the_engine_waits_for(bench, listened):
    bench.worker.start()
    stream = bench.stream()
    capture(stream, *range(listened - 1))
    stream.reads.wait(lambda reads: len(reads) == listened)
    bench.awake.clear()
    capture(stream, *range(12))
    reads = stream.reads.wait(lambda reads: len(reads) > listened + 2)
    assert reads[:listened] == [1] * listened and reads[-1] == 4
    assert (listened + reads[listened]) % 4 == 0


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_step_is_one_of_frames_whatever_the_card_gives(rate):
    bench = Bench(rate)
    bench.awake.clear()
    bench.worker.start()
    stream, counts = bench.stream(), []
    for number in range(2, 12):
        before = sum(stream.reads.items)
        for _ in range(stream.reads.items[-1]):
            stream.capture()
        stream.reads.wait(lambda reads, number=number: len(reads) == number)
        counts.append(len(bench.frames.items))
        assert before - 1 <= len(bench.frames.items) <= sum(stream.reads.items)
    bench.stop()
    assert all(count % 4 == 0 for count in counts[2:])


def test_muted_while_nobody_listens_it_throws_away_what_is_still_read(resting):
    stream = resting.stream()
    stream.reads.wait_for(4)
    resting.microphone.close()
    capture(stream, 1, 2, 3, 4)
    assert stream.closed.wait(LIMIT_S) and resting.frames.items == []


def test_mute_closes_the_stream_and_throws_away_what_is_still_read(bench):
    bench.worker.start()
    stream = bench.stream()
    stream.capture()
    bench.frames.wait(lambda frames: len(frames) == 1)
    bench.microphone.close()
    assert bench.microphone.heard_at is None
    stream.capture(b"\1" * 640)
    assert stream.closed.wait(LIMIT_S)
    assert len(bench.frames.items) == 1 and len(bench.streams.items) == 1
    assert bench.microphone.heard_at is None


def test_after_mute_it_listens_on_a_new_stream(bench):
    bench.worker.start()
    bench.microphone.close()
    bench.stream().capture()
    assert bench.stream().closed.wait(LIMIT_S)
    bench.microphone.open()
    assert bench.microphone.heard_at is not None
    bench.stream(2).capture(b"\2" * 640)
    bench.frames.wait(lambda frames: len(frames) == 1)
    assert bench.frames.items[0].pcm == b"\2" * 640


def test_muted_at_the_very_moment_a_frame_comes_it_stays_muted_for_the_watchdog(bench, monkeypatch):
    class Moment(Clock):
        def monotonic(self):
            bench.microphone.close()
            return super().monotonic()

    bench.worker.start()
    monkeypatch.setattr(module, "time", Moment())
    stream = bench.stream()
    stream.capture()
    stream.capture()
    assert stream.closed.wait(LIMIT_S)
    assert bench.microphone.heard_at is None


def test_after_mute_a_step_that_had_begun_is_completed(bench):
    bench.worker.start()
    capture(bench.stream(), 1, 2, 3)
    assert heard(bench, 3) == [1, 2, 3]
    bench.microphone.close()
    bench.stream().capture()
    assert bench.stream().closed.wait(LIMIT_S)
    bench.awake.clear()
    bench.microphone.open()
    stream = bench.stream(2)
    capture(stream, *range(5))
    stream.reads.wait(lambda reads: reads == [1, 4, 4])


def test_muted_before_it_begins_it_opens_nothing(bench):
    bench.microphone.close()
    bench.worker.start()
    bench.worker.stopping.set()
    bench.worker.join(LIMIT_S)
    assert not bench.worker.is_alive() and bench.streams.items == []


def test_a_device_that_is_lost_or_cannot_be_opened_ends_the_worker_with_the_reason(bench):
    bench.worker.start()
    stream = bench.stream()
    stream.unplug()
    bench.events.wait_for(WorkerDied("microphone", "The microphone 'fake microphone' is gone."))
    assert stream.closed.is_set()


def test_a_device_that_cannot_be_opened_is_raised():
    bench = Bench()
    bench.fails = HardwareError("There is no microphone 'x'.")
    with pytest.raises(HardwareError, match="no microphone 'x'"):
        bench.microphone.work(threading.Event())


def test_time_in_which_nothing_was_captured_is_counted(bench, monkeypatch):
    clock = Clock(tick_s=0.02)
    monkeypatch.setattr(module, "time", clock)
    bench.worker.start()
    stream = bench.stream()
    for _ in range(50):
        stream.capture()
    bench.frames.wait(lambda frames: len(frames) == 50)
    clock.now += 0.1
    for _ in range(50):
        stream.capture()
    bench.events.wait_for(Dropped("microphone", 5))
    for _ in range(100):
        stream.capture()
    bench.frames.wait(lambda frames: len(frames) == 200)
    assert bench.events.items == [Dropped("microphone", 5)]


def test_time_in_which_nothing_was_captured_is_counted_while_nobody_listens_too(resting, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    stream = resting.stream()
    for step in range(120):
        clock.now += 0.08 + (0.1 if step == 40 else 0)
        capture(stream, 1, 2, 3, 4)
        heard(resting, 4 * step + 4)
    resting.events.wait_for(Dropped("microphone", 5))
    assert resting.events.items == [Dropped("microphone", 5)]


def test_to_begin_and_to_end_listening_is_no_lost_time(resting, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    stream, count = resting.stream(), 0
    for turn in range(100):
        reads = len(stream.reads.wait(lambda reads, turn=turn: len(reads) > turn))
        periods = stream.reads.items[-1]
        (resting.awake.set if turn // 7 % 2 else resting.awake.clear)()
        clock.now += 0.02 * periods
        capture(stream, *[1] * periods)
        count += periods
        stream.reads.wait(lambda done, reads=reads: len(done) > reads)
    assert count > 200 and resting.events.items == []


def test_the_configured_channel_is_heard():
    bench = Bench(channels=2, channel=1)
    bench.worker.start()
    bench.stream().capture(interleaved(np.full(320, 1), np.full(320, 2)))
    frames = bench.frames.wait(lambda frames: frames)
    bench.stop()
    assert set(np.frombuffer(frames[0].pcm, np.int16)) == {2}


def test_when_it_was_last_heard_is_known(bench, monkeypatch):
    clock = Clock(now=5.0)
    monkeypatch.setattr(module, "time", clock)
    assert bench.microphone.heard_at is None
    bench.worker.start()
    bench.stream().capture()
    wait_until(lambda: bench.microphone.heard_at == 5.0)
