"""Talking over a reply: the real process in a room where its microphone hears what it plays, against a scripted agent."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from device.demo.card import VirtualCard
from device.demo.echo import response
from device.demo.processes import Agent
from device.demo.stream import Event
from device.demo.voices import resample, say
from tests.house import BUTTON, NO_CANCELLER, SPEECH, House, channels, house, offset_s
from tests.room.household import clap, cough, slam
from tests.servers.datagrid import REPLY_RATE, Visit

pytestmark = pytest.mark.slow

WAKE = "hey jarvis"
BREATH = "hey jarvis, tell me a story"
AGENT = "flite:rms"
STORY = (
    "Once upon a time there was a lighthouse keeper who had never seen the sea by day, and every evening when he climbed the "
    "narrow stairs he asked the gulls what colour it had been, and every evening they told him something else, "
)
TEMPTING = "so hey jarvis said the gull, stop, and hey jarvis it said again, stop, stop the boat, "
"""What its owner would say to interrupt it, in the speaker's own mouth."""
OVER = "wait, what is the weather like"
NOTHING = "aha, aha"
BY_US = "wake", "stop_word", "speech_confirmed", "interrupted"
TROUBLES = "error", "dropped", "retry"


@pytest.fixture(scope="module")
def card() -> Iterator[VirtualCard]:
    """The room has an echo, here."""
    with VirtualCard(response()) as card:
        yield card


def spoken(text: str) -> bytes:
    """A reply: s16le at 24 kHz."""
    return resample(say(text, AGENT), 16_000, REPLY_RATE).tobytes()


def answer_with(*replies: bytes) -> Callable[[Visit], None]:
    """An agent that says these, far ahead of their playing: each 2.2 s, so long is a question, after the last was cut off."""

    def script(visit: Visit) -> None:
        for number, reply in enumerate(replies):
            heard = len(visit.frames)
            visit.wait(lambda visit, heard=heard: len(visit.frames) >= heard + 110, 10)
            visit.say(reply, lead_s=None)
            if number + 1 < len(replies):
                visit.wait(lambda visit, number=number: visit.count("interrupt") > number, 30)

    return script


def of(events: list[Event], *names: str) -> list[str]:
    return [event["event"] for event in events if event["event"] in names]


def after(events: list[Event], name: str) -> list[Event]:
    """What came after the first of that name."""
    return events[next(i for i, event in enumerate(events) if event["event"] == name) + 1 :]


def in_full_voice(home: House, firmware: object) -> None:
    """Ask, and wait until the reply has been playing for 2.5 s: the canceller has converged."""
    home.hear(BREATH)
    firmware.wait_for("playback_started", 12)
    firmware.watch_for(2.5)


def test_its_own_reply_interrupts_nothing_even_if_it_says_the_wake_word_and_stop(card, tmp_path):
    with (
        house(card, tmp_path) as (home, server),
        home.speaker() as firmware,
        card.record(tmp_path / "room.wav") as room,
    ):
        server.on_ready = answer_with(spoken(STORY + TEMPTING))
        home.hear(BREATH)
        started = firmware.wait_for("playback_started", 12)
        stopped = firmware.wait_for("playback_stopped", 40)
        echo = firmware.wait_for("echo", 5)
        ended = firmware.wait_for("session_ended", 15)
        visit = server.visit()

    assert stopped["reason"] == "drained" and ended["reason"] == "idle"
    assert of(after(firmware.events, "playback_started"), *BY_US, "ducked", *TROUBLES) == []
    assert echo["erle_db"] > 15
    # Its own tail is no speech: who says nothing has exactly as long as the settings give.
    assert ended["t"] - stopped["t"] == pytest.approx(8.0, abs=0.6)
    heard, got = channels(tmp_path / "room.wav")[0], np.frombuffer(visit.audio, np.int16) / 32768
    begin, end = started["t"] + 2.0, stopped["t"] - 0.2
    rate = 48_000
    in_room = heard[round((begin - room.first_sample) * rate) : round((end - room.first_sample) * rate)]
    arrived = [(t, pcm) for t, pcm in visit.frames if begin + 0.1 < t < end]
    at_agent = np.frombuffer(b"".join(pcm for _, pcm in arrived), np.int16) / 32768
    assert len(got) and level_db(at_agent) < level_db(in_room) - 20


def level_db(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-12))


