"""What the event log says of a step of the brain. Pure."""

from collections.abc import Iterator
from typing import Any

from device import events as e
from device.config import Config
from device.events import Effect, Event
from device.panel.look import look
from device.state import Phase, State

Line = tuple[str, dict[str, Any]]


def record(event: Event, before: State, after: State, effects: tuple[Effect, ...], config: Config) -> Iterator[Line]:
    """Names and fields of the lines for `event`, which led from `before` to `after`."""
    if getattr(event, "session", before.session) != before.session:
        return
    yield from _of_event(event, config, before)
    if before.phase is Phase.CLOSING and after.session != before.session:
        yield "session_ended", {"reason": "superseded"}  # nobody waits for its farewell any more
    for effect in effects:
        match effect:
            case e.InterruptAgent(by=by):
                yield "interrupted", {"by": by}
            case e.DuckPlayback():
                yield "ducked", {}
            case e.RaisePlayback():
                yield "raised", {}
            case e.ResumePlayback(reply=reply):
                yield "resumed", {"reply": reply}
            case e.SetVolume(percent=percent):
                yield "volume", {"percent": percent}
            case e.PlayChime(chime=chime):
                yield "chime", {"chime": chime}
            case e.SayReason(code=code):
                yield "phrase", {"code": code}
    if after.phase is Phase.OFFLINE and before.phase is not Phase.OFFLINE and after.trouble:
        code, message = after.trouble
        yield "error", {"code": code, "message": message}
        yield "session_ended", {"reason": "unreachable"}
    if after.phase is not before.phase:
        yield "state", {"from": before.phase, "to": after.phase}
    if look(after) is not look(before):
        yield "light", {"look": look(after)}


def _of_event(event: Event, config: Config, before: State) -> Iterator[Line]:
    match event:
        case e.WakeHeard(word, score, audio_t):
            yield "wake", {"word": word, "score": round(score, 3), "audio_t": round(audio_t, 6)}
        case e.NearMiss(word, score, audio_t, why):
            yield "near_miss", {"word": word, "score": round(score, 3), "audio_t": round(audio_t, 6), "why": why}
        case e.SpeechConfirmed(since):
            yield "speech_confirmed", {"since": round(since, 6)}
        case e.StopWordHeard(word, audio_t):
            yield "stop_word", {"word": word, "audio_t": round(audio_t, 6)}
        case e.EchoMeasured(reply, erle_db, delay_ms, trouble, message):
            yield "echo", {"reply": reply, "erle_db": _tenths(erle_db), "delay_ms": _tenths(delay_ms)}
            if trouble:
                yield "error", {"code": trouble, "message": message}
        case e.ButtonPressed():
            yield "button", {"kind": "press"}
        case e.ButtonHeld():
            yield "button", {"kind": "hold"}
        case e.SessionStarted(_, session_id, conversation_id):
            names = {"session_id": session_id, "conversation_id": conversation_id}
            yield "session_started", {"protocol": config.agent.protocol, **names}
        case e.ReplyStarted(_, reply) | e.PlaybackStarted(reply):
            yield _PLAIN[type(event)], {"reply": reply}
        case e.PlaybackStopped(reply, reason):
            yield "playback_stopped", {"reply": reply, "reason": reason}
        case e.ToolCalled(_, tool, status):
            yield "tool_call", {"tool": tool, "status": status}
        case e.Transcribed(_, role, text) if config.privacy.transcripts:
            yield "transcript", {"role": role, "text": text}
        case e.Cited(_, count):
            yield "citation", {"count": count}
        case e.AgentInterrupted(_, reply) if reply > before.played:
            yield "interrupted", {"by": e.By.AGENT}
        case e.Connected(_, steps):
            yield "connected", {f"{step}_ms": round(seconds * 1000, 1) for step, seconds in steps}
        case e.ConnectionLost(_, in_s, code, why):
            yield "retry", {"in_s": round(in_s, 3), "code": code, "why": why}
        case e.AgentErred(_, code, message):
            yield "error", {"code": code, "message": message}
        case e.SessionRefused(_, code, message):
            yield "error", {"code": code, "message": message}
            yield "session_ended", {"reason": "refused"}
        case e.WorkerDied(worker, message):
            yield "error", {"code": f"{worker}_failed", "message": message}
        case e.SessionEnded(_, reason) if before.phase not in (Phase.OFFLINE, Phase.ERROR):  # told when it was given up
            yield "session_ended", {"reason": reason}
        case e.Dropped(where, frames):
            yield "dropped", {"where": where, "frames": frames}
        case e.TimerSet(_, name, in_s):
            yield "timer", {"name": name, "in_s": in_s}
        case _ if type(event) in _PLAIN:
            yield _PLAIN[type(event)], {}


_PLAIN: dict[type, str] = {
    e.SessionReady: "session_ready",
    e.FirstAudioSent: "first_audio_sent",
    e.SpeechStarted: "speech_started",
    e.SpeechEnded: "speech_ended",
    e.SpeechSuspected: "speech_suspected",
    e.ReplyStarted: "reply_started",
    e.PlaybackStarted: "playback_started",
}


def _tenths(number: float | None) -> float | None:
    return None if number is None else round(number, 1)
