"""Every decision: the table of all events in all situations, what must always hold, and conversations told as stories."""

import itertools
import typing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import brain, events, talking_over
from device.brain import step
from device.config import Conversation
from device.events import (
    AgentErred,
    AgentInterrupted,
    ButtonHeld,
    ButtonPressed,
    ButtonReleased,
    By,
    Chime,
    Cited,
    CloseEar,
    CloseMicrophone,
    Connected,
    ConnectionLost,
    DayBroke,
    DeadlinePassed,
    Dropped,
    DuckPlayback,
    EchoMeasured,
    Exit,
    FirstAudioSent,
    FirstReady,
    InterruptAgent,
    JudgeEcho,
    NearMiss,
    NightFell,
    OpenEar,
    OpenMicrophone,
    PlaybackStarted,
    PlaybackStopped,
    PlayChime,
    QuietAsked,
    RaisePlayback,
    ReplyStarted,
    ResumePlayback,
    SayReason,
    SendHeld,
    SendText,
    SessionEnded,
    SessionReady,
    SessionRefused,
    SessionStarted,
    SetVolume,
    SpeechConfirmed,
    SpeechEnded,
    SpeechStarted,
    SpeechSuspected,
    StartSession,
    StopAsked,
    StopChime,
    StopPlayback,
    StopSession,
    StopWordHeard,
    TellHeard,
    TextTyped,
    TimerCancelled,
    TimerSet,
    ToolCalled,
    Transcribed,
    VolumeAsked,
    WakeHeard,
    WorkerDied,
)
from device.panel.look import Look, look
from device.state import CONVERSING, RESTING, RINGS, Phase, State, Timer

GOLDEN = Path(__file__).with_name("brain_table.txt")
NOW = 1000.0

IN_SESSION = State(phase=Phase.LISTENING, session=3, session_until=NOW + 500, quiet_until=NOW + 5, reply=7)
SITUATIONS = {
    "idle": State(session=3),
    "idle, playing on": State(session=3, reply=7, playing=7),
    "idle, muted": State(session=3, muted=True),
    "idle, ringing": State(session=3, timers=(Timer("tea", NOW + 2, rings=19),)),
    "connecting": State(phase=Phase.CONNECTING, session=3, phase_until=NOW + 9, someone_speaks=True),
    "reconnecting": replace(IN_SESSION, phase=Phase.CONNECTING, phase_until=NOW + 29, quiet_until=None, playing=7),
    "listening": IN_SESSION,
    "listening, tool": replace(IN_SESSION, tools=("search",), quiet_until=None),
    "speaking": replace(IN_SESSION, phase=Phase.SPEAKING, playing=7, quiet_until=None),
    "speaking, ducked": replace(
        IN_SESSION, phase=Phase.SPEAKING, playing=7, quiet_until=None, ducked_until=NOW + 0.2, someone_speaks=True
    ),
    "listening, rest kept": replace(IN_SESSION, quiet_until=None, kept=7, kept_until=NOW + 1.5),
    "closing": State(phase=Phase.CLOSING, session=3, phase_until=NOW + 1, reply=7),
    "leaving": State(phase=Phase.CLOSING, session=3, phase_until=NOW + 1, exit_code=0),
    "offline": State(phase=Phase.OFFLINE, session=3, phase_until=NOW + 9),
    "error": State(phase=Phase.ERROR, session=3, phase_until=NOW + 9),
}
EVENTS = (
    WakeHeard("hey_jarvis", 0.9, NOW - 0.01),
    NearMiss("hey_jarvis", 0.4, NOW - 0.01, "score"),
    SpeechStarted(),
    SpeechEnded(),
    SpeechSuspected(),
    SpeechConfirmed(NOW - 0.3),
    StopWordHeard("stop", NOW - 0.01),
    EchoMeasured(7, 38.0, 4.0),
    EchoMeasured(7, 2.0, 4.0, "echo_not_cancelled", "It hears itself."),
    NightFell(),
    DayBroke(),
    ButtonPressed(),
    ButtonHeld(),
    ButtonReleased(),
    TextTyped("hello"),
    QuietAsked(),
    Connected(3, (("tcp", 0.04),)),
    SessionStarted(3, "s", "c"),
    SessionReady(3),
    FirstAudioSent(3),
    ReplyStarted(3, 8),
    ToolCalled(3, "search", "started"),
    ToolCalled(3, "search", "failed"),
    Transcribed(3, "user", "hello"),
    Cited(3, 2),
    AgentInterrupted(3, 7),
    AgentErred(3, "odd", "Odd."),
    VolumeAsked(3, by=-70),
    TimerSet(3, "egg", 300.0),
    TimerCancelled(3, "tea"),
    ConnectionLost(3, 0.5, "connection_lost", "gone"),
    SessionRefused(3, "key_refused", "No."),
    SessionEnded(3, "agent"),
    PlaybackStarted(8),
    PlaybackStopped(7, "drained"),
    WorkerDied("ear", "broken"),
    Dropped("ear", 3),
    StopAsked(),
    FirstReady(),
    DeadlinePassed(),
)


