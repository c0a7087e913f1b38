"""The ear: what reaches the agent, in which order, and what is heard besides."""

import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.audio import SILENT_FRAME, Frame
from device.events import (
    CloseEar,
    Dropped,
    EchoMeasured,
    JudgeEcho,
    NearMiss,
    OpenEar,
    SendHeld,
    SpeechConfirmed,
    SpeechEnded,
    SpeechStarted,
    SpeechSuspected,
    WakeHeard,
)
from device.hearing import ear as ear_module
from device.hearing.ear import Ear
from device.worker import Worker
from tests.fakes import LIMIT_S, Clock, Recorder

LAST = 9999
"""The frame with which a test ends."""


def frame(number):
    """Frame `number`, captured 20 ms times its number after second 100."""
    return Frame(struct.pack("<h", number) * 320, at(number))


def at(number):
    return 100 + number / 50


def number_of(pcm):
    assert len(pcm) == 640
    return struct.unpack_from("<h", pcm)[0]


class Network:
    """Stands for both detectors: writes down the frames it hears and says what it was told to say at some of them."""

    def __init__(self, stopping, trace, nothing):
        self.answers = {}
        self.heard = []
        self.resets = []
        self.kept_awake = []
        """The frames in which it was not allowed to rest."""
        self.playing = []
        """The frames in which it was told that something is played."""
        self.passed = []
        """The frames of which it was told that more was let through than may be our own."""
        self.often = []
        """The frames after which its probability was wanted at once."""
        self.probability = 0.0
        self._stopping = stopping
        self._trace = trace
        self._nothing = nothing

    def hear(self, frame, *, may_rest=True, playing=False, passed=True, often=False):
        number = number_of(frame.pcm)
        if number == LAST:
            self._stopping.set()
            return self._nothing
        if not may_rest:
            self.kept_awake.append(number)
        if playing:
            self.playing.append(number)
        if passed:
            self.passed.append(number)
        if often:
            self.often.append(number)
        self.heard.append(number)
        self._trace.append(("network", number))
        return self.answers.get(number, self._nothing)

    def played(self, frame):
        self._trace.append(("played", number_of(frame.pcm)))

    def reset(self, *, speaking):
        self.resets.append(speaking)


class Echo:
    """Stands for the canceller: what is played is heard in the microphone's frame of the same number, and taken out of it."""

    CLEANED, LINEAR = 1000, 2000
    """Is added to the number of a frame that was cleaned for the agent, and for those who listen here."""

    def __init__(self):
        self.said = set()
        self.engaged = []
        self.playing, self.residual_dbfs = False, -60.0
        self.let_through = True
        self.trouble, self.erle_db = "", 40.0
        self.passes = set()
        """Frames in which somebody else is heard, too."""

    def played(self, frame):
        self.said.add(number_of(frame.pcm))

    def clean(self, frame, *, engaged):
        number = number_of(frame.pcm)
        if engaged:
            self.engaged.append(number)
        self.playing = number in self.said
        self.let_through = number in self.passes or not self.playing
        self.linear = self._without_us(frame, self.LINEAR)
        return self._without_us(frame, self.CLEANED)

    def _without_us(self, frame, more):
        return Frame(struct.pack("<h", number_of(frame.pcm) + more) * 320, frame.t) if self.playing else frame

    def judge(self, reply, played_s):
        return EchoMeasured(reply, self.erle_db, trouble=self.trouble)


class Over:
    """Stands for what listens while something is played: writes down what it is told, and answers at some frames."""

    def __init__(self):
        self.answers = {}
        self.heard = []
        self.resets = 0

    def hear(self, frame, *told, **more):
        number = number_of(frame.pcm)
        self.heard.append((number, *told, *more.values()))
        return self.answers.get(number)

    def reset(self):
        self.resets += 1


