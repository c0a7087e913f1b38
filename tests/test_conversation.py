"""Whole conversations: the real process on the virtual sound card, against a scripted agent on a real socket."""

import json
import signal
import socket
import subprocess
import sys
import threading
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest

from device.errors import EarshotError
from tests.house import BUTTON, NO_CANCELLER, SPEECH, House, channels, faults, house, offset_s, seconds_of, tone
from tests.servers.datagrid import DatagridServer, Visit

pytestmark = pytest.mark.slow

WAKE = "hey jarvis"
BREATH = "hey jarvis, what time is it"
BREATH_FRAMES = 130
"""Of sound at the agent, after which it is over: who answers sooner is talked over."""


def answer_with(*replies: bytes):
    """An agent that says these, one after the other: the first when BREATH is over, the others when the last was cut off."""

    def script(visit: Visit) -> None:
        for number, reply in enumerate(replies):
            enough = len(visit.frames) + 50 if number else BREATH_FRAMES
            visit.wait(lambda visit, enough=enough: len(visit.frames) >= enough, 10)
            visit.say(reply)
            if number + 1 < len(replies):
                visit.wait(lambda visit, number=number: visit.count("interrupt") > number, 20)

    return script


def test_wake_word_and_question_in_one_breath_reach_the_agent_without_a_gap(card, tmp_path):
    with (
        house(card, tmp_path, NO_CANCELLER) as (home, server),
        home.speaker() as firmware,
        card.record(tmp_path / "room.wav") as room,
    ):
        server.ready_after_s = 0.7  # the question is over half before the agent listens
        home.hear(BREATH)
        wake = firmware.wait_for("wake", 10)
        firmware.wait_for("first_audio_sent", 5)
        visit = server.visit()
        visit.wait(lambda visit: len(visit.frames) > 150)
    room.stop()

    assert visit.violations == []
    played, got = channels(tmp_path / "room.wav")[0], np.frombuffer(visit.audio, np.int16)
    differ, compared = faults(played, got)
    assert differ == 0 and compared > 40
    assert visit.messages[0][1] == {"type": "start", "payload": {}}
    # From half a second before the detection on: the last of the wake word is in it, and all of the question.
    start_s = room.first_sample + offset_s(played, got)
    assert wake["audio_t"] - 0.6 < start_s < wake["audio_t"] - 0.4


def test_the_answer_comes_out_of_the_speaker_and_the_lights_follow(card, tmp_path):
    with house(card, tmp_path) as (home, server), home.speaker() as firmware, card.record(tmp_path / "room.wav"):
        server.on_ready = answer_with(tone(2.0))
        home.hear(BREATH)
        firmware.wait_for("playback_started", 10)
        firmware.wait_for("playback_stopped", 10, reason="drained")
        firmware.wait_for("session_ended", 15, reason="idle")

    assert seconds_of(channels(tmp_path / "room.wav")[1], 440) == pytest.approx(2.0, abs=0.06)
    looks = [event["look"] for event in firmware.events if event["event"] == "light"]
    assert looks == ["connecting", "listening", "speaking", "listening", "ending", "idle"]
    assert server.visits[0].kinds() == ["start", "stop"]
    assert not [event for event in firmware.events if event["event"] in ("dropped", "error", "retry")]


def test_the_button_cuts_a_reply_off_and_the_next_is_heard(card, tmp_path):
    with house(card, tmp_path) as (home, server), home.speaker() as firmware, card.record(tmp_path / "room.wav"):
        server.on_ready = answer_with(tone(20.0), tone(1.0, 1000))
        home.hear(BREATH)
        started = firmware.wait_for("playback_started", 10)
        firmware.watch_for(1.0)
        home.levers.tap(BUTTON)
        stopped = firmware.wait_for("playback_stopped", 2, reason="interrupted")
        firmware.wait_for("playback_stopped", 10, reason="drained")

    played = channels(tmp_path / "room.wav")[1]
    assert seconds_of(played, 440) == pytest.approx(stopped["t"] - started["t"], abs=0.1)
    assert seconds_of(played, 1000) == pytest.approx(1.0, abs=0.06)
    assert server.visits[0].count("interrupt") == 1


def test_audio_that_is_on_its_way_when_a_reply_is_cut_off_is_not_heard(card, tmp_path):
    def script(visit: Visit) -> None:
        visit.wait(lambda visit: len(visit.frames) > BREATH_FRAMES, 10)
        visit.say(tone(4.0), lead_s=None)
        visit.wait(lambda visit: visit.count("interrupt") == 1, 10)
        visit.say(tone(0.5), lead_s=None)  # late, and not a word of it
        visit.send("interrupted")
        visit.say(tone(0.5, 1000), lead_s=None)

    with house(card, tmp_path) as (home, server), home.speaker() as firmware, card.record(tmp_path / "room.wav"):
        server.on_ready, server.answers_interrupt = script, False
        home.hear(BREATH)
        firmware.wait_for("playback_started", 10)
        home.levers.tap(BUTTON)
        firmware.wait_for("playback_stopped", 5, reason="drained")

    played = channels(tmp_path / "room.wav")[1]
    assert seconds_of(played, 440) < 0.3
    assert seconds_of(played, 1000) == pytest.approx(0.5, abs=0.06)


