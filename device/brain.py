"""Every decision of the speaker, in one pure function: `step(state, event, now) -> (state, effects)`.

Rule 1: whatever depends on what happened before is decided here, and nowhere else.
Rule 2: no thread, clock, input, output or log in this file. Time is an argument; a wait is a deadline in the state.

`app` runs `step` on the main thread for each event of the inbox, and `DeadlinePassed` when `State.deadline` has come.
What means nothing in a phase is ignored: events come from people and networks, which owe us no order.
"""

from dataclasses import replace

from device import events as e
from device import talking_over
from device.events import By, Chime, Effect, Event
from device.night import softened
from device.state import CONVERSING, RESTING, RINGS, Phase, State, Timer

CONNECT_S = 10.0
"""How long a person is kept waiting for a session; also how much of what they say is kept meanwhile (`outbox.BACKLOG_S`)."""
RECONNECT_S = 30.0
"""How long a conversation is kept alive over a lost connection."""
STEADY_S = 10.0
"""A connection that is lost sooner does not begin that time anew: an agent that comes and goes is none."""
FAREWELL_S = 2.0
"""How long the agent may take to answer `stop`."""
NOTICE_S = 10.0
"""How long the light shows why a session could not be had."""
CHIME_WINDOW_S = 0.6
"""Who is seen to be silent within this time of the wake word waits for a sign: the chime. (The end of speech is seen half a
second late, the wake word a fifth.) Who speaks on is not disturbed, and who pressed the button needs no sign: while a chime
sounds, the agent does not hear the room."""
TOOL_S = 60.0
"""A tool that takes longer is not waited for: its end may have been lost."""
LEAVE_S = 1.0
"""The farewell when the process ends: three seconds in all are what a service manager's owner waits gladly."""
TAIL_S = 0.3
"""So long a reply goes on sounding in the room: in half duplex the agent does not hear the room before."""
RING_EVERY_S = 3.0
"""A timer rings this often, `RINGS` times."""
MOST_TIMERS, MOST_TOOLS = 50, 16
"""An agent that names more is broken: the oldest are forgotten."""

Step = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event, now: float) -> Step:
    """Decide what `event`, which happened at `now` (seconds, CLOCK_MONOTONIC), means in `state`."""
    if getattr(event, "session", state.session) != state.session:
        return state, ()
    if state.phase in CONVERSING and state.settings.resume_s:
        state = replace(state, resume_until=now + state.settings.resume_s)
    state, effects = _decide(state, event, now)
    return _count_silence(state, now), effects


def _decide(state: State, event: Event, now: float) -> Step:
    match event:
        case e.WakeHeard() | e.StopWordHeard() | e.ButtonPressed() | e.ButtonHeld() | e.ButtonReleased():
            return _by_person(state, event, now)
        case e.QuietAsked():
            return _end_all(state, now)
        case e.SpeechStarted():
            return talking_over.speech_changed(state, True, now), ()
        case e.SpeechEnded():
            return _fell_silent(state, now)
        case e.SpeechSuspected():
            return talking_over.suspect(state, now)
        case e.SpeechConfirmed(since=since):
            return talking_over.confirm(state, since, now)
        case e.EchoMeasured():
            return talking_over.judge(state, event), ()
        case e.PlaybackStarted() | e.PlaybackStopped():
            return _by_speaker(state, event, now)
        case e.WorkerDied() if state.exit_code is None:
            return _leave(state, 1, now)
        case e.StopAsked() if state.exit_code is None:
            return _leave(state, 0, now)
        case e.FirstReady():
            return state, (e.SayReason("ready"),) if state.phase in RESTING else ()
        case e.DeadlinePassed():
            return _deadline(state, now)
        case e.TimerSet(name=name, in_s=in_s):
            return replace(state, timers=(*_timers_but(state, name), Timer(name, now + in_s))[-MOST_TIMERS:]), ()
        case e.TimerCancelled(name=name):
            return replace(state, timers=_timers_but(state, name)), ()
        case e.VolumeAsked(to=to, by=by):
            percent = min(100, max(0, (state.volume if to is None else to) + (by or 0)))
            return _set_volume(replace(state, volume=percent))
        case e.NightFell() | e.DayBroke():
            return _set_volume(replace(state, night=isinstance(event, e.NightFell)))
    return _by_session(state, event, now)


