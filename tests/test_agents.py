"""Whole conversations with each agent, by each of its ways in: the real process, over TLS, on the virtual sound card."""

import json
import signal
import subprocess
import sys
import time
import wave
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest

from device.audio import RATE
from device.demo import processes
from device.demo.voices import resample
from device.speaking import phrases
from tests.house import BUTTON, NO_CANCELLER, House, below, channels, faults, house, length_s, likeness, pitch, tone
from tests.servers.atoms import AGENT, KEY
from tests.ways import WAYS, environment, reply

pytestmark = pytest.mark.slow

WAKE = "hey jarvis"
BREATH = "hey jarvis, what time is it"
AGENTS = ("datagrid", "atoms", "workbuddy", "savants", "openai")
TALKATIVE = "import sys; from device.__main__ import main; sys.exit(main([*sys.argv[1:], '--verbose']))"


def earshot(home: House, *words: str) -> subprocess.CompletedProcess[str]:
    """Another command of the same user, beside the speaker."""
    return subprocess.run(
        [sys.executable, "-m", "device", *words],
        env=home.card.env | environment(),
        capture_output=True,
        text=True,
        timeout=10,
    )


@contextmanager
def converse(card, directory, way, settings="", certificate="good"):
    """The house, the agent's server and the firmware, which is ready."""
    settings = f"{way.tables}{settings}"
    with (
        house(card, directory, settings, way.server(certificate)) as (home, server),
        home.speaker(environment()) as firmware,
    ):
        yield home, server, firmware


def looks(firmware) -> list[str]:
    return [event["look"] for event in firmware.events if event["event"] == "light"]


def phrase(name: str) -> np.ndarray:
    """What is said, by the name of its file: int16 at 16 kHz."""
    with wave.open(str(phrases.FOLDER / f"{name}.wav")) as file:
        assert file.getframerate() == RATE
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


# --- every agent, by every way in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAYS)
def test_what_is_said_reaches_the_agent_and_its_answer_the_room_and_no_secret_anybody_else(
    card, tmp_path, name, monkeypatch
):
    monkeypatch.setattr(processes, "EARSHOT", (sys.executable, "-c", TALKATIVE))
    way = WAYS[name]

    def script(visit):
        visit.wait(lambda visit: len(visit.frames) > 100, 10)
        reply(visit, tone(1.0, rate=way.speaks))

    with (
        converse(card, tmp_path, way, f"[conversation]\nidle_s = 2\n{NO_CANCELLER}") as (home, server, firmware),
        card.record(tmp_path / "room.wav"),
    ):
        server.on_ready = script
        home.hear(BREATH)
        connected = firmware.wait_for("connected", 10)
        seen = [*commands(firmware.process.pid), earshot(home, "config", "--config", str(home.config)).stdout]
        firmware.wait_for("playback_stopped", 10, reason="drained")
        firmware.wait_for("session_ended", 10, reason="idle")
        assert server.visit().ended.wait(5)
    seen += [json.dumps(firmware.events), home.log.read_text()]

    assert server.violations == server.trouble == []
    assert connected.keys() - {"t", "event"} == way.steps
    assert looks(firmware) == ["connecting", "listening", "ending", "speaking", "listening", "ending", "idle"]
    lost = [event for event in firmware.events if event["event"] in ("dropped", "error", "retry")]
    assert not [event for event in lost if event.get("where") != "speaker"]  # a busy machine may be late for the card
    heard, played = channels(tmp_path / "room.wav")
    assert length_s(played, 440) == pytest.approx(1.0, abs=0.04) and pitch(played) == pytest.approx(440, abs=1)
    got = np.frombuffer(server.visits[0].audio, np.int16)
    if way.hears != RATE:
        heard, got = below(heard, 48_000), below(resample(got, way.hears, RATE), RATE).astype(np.int16)
    differ, compared = faults(heard, got)
    assert differ == 0 and compared > 30
    token = way.token(server.visits[0])
    assert len(token) > 5
    for text in seen:
        assert KEY not in text and token not in text


def commands(pid: int) -> list[str]:
    """The command lines of a process and its children, and what the children were given beside."""
    process = Path(f"/proc/{pid}")
    children = " ".join(path.read_text() for path in process.glob("task/*/children")).split()
    given = [
        process / "cmdline",
        *(Path(f"/proc/{child}/{what}") for child in children for what in ("cmdline", "environ")),
    ]
    return [path.read_text(errors="replace") for path in given]