def test_the_wake_word_cuts_in_on_a_reply(card, tmp_path):
    settings = '[conversation]\nbarge_in = "wake_word"\n'
    with house(card, tmp_path, settings) as (home, server), home.speaker() as firmware:
        server.on_ready = answer_with(tone(20.0))
        home.hear(BREATH)
        firmware.wait_for("playback_started", 10)
        firmware.watch_for(1.5)
        home.hear(WAKE)
        firmware.wait_for("interrupted", 5, by="wake_word")
        firmware.wait_for("playback_stopped", 1, reason="interrupted")

    assert server.visits[0].count("interrupt") == 1


def test_the_wake_chime_is_heard_by_who_waits_but_never_by_the_agent(card, tmp_path):
    with house(card, tmp_path) as (home, server), home.speaker() as firmware, card.record(tmp_path / "room.wav"):
        home.hear(WAKE)
        firmware.wait_for("chime", 5, chime="wake")
        # The room hears what the speaker says: a sound as loud as the chime, at the time of the chime.
        home.play((np.sin(np.arange(4_800) * 2 * np.pi * 880 / 48_000) * 9_000).astype(np.int16), 48_000)
        firmware.watch_for(1.0)
        got = np.frombuffer(server.visit().audio, np.int16) / 32768

    heard, played = channels(tmp_path / "room.wav")
    assert seconds_of(played, 880) > 0.04 and seconds_of(heard, 880) > 0.08
    assert seconds_of(got, 880, 16_000) == 0.0


def test_muted_it_hears_nothing_until_it_is_unmuted(card, tmp_path):
    with house(card, tmp_path) as (home, _), home.speaker() as firmware:
        home.levers.tap(BUTTON, 1.2)
        firmware.wait_for("light", 3, look="muted")
        home.hear(WAKE)
        assert not [event for event in firmware.watch_for(3) if event["event"] == "wake"]
        home.levers.tap(BUTTON, 1.2)
        firmware.wait_for("light", 3, look="idle")
        firmware.watch_for(0.5)
        home.hear(WAKE)
        firmware.wait_for("wake", 5)


# --- the agent misbehaves ---------------------------------------------------------------------------------------------


def test_nobody_answers_and_it_says_so_and_goes_on_hearing(card, tmp_path):
    home = House(card, tmp_path, "ws://127.0.0.1:9")  # the discard port: nobody is there
    with home.speaker() as firmware:
        home.hear(WAKE)
        retry = firmware.wait_for("retry", 5)
        assert "127.0.0.1:9" in retry["why"]
        firmware.wait_for("phrase", 15, code="nobody_there")
        firmware.wait_for("error", 1, code="nobody_there")
        firmware.wait_for("light", 1, look="offline")
        home.hear(WAKE)
        firmware.wait_for("wake", 5)


@pytest.mark.parametrize("token", ["right-token", "wrong-token"])
def test_refused_credentials_are_shown_and_not_tried_again(card, tmp_path, token):
    settings = '[agent]\nprotocol = "datagrid"\nurl = "{}"\n'
    with DatagridServer() as server:
        server.token = "right-token"
        home = House(card, tmp_path, "", settings.format(server.url))
        with home.speaker({"EARSHOT_API_KEY": token}) as firmware:
            home.hear(WAKE)
            if token == "right-token":
                firmware.wait_for("session_ready", 5)
            else:
                firmware.wait_for("error", 5, code="key_refused")
                firmware.wait_for("light", 1, look="error")
                assert not [event for event in firmware.watch_for(1) if event["event"] == "retry"]
        output = home.log.read_text() + json.dumps(firmware.events)
    assert token not in output


