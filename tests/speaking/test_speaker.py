"""The loudspeaker on a card that plays a period when the test says so: what is heard, and what is said of it."""

import threading

import numpy as np
import pytest

from device.config import Speaker as Settings
from device.errors import HardwareError
from device.events import (
    Chime,
    Dropped,
    DuckPlayback,
    PlaybackStarted,
    PlaybackStopped,
    PlayChime,
    RaisePlayback,
    ResumePlayback,
    SayReason,
    SetVolume,
    StopChime,
    StopPlayback,
    WorkerDied,
)
from device.speaking import chimes, phrases
from device.speaking import speaker as module
from device.speaking.loudness import CEILING
from device.speaking.mix import DUCKED
from device.speaking.speaker import Speaker
from device.worker import Worker
from tests.fakes import LIMIT_S, Clock, FakeOutput, Recorder, tone
from tests.house import seconds_of

PERIOD = 480
AHEAD = PERIOD // 4
"""A reply is heard so many samples after it was taken, for the limiter to see what comes."""
FADE = PERIOD // 2
"""Where a reply breaks off at full level, so much sounds on."""
LOUD = 8000


def level(periods, value=LOUD):
    """So many periods of a constant level: each cut shows."""
    return np.full(round(periods * PERIOD), value, np.int16).tobytes()


def is_whole(heard, samples):
    """Whether `samples`, which begin with no zero, are heard without a hole, and after them no more than a fade."""
    begin = np.flatnonzero(heard)[0]
    end = begin + len(samples)
    return np.array_equal(heard[begin:end], samples) and np.count_nonzero(heard[end:]) <= FADE


class Bench:
    """A speaker at work. The period that is played next has been decided already; orders show in the one after it."""

    def __init__(self, rate=24_000, channels=1, *, awake=True, **settings):
        self.card = FakeOutput(rate, channels)
        self.events = Recorder()
        self.heard = []
        """How much of which reply was played, of each `PlaybackStopped`; in `events` they are without it."""
        self.awake = threading.Event()
        if awake:
            self.awake.set()
        self.reference = Recorder()
        """What the room hears of us, as it was told."""
        settings = Settings(**{"volume": 100, "level": False, "jitter_ms": 60, **settings})
        self.speaker = Speaker(
            settings, self._post, open_stream=lambda: self.card, awake=self.awake, reference=self.reference
        )
        self.worker = Worker("speaker", self.speaker.work, self.events)
        self.worker.start()

    def _post(self, event):
        if isinstance(event, PlaybackStopped):
            self.heard.append((event.last, event.played_s))
            event = PlaybackStopped(event.reply, event.reason)
        self.events(event)

    def feed(self, reply, pcm, rate=24_000):
        self.speaker.feed(reply, pcm, rate)

    def play(self, periods=1):
        """What is played next, as int64, shape (samples, channels) or (samples,) in mono."""
        played = self.card.play(periods).astype(np.int64)
        return played[:, 0] if self.card.channels == 1 else played

    def begin(self, reply=1, periods=50):
        """Play the first period of a reply."""
        self.feed(reply, level(periods))
        self.play()
        first = self.play()
        assert np.all(first[:AHEAD] == 0) and np.all(first[AHEAD:] == LOUD)
        self.events.wait_for(PlaybackStarted(reply))

    def stop(self):
        self.worker.stopping.set()
        self.card.release()
        self.worker.join(LIMIT_S)
        assert not self.worker.is_alive()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def make():
    benches = []

    def make(*args, **settings):
        benches.append(Bench(*args, **settings))
        return benches[-1]

    yield make
    for bench in benches:
        bench.stop()


@pytest.fixture
def bench(make):
    return make()


def test_it_plays_silence_while_there_is_nothing_to_play(bench):
    assert np.all(bench.play(20) == 0) and bench.events.items == []


@pytest.fixture
def resting(make):
    """A speaker that nobody is about to hear."""
    bench = make(awake=False)
    bench.play(module.REST_AFTER - 1 + 8)
    bench.card.writes.items.clear()
    return bench


def test_at_rest_it_writes_silence_80_ms_at_a_time(resting):
    assert np.all(resting.play(12) == 0)
    assert set(resting.card.writes.items) == {4 * PERIOD}


def test_with_a_session_it_writes_silence_20_ms_at_a_time(bench):
    bench.play(12)
    assert set(bench.card.writes.items) == {PERIOD}