@pytest.mark.parametrize("name", AGENTS)
def test_the_button_cuts_a_reply_off_and_the_agent_learns_what_was_heard_where_it_can(card, tmp_path, name):
    way = WAYS[name]

    def script(visit):
        visit.wait(lambda visit: len(visit.frames) > 50, 10)
        reply(visit, tone(4.0, rate=way.speaks), lead_s=2.0)
        visit.ended.wait(1.0)
        reply(visit, tone(0.5, 1000, way.speaks))

    with converse(card, tmp_path, way) as (home, server, firmware), card.record(tmp_path / "room.wav"):
        server.on_ready = script
        home.levers.tap(BUTTON)
        started = firmware.wait_for("playback_started", 10)
        firmware.watch_for(0.8)
        home.levers.tap(BUTTON)
        stopped = firmware.wait_for("playback_stopped", 2, reason="interrupted")
        firmware.wait_for("playback_stopped", 10, reason="drained")
        home.levers.tap(BUTTON)
        firmware.wait_for("session_ended", 5, reason="button")

    played = channels(tmp_path / "room.wav")[1]
    heard_s, visit = length_s(played, 440), server.visits[0]
    assert heard_s == pytest.approx(stopped["t"] - started["t"], abs=0.08)
    assert length_s(played, 1000) == pytest.approx(0.5, abs=0.04)
    match name:
        case "datagrid":
            assert visit.kinds() == ["start", "interrupt", "interrupted?", "stop"]
        case "atoms":
            assert visit.kinds() == ["session.close"]
        case "openai":
            assert visit.kinds() == ["session.update", "response.cancel", "conversation.item.truncate"]
            assert visit.of("conversation.item.truncate")[0]["audio_end_ms"] == pytest.approx(heard_s * 1000, abs=40)
        case _:
            assert len(visit.messages) == 1  # the token
    assert server.violations == []


@pytest.mark.parametrize("name", ["workbuddy", "savants"])
def test_an_agent_that_sends_silence_all_the_time_does_not_speak_all_the_time(card, tmp_path, name):
    silence = bytes(2 * RATE)

    def script(visit):
        visit.say(silence * 2 + tone(1.0, rate=RATE) + silence * 20, lead_s=0.1)

    way = WAYS[name]
    with (
        converse(card, tmp_path, way, "[conversation]\nidle_s = 3\n") as (home, server, firmware),
        card.record(tmp_path / "room.wav"),
    ):
        server.on_ready = script
        home.levers.tap(BUTTON)
        spoken = firmware.wait_for("playback_stopped", 10, reason="drained")
        ended = firmware.wait_for("session_ended", 10, reason="idle")

    assert looks(firmware) == ["connecting", "listening", "ending", "speaking", "listening", "ending", "idle"]
    assert ended["t"] - spoken["t"] == pytest.approx(3, abs=0.3)
    assert length_s(channels(tmp_path / "room.wav")[1], 440) == pytest.approx(1.0, abs=0.04)


# --- no session, and why ----------------------------------------------------------------------------------------------


def test_what_a_server_answers_is_shown_and_said_in_words(card, tmp_path):
    answers = {
        HTTPStatus(401): ("key_refused", "error", "key"),
        HTTPStatus(404): ("not_found", "error", "address"),
        HTTPStatus(402): ("no_credit", "error", "credit"),
        HTTPStatus(503): ("server_busy", "offline", "busy"),
        HTTPStatus(500): ("server_fault", "offline", "fault"),
    }
    with converse(card, tmp_path, WAYS["datagrid"]) as (home, server, firmware):
        server.retry_after_s = 60  # longer than anybody waits: it is told at once
        for status, (code, look, _) in answers.items():
            server.status, server.final = status, ""
            with card.record(tmp_path / f"{code}.wav"):
                pressed = home.levers.tap(BUTTON)
                firmware.wait_for("error", 3, since=pressed, code=code)
                firmware.wait_for("phrase", 1, since=pressed, code=code)
                firmware.wait_for("light", 1, since=pressed, look=look)
                firmware.watch_for(1.0 + phrases.length_s(code))
    for code, _, name in answers.values():
        assert likeness(channels(tmp_path / f"{code}.wav")[1], phrase(name)) > 0.9, code
    assert len(server.refused) == 5 and server.violations == []


@pytest.mark.parametrize(
    ("code", "name", "url"),
    [("no_network", "network", "wss://224.0.0.1"), ("name_not_found", "name", "wss://agent.invalid")],
)
def test_a_server_that_is_not_reached_in_ten_seconds_is_given_up_with_light_and_words(card, tmp_path, code, name, url):
    home = House(card, tmp_path, "", WAYS["datagrid"].tables.replace("{url}", url))  # no route leads to a multicast
    with home.speaker(environment()) as firmware, card.record(tmp_path / "room.wav"):
        pressed = home.levers.tap(BUTTON)
        retry = firmware.wait_for("retry", 5, code=code)
        error = firmware.wait_for("error", 12, since=pressed, code=code)
        firmware.wait_for("phrase", 1, since=pressed, code=code)
        firmware.wait_for("light", 1, since=pressed, look="offline")
        firmware.watch_for(1.0 + phrases.length_s(code))
    assert 4.0 < error["t"] - pressed < 10.5
    assert url.removeprefix("wss://") in retry["why"]
    assert likeness(channels(tmp_path / "room.wav")[1], phrase(name)) > 0.9