def test_a_connection_that_breaks_in_the_middle_of_a_word_is_taken_up_again(card, tmp_path):
    def script(visit: Visit) -> None:
        if len(server.visits) == 1:
            visit.wait(lambda visit: len(visit.frames) > 40, 10)
            visit.socket.socket.shutdown(socket.SHUT_RDWR)

    with (
        house(card, tmp_path, NO_CANCELLER) as (home, server),
        home.speaker() as firmware,
        card.record(tmp_path / "room.wav"),
    ):
        server.on_ready = script
        home.hear(f"{WAKE}, {SPEECH}")
        firmware.wait_for("retry", 10)
        second = server.visit(2)
        second.wait(lambda visit: len(visit.frames) > 100, 10)

    assert second.messages[0][1]["payload"] == {"conversation_id": "c1", "voice_config": {"silent_start": True}}
    got = [np.frombuffer(visit.audio, np.int16) for visit in server.visits]
    differ, compared = faults(channels(tmp_path / "room.wav")[0], got[1])
    assert differ == 0 and compared > 80  # what was said meanwhile came first, in one piece
    assert [visit.violations for visit in server.visits] == [[], []]


def test_rubbish_is_survived_and_the_answer_after_it_heard(card, tmp_path):
    def script(visit: Visit) -> None:
        visit.wait(lambda visit: len(visit.frames) > BREATH_FRAMES, 10)
        for rubbish in (
            "}",
            "[]",
            "null",
            '{"type":7}',
            b"\xff\x00",
            '{"type":"audio","payload":{"data":"%%%"}}',
            "{" * 9000,
        ):
            visit.socket.send(rubbish)
        visit.send("never_heard_of", x=1)
        visit.send("audio", data="AAA=")  # an odd number of bytes, then binary where text was due
        visit.socket.send(b'{"type":"transcript","payload":{"role":"agent","text":"well"}}')
        visit.say(tone(1.0))

    with house(card, tmp_path, "[privacy]\ntranscripts = true\n") as (home, server):
        server.on_ready = script
        with home.speaker() as firmware, card.record(tmp_path / "room.wav"):
            home.hear(BREATH)
            firmware.wait_for("error", 10, code="malformed_message")
            firmware.wait_for("transcript", 5, role="agent", text="well")
            firmware.wait_for("playback_stopped", 5, reason="drained")

    assert seconds_of(channels(tmp_path / "room.wav")[1], 440) == pytest.approx(1.0, abs=0.06)


def test_a_message_of_ten_megabytes_ends_the_connection_not_the_conversation(card, tmp_path):
    def script(visit: Visit) -> None:
        if len(server.visits) == 1:
            visit.socket.send('{"type":"audio","payload":{"data":"' + "A" * 10_000_000 + '"}}')

    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        server.on_ready = script
        home.hear(BREATH)
        assert "MiB" in firmware.wait_for("retry", 10)["why"]
        server.visit(2).wait(lambda visit: len(visit.frames) > 50)


@pytest.mark.parametrize("status", [HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND])
def test_a_server_that_declines_is_tried_again_only_if_that_may_help(card, tmp_path, status):
    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        server.status = status
        home.hear(BREATH)
        if status == HTTPStatus.NOT_FOUND:
            firmware.wait_for("error", 5, code="not_found")
        else:
            firmware.wait_for("retry", 5)
            server.status = None
            firmware.wait_for("session_ready", 8)
            server.visit().wait(lambda visit: len(visit.frames) > 100)


# --- the machine misbehaves -------------------------------------------------------------------------------------------


def test_a_card_that_is_taken_away_ends_the_process_with_a_reason(card, tmp_path):
    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        home.hear(BREATH)
        firmware.wait_for("session_ready", 10)
        try:
            card.unload()
            firmware.process.wait(10)
        finally:
            card.reload()
        firmware.stop()
    assert firmware.process.returncode == 1
    failures = [event for event in firmware.events if event["event"] == "error"]
    assert failures and ("plugged in" in failures[0]["message"])
    assert server.visits[0].kinds()[-1] == "stop"


def test_a_card_that_stands_still_is_noticed(card, tmp_path):
    with house(card, tmp_path) as (home, _), home.speaker() as firmware:
        try:
            card.suspend()
            firmware.process.wait(10)
        finally:
            card.resume()
        firmware.stop()
    assert firmware.process.returncode == 1
    (error,) = [event for event in firmware.events if event["event"] == "error"]
    # Both ends of the card stand still; which is seen first is a matter of milliseconds.
    assert error["code"] in ("microphone_failed", "speaker_failed") and "plugged in" in error["message"]


@pytest.mark.parametrize("moment", ["idle", "connecting", "listening", "speaking"])
def test_sigterm_at_any_moment_ends_the_session_and_the_process_in_good_form(card, tmp_path, moment):
    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        server.ready_after_s = 5.0 if moment == "connecting" else 0.0
        server.on_ready = answer_with(tone(20.0)) if moment == "speaking" else server.on_ready
        if moment != "idle":
            home.hear(BREATH)
            firmware.wait_for("light", 10, look=moment)
        firmware.process.send_signal(signal.SIGTERM)
        assert firmware.process.wait(3) == 0
        firmware.stop()

    assert firmware.events[-1]["event"] == "stopped"
    if moment in ("listening", "speaking"):
        assert server.visits[0].kinds()[-1] == "stop"