def _by_session(state: State, event: Event, now: float) -> Step:
    """What the agent and the way to it report about the present session."""
    if state.phase in RESTING:
        return state, ()
    match event:
        case e.SessionEnded() | e.SessionRefused() if state.phase is Phase.CLOSING:
            return _exit_or_rest(state)
        case e.ReplyStarted(reply=reply) if state.phase is Phase.CLOSING:  # it was on its way when we said stop
            return replace(state, reply=reply), (e.StopPlayback(reply, "stopped"),)
        case _ if state.phase is Phase.CLOSING:
            return state, ()
        case e.SessionStarted(conversation_id=conversation_id):
            return replace(state, conversation_id=conversation_id), ()
        case e.SessionEnded():
            chime = () if state.playing else _chime(Chime.END)  # its last words are still to be heard
            return _rest(state, Phase.IDLE, None, e.CloseEar(), *chime)
        case e.SessionReady() if state.phase is Phase.CONNECTING:
            ends = state.session_until or now + state.settings.max_s
            return replace(
                state,
                phase=_conversing(state),
                phase_until=None,
                session_until=ends,
                steady_at=now + STEADY_S,
                trouble=None,
            ), ()
        case e.ReplyStarted(reply=reply):
            return talking_over.answered(state, reply)
        case e.Transcribed(role="user", text=text) if text.strip():
            return talking_over.words_followed(state), ()
        case e.TextTyped(text=text) if state.phase in CONVERSING:
            return replace(talking_over.words_followed(state), quiet_until=None), (e.SendText(text),)
        case e.AgentInterrupted() if state.kept:
            return talking_over.words_followed(state), ()
        case e.AgentInterrupted(reply=reply) if reply > state.played:
            return talking_over.interrupted(state, reply), (e.StopPlayback(reply, "interrupted"),)
        case e.ToolCalled(tool=tool, status="started"):
            state = talking_over.words_followed(state)
            return replace(state, tools=(*_tools_but(state, tool), tool)[-MOST_TOOLS:], quiet_until=None), ()
        case e.ToolCalled(tool=tool):
            return replace(state, tools=_tools_but(state, tool), quiet_until=None), ()
        case e.ConnectionLost():
            return _lost(state, event, now)
        case e.SessionRefused(code=code):
            return _fail(state, Phase.ERROR, code, now, e.CloseEar())
    return state, ()


def _by_person(state: State, event: Event, now: float) -> Step:
    """The wake word, a stop word and the button."""
    if state.exit_code is not None:
        return state, ()
    state = talking_over.words_followed(state)
    ringing = any(timer.rings < RINGS for timer in state.timers)
    match event:
        case e.WakeHeard() | e.StopWordHeard() | e.ButtonPressed() if ringing:
            silenced = replace(state, timers=tuple(timer for timer in state.timers if timer.rings == RINGS))
            if isinstance(event, e.WakeHeard):
                after, effects = _by_person(silenced, event, now)
            else:
                after, effects = replace(silenced, press_spent=isinstance(event, e.ButtonPressed)), ()
            return after, (e.StopChime(), *effects)
        case e.WakeHeard(audio_t=audio_t) if not state.muted and state.phase in (*RESTING, Phase.CLOSING):
            return _connect(state, now, since=audio_t - state.preroll_s, heard=True)
        case e.WakeHeard() if state.phase is Phase.SPEAKING and state.settings.barge_in != "button":
            return _interrupt(state, By.WAKE_WORD)
        case e.StopWordHeard() if state.phase is Phase.SPEAKING and state.settings.barge_in != "button":
            return _interrupt(state, By.SPEECH)
        case e.StopWordHeard() if state.phase in (*RESTING, Phase.CONNECTING) and state.settings.barge_in != "button":
            return state, (e.StopChime(), *(_silence(state, "stopped") if state.playing else ()))
        case e.ButtonPressed() if state.phase is Phase.SPEAKING:
            return _interrupt(replace(state, press_spent=True), By.BUTTON)
        case e.ButtonPressed() if state.phase in RESTING and state.playing:
            return replace(state, press_spent=True), _silence(state, "stopped")
        case e.ButtonPressed() if state.phase in (Phase.CONNECTING, Phase.LISTENING):
            return _close(replace(state, press_spent=True), "button", now)
        case e.ButtonPressed():
            return replace(state, press_spent=state.phase is Phase.CLOSING), ()
        case e.ButtonReleased() if not state.press_spent and state.phase in RESTING:
            if state.muted:
                return state, _chime(Chime.MUTE)
            return _connect(state, now, since=now, heard=False)
        case e.ButtonHeld() if state.phase in (Phase.CONNECTING, *CONVERSING):
            return _close(replace(state, press_spent=True), "button", now)
        case e.ButtonHeld() if not state.press_spent and state.phase in RESTING:
            return _mute(replace(state, press_spent=True))
    return state, ()