def test_who_talks_over_it_is_heard_from_the_first_word_and_answered(card, tmp_path):
    with (
        house(card, tmp_path) as (home, server),
        home.speaker() as firmware,
        card.record(tmp_path / "room.wav") as room,
    ):
        server.on_ready = answer_with(spoken(STORY * 2), spoken("It will snow in the mountains tomorrow."))
        in_full_voice(home, firmware)
        said = home.hear(OVER)
        began = home.sounds[-1].started
        confirmed = firmware.wait_for("speech_confirmed", 3)
        firmware.wait_for("interrupted", 1, by="speech")
        stopped = firmware.wait_for("playback_stopped", 1, reason="interrupted")
        firmware.wait_for("playback_stopped", 15, reason="drained")
        visit = server.visit()
    room.stop()

    assert visit.count("interrupt") == 1 and visit.violations == []
    assert of(after(firmware.events, "speech_confirmed"), "resumed", *TROUBLES) == []
    assert confirmed["t"] - began < 1.0
    # The last sample at the card: from what was confirmed on, the old reply is over within 60 ms and the card's 40.
    played = channels(tmp_path / "room.wav")[1]
    assert silent_from(played, room.first_sample, stopped["t"]) - confirmed["t"] < 0.15
    # Of what was said the agent has everything, from 300 ms before the interruption on at the least.
    got = np.frombuffer(visit.audio, np.int16)
    assert words_missing(said, got, 0.0) <= 0.15
    assert words_missing(said, got, max(0.0, confirmed["t"] - began - 0.3)) <= 0.05


def silent_from(played: np.ndarray, first: float, t: float) -> float:
    """When (seconds, CLOCK_MONOTONIC) the last sample sounded before the first silence of 50 ms that ends after `t`."""
    sounding = np.flatnonzero(played)
    gaps = np.flatnonzero(np.diff(sounding) > 2400)
    ends = [sounding[gap] for gap in gaps if first + sounding[gap + 1] / 48_000 > t] or [sounding[-1]]
    return float(first + ends[0] / 48_000)


def words_missing(said: np.ndarray, got: np.ndarray, since_s: float) -> float:
    """Which part of the loud frames of what was said (int16, 16 kHz) is not in what the agent got: 12 dB softer, or more."""
    begin = round(offset_s(resample(got, 16_000, 48_000) / 32768, said) * 16_000)
    size = 640
    count = len(said) // size
    wanted = said[: count * size].astype(float).reshape(count, size)
    there = np.zeros(count * size)
    piece = got[begin : begin + count * size]
    there[: len(piece)] = piece
    rms = [np.sqrt(np.mean(frames**2, axis=1)) for frames in (wanted, there.reshape(count, size))]
    loud = (rms[0] > rms[0].max() / 10) & (np.arange(count) * size >= since_s * 16_000)
    return float(np.mean(rms[1][loud] < rms[0][loud] / 4))


@pytest.mark.parametrize("noise", [cough, clap, slam])
def test_a_noise_of_the_household_makes_it_softer_at_most(card, tmp_path, noise):
    rng = np.random.default_rng(3)
    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        server.on_ready = answer_with(spoken(STORY))
        in_full_voice(home, firmware)
        home.play((noise(rng) * 16_000).astype(np.int16), 16_000)
        stopped = firmware.wait_for("playback_stopped", 30)

    assert stopped["reason"] == "drained"
    assert of(after(firmware.events, "playback_started"), *BY_US, *TROUBLES) == []
    ducks = of(after(firmware.events, "playback_started"), "ducked", "raised")
    assert ducks in ([], ["ducked", "raised"])


def test_where_no_words_follow_the_rest_of_the_reply_is_played_but_only_once(card, tmp_path):
    reply = spoken(STORY)
    with house(card, tmp_path) as (home, server), home.speaker() as firmware, card.record(tmp_path / "room.wav"):
        server.on_ready = answer_with(reply)
        in_full_voice(home, firmware)
        home.hear(NOTHING)
        firmware.wait_for("playback_stopped", 4, reason="interrupted")
        firmware.wait_for("resumed", 6)
        firmware.wait_for("playback_started", 1)
        firmware.wait_for("playback_stopped", 20, reason="drained")
        home.levers.tap(BUTTON)
        firmware.wait_for("session_ended", 5)
    sounding = seconds_sounding(channels(tmp_path / "room.wav")[1])
    assert sounding == pytest.approx(seconds_sounding(at_card(reply)), abs=0.8)  # a little is heard twice

    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        server.on_ready = answer_with(reply)
        in_full_voice(home, firmware)
        for _ in range(2):
            home.hear(NOTHING)
            firmware.wait_for("playback_stopped", 4, reason="interrupted")
            events = firmware.watch_for(5.0)
    assert of(events, "resumed", "playback_started") == []


def at_card(reply: bytes) -> np.ndarray:
    return resample(np.frombuffer(reply, np.int16), REPLY_RATE, 48_000) / 32768


