"""What the event log says: only what was agreed, of every event, and nothing of what was said unless that is allowed."""

import json
import typing
from dataclasses import replace

import pytest

from device import events as e
from device.brain import Phase, State, step
from device.config import Config, Privacy
from device.eventlog import EventLog
from device.record import _PLAIN, record

NAMES = {
    "started", "ready", "state", "light", "wake", "button", "session_started", "session_ready", "first_audio_sent",
    "speech_started", "speech_ended", "reply_started", "playback_started", "playback_stopped", "tool_call", "transcript",
    "citation", "interrupted", "retry", "error", "session_ended", "dropped", "stopped", "chime", "volume", "timer",
    "connected", "phrase", "near_miss", "speech_suspected", "speech_confirmed", "stop_word", "echo", "ducked", "raised",
    "resumed",
}  # fmt: skip

LINES = {
    e.WakeHeard("alexa", 0.91239, 12.3456789): ("wake", {"word": "alexa", "score": 0.912, "audio_t": 12.345679}),
    e.NearMiss("alexa", 0.41239, 12.3456789, "score"): (
        "near_miss",
        {"word": "alexa", "score": 0.412, "audio_t": 12.345679, "why": "score"},
    ),
    e.SpeechStarted(): ("speech_started", {}),
    e.SpeechEnded(): ("speech_ended", {}),
    e.SpeechSuspected(): ("speech_suspected", {}),
    e.SpeechConfirmed(12.3456789): ("speech_confirmed", {"since": 12.345679}),
    e.StopWordHeard("stop", 12.3456789): ("stop_word", {"word": "stop", "audio_t": 12.345679}),
    e.EchoMeasured(4, 38.2, 4.0): ("echo", {"reply": 4, "erle_db": 38.2, "delay_ms": 4.0}),
    e.NightFell(): None,
    e.DayBroke(): None,
    e.ButtonPressed(): ("button", {"kind": "press"}),
    e.ButtonHeld(): ("button", {"kind": "hold"}),
    e.ButtonReleased(): None,
    e.TextTyped("my secret"): None,
    e.QuietAsked(): None,
    e.Connected(1, (("tcp", 0.0404), ("tls", 0.1))): ("connected", {"tcp_ms": 40.4, "tls_ms": 100.0}),
    e.SessionStarted(1, "s", "c"): (
        "session_started",
        {"protocol": "local", "session_id": "s", "conversation_id": "c"},
    ),
    e.SessionReady(1): ("session_ready", {}),
    e.FirstAudioSent(1): ("first_audio_sent", {}),
    e.ReplyStarted(1, 4): ("reply_started", {"reply": 4}),
    e.ToolCalled(1, "clock", "started"): ("tool_call", {"tool": "clock", "status": "started"}),
    e.Transcribed(1, "user", "my secret"): None,
    e.Cited(1, 2): ("citation", {"count": 2}),
    e.AgentInterrupted(1, 4): ("interrupted", {"by": "agent"}),
    e.AgentErred(1, "x", "No."): ("error", {"code": "x", "message": "No."}),
    e.VolumeAsked(1, to=30): None,
    e.TimerSet(1, "eggs", 300.0): ("timer", {"name": "eggs", "in_s": 300.0}),
    e.TimerCancelled(1, "eggs"): None,
    e.ConnectionLost(1, 0.51234, "nobody_there", "Nobody answers."): (
        "retry",
        {"in_s": 0.512, "code": "nobody_there", "why": "Nobody answers."},
    ),
    e.SessionRefused(1, "key_refused", "No."): ("error", {"code": "key_refused", "message": "No."}),
    e.SessionEnded(1, "agent"): ("session_ended", {"reason": "agent"}),
    e.PlaybackStarted(4): ("playback_started", {"reply": 4}),
    e.PlaybackStopped(4, "drained"): ("playback_stopped", {"reply": 4, "reason": "drained"}),
    e.WorkerDied("ear", "No."): ("error", {"code": "ear_failed", "message": "No."}),
    e.Dropped("link", 3): ("dropped", {"where": "link", "frames": 3}),
    e.FirstReady(): None,
    e.StopAsked(): None,
    e.DeadlinePassed(): None,
}
"""The first line of each event by itself; None for those that show only in what follows from them, or not at all."""

STATES = [replace(State(), phase=phase, session=1, reply=4, playing=playing) for phase in Phase for playing in (0, 4)]
OPEN = Config(privacy=Privacy(transcripts=True))