def _by_speaker(state: State, event: e.PlaybackStarted | e.PlaybackStopped, now: float) -> Step:
    """What is played, not what was received, decides that we speak."""
    match event:
        case e.PlaybackStarted(reply=reply):
            state = replace(state, playing=reply, played=min(state.played, reply - 1))
        case e.PlaybackStopped(reply=reply):
            state = replace(state, playing=0 if reply >= state.playing else state.playing, played=reply)
    tell: tuple[Effect, ...] = ()
    if isinstance(event, e.PlaybackStopped):
        tell = (e.JudgeEcho(event.last, event.played_s),)
        if state.ducked_until is not None:
            state, tell = replace(state, ducked_until=None), (*tell, e.RaisePlayback())
    if state.phase not in (Phase.CONNECTING, *CONVERSING):
        return state, tell
    if isinstance(event, e.PlaybackStopped) and event.reason == "interrupted":
        tell = (*tell, e.TellHeard(event.last, event.played_s))
    if state.phase in CONVERSING:
        state = replace(state, phase=_conversing(state))
    if not state.settings.half_duplex:
        return state, tell
    if state.playing:
        return replace(state, someone_speaks=False), (*tell, e.CloseEar())
    return state, (*tell, e.OpenEar(state.session, now + TAIL_S, speaking=False))


def _deadline(state: State, now: float) -> Step:
    """One thing that was waited for; where two are due, the next `DeadlinePassed` follows at once."""
    timer = next((timer for timer in state.timers if timer.at <= now), None)
    if timer is not None:
        again = (replace(timer, at=now + RING_EVERY_S, rings=timer.rings - 1),) if timer.rings > 1 else ()
        return replace(state, timers=(*_timers_but(state, timer.name), *again)), _chime(Chime.TIMER)
    if _due(state.ducked_until, now):
        return replace(state, ducked_until=None), (e.RaisePlayback(),)
    if _due(state.kept_until, now):
        return talking_over.play_on(state)
    if _due(state.phase_until, now):
        match state.phase:
            case Phase.CLOSING:
                return _exit_or_rest(state)
            case Phase.CONNECTING:
                return _unreachable(state, now)
            case _:
                return replace(state, phase=Phase.IDLE, phase_until=None), ()
    if _due(state.session_until, now):
        return _close(state, "max_s", now)
    if _due(state.quiet_until, now):
        return _close(state, "idle", now)
    return (replace(state, ending=True) if _due(state.ending_at, now) else state), ()


def _connect(state: State, now: float, *, since: float, heard: bool) -> Step:
    """Begin a session; what was captured from `since` on belongs to it."""
    notice = (e.StopChime(),) if state.phase in (Phase.OFFLINE, Phase.ERROR) else ()
    resumes = state.resume_until is not None and now < state.resume_until
    state = replace(
        state,
        phase=Phase.CONNECTING,
        session=state.session + 1,
        conversation_id=state.conversation_id if resumes else None,
        resume_until=None,
        lost_until=None,
        steady_at=None,
        trouble=None,
        someone_speaks=heard,
        tools=(),
        phase_until=now + CONNECT_S,
        quiet_until=None,
        session_until=None,
        chime_until=now + CHIME_WINDOW_S if heard else None,
    )
    leftover = _silence(state, "stopped") if state.playing else ()
    start = e.StartSession(state.session, state.conversation_id)
    return state, (*notice, *leftover, start, e.OpenEar(state.session, since, speaking=heard))


def _fell_silent(state: State, now: float) -> Step:
    waits_for_us = state.chime_until is not None and now <= state.chime_until and not state.playing
    chime = _chime(Chime.WAKE) if waits_for_us else ()
    return replace(talking_over.speech_changed(state, False, now), chime_until=None), chime


def _interrupt(state: State, by: By) -> Step:
    over = talking_over.interrupted(state, max(state.reply, state.playing))
    return over, (*_silence(state, "interrupted"), e.InterruptAgent(by))


def _close(state: State, reason: str, now: float) -> Step:
    """End the session in good form."""
    state = talking_over.words_followed(state)
    closing = replace(
        state, phase=Phase.CLOSING, phase_until=now + FAREWELL_S, session_until=None, chime_until=None, tools=()
    )
    return closing, (e.CloseEar(), *_silence(state, "stopped"), e.StopSession(reason), *_chime(Chime.END))