class Bench:
    """An ear with all around it. Everything it is given is worked off by `run`, on the test's own thread."""

    def __init__(self, hold_s=0.0):
        self.stopping = threading.Event()
        self.trace = []
        self.events = Recorder()
        self.wake, self.speech = Network(self.stopping, self.trace, ()), Network(self.stopping, self.trace, None)
        self.echo, self.barge_in = Echo(), Over()
        self.noise = Recorder()
        self.ear = Ear(
            self.wake,
            self.speech,
            self._send,
            self.events,
            canceller=self.echo,
            barge_in=self.barge_in,
            hold_s=hold_s,
            noise=self.noise,
        )

    def _send(self, session, pcm):
        if number_of(pcm) != LAST:
            self.trace.append((session, number_of(pcm)))

    def hear(self, *numbers):
        for number in numbers:
            self.ear.hear(frame(number))

    def open(self, session, since, speaking=False):
        self.ear.order(OpenEar(session, at(since), speaking))

    def close(self):
        self.ear.order(CloseEar())

    def run(self):
        self.ear._inbox.put(frame(LAST))
        self.stopping.clear()
        self.ear.work(self.stopping)

    @property
    def sent(self):
        return [item for item in self.trace if item[0] not in ("network", "played")]


@pytest.fixture
def bench():
    return Bench()


def test_what_was_said_before_comes_first_then_what_is_said_without_gap_or_doubled_frame(bench):
    bench.hear(*range(30))
    bench.open(7, since=12)
    bench.hear(*range(30, 60))
    bench.run()
    assert bench.sent == [(7, number) for number in range(12, 60)]


def test_two_seconds_are_kept_and_no_more(bench):
    for start in range(0, 250, 50):
        bench.hear(*range(start, start + 50))
        bench.run()
    bench.open(1, since=0)
    bench.run()
    # one place in the ring went to the last frame of the last run
    assert bench.sent == [(1, number) for number in range(152, 250)]


def test_nothing_is_forwarded_before_it_is_opened_or_after_it_is_closed(bench):
    bench.hear(0, 1)
    bench.run()
    assert bench.sent == []
    bench.open(1, since=2)
    bench.hear(2, 3)
    bench.close()
    bench.hear(4, 5)
    bench.run()
    assert bench.sent == [(1, 2), (1, 3)]


def test_opened_again_it_begins_with_what_was_said_since(bench):
    bench.open(1, since=0)
    bench.hear(0, 1, 2)
    bench.close()
    bench.hear(3, 4, 5)
    bench.open(1, since=5)
    bench.hear(6)
    bench.run()
    assert bench.sent == [(1, 0), (1, 1), (1, 2), (1, 5), (1, 6)]


def test_an_order_to_open_what_is_open_doubles_nothing(bench):
    bench.open(1, since=0)
    bench.hear(0, 1)
    bench.open(1, since=0)
    bench.hear(2)
    bench.run()
    assert bench.sent == [(1, 0), (1, 1), (1, 2)]


def test_frames_go_to_the_session_that_was_opened_last(bench):
    bench.open(1, since=0)
    bench.hear(0, 1)
    bench.open(2, since=1)
    bench.hear(2)
    bench.run()
    assert bench.sent == [(1, 0), (1, 1), (2, 1), (2, 2)]


@given(st.lists(st.sampled_from(["frame"] * 6 + ["open", "close"]), max_size=80), st.integers(0, 100))
def test_whenever_it_is_opened_and_closed_each_frame_goes_at_most_once_and_in_order(steps, since):
    bench, said, session = Bench(), 0, 0
    expected, open_session, taken = [], None, []
    for step in steps:
        if step == "frame":
            bench.hear(said)
            taken.append(said)
            if open_session and said >= since:
                expected.append((open_session, said))
            said += 1
        elif step == "open":
            session += 1
            open_session = session
            bench.open(session, since=since)
            expected += [(session, number) for number in taken if number >= since]
        else:
            open_session = None
            bench.close()
    bench.run()
    assert bench.sent == expected


def test_sounds_of_our_own_are_silence_for_the_agent_and_only_while_they_sound(bench, monkeypatch):
    clock = Clock(now=at(3))
    monkeypatch.setattr(ear_module, "time", clock)
    bench.open(1, since=0)
    bench.hear(0, 1, 2)
    bench.ear.mask(0.041)  # frames 3, 4 and 5, by the time they were captured
    bench.hear(3, 4, 5, 6, 7)
    bench.run()
    silent = number_of(SILENT_FRAME)
    assert [number for _, number in bench.sent] == [0, 1, 2, silent, silent, silent, 6, 7]
    assert bench.wake.heard == bench.speech.heard == list(range(8))