def test_a_session_that_begins_ends_the_rest_with_the_block_that_is_being_written(resting):
    resting.awake.set()
    before = len(resting.card.writes.items)
    resting.play(10)
    assert set(resting.card.writes.items[before:]) == {PERIOD}
    resting.awake.clear()
    resting.play(module.REST_AFTER)
    assert resting.card.writes.items[-1] == 4 * PERIOD


def test_an_order_at_rest_is_heard_after_80_ms_at_the_most(resting):
    resting.play(1)
    resting.speaker.order(PlayChime(Chime.WAKE))
    expected = chimes.render(Chime.WAKE, 24_000)
    heard = resting.play(30) / 32768
    begin = 3 * PERIOD
    assert np.all(heard[:begin] == 0)
    assert np.abs(heard[begin : begin + len(expected)] - expected).max() < 1e-3


def test_a_reply_at_rest_is_heard_whole_and_at_its_own_pace(resting):
    samples = np.arange(1, 10 * PERIOD + 1)
    resting.feed(1, samples[: 2 * PERIOD].astype(np.int16).tobytes())
    resting.play(4)
    resting.feed(1, samples[2 * PERIOD :].astype(np.int16).tobytes())
    heard = resting.play(40)
    assert is_whole(heard, samples)
    assert resting.events.items == [PlaybackStarted(1), PlaybackStopped(1, "drained")]


def test_a_reply_that_has_not_enough_for_its_beginning_waits_60_ms_at_rest_too(resting):
    resting.feed(1, level(1))
    heard = resting.play(12)
    begin = np.flatnonzero(heard)[0] // PERIOD
    assert is_whole(heard, [LOUD] * PERIOD) and begin <= 8


@pytest.mark.parametrize("periods", [0, 5])
def test_it_rests_after_ten_seconds_of_silence(make, periods):
    bench = make(awake=False)
    if periods:
        bench.feed(1, level(periods))
    loud = np.flatnonzero(bench.play(550))
    silent_from = loud[-1] // PERIOD + 2 if len(loud) else 0
    writes = bench.card.writes.items
    assert set(writes[: silent_from + 499]) == {PERIOD} and set(writes[silent_from + 499 :]) == {4 * PERIOD}


def test_what_begins_at_rest_is_masked_for_as_much_longer_as_it_may_be_late(resting):
    chime = PlayChime(Chime.MUTE)
    late = resting.speaker.masking_s(chime)
    resting.awake.set()
    resting.play(6)
    assert late == pytest.approx(resting.speaker.masking_s(chime) + 0.06)


def test_time_in_which_nothing_was_played_at_rest_is_counted(resting, clock):
    for period in range(1, 400):
        clock.now += 0.02 + (0.1 if period == 161 else 0)
        resting.play()
    resting.events.wait_for(Dropped("speaker", 5))
    assert len(resting.events.items) == 1


def reference(bench):
    """What the room was said to hear of us, to its last sound: int16."""
    assert all(len(frame.pcm) == 640 for frame in bench.reference.items)
    told = np.frombuffer(b"".join(frame.pcm for frame in bench.reference.items), np.int16).astype(np.int64)
    return np.trim_zeros(told, "b")


def test_nobody_is_told_of_silence(bench):
    bench.play(20)
    assert bench.reference.items == []


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_sounds_is_told_as_frames_of_the_microphone_and_at_its_volume(make, rate, channels):
    bench = make(rate, channels, volume=50)
    bench.feed(1, tone(440, 0.6, 24_000).tobytes())
    bench.play(60)
    heard = reference(bench)
    assert 0.6 * 16_000 <= len(heard) <= 0.7 * 16_000
    assert np.argmax(np.abs(np.fft.rfft(heard[800:8800]))) == 220
    assert np.sqrt(np.mean(heard[800:8800] ** 2)) == pytest.approx(0.125 * 32767 / np.sqrt(2), rel=0.02)


def test_chimes_and_words_are_told_too(bench):
    bench.speaker.order(PlayChime(Chime.ERROR))
    bench.speaker.order(SayReason("no_credit"))
    bench.play(160)
    sound = np.concatenate((chimes.render(Chime.ERROR, 16_000), phrases.render("no_credit", 16_000))) * 32768
    heard = reference(bench)[: len(sound)]
    assert np.corrcoef(heard, sound[: len(heard)])[0, 1] > 0.99


def test_of_what_is_cut_off_only_what_was_heard_is_told(bench):
    bench.begin()
    bench.speaker.order(StopPlayback(1, "interrupted"))
    bench.play(20)
    heard = reference(bench)
    assert len(heard) <= 4 * 320 and np.all(np.abs(heard[-2:]) < 200)