def run(state: State, *happened: events.Event | tuple[events.Event, float]) -> tuple[State, list[events.Effect]]:
    """The state after all that happened (at NOW, or at a time given with it), and the effects of it all."""
    effects: list[events.Effect] = []
    for item in happened:
        event, now = item if isinstance(item, tuple) else (item, NOW)
        state, more = step(state, event, now)
        effects += more
    return state, effects


# --- the table ------------------------------------------------------------------------------------------------------


def told(state: State, event: events.Event) -> str:
    after, effects = step(state, event, NOW)
    changed = [
        f"{name}={getattr(after, name)!r}"
        for name in State.__dataclass_fields__
        if getattr(after, name) != getattr(state, name) and name not in ("settings", "phase")
    ]
    parts = [f"-> {after.phase}"] if after.phase is not state.phase else []
    return "; ".join(parts + changed + [repr(effect) for effect in effects]) or "."


def test_the_table_of_all_decisions_is_the_one_that_was_reviewed():
    lines = []
    for (situation, state), event in itertools.product(SITUATIONS.items(), EVENTS):
        lines.append(f"{situation} + {event!r}\n    {told(state, event)}")
    table = "\n".join(lines) + "\n"
    # To review a change: delete the file, run this test, and read the difference.
    if not GOLDEN.exists():
        GOLDEN.write_text(table)
        pytest.fail(f"{GOLDEN.name} was missing and has been written; review it")

    assert table == GOLDEN.read_text()


def test_the_table_covers_every_event():
    assert {type(event) for event in EVENTS} == set(typing.get_args(events.Event))


@pytest.mark.parametrize("event", [event for event in EVENTS if hasattr(event, "session")], ids=repr)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_fact_about_another_session_means_nothing(situation, event):
    state = replace(SITUATIONS[situation], session=4)

    assert step(state, event, NOW) == (state, ())


# --- what always holds ----------------------------------------------------------------------------------------------


def check(state: State, now: float) -> None:
    if state.phase in (Phase.CONNECTING, Phase.CLOSING, Phase.OFFLINE, Phase.ERROR):
        assert state.phase_until is not None, "a phase that people wait in has an end"
    if state.phase in CONVERSING:
        assert state.session_until is not None, "a session costs money: it has an end"
    if state.phase is Phase.LISTENING and not state.someone_speaks and not state.tools:
        assert state.quiet_until is not None
    if state.phase in RESTING:
        assert state.session_until is None and state.quiet_until is None and not state.tools
    assert (state.phase is Phase.SPEAKING) == (state.phase in CONVERSING and state.playing > 0)
    assert 0 <= state.volume <= 100
    if state.ducked_until is not None:
        assert state.playing, "nobody would raise it again"
    if state.kept:
        assert state.phase in CONVERSING and state.resumed < state.kept
    else:
        assert state.kept_until is None
    assert not state.ending or state.quiet_until is not None
    assert len(state.timers) <= brain.MOST_TIMERS and len(state.tools) <= brain.MOST_TOOLS


