"""The brain's part for talking over a reply: duck, interrupt, and play on where nothing was said. Pure; see `brain`.

A reply is worth more than a cough: on the first suspicion it only gets softer, and where it was stopped and no words followed,
its rest is played on, once.
"""

from dataclasses import replace

from device import events as e
from device.config import Conversation
from device.events import By, Effect
from device.state import Phase, State

SUSPICION_S = 0.4
"""How long a suspicion may take to be confirmed."""
BEFORE_S = 0.3
"""What was said so long before it was seen to be speech belongs to it: soft beginnings, and words before a breath."""
SLOW_S = 0.2
"""By so much more than `barge_in_ms` may it take to be sure of it."""
WORDS_S = 3.0
"""How long after speech that stopped a reply words of it may take to come, or the agent to do something about it."""

Step = tuple[State, tuple[Effect, ...]]


def hold_s(settings: Conversation) -> float:
    """For how long what is heard while we play is held back from the agent: until it is known to be somebody who talks."""
    return BEFORE_S + settings.barge_in_ms / 1000 + SLOW_S if settings.barge_in == "speech" else 0.0


def suspect(state: State, now: float) -> Step:
    """Something is like speech."""
    if not _may(state) or state.ducked_until is not None:
        return state, ()
    return replace(state, ducked_until=now + SUSPICION_S), (e.DuckPlayback(),)


def confirm(state: State, since: float, now: float) -> Step:
    """It is speech, since `since` (seconds, CLOCK_MONOTONIC): the reply is over, unless nothing comes of it."""
    if not _may(state):
        return state, ()
    newest = max(state.reply, state.playing)
    keep = newest > state.resumed
    state = replace(
        interrupted(state, newest),
        kept=newest if keep else 0,
        kept_until=now + WORDS_S if keep and not state.someone_speaks else None,
    )
    stop = e.StopPlayback(newest, "interrupted", keep)
    return state, (stop, e.InterruptAgent(By.SPEECH), e.SendHeld(since - BEFORE_S))


def interrupted(state: State, reply: int) -> State:
    """Replies up to `reply` are over, and whatever the agent was about."""
    return replace(words_followed(state), silenced=max(state.silenced, reply), tools=(), quiet_until=None)


def words_followed(state: State) -> State:
    """What stopped the reply was meant."""
    return state if not state.kept else replace(state, kept=0, kept_until=None)


def speech_changed(state: State, speaks: bool, now: float) -> State:
    """Somebody began to speak, or fell silent: from then on words are waited for."""
    return replace(state, someone_speaks=speaks, kept_until=now + WORDS_S if state.kept and not speaks else None)


def play_on(state: State) -> Step:
    """No words followed."""
    return replace(words_followed(state), resumed=state.kept, silenced=state.kept - 1), (e.ResumePlayback(state.kept),)


def answered(state: State, reply: int) -> Step:
    """A new reply comes: the rest of an old one, which is played on, would be in its way."""
    in_its_way = 0 < state.playing <= state.resumed < reply
    stop: tuple[Effect, ...] = (e.StopPlayback(state.resumed, "stopped"),) if in_its_way else ()
    return replace(words_followed(state), reply=reply), stop


def judge(state: State, measured: e.EchoMeasured) -> State:
    """Where the canceller does not work, what sounds like talking over a reply may be the reply: it is believed no more."""
    if measured.works is False:
        first = not state.warned and state.settings.barge_in == "speech" and not state.settings.half_duplex
        return replace(state, hears_itself=True, owes_warning=state.owes_warning or first, warned=state.warned or first)
    return replace(state, hears_itself=False) if measured.works else state


def _may(state: State) -> bool:
    wanted = state.settings.barge_in == "speech" and not state.hears_itself
    return wanted and state.phase is Phase.SPEAKING and state.playing > state.silenced