def test_a_reply_with_a_gap_is_told_as_two_sounds(bench, clock):
    clock.tick_s = 0.0
    bench.begin(periods=5)
    bench.play(10)
    clock.now += 1.0
    bench.feed(1, level(5))
    bench.play(30)
    times = np.diff([frame.t for frame in bench.reference.items])
    assert np.count_nonzero(times > 0.9) == 1 and np.count_nonzero(reference(bench)) <= 14 * 320


def test_a_reply_is_heard_whole_and_said_to_begin_and_to_be_over_once_each(bench):
    samples = np.arange(1, 10 * PERIOD + 1)
    bench.feed(1, samples[: 3 * PERIOD].astype(np.int16).tobytes())
    bench.feed(1, samples[3 * PERIOD :].astype(np.int16).tobytes())
    heard = bench.play(40)
    assert is_whole(heard, samples)
    assert bench.events.items == [PlaybackStarted(1), PlaybackStopped(1, "drained")]


def test_it_is_said_to_begin_when_its_first_samples_are_written_and_not_when_they_come(bench):
    bench.feed(1, level(10))
    bench.play()  # silence: decided before
    assert bench.events.items == []
    bench.play()
    assert bench.events.items == [PlaybackStarted(1)]


def test_it_is_over_300_ms_after_its_last_sample(bench):
    bench.begin(periods=10)
    bench.play(9)
    assert np.all(bench.play(14)[AHEAD + FADE :] == 0)
    assert bench.events.items == [PlaybackStarted(1)]
    bench.play(3)
    assert bench.events.items == [PlaybackStarted(1), PlaybackStopped(1, "drained")]


def test_two_replies_one_after_the_other_are_two(bench):
    for reply in (1, 2):
        bench.feed(reply, level(5))
        bench.play(30)
    expected = [(PlaybackStarted(reply), PlaybackStopped(reply, "drained")) for reply in (1, 2)]
    assert bench.events.items == [*expected[0], *expected[1]]


def test_a_stop_is_heard_with_the_next_period_and_fades_in_5_ms(bench):
    bench.begin()
    bench.speaker.order(StopPlayback(1, "interrupted"))
    assert np.all(bench.play() == LOUD)  # decided before
    period = bench.play()
    fade = PERIOD // 4
    assert period[0] == LOUD and np.all(np.diff(period[:fade]) < 0) and np.abs(np.diff(period)).max() < LOUD / 100
    assert np.all(period[fade:] == 0)
    assert np.all(bench.play(30) == 0)
    assert bench.events.items == [PlaybackStarted(1), PlaybackStopped(1, "interrupted")]


def test_a_stop_is_told_when_the_fade_is_written_and_not_a_period_later(bench):
    bench.begin()
    bench.speaker.order(StopPlayback(1, "stopped"))
    bench.play()
    with bench.card._changed:
        bench.card._room += PERIOD // 4 * 2  # room for the fade alone
        bench.card._changed.notify_all()
    bench.events.wait_for(PlaybackStopped(1, "stopped"))


def test_an_order_that_comes_while_the_card_is_full_still_counts_for_this_period(make, clock):
    bench = make()
    bench.card.room_at_once = False
    bench.begin()
    bench.play()
    bench.speaker.order(StopPlayback(1, "interrupted"))
    bench.play()
    assert bench.play()[-1] == 0


def test_late_audio_of_a_stopped_reply_is_not_heard_but_the_next_reply_is(bench):
    bench.begin()
    bench.speaker.order(StopPlayback(1, "interrupted"))
    bench.feed(1, level(10))
    bench.play(2)
    bench.feed(1, level(10))
    assert np.all(bench.play(10) == 0)
    bench.feed(1, level(10))
    bench.feed(2, level(10, 300))
    assert is_whole(bench.play(40), [300] * 10 * PERIOD)
    stopped = [PlaybackStarted(1), PlaybackStopped(1, "interrupted")]
    assert bench.events.items == [*stopped, PlaybackStarted(2), PlaybackStopped(2, "drained")]


def test_a_stop_spares_the_next_reply_that_has_come_already(bench):
    bench.begin(periods=20)
    bench.feed(2, level(5, 300))
    bench.play()
    bench.speaker.order(StopPlayback(1, "interrupted"))
    bench.play(2)
    heard = bench.play(30)
    assert is_whole(heard, [300] * 5 * PERIOD)
    assert np.count_nonzero(heard == LOUD) == 0
    stopped = [PlaybackStarted(1), PlaybackStopped(1, "interrupted")]
    assert bench.events.items == [*stopped, PlaybackStarted(2), PlaybackStopped(2, "drained")]