def seconds_sounding(sound: np.ndarray) -> float:
    """For how long it is not silent, to 20 ms."""
    windows = np.abs(sound[: len(sound) // 960 * 960]).reshape(-1, 960)
    return float(np.count_nonzero(windows.max(axis=1) > 0.001)) / 50


def test_a_stop_word_ends_a_reply(card, tmp_path):
    with (
        house(card, tmp_path, '[conversation]\nbarge_in = "wake_word"\n') as (home, server),
        home.speaker() as firmware,
    ):
        server.on_ready = answer_with(spoken(STORY * 2))
        in_full_voice(home, firmware)
        home.hear("stop")
        firmware.wait_for("stop_word", 3, word="stop")
        firmware.wait_for("playback_stopped", 1, reason="interrupted")
        visit = server.visit()
        visit.wait(lambda visit: visit.count("interrupt") == 1)

    assert of(firmware.events, "resumed") == []


def test_with_the_wake_word_alone_talking_over_a_reply_changes_nothing(card, tmp_path):
    with (
        house(card, tmp_path, '[conversation]\nbarge_in = "wake_word"\n') as (home, server),
        home.speaker() as firmware,
    ):
        server.on_ready = answer_with(spoken(STORY * 2))
        in_full_voice(home, firmware)
        home.hear(OVER)
        assert of(firmware.watch_for(3.5), "ducked", "interrupted", "playback_stopped") == []
        home.hear(WAKE)
        firmware.wait_for("interrupted", 4, by="wake_word")
        firmware.wait_for("playback_stopped", 1, reason="interrupted")


def test_half_duplex_the_agent_hears_nothing_while_it_speaks_and_everything_after(card, tmp_path):
    settings = "[conversation]\nhalf_duplex = true\n"
    with house(card, tmp_path, settings) as (home, server), home.speaker() as firmware:
        server.on_ready = answer_with(spoken(STORY))
        in_full_voice(home, firmware)
        visit = server.visit()
        before = len(visit.frames)
        home.hear(OVER)
        assert of(firmware.watch_for(3.0), "ducked", "interrupted", "playback_stopped") == []
        assert len(visit.frames) == before
        stopped = firmware.wait_for("playback_stopped", 20, reason="drained")
        visit.wait(lambda visit: len(visit.frames) > before)
        since = visit.frames[before][0] - stopped["t"]
        said = home.hear(OVER)
        firmware.wait_for("speech_ended", 6)
        got = np.frombuffer(visit.audio[before * 640 :], np.int16)

    assert 0.25 < since < 0.6  # the room's tail is not heard either
    assert words_missing(said, got, 0.0) <= 0.05


def test_where_nothing_cancels_the_echo_it_says_so_once_and_listens_for_the_wake_word(card, tmp_path):
    with house(card, tmp_path, NO_CANCELLER) as (home, server), home.speaker() as firmware:
        server.on_ready = answer_with(spoken(STORY))
        for _ in range(2):
            home.hear(BREATH)
            firmware.wait_for("playback_started", 12)
            firmware.wait_for("playback_stopped", 30)
            firmware.wait_for("session_ended", 20)
            firmware.watch_for(3.0)

    errors = [event for event in firmware.events if event["event"] == "error"]
    assert errors and errors[0]["code"].startswith("echo_") and "echo" in errors[0]["message"]
    assert of(firmware.events, "phrase") == ["phrase"]
    second = after(after(firmware.events, "session_ended"), "playback_started")
    assert of(second, "ducked", "speech_confirmed", "interrupted") == []


def test_what_is_said_right_after_a_reply_is_all_at_the_agent(card, tmp_path):
    with house(card, tmp_path) as (home, server), home.speaker() as firmware:
        server.on_ready = answer_with(spoken(STORY))
        home.hear(BREATH)
        firmware.wait_for("playback_stopped", 40, reason="drained")
        said = home.hear(SPEECH)
        firmware.wait_for("speech_ended", 20, since=home.sounds[-1].started + len(said) / 16_000)
        got = np.frombuffer(server.visit().audio, np.int16)

    assert words_missing(said, got, 0.0) <= 0.02


@pytest.fixture
def agent(card: VirtualCard, tmp_path: Path) -> Iterator[Agent]:
    with Agent(card.env, tmp_path / "agent.log") as agent:
        agent.wait_ready()
        yield agent


@pytest.mark.parametrize("settings", ["", NO_CANCELLER], ids=["cancelled", "not cancelled"])
def test_the_built_in_agent_does_not_answer_its_own_voice(card, tmp_path, agent, settings):
    home = House(card, tmp_path, agent.url, settings)
    with home.speaker() as firmware:
        home.hear("hey jarvis, what time is it")
        firmware.wait_for("playback_stopped", 15, reason="drained")
        firmware.wait_for("session_ended", 15, reason="idle")
    assert of(firmware.events, "reply_started", "interrupted") == ["reply_started"]


def test_who_talks_over_the_built_in_agent_is_understood(card, tmp_path, agent):
    home = House(card, tmp_path, agent.url)
    with home.speaker() as firmware:
        home.hear("hey jarvis, tell me a story")
        firmware.wait_for("playback_started", 12)
        firmware.watch_for(2.5)
        home.hear("set the volume to thirty percent")
        firmware.wait_for("playback_stopped", 4, reason="interrupted")
        firmware.wait_for("volume", 8, percent=30)
        firmware.wait_for("playback_stopped", 10, reason="drained")