def test_sounds_of_our_own_are_masked_in_what_was_said_before_the_session_too(bench, monkeypatch):
    monkeypatch.setattr(ear_module, "time", Clock(now=at(2)))
    bench.hear(1)
    bench.ear.mask(0.021)
    bench.hear(2, 3, 4)
    bench.open(1, since=1)
    bench.run()
    assert [number for _, number in bench.sent] == [1, 0, 0, 4]


def test_several_sounds_of_our_own_are_masked_each_by_its_time(bench, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(ear_module, "time", clock)
    bench.open(1, since=1)
    for number in (2, 5):
        clock.now = at(number)
        bench.ear.mask(0.001)
    bench.hear(*range(1, 8))
    bench.run()
    assert [number for _, number in bench.sent] == [1, 0, 3, 4, 0, 6, 7]


def test_a_sound_of_our_own_that_is_broken_off_is_masked_no_longer(bench, monkeypatch):
    clock = Clock(now=at(2))
    monkeypatch.setattr(ear_module, "time", clock)
    bench.open(1, since=1)
    bench.ear.mask(10.0)
    clock.now = at(4)
    bench.ear.unmask(0.021)
    bench.hear(*range(1, 8))
    bench.run()
    assert [number for _, number in bench.sent] == [1, 0, 0, 0, 0, 6, 7]


def test_more_than_two_seconds_behind_frames_are_dropped_and_counted_but_no_order(bench):
    bench.hear(*range(110))
    bench.open(1, since=95)
    bench.close()
    bench.run()
    assert bench.sent == [(1, number) for number in range(95, 100)]
    assert bench.events.items == []
    bench.hear(110, 111)
    bench.run()
    assert bench.events.items == [Dropped("ear", 10)]
    assert bench.wake.heard == [*range(100), 110, 111]


def test_a_frame_leaves_before_the_networks_think_about_it(bench):
    bench.open(1, since=0)
    bench.hear(0, 1)
    bench.run()
    assert bench.trace == [(1, 0), ("network", 0), ("network", 0), (1, 1), ("network", 1), ("network", 1)]


def test_wake_words_are_heard_in_a_session_and_outside_speech_only_in_one(bench):
    heard = [WakeHeard("alexa", 0.9, at(number)) for number in (1, 3)]
    bench.wake.answers = {1: [heard[0]], 3: [heard[1]]}
    bench.speech.answers = {1: SpeechStarted(), 2: SpeechStarted(), 3: SpeechEnded()}
    bench.hear(0, 1)
    bench.open(1, since=0)
    bench.hear(2, 3)
    bench.close()
    bench.hear(4)
    bench.run()
    assert bench.events.items == [heard[0], SpeechStarted(), SpeechEnded(), heard[1]]
    assert bench.wake.heard == [0, 1, 2, 3, 4]
    assert bench.speech.heard == [2, 3]


def test_all_that_is_heard_in_a_frame_is_told_in_order(bench):
    several = [NearMiss("hey_jarvis", 0.4, at(0), "score"), WakeHeard("alexa", 0.9, at(1))]
    bench.wake.answers = {1: several}
    bench.hear(0, 1, 2)
    bench.run()
    assert bench.events.items == several


def test_what_is_played_is_known_before_the_wake_word_network_hears_it(bench):
    bench.ear.played(frame(1))
    bench.ear.played(frame(2))
    bench.hear(1, 2)
    bench.run()
    assert bench.trace == [("played", 1), ("played", 2), *(("network", Echo.LINEAR + number) for number in (1, 2))]


def test_what_is_played_while_nobody_listens_is_kept_for_two_seconds_and_no_longer(bench):
    for number in range(250):
        bench.ear.played(frame(number))
    bench.hear(250)
    bench.run()
    assert bench.trace == [*(("played", number) for number in range(150, 250)), ("network", 250)]


def test_what_is_played_goes_to_no_agent_and_to_no_speech_detector(bench):
    bench.open(1, since=0)
    bench.ear.played(frame(7))
    bench.hear(1)
    bench.run()
    assert bench.sent == [(1, 1)] and bench.speech.heard == [1]


def test_everybody_hears_what_is_left_when_what_we_play_was_taken_out(bench):
    bench.ear.played(frame(2))
    bench.open(1, since=0)
    bench.hear(1, 2, 3)
    bench.run()
    assert [number for _, number in bench.sent] == [1, 2 + Echo.CLEANED, 3]
    assert bench.wake.heard == bench.speech.heard == [1, 2 + Echo.LINEAR, 3]
    assert [heard[0] for heard in bench.barge_in.heard[:-1]] == bench.wake.heard
    assert bench.wake.passed == [1, 3]


def test_the_canceller_may_rest_while_there_is_no_session(bench):
    bench.hear(0)
    bench.open(1, since=0)
    bench.hear(1)
    bench.close()
    bench.hear(2)
    bench.run()
    assert bench.echo.engaged == [1]


def test_talking_over_it_is_listened_for_in_a_session(bench):
    bench.barge_in.answers = {1: SpeechSuspected(), 2: SpeechConfirmed(at(1))}
    bench.speech.probability = 0.7
    bench.hear(0)
    bench.open(1, since=1)
    bench.hear(1, 2)
    bench.close()
    bench.hear(3)
    bench.run()
    assert bench.events.items == [SpeechSuspected(), SpeechConfirmed(at(1))]
    assert bench.barge_in.heard == [(n, 0.7, bench.echo) for n in (1, 2)] and bench.barge_in.resets == 1


def play(bench, *numbers):
    """We are heard in these frames."""
    for number in numbers:
        bench.ear.played(frame(number))


def test_the_speech_detector_is_asked_more_often_while_somebody_may_talk_over_us(bench):
    bench.open(1, since=0)
    play(bench, 2)
    bench.hear(1, 2, 3)
    bench.run()
    assert bench.speech.often == [2 + Echo.LINEAR]


def test_the_wake_word_network_is_told_that_we_play_though_there_is_no_session(bench):
    play(bench, 2)
    bench.hear(1, 2, 3)
    bench.run()
    assert bench.wake.playing == [2 + Echo.LINEAR]
    assert bench.speech.heard == [], "that somebody speaks means nothing without a session"


def sent_before(bench, number):
    """The numbers of the frames that had left when the networks heard that one."""
    until = bench.trace.index(("network", number))
    return [number for session, number in bench.trace[:until] if session == 1]


def test_what_is_heard_while_we_play_is_held_back_and_nothing_of_it_is_lost_when_we_stop():
    bench = Bench(hold_s=0.06)
    play(bench, *range(1, 6))
    bench.open(1, since=0)
    bench.hear(*range(8))
    bench.run()
    assert sent_before(bench, 4 + Echo.LINEAR) == [0, 1 + Echo.CLEANED], "the newest three are held back"
    assert [number for _, number in bench.sent] == [0, *(number + Echo.CLEANED for number in range(1, 6)), 6, 7]


def test_who_talks_over_us_reaches_the_agent_from_the_first_sound_with_nothing_suppressed():
    bench = Bench(hold_s=0.1)
    play(bench, *range(10))
    bench.open(1, since=0)
    bench.hear(*range(6))
    bench.ear.order(SendHeld(at(4)))
    bench.hear(6, 7)
    bench.run()
    suppressed, heard = (0, 1, 2, 3), (4, 5, 6, 7)
    assert [number for _, number in bench.sent] == [
        *(number + Echo.CLEANED for number in suppressed),
        *(number + Echo.LINEAR for number in heard),
    ]


def test_when_we_play_again_it_is_held_back_again():
    bench = Bench(hold_s=0.06)
    play(bench, 0, 1, *range(4, 9))
    bench.open(1, since=0)
    bench.hear(0, 1)
    bench.ear.order(SendHeld(at(0)))
    bench.hear(*range(2, 9))
    bench.run()
    talked_over = [0 + Echo.LINEAR, 1 + Echo.LINEAR]
    assert sent_before(bench, 8 + Echo.LINEAR) == [*talked_over, 2, 3, 4 + Echo.CLEANED, 5 + Echo.CLEANED]


def test_where_the_canceller_does_not_work_nothing_is_held_back_until_it_does_again():
    bench = Bench(hold_s=0.06)
    play(bench, *range(9))
    bench.open(1, since=0)
    bench.echo.trouble = "echo_not_cancelled"
    bench.ear.order(JudgeEcho(1, 2.0))
    bench.hear(0, 1)
    bench.run()
    bench.echo.trouble, bench.echo.erle_db = "", None  # too soft to tell: nothing changes
    bench.ear.order(JudgeEcho(2, 0.5))
    bench.hear(2)
    bench.run()
    assert sent_before(bench, 2 + Echo.LINEAR) == [n + Echo.CLEANED for n in (0, 1, 2)]
    bench.echo.erle_db = 40.0
    bench.ear.order(JudgeEcho(3, 2.0))
    bench.hear(*range(3, 9))
    bench.run()
    assert sent_before(bench, 8 + Echo.LINEAR) == [n + Echo.CLEANED for n in range(6)]


def test_what_is_held_back_goes_out_when_the_ear_is_closed():
    bench = Bench(hold_s=0.1)
    play(bench, *range(4))
    bench.open(1, since=0)
    bench.hear(*range(4))
    bench.close()
    bench.run()
    assert [number for _, number in bench.sent] == [number + Echo.CLEANED for number in range(4)]


def test_our_own_voice_is_nobody_who_speaks(bench):
    play(bench, *range(1, 30))
    bench.speech.answers = {5 + Echo.LINEAR: SpeechStarted(), 20 + Echo.LINEAR: SpeechEnded()}
    bench.open(1, since=0)
    bench.hear(*range(1, 30))
    bench.run()
    assert bench.events.items == []


def test_who_speaks_while_we_play_is_told_of_when_the_canceller_lets_something_through(bench):
    play(bench, *range(1, 30))
    bench.echo.passes = {9}
    bench.speech.answers = {5 + Echo.LINEAR: SpeechStarted(), 20 + Echo.LINEAR: SpeechEnded()}
    bench.barge_in.answers = {8 + Echo.LINEAR: SpeechSuspected()}
    bench.open(1, since=0)
    bench.hear(*range(1, 30))
    bench.run()
    assert bench.events.items == [SpeechSuspected(), SpeechStarted(), SpeechEnded()]


def test_the_next_session_is_not_talked_over_because_the_last_one_was():
    bench = Bench(hold_s=0.02)
    play(bench, *range(10))
    bench.open(1, since=0)
    bench.hear(0, 1)
    bench.ear.order(SendHeld(at(0)))
    bench.close()
    bench.open(2, since=2)
    bench.hear(2, 3, 4)
    bench.run()
    assert [number for session, number in bench.sent if session == 2] == [n + Echo.CLEANED for n in (2, 3, 4)]


def test_where_nobody_may_talk_over_us_nobody_listens_for_that(bench):
    bench.ear._barge_in = None
    bench.open(1, since=0)
    play(bench, 2)
    bench.hear(1, 2)
    bench.run()
    assert bench.sent == [(1, 1), (1, 2 + Echo.CLEANED)]
    assert bench.barge_in.heard == bench.speech.often == []


def test_how_loud_it_is_here_is_asked_of_the_room_alone(bench):
    bench.ear.played(frame(2))
    bench.hear(1, 2, 3)
    bench.run()
    assert [number_of(heard.pcm) for heard in bench.noise.items] == [1, 3, LAST]


def test_when_a_reply_is_over_it_tells_how_well_it_was_cancelled(bench):
    bench.ear.order(JudgeEcho(7, 2.5))
    bench.run()
    assert bench.events.items == [EchoMeasured(7, 40.0)]


def test_what_is_heard_before_the_ear_is_to_open_is_for_nobody(bench):
    bench.open(1, since=3)
    bench.hear(1, 2, 3, 4)
    bench.run()
    assert bench.sent == [(1, 3), (1, 4)] and bench.speech.heard == [3, 4]


@pytest.mark.parametrize("speaking", [True, False])
def test_the_speech_detector_learns_whether_somebody_speaks_when_it_is_opened(bench, speaking):
    bench.open(1, since=0, speaking=speaking)
    bench.hear(0)
    bench.run()
    assert bench.speech.resets == [speaking]


def test_it_ends_soon_when_told_to_though_nothing_is_heard(bench):
    worker = Worker("ear", bench.ear.work, bench.events)
    worker.start()
    worker.stopping.set()
    worker.join(LIMIT_S)
    assert not worker.is_alive()
    assert bench.events.items == []


def test_the_wake_word_network_may_rest_while_there_is_no_session_only(bench):
    bench.hear(0, 1)
    bench.open(1, since=0)
    bench.hear(2, 3)
    bench.close()
    bench.hear(4)
    bench.run()
    assert bench.wake.kept_awake == [2, 3]