def test_a_reply_stopped_before_it_was_heard_says_nothing(bench):
    bench.feed(1, level(2))
    bench.play()
    bench.speaker.order(StopPlayback(1, "stopped"))
    assert np.all(bench.play(30) == 0) and bench.events.items == []


def test_a_stop_while_nothing_plays_says_nothing_and_harms_no_later_reply(bench):
    bench.speaker.order(StopPlayback(3, "stopped"))
    bench.play(5)
    bench.feed(3, level(10))
    assert np.all(bench.play(10) == 0)
    bench.feed(4, level(10))
    assert is_whole(bench.play(15), [LOUD] * 10 * PERIOD)
    assert bench.events.items[0] == PlaybackStarted(4)


def test_a_gap_in_a_reply_is_silence_that_is_counted_and_not_its_end(bench):
    bench.begin(periods=5)
    bench.play(10)
    bench.feed(1, level(5))
    bench.play(30)
    (gap,) = bench.events.of(Dropped)
    assert gap.where == "jitter_buffer_gap" and 3 <= gap.frames <= 8
    assert bench.events.of(PlaybackStarted, PlaybackStopped) == [PlaybackStarted(1), PlaybackStopped(1, "drained")]


def test_more_than_ten_minutes_at_once_lose_their_beginning_and_it_is_said(bench):
    for _ in range(11):
        bench.feed(1, level(3000))
    bench.play(3)
    bench.events.wait(lambda events: Dropped("jitter_buffer", 3000) in events)


def test_more_chunks_than_may_wait_are_dropped_and_counted():
    events = Recorder()
    speaker = Speaker(Settings(), events, open_stream=FakeOutput, awake=threading.Event(), reference=Recorder())
    for _ in range(4096 + 50):
        speaker.feed(1, b"\0\0", 24_000)
    assert events.items == [Dropped("speaker", 50)]


def test_a_duck_is_heard_with_the_next_period_and_a_raise_too(bench):
    bench.begin()
    bench.speaker.order(DuckPlayback())
    assert np.all(bench.play(2)[-FADE:] == int(LOUD * DUCKED))
    bench.speaker.order(RaisePlayback())
    assert np.all(bench.play(5)[-PERIOD:] == LOUD)


KEEP = StopPlayback(1, "interrupted", keep=True)
STEPS = np.repeat(np.arange(1, 60 * PERIOD + 1, dtype=np.int16), 2)
LAST = int(STEPS[-1])


def interrupted(bench, periods=30, stop=KEEP):
    """Break off a reply of which each sample is known after so many periods; how many samples of it were heard."""
    bench.feed(1, STEPS[: 100 * PERIOD].tobytes())
    bench.play(periods)
    bench.speaker.order(stop)
    heard = bench.play(5)
    bench.events.wait_for(PlaybackStopped(1, "interrupted"))
    assert np.all(heard[-3 * PERIOD :] == 0)
    return heard.max()