def test_a_certificate_of_a_stranger_is_refused_with_light_and_words(card, tmp_path):
    with (
        converse(card, tmp_path, WAYS["openai"], certificate="unknown_issuer") as (home, server, firmware),
        card.record(tmp_path / "room.wav"),
    ):
        home.hear(WAKE)
        firmware.wait_for("error", 10, code="tls_refused")
        firmware.wait_for("light", 1, look="error")
        firmware.watch_for(1.0 + phrases.length_s("tls_refused"))
    assert not [event for event in firmware.events if event["event"] == "retry"]
    assert likeness(channels(tmp_path / "room.wav")[1], phrase("certificate")) > 0.9
    assert server.visits == server.posts == [] and KEY not in home.log.read_text()


def test_a_wake_word_breaks_the_words_off(card, tmp_path):
    words = phrase("key")
    with converse(card, tmp_path, WAYS["openai"]) as (home, server, firmware), card.record(tmp_path / "room.wav"):
        server.status = HTTPStatus.UNAUTHORIZED
        home.levers.tap(BUTTON)
        firmware.wait_for("phrase", 5, code="key_refused")
        server.status, server.final = None, ""
        firmware.watch_for(0.6)
        home.hear(WAKE)
        firmware.wait_for("light", 3, look="listening")
        firmware.watch_for(2.0)
    played = channels(tmp_path / "room.wav")[1]
    assert likeness(played, words[: len(words) // 4]) > 0.9 and likeness(played, words[-len(words) // 4 :]) < 0.5


# --- an agent that stands still ---------------------------------------------------------------------------------------

ENDLESS = """
from tests.house import tone
from tests.servers.datagrid import DatagridServer
from tests.servers.scripted import main

class Endless(DatagridServer):
    def __init__(self, **listening):
        super().__init__(**listening)
        self.on_ready = lambda visit: visit.say(tone(60.0), lead_s=None)

main(Endless)
"""


@contextmanager
def agent_process(*words):
    """An agent in a process of its own, which can be made to stand still; the process, and its address."""
    command = [sys.executable, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        try:
            yield agent, agent.stdout.readline().strip()
        finally:
            agent.kill()


@pytest.mark.parametrize("heard", ["listening", "speaking"])
def test_an_agent_that_stands_still_is_noticed_within_ten_seconds_and_the_conversation_goes_on(card, tmp_path, heard):
    """While it listens we send all the time; while it speaks, in half duplex, nothing."""
    words = ["-m", "tests.servers.datagrid", "--port", "0"] if heard == "listening" else ["-c", ENDLESS]
    with agent_process(*words) as (agent, url):
        home = House(card, tmp_path, url, "[conversation]\nhalf_duplex = true\nidle_s = 30\n")
        with home.speaker() as firmware:
            home.levers.tap(BUTTON)
            firmware.wait_for("light", 10, look=heard)
            firmware.watch_for(1.0)
            agent.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            retry = firmware.wait_for("retry", 12)
            firmware.wait_for("state", 1, to="connecting")
            agent.send_signal(signal.SIGCONT)
            firmware.wait_for("session_ready", 8)
            firmware.watch_for(0.2)
            seen = looks(firmware)
    # What has come of a reply is played to its end.
    assert seen == ["connecting", "listening", *(["connecting", "listening"] if heard == "listening" else ["speaking"])]
    assert retry["t"] - stopped < 10.0 and retry["code"] == "connection_lost"


# --- the owner at the keyboard ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["datagrid", "atoms", "openai"])
def test_what_is_written_reaches_the_agent_and_status_and_stop_do_what_they_say(card, tmp_path, name):
    text = "Wie spät ist es?"
    with converse(card, tmp_path, WAYS[name]) as (home, server, firmware):
        early = earshot(home, "say", text)
        assert (early.returncode, early.stdout) == (1, "")
        assert early.stderr == "earshot: No conversation is going on: say the wake word first.\n"
        assert "idle" in earshot(home, "status").stdout
        home.levers.tap(BUTTON)
        firmware.wait_for("session_ready", 5)

        said = earshot(home, "say", text)
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
        server.visit().wait(lambda visit: text in json.dumps(visit.messages, ensure_ascii=False))
        status = earshot(home, "status", "--json")
        told = json.loads(status.stdout)
        assert told["agent"] == {"protocol": name, "url": server.url, "id": AGENT if name == "atoms" else ""}
        assert told["state"] in ("listening", "speaking") and told["counters"]["sessions"] == 1
        lines = earshot(home, "status").stdout.splitlines()
        assert any(line.split()[:2] == ["agent", "protocol"] and line.endswith(name) for line in lines)

        stopped = earshot(home, "stop")
        assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "")
        firmware.wait_for("session_ended", 5, reason="command")
        assert json.loads(earshot(home, "status", "--json").stdout)["state"] == "idle"
    assert earshot(home, "status").stderr.startswith("earshot: No speaker runs here.")
    assert server.violations == []


def test_an_agent_that_takes_no_text_is_not_sent_any(card, tmp_path):
    with converse(card, tmp_path, WAYS["workbuddy"]) as (home, server, firmware):
        home.levers.tap(BUTTON)
        firmware.wait_for("session_ready", 5)
        said = earshot(home, "say", "hello")
    assert (said.returncode, said.stderr) == (1, "earshot: This agent takes no text.\n")
    assert server.violations == []