class World:
    """What the effects do to the rest of the speaker, as far as the invariants speak of it."""

    def __init__(self) -> None:
        self.ear: int | None = None
        self.sessions = 0
        self.microphone = True
        self.exits = 0

    def take(self, effects: tuple[events.Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case OpenEar(session):
                    assert self.microphone, "muted opens no ear"
                    assert session == self.sessions, "the ear is opened for the session there is"
                    self.ear = session
                case CloseEar():
                    self.ear = None
                case StartSession(session):
                    assert session == self.sessions + 1
                    self.sessions = session
                case CloseMicrophone():
                    assert self.microphone
                    self.microphone = False
                case OpenMicrophone():
                    assert not self.microphone
                    self.microphone = True
                case Exit():
                    self.exits += 1


some_event = st.one_of(
    st.sampled_from(EVENTS),
    st.builds(PlaybackStarted, st.integers(1, 12)),
    st.builds(PlaybackStopped, st.integers(1, 12), st.sampled_from(["drained", "interrupted"])),
    st.builds(ToolCalled, st.just(0), st.sampled_from("abc"), st.sampled_from(["started", "completed"])),
    st.builds(TimerSet, st.just(0), st.sampled_from("abc"), st.floats(0.1, 1000)),
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(some_event, st.floats(0, 20)), max_size=60),
    st.sampled_from(["speech", "wake_word", "button"]),
    st.booleans(),
)
def test_whatever_happens_in_whatever_order_the_invariants_hold(story, barge_in, half_duplex):
    state, world, now = State(Conversation(barge_in=barge_in, half_duplex=half_duplex)), World(), NOW
    for event, wait in story:
        if hasattr(event, "session"):
            event = replace(event, session=state.session)
        arrives = now + wait
        while state.deadline is not None and state.deadline <= arrives:
            now = max(now, state.deadline)
            before = state
            state, effects = step(state, DeadlinePassed(), now)
            world.take(effects)
            if world.exits:
                return
            assert state != before, "a deadline that has passed is dealt with"
            check(state, now)
        now = arrives
        state, effects = step(state, event, now)
        world.take(effects)
        check(state, now)
        if world.exits:
            assert state.exit_code is not None
            return
        listens = state.phase in (Phase.CONNECTING, *CONVERSING) and not (half_duplex and state.playing)
        if not half_duplex:
            assert (world.ear == state.session) == listens, "the ear is open exactly while a session is on"
        elif listens and state.phase in CONVERSING:
            assert world.ear == state.session, "half duplex never leaves it deaf"
        assert world.microphone != state.muted


@given(st.lists(some_event, max_size=20))
def test_it_leaves_within_two_seconds_of_being_told(story):
    state = State()
    for event in story:
        state, _ = step(state, replace(event, session=state.session) if hasattr(event, "session") else event, NOW)
    if state.exit_code is not None:
        return

    state, effects = step(state, StopAsked(), NOW)
    if Exit(0) not in effects:
        assert state.phase is Phase.CLOSING and state.phase_until is not None and state.phase_until <= NOW + 2
        state, effects = run_deadlines(state, NOW + 2)
    assert Exit(0) in effects


def run_deadlines(state: State, until: float) -> tuple[State, list[events.Effect]]:
    effects: list[events.Effect] = []
    while state.deadline is not None and state.deadline <= until:
        state, more = step(state, DeadlinePassed(), max(NOW, state.deadline))
        effects += more
        if any(isinstance(effect, Exit) for effect in more):
            break
    return state, effects


# --- conversations --------------------------------------------------------------------------------------------------


def test_the_wake_word_opens_a_session_with_what_was_said_just_before_it_was_heard():
    state, effects = run(State(preroll_s=0.5), WakeHeard("hey_jarvis", 0.9, NOW - 0.1))

    assert effects == [StartSession(1), OpenEar(1, NOW - 0.6, speaking=True)]
    assert state.phase is Phase.CONNECTING


def test_who_speaks_on_after_the_wake_word_is_not_disturbed_by_a_chime():
    _, effects = run(State(), WakeHeard("w", 0.9, NOW), SessionReady(1), (SpeechEnded(), NOW + 2.0))

    assert not any(isinstance(effect, PlayChime) for effect in effects)


def test_who_waits_after_the_wake_word_hears_the_chime():
    _, effects = run(State(), WakeHeard("w", 0.9, NOW), SessionReady(1), (SpeechEnded(), NOW + 0.4))

    assert effects[-1] == PlayChime(Chime.WAKE)


def test_a_question_and_its_answer():
    state, _ = run(
        State(),
        WakeHeard("w", 0.9, NOW),
        SessionReady(1),
        (SpeechEnded(), NOW + 2),
        ReplyStarted(1, 1),
        (PlaybackStarted(1), NOW + 3),
    )
    assert state.phase is Phase.SPEAKING and look(state) is Look.SPEAKING

    state, _ = step(state, PlaybackStopped(1, "drained"), NOW + 5)
    assert state.phase is Phase.LISTENING and state.quiet_until == NOW + 5 + 8


def test_a_short_press_while_speaking_interrupts_at_once_and_goes_on_listening():
    state, effects = run(SITUATIONS["speaking"], ButtonPressed())
    assert effects == [StopPlayback(7, "interrupted"), InterruptAgent(By.BUTTON)]

    state, effects = run(state, PlaybackStopped(7, "interrupted", 7, 1.25), ButtonReleased())
    assert state.phase is Phase.LISTENING and effects == [JudgeEcho(7, 1.25), TellHeard(7, 1.25)]


def test_a_long_press_while_speaking_stops_the_session():
    state, effects = run(SITUATIONS["speaking"], ButtonPressed(), PlaybackStopped(7, "interrupted"), ButtonHeld())

    assert state.phase is Phase.CLOSING and StopSession("button") in effects
    state, effects = run(state, ButtonReleased(), SessionEnded(3, "button"))
    assert state.phase is Phase.IDLE and not state.muted and effects == []


def test_a_short_press_in_idle_starts_a_session_when_the_button_comes_up():
    state, effects = run(State(), ButtonPressed())
    assert effects == []

    state, effects = run(state, ButtonReleased())
    assert effects == [StartSession(1), OpenEar(1, NOW, speaking=False)]


@pytest.mark.parametrize("situation", ["connecting", "listening"])
def test_a_short_press_otherwise_stops_the_session(situation):
    state, effects = run(SITUATIONS[situation], ButtonPressed(), ButtonReleased())

    assert state.phase is Phase.CLOSING and StopSession("button") in effects


def test_a_long_press_in_idle_mutes_and_another_unmutes():
    state, effects = run(State(), ButtonPressed(), ButtonHeld(), ButtonReleased())
    assert state.muted and look(state) is Look.MUTED
    assert effects == [CloseMicrophone(), PlayChime(Chime.MUTE)]

    state, effects = run(state, ButtonPressed(), ButtonHeld(), ButtonReleased())
    assert not state.muted
    assert effects == [OpenMicrophone(), PlayChime(Chime.UNMUTE)]


def test_a_short_press_while_muted_only_reminds():
    state, effects = run(State(muted=True), ButtonPressed(), ButtonReleased())

    assert state.muted and effects == [PlayChime(Chime.MUTE)]


def test_the_wake_word_cuts_in_on_a_reply():
    _, effects = run(SITUATIONS["speaking"], WakeHeard("w", 0.9, NOW))

    assert effects == [StopPlayback(7, "interrupted"), InterruptAgent(By.WAKE_WORD)]


def test_the_wake_word_does_not_cut_in_where_only_the_button_may():
    state = replace(SITUATIONS["speaking"], settings=Conversation(barge_in="button"))

    assert run(state, WakeHeard("w", 0.9, NOW)) == (state, [])


def test_a_stopped_playback_of_an_old_reply_does_not_end_the_next():
    state, _ = run(SITUATIONS["speaking"], ReplyStarted(3, 8), PlaybackStarted(8), PlaybackStopped(7, "drained"))

    assert state.phase is Phase.SPEAKING


# --- talking over it ------------------------------------------------------------------------------------------------

TALKED_OVER = (
    SpeechSuspected(),
    SpeechStarted(),
    (SpeechConfirmed(NOW), NOW + 0.3),
    PlaybackStopped(7, "interrupted", 7, 1.2),
)


def test_on_the_first_suspicion_the_reply_only_gets_softer():
    state, effects = run(SITUATIONS["speaking"], SpeechSuspected())
    assert effects == [DuckPlayback()] and state.phase is Phase.SPEAKING

    state, effects = run(state, (DeadlinePassed(), NOW + 0.4))
    assert effects == [RaisePlayback()] and state.phase is Phase.SPEAKING and state.deadline == NOW + 500


def test_who_talks_on_stops_the_reply_of_which_the_rest_is_kept():
    _, effects = run(SITUATIONS["speaking"], *TALKED_OVER)

    assert effects == [
        DuckPlayback(),
        StopPlayback(7, "interrupted", keep=True),
        InterruptAgent(By.SPEECH),
        SendHeld(NOW - talking_over.BEFORE_S),
        JudgeEcho(7, 1.2),
        RaisePlayback(),
        TellHeard(7, 1.2),
    ]


def test_where_no_words_follow_the_rest_of_the_reply_is_played_on_once():
    state, _ = run(SITUATIONS["speaking"], *TALKED_OVER)
    state, effects = run(state, (SpeechEnded(), NOW + 1))
    assert effects == [] and state.deadline == NOW + 1 + talking_over.WORDS_S

    state, effects = run(state, (DeadlinePassed(), NOW + 4), PlaybackStarted(7))
    assert effects == [ResumePlayback(7)] and state.phase is Phase.SPEAKING

    _, effects = run(state, SpeechSuspected(), SpeechConfirmed(NOW))
    assert StopPlayback(7, "interrupted", keep=False) in effects


@pytest.mark.parametrize(
    "stopped", [ButtonPressed(), StopWordHeard("stop", NOW), WakeHeard("w", 0.9, NOW), AgentInterrupted(3, 7)]
)
def test_who_talks_while_a_reply_is_broken_off_otherwise_does_not_have_it_played_on(stopped):
    state, _ = run(SITUATIONS["speaking"], stopped)
    state, effects = run(state, (SpeechConfirmed(NOW), NOW + 0.01), PlaybackStopped(7, "interrupted", 7, 1.2))

    assert state.kept == 0 and not any(isinstance(effect, StopPlayback | SendHeld) for effect in effects)


def test_an_answer_that_comes_after_all_is_not_kept_waiting_by_the_reply_that_is_played_on():
    state, _ = run(SITUATIONS["speaking"], *TALKED_OVER, SpeechEnded(), (DeadlinePassed(), NOW + 9), PlaybackStarted(7))
    state, effects = run(state, ReplyStarted(3, 8))

    assert effects == [StopPlayback(7, "stopped")] and state.reply == 8


def test_words_are_waited_for_as_long_as_somebody_speaks():
    state, _ = run(SITUATIONS["speaking"], *TALKED_OVER, (SpeechEnded(), NOW + 1), (SpeechStarted(), NOW + 2))

    assert state.kept == 7 and state.kept_until is None


@pytest.mark.parametrize(
    "followed",
    [
        Transcribed(3, "user", "what time is it"),
        ReplyStarted(3, 8),
        ToolCalled(3, "search", "started"),
        TextTyped("hello"),
        AgentInterrupted(3, 7),
        StopWordHeard("stop", NOW),
        WakeHeard("w", 0.9, NOW),
        ConnectionLost(3, 0.5, "connection_lost", "gone"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_reply_that_words_have_stopped_is_not_played_on(followed):
    state = replace(IN_SESSION, kept=7, kept_until=NOW + 2, playing=0)
    _, effects = run(state, followed)
    after, _ = run(state, followed)

    assert after.kept == 0 and after.kept_until is None
    assert not any(isinstance(effect, ResumePlayback) for effect in effects)


def test_noise_that_was_transcribed_as_nothing_is_no_words():
    state = replace(IN_SESSION, kept=7, kept_until=NOW + 2)

    assert run(state, Transcribed(3, "user", " "))[0].kept == 7


@pytest.mark.parametrize("barge_in", ["wake_word", "button"])
def test_talking_over_it_does_nothing_where_that_is_not_wanted(barge_in):
    state = replace(SITUATIONS["speaking"], settings=Conversation(barge_in=barge_in))

    assert run(state, SpeechSuspected(), SpeechConfirmed(NOW)) == (state, [])


def test_a_stop_word_does_what_the_button_does_and_nothing_is_played_on():
    state, effects = run(SITUATIONS["speaking"], StopWordHeard("stop", NOW))

    assert effects == [StopPlayback(7, "interrupted"), InterruptAgent(By.SPEECH)] and state.kept == 0
    assert StopPlayback(7, "stopped") in run(SITUATIONS["idle, playing on"], StopWordHeard("stop", NOW))[1]
    assert run(SITUATIONS["idle, ringing"], StopWordHeard("stop", NOW))[0].timers == ()


def test_a_stop_word_silences_a_reply_that_plays_on_while_the_connection_is_lost():
    assert StopPlayback(7, "stopped") in run(SITUATIONS["reconnecting"], StopWordHeard("stop", NOW))[1]


def test_where_only_the_button_may_interrupt_a_stop_word_does_nothing():
    for name in ("speaking", "idle, playing on"):
        state = replace(SITUATIONS[name], settings=Conversation(barge_in="button"))
        assert run(state, StopWordHeard("stop", NOW)) == (state, []), name


BROKEN = EchoMeasured(7, 2.0, None, "echo_not_cancelled", "It hears itself.")


def test_a_speaker_that_hears_itself_takes_nothing_for_talking_over_it_until_that_is_mended():
    state, _ = run(SITUATIONS["speaking"], BROKEN)
    assert run(state, SpeechSuspected(), SpeechConfirmed(NOW))[1] == []
    assert run(state, WakeHeard("w", 0.9, NOW))[1][-1] == InterruptAgent(By.WAKE_WORD)

    state, _ = run(state, EchoMeasured(7, None))
    assert run(state, SpeechSuspected())[1] == [], "a reply too soft to measure proves nothing"
    state, _ = run(state, EchoMeasured(7, 30.0))
    assert run(state, SpeechSuspected())[1] == [DuckPlayback()]


def test_it_says_once_that_it_hears_itself_and_into_no_ones_words():
    state, effects = run(SITUATIONS["listening"], BROKEN, BROKEN)
    assert effects == []

    state, effects = run(state, (DeadlinePassed(), NOW + 5), SessionEnded(3, "idle"))
    assert effects[-1] == SayReason("echo")
    state = replace(state, phase=Phase.LISTENING, session_until=NOW + 500)
    assert SayReason("echo") not in run(state, BROKEN, SessionEnded(3, "agent"))[1]


def test_that_it_hears_itself_is_not_said_into_the_agents_last_words():
    state, effects = run(SITUATIONS["speaking"], BROKEN, SessionEnded(3, "agent"))
    assert SayReason("echo") not in effects and state.owes_warning


def test_it_is_no_matter_that_it_hears_itself_where_nobody_may_talk_over_it():
    state = replace(IN_SESSION, settings=Conversation(barge_in="wake_word"))

    assert SayReason("echo") not in run(state, BROKEN, SessionEnded(3, "agent"))[1]


def test_at_night_it_is_softer_and_a_change_of_volume_is_one_of_that():
    state, effects = run(State(volume=60, night_volume=50), NightFell())
    assert effects == [SetVolume(30)]
    state, effects = run(state, VolumeAsked(0, to=80))
    assert effects == [SetVolume(40)] and state.volume == 80
    assert run(state, DayBroke())[1] == [SetVolume(80)]


# --- when it ends ---------------------------------------------------------------------------------------------------


def test_before_it_stops_listening_the_light_says_so():
    state, effects = run(IN_SESSION, (DeadlinePassed(), NOW + 2))
    assert look(state) is Look.ENDING and effects == [] and state.deadline == NOW + 5

    assert look(run(state, SpeechStarted())[0]) is Look.LISTENING


def test_nobody_speaks_for_idle_s_and_the_session_ends():
    state, effects = run(IN_SESSION, (DeadlinePassed(), NOW + 5))

    assert state.phase is Phase.CLOSING
    assert effects == [CloseEar(), StopPlayback(7, "stopped"), StopSession("idle"), PlayChime(Chime.END)]


def test_idle_time_does_not_run_while_somebody_speaks_or_a_tool_works():
    assert run(IN_SESSION, SpeechStarted())[0].quiet_until is None
    assert run(IN_SESSION, ToolCalled(3, "t", "started"))[0].quiet_until == NOW + brain.TOOL_S


def test_half_duplex_goes_idle_even_if_the_reply_cut_the_end_of_speech_off():
    state = replace(IN_SESSION, settings=Conversation(half_duplex=True), someone_speaks=True, quiet_until=None)

    assert run(state, PlaybackStarted(8), PlaybackStopped(8, "drained"))[0].quiet_until == NOW + 8


def test_a_reply_that_comes_when_the_session_was_stopped_is_not_heard():
    _, effects = run(SITUATIONS["closing"], ReplyStarted(3, 8))

    assert effects == [StopPlayback(8, "stopped")]


def test_what_plays_on_in_idle_is_silenced_whatever_its_number():
    assert run(State(session=3, playing=9), ButtonPressed())[1] == [StopPlayback(9, "stopped")]


def test_a_session_ends_after_max_s_whatever_goes_on():
    state, effects = run(replace(SITUATIONS["speaking"], session_until=NOW), DeadlinePassed())

    assert state.phase is Phase.CLOSING and StopSession("max_s") in effects


def test_max_s_counts_from_the_first_ready_over_reconnections():
    state, _ = run(State(), WakeHeard("w", 0.9, NOW), SessionReady(1))
    state, _ = run(state, (ConnectionLost(1, 0.5, "timeout", "x"), NOW + 100), (SessionReady(1), NOW + 101))

    assert state.session_until == NOW + 600


def test_the_agents_last_words_are_heard_after_it_has_ended_the_session():
    state, effects = run(SITUATIONS["speaking"], SessionEnded(3, "agent"))

    assert state.phase is Phase.IDLE and look(state) is Look.SPEAKING
    assert effects == [CloseEar()]
    assert run(state, ButtonPressed())[1] == [StopPlayback(7, "stopped")]


def test_an_agent_that_cannot_be_reached_in_time_is_given_up_with_a_sign():
    state, effects = run(SITUATIONS["connecting"], (DeadlinePassed(), NOW + 9))

    assert state.phase is Phase.OFFLINE and look(state) is Look.OFFLINE
    assert effects == [CloseEar(), StopSession("unreachable"), PlayChime(Chime.ERROR), SayReason("timeout")]


def test_what_kept_the_agent_from_being_reached_is_what_is_said():
    lost = ConnectionLost(3, 0.5, "name_not_found", "The name cannot be found.")
    _, effects = run(SITUATIONS["connecting"], lost, (DeadlinePassed(), NOW + 9))

    assert effects[-1] == SayReason("name_not_found")


def test_who_is_asked_to_wait_for_longer_than_a_person_would_gives_up_at_once():
    state, effects = run(SITUATIONS["connecting"], ConnectionLost(3, 60.0, "server_busy", "Busy."))

    assert state.phase is Phase.OFFLINE and effects[-1] == SayReason("server_busy")


def test_a_wake_word_breaks_the_words_off():
    _, effects = run(SITUATIONS["offline"], WakeHeard("w", 0.9, NOW))

    assert effects[0] == StopChime()


def test_the_next_session_goes_on_with_the_conversation_only_if_that_is_wanted_and_soon():
    def next_start(resume_s, after_s):
        state = replace(IN_SESSION, settings=Conversation(resume_s=resume_s))
        happened = (SessionStarted(3, "s", "c-1"), SessionEnded(3, "agent"), (WakeHeard("w", 0.9, NOW), NOW + after_s))
        return next(effect for effect in run(state, *happened)[1] if isinstance(effect, StartSession))

    assert next_start(60.0, 59.0) == StartSession(4, "c-1")
    assert next_start(60.0, 61.0) == StartSession(4, None)
    assert next_start(0.0, 0.0) == StartSession(4, None)


def test_text_goes_to_the_agent_in_a_conversation_and_nowhere_else():
    for name, state in SITUATIONS.items():
        _, effects = run(state, TextTyped("hello"))
        assert effects == ([SendText("hello")] if state.phase in CONVERSING else []), name


@pytest.mark.parametrize("name", ["connecting", "reconnecting", "listening", "speaking"])
def test_whoever_asks_for_quiet_ends_the_session(name):
    state, effects = run(SITUATIONS[name], QuietAsked())

    assert state.phase is Phase.CLOSING and StopSession("command") in effects


def test_whoever_asks_for_quiet_silences_timers_and_last_words():
    assert run(SITUATIONS["idle, ringing"], QuietAsked())[0].timers == ()
    assert StopPlayback(7, "stopped") in run(SITUATIONS["idle, playing on"], QuietAsked())[1]


def test_what_goes_on_after_a_gap_can_be_broken_off():
    happened = (PlaybackStopped(7, "drained", 7, 2.0), PlaybackStarted(7), AgentInterrupted(3, 7))
    _, effects = run(SITUATIONS["speaking"], *happened)

    assert effects[-1] == StopPlayback(7, "interrupted")


def test_an_agent_that_comes_and_goes_is_given_up_half_a_minute_after_the_first_loss():
    state, now = IN_SESSION, NOW
    for _ in range(20):
        state, _ = run(state, (ConnectionLost(3, 0.5, "connection_lost", "gone"), now))
        if state.phase is not Phase.CONNECTING:
            break
        state, _ = run(state, (SessionReady(3), now + 1))
        now += 3
    assert state.phase is Phase.OFFLINE and 28 <= now - NOW <= 31


def test_a_connection_that_has_lasted_is_lost_anew():
    state, _ = run(IN_SESSION, ConnectionLost(3, 0.5, "connection_lost", "gone"), (SessionReady(3), NOW + 20))
    state, _ = run(state, (ConnectionLost(3, 0.5, "connection_lost", "gone"), NOW + 31))

    assert state.phase is Phase.CONNECTING and state.phase_until == NOW + 61


def test_what_the_agent_breaks_off_after_it_was_heard_to_the_end_is_no_interruption():
    state, effects = run(SITUATIONS["speaking"], PlaybackStopped(7, "drained", 7, 2.0), AgentInterrupted(3, 7))

    assert effects == [JudgeEcho(7, 2.0)] and state.phase is Phase.LISTENING


def test_refused_credentials_stop_and_show():
    state, effects = run(SITUATIONS["connecting"], SessionRefused(3, "key_refused", "No."))

    assert look(state) is Look.ERROR
    assert effects == [CloseEar(), PlayChime(Chime.ERROR), SayReason("key_refused")]


def test_a_lost_connection_shows_connecting_and_keeps_the_ear_open():
    state, effects = run(IN_SESSION, ConnectionLost(3, 0.5, "connection_lost", "gone"))

    assert state.phase is Phase.CONNECTING and effects == []


@pytest.mark.parametrize("phase", ["offline", "error", "closing"])
def test_the_wake_word_starts_anew_from_wherever_it_rests(phase):
    state, effects = run(SITUATIONS[phase], WakeHeard("w", 0.9, NOW))

    assert state.phase is Phase.CONNECTING and StartSession(4) in effects


def test_half_duplex_closes_the_ear_while_it_speaks():
    state = replace(IN_SESSION, settings=Conversation(half_duplex=True))

    assert run(state, PlaybackStarted(8))[1] == [CloseEar()]
    opened = run(state, PlaybackStarted(8), PlaybackStopped(8, "drained"))[1][-1]
    assert opened == OpenEar(3, NOW + brain.TAIL_S, speaking=False), "the tail of the reply is still in the room"


def test_a_timer_rings_when_the_session_is_long_over_until_the_button_is_pressed():
    state, _ = run(IN_SESSION, TimerSet(3, "tea", 60.0), SessionEnded(3, "agent"))
    assert state.deadline == NOW + 60

    state, effects = run(state, (DeadlinePassed(), NOW + 60), (DeadlinePassed(), NOW + 63))
    assert effects == [PlayChime(Chime.TIMER)] * 2

    state, effects = run(state, (ButtonPressed(), NOW + 64), (ButtonReleased(), NOW + 64.1))
    assert effects == [StopChime()] and state.timers == () and state.phase is Phase.IDLE


def test_a_timer_that_nobody_stops_does_not_ring_for_ever():
    state, effects = run_deadlines(State(timers=(Timer("tea", NOW),)), NOW + 3600)

    assert effects == [PlayChime(Chime.TIMER)] * RINGS and state.timers == ()


def test_a_cancelled_timer_does_not_ring():
    state, _ = run(State(), TimerSet(0, "tea", 60.0), TimerCancelled(0, "tea"))

    assert state.deadline is None


@pytest.mark.parametrize(("asked", "volume"), [((30, None), 30), ((None, 25), 85), ((None, 90), 100), ((-5, None), 0)])
def test_the_volume_stays_between_silent_and_full(asked, volume):
    assert run(State(), VolumeAsked(0, *asked))[1] == [SetVolume(volume)]


def test_a_dead_worker_ends_the_process_so_that_it_is_started_again():
    assert run(State(), WorkerDied("ear", "x"))[1][-1] == Exit(1)

    state, effects = run(IN_SESSION, WorkerDied("microphone", "x"))
    assert StopSession("shutdown") in effects and look(state) is Look.ERROR
    assert run(state, SessionEnded(3, "shutdown"))[1] == [Exit(1)]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_look_follows_the_strict_order(situation):
    state = SITUATIONS[situation]

    assert look(replace(state, phase=Phase.ERROR)) is Look.ERROR
    if state.phase is not Phase.ERROR:
        assert look(replace(state, muted=True)) is Look.MUTED
    if not state.muted and state.phase is not Phase.ERROR:
        assert look(replace(state, playing=1, tools=("t",))) is Look.SPEAKING
        assert look(replace(state, playing=0, tools=("t",))) is Look.TOOL