def _end_all(state: State, now: float) -> Step:
    """What the button would do in the end: silence a timer, a reply or words, stop a session."""
    state = replace(state, timers=tuple(timer for timer in state.timers if timer.rings == RINGS))
    if state.phase in (Phase.CONNECTING, *CONVERSING):
        state, effects = _close(state, "command", now)
        return state, (e.StopChime(), *effects)
    return state, (e.StopChime(), *(_silence(state, "stopped") if state.playing else ()))


def _lost(state: State, event: e.ConnectionLost, now: float) -> Step:
    """The link tries again, as long as that makes sense for who waits."""
    until = state.phase_until
    if state.phase in CONVERSING:
        again = state.lost_until is not None and state.steady_at is not None and now < state.steady_at
        until = state.lost_until if again else now + RECONNECT_S
        state = talking_over.words_followed(state)
        state = replace(state, phase=Phase.CONNECTING, phase_until=until, lost_until=until, tools=())
    state = replace(state, trouble=(event.code, event.why))
    return _unreachable(state, now) if until is not None and now + event.in_s > until else (state, ())


def _unreachable(state: State, now: float) -> Step:
    """The agent could not be reached in time."""
    state = replace(state, trouble=state.trouble or ("timeout", "The agent was not ready in time."))
    assert state.trouble is not None
    return _fail(state, Phase.OFFLINE, state.trouble[0], now, e.CloseEar(), e.StopSession("unreachable"))


def _fail(state: State, phase: Phase, code: str, now: float, *effects: Effect) -> Step:
    """There is no session, and light and words say why."""
    words = (*_chime(Chime.ERROR), e.SayReason(code))
    return _rest(state, phase, now + NOTICE_S, *effects, *_silence(state, "stopped"), *words)


def _leave(state: State, code: int, now: float) -> Step:
    """Leave with `code`, after a short farewell to the agent if there is one."""
    state = replace(state, exit_code=code)
    if state.phase in (*RESTING, Phase.CONNECTING):
        return state, (e.Exit(code),)
    until = min(now + LEAVE_S, state.phase_until or now + LEAVE_S)
    if state.phase is Phase.CLOSING:
        return replace(state, phase_until=until), ()
    closing, orders = _close(state, "shutdown", now)
    return replace(closing, phase_until=until), tuple(order for order in orders if not isinstance(order, e.PlayChime))


def _exit_or_rest(state: State) -> Step:
    if state.exit_code is not None:
        return state, (e.Exit(state.exit_code),)
    return _rest(state, Phase.IDLE, None)


def _rest(state: State, phase: Phase, until: float | None, *effects: Effect) -> Step:
    """The session is over. What a person ought to know is said then, for nobody is spoken into."""
    tells = state.owes_warning and phase is Phase.IDLE and not state.playing
    warning = (e.SayReason("echo"),) if tells else ()
    state = replace(
        talking_over.words_followed(state),
        phase=phase,
        phase_until=until,
        session_until=None,
        chime_until=None,
        someone_speaks=False,
        tools=(),
    )
    return replace(state, owes_warning=state.owes_warning and not warning), (*effects, *warning)


def _mute(state: State) -> Step:
    """Muted means that the input stream is closed: nothing can be heard by mistake."""
    if state.muted:
        return replace(state, muted=False), (e.OpenMicrophone(), *_chime(Chime.UNMUTE))
    return replace(state, muted=True), (e.CloseMicrophone(), *_chime(Chime.MUTE))


def _count_silence(state: State, now: float) -> State:
    """`idle_s` run while nobody speaks and the agent uses no tool."""
    quiet = state.phase is Phase.LISTENING and not state.someone_speaks and not state.kept
    if not quiet or state.quiet_until is None:
        wait = max(TOOL_S, state.settings.idle_s) if state.tools else state.settings.idle_s
        return replace(state, quiet_until=now + wait if quiet else None, ending=False)
    return state


def _set_volume(state: State) -> Step:
    return state, (e.SetVolume(softened(state.volume, state.night_volume) if state.night else state.volume),)


def _silence(state: State, reason: str) -> tuple[Effect, ...]:
    newest = max(state.reply, state.playing)
    return (e.StopPlayback(newest, reason),) if newest else ()


def _chime(chime: Chime) -> tuple[Effect, ...]:
    return (e.PlayChime(chime),)


def _conversing(state: State) -> Phase:
    return Phase.SPEAKING if state.playing else Phase.LISTENING


def _due(deadline: float | None, now: float) -> bool:
    return deadline is not None and deadline <= now


def _timers_but(state: State, name: str) -> tuple[Timer, ...]:
    return tuple(timer for timer in state.timers if timer.name != name)


def _tools_but(state: State, tool: str) -> tuple[str, ...]:
    return tuple(other for other in state.tools if other != tool)