def lines(event, before, config=None, now=50.0):
    after, effects = step(before, event, now)
    return list(record(event, before, after, effects, config or Config()))


def test_every_event_there_is_is_known_here():
    assert {type(event) for event in LINES} == set(typing.get_args(e.Event))


@pytest.mark.parametrize("event", LINES, ids=lambda event: type(event).__name__)
def test_each_event_has_its_line(event):
    before = State(session=1)
    before = replace(before, phase=Phase.LISTENING)
    found = list(record(event, before, before, (), Config()))
    expected = LINES[event]
    assert found[:1] == ([] if expected is None else [expected])
    assert len(found) == (expected is not None) + isinstance(event, e.SessionRefused)


def test_an_echo_canceller_that_does_not_work_is_an_error():
    measured = e.EchoMeasured(4, 2.0, None, "echo_not_cancelled", "The microphone hears the speaker.")
    (name, fields), error = list(record(measured, State(), State(), (), Config()))

    assert name == "echo" and fields["erle_db"] == 2.0
    assert error == ("error", {"code": "echo_not_cancelled", "message": "The microphone hears the speaker."})


def test_ducking_and_playing_on_have_their_lines():
    effects = (e.DuckPlayback(), e.RaisePlayback(), e.ResumePlayback(4))
    found = list(record(e.DeadlinePassed(), State(), State(), effects, Config()))

    assert found == [("ducked", {}), ("raised", {}), ("resumed", {"reply": 4})]


def test_the_plain_events_are_events_and_have_names_that_were_agreed():
    assert set(_PLAIN) <= set(typing.get_args(e.Event)) and set(_PLAIN.values()) <= NAMES


@pytest.mark.parametrize("event", LINES, ids=lambda event: type(event).__name__)
def test_whatever_follows_from_an_event_has_names_that_were_agreed_and_fields_that_are_json(event, tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    written = 0
    for before in STATES:
        for name, fields in lines(event, before, OPEN):
            assert name in NAMES
            log.write(1.0, name, **fields)
            written += 1
    parsed = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert len(parsed) == written


def test_what_was_said_is_kept_only_where_it_is_allowed():
    said = e.Transcribed(1, "user", "my secret")
    for before in STATES:
        assert "my secret" not in repr(lines(said, before))
        assert lines(said, before, OPEN) == [("transcript", {"role": "user", "text": "my secret"})]


@pytest.mark.parametrize(
    "event", [event for event in LINES if hasattr(event, "session")], ids=lambda event: type(event).__name__
)
def test_of_another_session_nothing_is_said(event):
    for before in STATES:
        assert lines(replace(event, session=2), before, OPEN) == []


def test_a_change_of_state_and_of_the_light_is_told_once():
    before = State(session=1, phase=Phase.CONNECTING)
    found = lines(e.SessionReady(1), before)
    assert found == [
        ("session_ready", {}),
        ("state", {"from": "connecting", "to": "listening"}),
        ("light", {"look": "listening"}),
    ]
    assert not {"state", "light"} & {name for name, _ in lines(e.SpeechStarted(), before)}


def test_who_interrupted_is_told():
    speaking = State(session=1, phase=Phase.SPEAKING, reply=4, playing=4)
    assert ("interrupted", {"by": "button"}) in lines(e.ButtonPressed(), speaking)
    assert ("interrupted", {"by": "wake_word"}) in lines(e.WakeHeard("alexa", 0.9, 49.9), speaking)
    assert ("interrupted", {"by": "agent"}) in lines(e.AgentInterrupted(1, 4), speaking)


def test_a_refusal_ends_the_session_in_the_log():
    found = lines(e.SessionRefused(1, "key_refused", "No."), State(session=1, phase=Phase.CONNECTING))
    assert found[:2] == [("error", {"code": "key_refused", "message": "No."}), ("session_ended", {"reason": "refused"})]
    assert ("light", {"look": "error"}) in found and ("chime", {"chime": "error"}) in found


def test_an_agent_that_cannot_be_reached_in_time_is_an_error_once():
    before = State(session=1, phase=Phase.CONNECTING, phase_until=49.0)
    names = [name for name, _ in lines(e.DeadlinePassed(), before)]
    assert names.count("error") == 1
    offline, _ = step(before, e.DeadlinePassed(), 50.0)
    assert "error" not in [name for name, _ in lines(e.DeadlinePassed(), offline)]


def test_a_change_of_the_volume_is_told_with_what_it_is_now():
    assert lines(e.VolumeAsked(1, by=15), State(session=1, volume=60)) == [("volume", {"percent": 75})]