def test_sigterm_while_an_address_swallows_every_packet_is_quick_too(card, tmp_path):
    with socket.socket() as hole, socket.socket() as filler:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        filler.connect(hole.getsockname())  # its queue is full: the kernel drops what else comes
        home = House(card, tmp_path, f"ws://127.0.0.1:{hole.getsockname()[1]}")
        with home.speaker() as firmware:
            home.hear(BREATH)
            firmware.wait_for("light", 10, look="connecting")
            firmware.process.send_signal(signal.SIGTERM)
            assert firmware.process.wait(3) == 0


def test_an_agent_that_says_no_farewell_is_not_waited_for_long(card, tmp_path):
    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        server.answers_stop = False
        home.hear(BREATH)
        firmware.wait_for("session_ready", 10)
        firmware.process.send_signal(signal.SIGTERM)
        assert firmware.process.wait(3) == 0


def test_an_answer_that_comes_when_the_button_has_ended_the_session_is_not_heard(card, tmp_path):
    def script(visit: Visit) -> None:
        visit.wait(lambda visit: visit.count("stop") == 1, 10)
        visit.say(tone(3.0), lead_s=None)
        visit.send("ended")

    with house(card, tmp_path) as (home, server), home.speaker() as firmware, card.record(tmp_path / "room.wav"):
        server.on_ready, server.answers_stop = script, False
        home.hear(BREATH)
        firmware.wait_for("session_ready", 10)
        home.levers.tap(BUTTON)
        firmware.wait_for("session_ended", 5)
        firmware.watch_for(1.0)
    assert seconds_of(channels(tmp_path / "room.wav")[1], 440) < 0.05


def test_a_process_that_stood_still_goes_on(card, tmp_path):
    with house(card, tmp_path) as (home, _), home.speaker() as firmware:
        firmware.process.send_signal(signal.SIGSTOP)
        threading.Event().wait(4.0)
        firmware.process.send_signal(signal.SIGCONT)
        firmware.watch_for(5.0)
        home.hear(BREATH)
        firmware.wait_for("wake", 5)


def test_a_second_speaker_says_that_one_runs_already(card, tmp_path):
    with house(card, tmp_path) as (home, _), home.speaker():
        second = subprocess.run(
            [sys.executable, "-m", "device", "run", "--config", str(home.config)],
            env=card.env,
            capture_output=True,
            text=True,
            timeout=10,
        )
    assert second.returncode == 1
    assert "runs already" in second.stderr


def test_a_full_disk_costs_lines_of_the_event_log_and_nothing_else(card, tmp_path):
    with house(card, tmp_path) as (home, server):
        command = [sys.executable, "-m", "device", "run", "--config", str(home.config), "--events", "/dev/full"]
        env = card.env | home.levers.env
        speaker = subprocess.Popen(command, env=env, stderr=subprocess.PIPE)
        try:
            wake_until(home, server)
            server.visit().wait(lambda visit: len(visit.frames) > 100)
        finally:
            speaker.terminate()
            _, said = speaker.communicate(timeout=5)
    assert speaker.returncode == 0
    assert said.count(b"cannot be written") == 1


def test_systemd_is_told_while_it_hears_and_no_longer_when_it_does_not(card, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        with house(card, tmp_path) as (home, _):
            env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
            with home.speaker(env) as firmware:
                assert manager.recv(100) == b"READY=1"
                assert manager.recv(100) == b"WATCHDOG=1"
                try:
                    card.suspend()
                    firmware.process.wait(10)
                finally:
                    card.resume()
        told = []
        manager.setblocking(False)
        try:
            while True:
                told.append(manager.recv(100))
        except BlockingIOError:
            pass
    assert told[-1] == b"STOPPING=1"


def wake_until(home: House, server: DatagridServer) -> None:
    """Say the wake word until somebody has come: there is no event log to tell that the speaker is ready."""
    for _ in range(5):
        home.hear(WAKE)
        try:
            server.visit(1, 3)
            return
        except AssertionError:
            continue
    raise EarshotError("nobody came")


def test_threads_and_files_do_not_grow_from_session_to_session(card, tmp_path):
    def ended(visit: Visit) -> None:
        visit.send("ended")

    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        server.on_ready = ended
        counts = []
        for _ in range(6):
            home.levers.tap(BUTTON, 0.05)
            firmware.wait_for("session_ended", 5)
            firmware.watch_for(0.4)
            process = Path(f"/proc/{firmware.process.pid}")
            counts.append([len(list(Path(process, folder).iterdir())) for folder in ("task", "fd")])
    assert counts[-1] == counts[1]