def test_what_was_kept_of_a_reply_is_played_on_to_its_end_and_said_to_begin_again(bench):
    last = interrupted(bench)
    bench.play(20)
    bench.speaker.order(ResumePlayback(1))
    heard = bench.play(10)
    bench.feed(1, STEPS[100 * PERIOD :].tobytes())
    heard = np.concatenate((heard, bench.play(130)))
    faded_in = heard[np.flatnonzero(heard)[0] + PERIOD // 2 :]
    first = faded_in[0]
    assert 0.2 * 24_000 < 2 * (last - first) < 0.35 * 24_000, "a little of what was heard before is heard again"
    assert is_whole(faded_in[faded_in != first], STEPS[2 * first :])
    once = [PlaybackStarted(1), PlaybackStopped(1, "interrupted"), PlaybackStarted(1), PlaybackStopped(1, "drained")]
    assert bench.events.items == once and bench.heard[-1] == (1, pytest.approx(len(STEPS) / 24_000))


def test_what_still_comes_of_a_kept_reply_is_kept_too(bench):
    interrupted(bench)
    bench.feed(1, STEPS[100 * PERIOD :].tobytes())
    assert np.all(bench.play(20) == 0)
    bench.speaker.order(ResumePlayback(1))
    assert bench.play(130).max() == LAST


def test_what_comes_in_the_moment_of_the_stop_is_kept_too(bench):
    bench.feed(1, STEPS[: 30 * PERIOD].tobytes())
    bench.play(10)
    bench.speaker.order(KEEP)
    bench.feed(1, STEPS[30 * PERIOD : 70 * PERIOD].tobytes())
    bench.speaker.order(ResumePlayback(1))
    bench.feed(1, STEPS[70 * PERIOD :].tobytes())
    assert bench.play(150).max() == LAST


def test_a_reply_stopped_for_good_is_not_played_on(bench):
    interrupted(bench)
    bench.speaker.order(StopPlayback(1, "stopped"))
    bench.speaker.order(ResumePlayback(1))
    bench.feed(1, STEPS.tobytes())
    assert np.all(bench.play(20) == 0)


def test_a_stop_after_a_resume_counts_even_if_both_come_at_once(bench):
    interrupted(bench)
    bench.speaker.order(ResumePlayback(1))
    bench.speaker.order(KEEP)
    assert np.all(bench.play(20) == 0)
    bench.speaker.order(ResumePlayback(1))
    assert bench.play(110).max() == 50 * PERIOD


def test_a_resume_is_for_what_was_kept_only(bench):
    interrupted(bench, stop=StopPlayback(1, "interrupted"))
    for reply in (1, 2):
        bench.speaker.order(ResumePlayback(reply))
    bench.feed(1, STEPS.tobytes())
    assert np.all(bench.play(20) == 0)


def test_the_next_reply_takes_the_place_of_a_kept_one(bench):
    interrupted(bench)
    bench.feed(2, level(5, -300))
    bench.feed(1, STEPS.tobytes())
    bench.speaker.order(ResumePlayback(1))
    heard = bench.play(40)
    assert heard.max() == 0 and np.count_nonzero(heard == -300) >= 5 * PERIOD
    assert bench.events.items[-2:] == [PlaybackStarted(2), PlaybackStopped(2, "drained")]


def test_a_kept_reply_can_be_interrupted_again(bench):
    interrupted(bench)
    bench.speaker.order(ResumePlayback(1))
    bench.play(20)
    bench.speaker.order(StopPlayback(1, "interrupted"))
    bench.play(2)
    bench.feed(1, STEPS.tobytes())
    assert np.all(bench.play(20) == 0)
    assert bench.events.of(PlaybackStopped) == [PlaybackStopped(1, "interrupted")] * 2


def test_it_speaks_up_when_it_is_told_that_the_room_is_loud_where_that_is_wanted(make):
    for wanted, expected in ((True, 10 ** (9 / 20)), (False, 1.0)):
        bench = make(louder_in_noise=wanted, volume=50)
        for noise in (-60.0, -30.0):
            bench.speaker.room(noise)
        bench.play(2)
        bench.feed(1, level(10))
        assert bench.play(8)[-1] == pytest.approx(LOUD / 4 * expected, abs=2)


def test_half_the_volume_is_a_quarter_of_the_amplitude_and_changes_without_a_step(bench):
    bench.begin()
    bench.speaker.order(SetVolume(50))
    bench.play()
    ramp = bench.play()
    assert ramp[0] == LOUD and ramp[-1] == LOUD // 4 and np.abs(np.diff(ramp)).max() < LOUD / 100
    assert np.all(bench.play() == LOUD // 4)
    bench.speaker.order(SetVolume(0))
    bench.play(2)
    assert np.all(bench.play() == 0)


def test_the_configured_volume_counts_from_the_first_sample(make):
    bench = make(volume=50)
    bench.feed(1, level(5))
    bench.play()
    assert set(bench.play()) == {0, LOUD // 4}


def test_a_chime_is_heard_without_a_reply_and_ends_by_itself(bench):
    bench.speaker.order(PlayChime(Chime.WAKE))
    bench.play()
    expected = chimes.render(Chime.WAKE, 24_000)
    heard = bench.play(20)[: len(expected)] / 32768
    assert np.abs(heard - expected).max() < 1e-3
    assert np.all(bench.play(5) == 0) and bench.events.items == []


def test_a_chime_is_mixed_into_a_reply(bench):
    bench.begin()
    bench.speaker.order(PlayChime(Chime.ERROR))
    bench.play()
    expected = chimes.render(Chime.ERROR, 24_000)[: 5 * PERIOD] + LOUD / 32768
    assert np.abs(bench.play(5) / 32768 - expected).max() < 1e-3


def test_a_stop_of_the_reply_leaves_the_chime(bench):
    bench.begin()
    bench.speaker.order(StopPlayback(1, "stopped"))
    bench.speaker.order(PlayChime(Chime.END))
    bench.play()
    expected = chimes.render(Chime.END, 24_000)[: 5 * PERIOD]
    heard = bench.play(5) / 32768
    assert np.abs(heard[PERIOD:] - expected[PERIOD:]).max() < 1e-3


def test_a_chime_can_be_broken_off_without_a_click(bench):
    bench.speaker.order(PlayChime(Chime.TIMER))
    bench.play(4)
    bench.speaker.order(StopChime())
    bench.play()
    heard = bench.play(10)
    assert np.count_nonzero(heard[PERIOD // 4 :]) == 0 and np.abs(np.diff(heard)).max() < 3000


def test_stopping_a_chime_that_does_not_sound_does_nothing(bench):
    bench.speaker.order(StopChime())
    assert np.all(bench.play(3) == 0)


def test_without_chimes_none_is_heard_and_none_has_to_be_masked(make):
    bench = make(chimes=False)
    bench.speaker.order(PlayChime(Chime.WAKE))
    assert np.all(bench.play(20) == 0)
    assert bench.speaker.masking_s(PlayChime(Chime.WAKE)) == 0


def test_a_chime_is_masked_until_it_has_died_away_in_the_room(bench):
    bench.play()
    assert bench.speaker.latency_s == bench.card.latency_s
    least = chimes.length_s(Chime.TIMER) + bench.card.latency_s + 0.04
    assert least < bench.speaker.masking_s(PlayChime(Chime.TIMER)) < least + 0.5


def reason(code, rate=24_000):
    """The words for `code` as they should be heard."""
    return phrases.render(code, rate)


def own_sound(bench, sound, tolerance=1e-3):
    """Whether the next periods hold `sound`, and silence after it."""
    heard = bench.play(len(sound) // PERIOD + 5) / 32768
    return np.abs(heard[: len(sound)] - sound).max() < tolerance and np.all(heard[len(sound) :] == 0)


def test_a_reason_is_said_once_in_words_and_is_no_reply(bench):
    bench.speaker.order(SayReason("no_network"))
    bench.play()
    assert own_sound(bench, reason("no_network")) and bench.events.items == []


def test_a_reason_waits_for_the_end_of_the_chime(bench):
    bench.speaker.order(PlayChime(Chime.ERROR))
    bench.speaker.order(SayReason("no_credit"))
    bench.play()
    assert own_sound(bench, np.concatenate((chimes.render(Chime.ERROR, 24_000), reason("no_credit"))))


def test_a_reason_waits_for_what_is_left_of_a_chime_that_sounds_already(bench):
    bench.speaker.order(PlayChime(Chime.ERROR))
    bench.play(6)
    bench.speaker.order(SayReason("no_credit"))
    whole = np.concatenate((chimes.render(Chime.ERROR, 24_000), reason("no_credit")))
    assert own_sound(bench, whole[5 * PERIOD :])


def test_a_reason_is_said_without_chimes_too(make):
    bench = make(chimes=False)
    bench.speaker.order(PlayChime(Chime.ERROR))
    bench.speaker.order(SayReason("server_busy"))
    bench.play()
    assert own_sound(bench, reason("server_busy"))


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_a_reason_is_said_at_the_rate_of_the_card(make, rate):
    bench = make(rate, 2)
    bench.play()
    bench.speaker.order(SayReason("tls_refused"))
    bench.play()
    sound = reason("tls_refused", rate)
    heard = bench.play(150)[: len(sound)] / 32768
    assert np.abs(heard - sound[:, np.newaxis]).max() < 1e-3


def test_a_chime_that_comes_into_the_words_is_heard_with_them(bench):
    bench.speaker.order(SayReason("timeout"))
    bench.play(11)
    bench.speaker.order(PlayChime(Chime.TIMER))
    bench.play()
    expected = reason("timeout")[11 * PERIOD :]
    expected[: len(chimes.render(Chime.TIMER, 24_000))] += chimes.render(Chime.TIMER, 24_000)
    assert own_sound(bench, expected)


def test_a_newer_reason_takes_the_place_of_the_older_without_a_click(bench):
    bench.speaker.order(SayReason("timeout"))
    bench.play(30)
    bench.speaker.order(SayReason("no_network"))
    bench.play()
    fade = PERIOD // 4
    heard = bench.play(160) / 32768
    assert np.abs(heard[fade : fade + len(reason("no_network"))] - reason("no_network")).max() < 1e-3
    last = reason("timeout")[30 * PERIOD :][:fade] * np.linspace(1, 0, fade)
    assert np.abs(heard[:fade] - last).max() < 1e-3


def test_however_many_reasons_are_ordered_only_the_last_is_said(bench):
    for code in ("timeout", "no_credit", "server_busy") * 100:
        bench.speaker.order(SayReason(code))
    bench.play()
    assert np.count_nonzero(bench.play(400)) <= len(reason("server_busy")) + PERIOD // 2


def test_words_and_chime_are_broken_off_together_and_without_a_click(bench):
    bench.speaker.order(PlayChime(Chime.ERROR))
    bench.speaker.order(SayReason("timeout"))
    bench.play(4)
    bench.speaker.order(StopChime())
    bench.play()
    assert np.count_nonzero(bench.play(200)[PERIOD // 4 :]) == 0


def test_words_that_sound_are_broken_off_without_a_click(bench):
    bench.speaker.order(SayReason("timeout"))
    bench.play(30)
    bench.speaker.order(StopChime())
    bench.play()
    fade, heard = PERIOD // 4, bench.play(200) / 32768
    last = reason("timeout")[30 * PERIOD :][:fade] * np.linspace(1, 0, fade)
    assert np.abs(last).max() > 0.02 and np.abs(heard[:fade] - last).max() < 1e-3 and np.all(heard[fade:] == 0)


def test_a_stop_of_the_reply_leaves_the_words(bench):
    bench.begin()
    bench.speaker.order(StopPlayback(1, "stopped"))
    bench.speaker.order(SayReason("connection_lost"))
    bench.play(2)
    assert own_sound(bench, reason("connection_lost")[PERIOD:])


def test_the_volume_counts_for_words(make):
    bench = make(volume=50)
    bench.speaker.order(SayReason("timeout"))
    bench.play()
    assert own_sound(bench, reason("timeout") / 4)


def test_a_reason_from_before_the_card_was_open_is_said_when_it_is():
    card, events = FakeOutput(), Recorder()
    awake = threading.Event()
    speaker = Speaker(Settings(volume=100), events, open_stream=lambda: card, awake=awake, reference=Recorder())
    speaker.order(SayReason("key_refused"))
    worker = Worker("speaker", speaker.work, events)
    worker.start()
    sound = reason("key_refused")
    heard = card.play(150)[:, 0] / 32768
    worker.stopping.set()
    card.release()
    worker.join(LIMIT_S)
    begin = np.flatnonzero(heard)[0] - np.flatnonzero(np.abs(sound) > 1 / 32768)[0]
    assert 0 <= begin <= 2 * PERIOD and np.abs(heard[begin : begin + len(sound)] - sound).max() < 1e-3


def test_a_reason_whose_sound_is_missing_is_silence_that_nothing_has_to_be_masked_for(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(phrases, "FOLDER", tmp_path)
    bench.play()
    assert bench.speaker.masking_s(SayReason("timeout")) == 0
    bench.speaker.order(SayReason("timeout"))
    assert np.all(bench.play(20) == 0) and bench.events.items == []


def test_a_reason_is_masked_until_it_has_died_away_in_the_room(bench):
    bench.play()
    least = phrases.length_s("timeout") + bench.card.latency_s + 0.04
    assert least < bench.speaker.masking_s(SayReason("timeout")) < least + 0.5


def test_a_reason_is_masked_for_longer_while_a_chime_is_before_it(bench, clock):
    bench.play()
    alone = bench.speaker.masking_s(SayReason("timeout"))
    bench.speaker.order(PlayChime(Chime.ERROR))
    assert bench.speaker.masking_s(SayReason("timeout")) == pytest.approx(alone + chimes.length_s(Chime.ERROR))
    clock.now += 0.3
    after = alone + chimes.length_s(Chime.ERROR) - 0.3
    assert bench.speaker.masking_s(SayReason("timeout")) == pytest.approx(after)
    bench.speaker.order(StopChime())
    assert bench.speaker.masking_s(SayReason("timeout")) == pytest.approx(alone)


def test_a_chime_that_is_not_heard_does_not_lengthen_the_mask_of_a_reason(make):
    bench = make(chimes=False)
    bench.play()
    alone = bench.speaker.masking_s(SayReason("timeout"))
    bench.speaker.order(PlayChime(Chime.ERROR))
    assert bench.speaker.masking_s(SayReason("timeout")) == alone


def test_chimes_do_not_overload(bench):
    bench.feed(1, level(50, 32767))
    bench.speaker.order(PlayChime(Chime.WAKE))
    bench.play()
    heard = bench.play(5)
    assert heard.max() <= CEILING * 32768 and heard[AHEAD:].min() > 15_000


@pytest.mark.parametrize("rate", [24_000, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_card_plays_the_reply_at_its_own_rate_and_on_all_its_channels(make, rate, channels):
    bench = make(rate, channels)
    bench.feed(1, tone(440, 0.6, 24_000).tobytes())
    heard = bench.play(60).reshape(-1, channels)
    assert np.array_equal(heard[:, 0], heard[:, -1])
    loud = np.flatnonzero(np.abs(heard[:, 0]) > 200)
    length = loud[-1] - loud[0]
    assert 0.595 * rate < length < 0.612 * rate
    middle = heard[loud[0] + rate // 20 : loud[0] + rate // 20 + rate // 2, 0].astype(float)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 220
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 * 32767 / np.sqrt(2), rel=0.02)
    assert bench.events.items == [PlaybackStarted(1), PlaybackStopped(1, "drained")]


@pytest.mark.parametrize("card", [24_000, 44_100, 48_000])
@pytest.mark.parametrize("rates", [(8_000, 16_000, 24_000, 48_000), (22_050, 44_100, 11_025)])
def test_replies_of_any_rate_are_heard_one_after_the_other_on_a_stream_that_stays_open(make, card, rates):
    bench = make(card)
    bench.play()
    for number, rate in enumerate(rates, 1):
        bench.feed(number, tone(440, 0.2, rate).tobytes(), rate)
        heard = np.concatenate([bench.play() for _ in range(32)])
        assert seconds_of(heard / 32768, 440, card) == pytest.approx(0.2, abs=0.025)
        assert abs(np.abs(heard).max() - 16_384) < 500
    stopped = [event.reply for event in bench.events.of(PlaybackStopped)]
    assert stopped == list(range(1, len(rates) + 1)) and not bench.card.closed.is_set()
    assert bench.heard == [(reply, pytest.approx(0.2, abs=0.002)) for reply in stopped]


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("card", [24_000, 48_000])
def test_what_was_played_when_a_reply_is_cut_off_is_known_to_a_period(make, rate, card):
    bench = make(card)
    bench.feed(1, np.full(rate, LOUD, np.int16).tobytes(), rate)
    bench.play()
    bench.play(11)
    bench.speaker.order(StopPlayback(1, "interrupted"))
    heard = bench.play(3)
    fade = card // 50 // 4
    whole = 12 * card // 50 - 2 * (card // 50) + np.count_nonzero(np.abs(heard) > LOUD * 0.99)
    bench.events.wait_kind(PlaybackStopped)
    (told,) = bench.heard
    assert told[0] == 1 and told[1] == pytest.approx((whole + fade) / card, abs=0.022)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_stop_is_as_quick_on_a_card_of_another_rate(make, rate):
    bench = make(rate, 2)
    bench.feed(1, level(50))
    bench.play(5)
    bench.speaker.order(StopPlayback(1, "interrupted"))
    bench.play()
    period = bench.play()
    assert period[0].min() > LOUD * 0.9 and np.all(period[bench.card.period // 4 :] == 0)
    bench.feed(2, level(20, 300))
    heard = bench.play(30)
    assert np.abs(heard).max() < 400, "something of the stopped reply is left in the resampler"


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_the_end_of_a_reply_is_not_heard_at_the_beginning_of_the_next(make, rate):
    bench = make(rate)
    bench.feed(1, level(10))
    bench.play(40)
    bench.feed(2, level(10, 300))
    assert np.abs(bench.play(20)).max() < 400


def test_a_device_that_is_gone_ends_the_worker_with_the_reason(make):
    bench = make()
    bench.play()
    bench.card.unplug()
    bench.events.wait_for(WorkerDied("speaker", "The speaker 'fake speaker' is gone."))
    assert bench.card.closed.is_set()


def test_a_device_that_cannot_be_opened_is_raised():
    def fail():
        raise HardwareError("There is no speaker 'x'.")

    with pytest.raises(HardwareError, match="no speaker 'x'"):
        Speaker(Settings(), Recorder(), open_stream=fail, awake=threading.Event(), reference=Recorder()).work(
            threading.Event()
        )


def test_it_gives_the_device_back_when_told_to_stop(bench):
    bench.play()
    bench.stop()
    assert bench.card.closed.is_set() and bench.events.items == []


def test_time_in_which_nothing_was_played_is_counted(make, clock):
    bench = make()
    clock.tick_s = 0.0
    for period in range(1, 160):
        clock.now += 0.02 + (0.1 if period == 75 else 0)
        bench.play()
    bench.events.wait_for(Dropped("speaker", 5))
    assert len(bench.events.items) == 1
