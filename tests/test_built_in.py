"""Whole conversations of the real process with the built-in agent, as on a new speaker without an account."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.demo.card import VirtualCard
from device.demo.processes import Agent
from tests.house import House

pytestmark = pytest.mark.slow


@pytest.fixture
def home(card: VirtualCard, tmp_path: Path) -> Iterator[House]:
    with Agent(card.env, tmp_path / "agent.log") as agent:
        agent.wait_ready()
        yield House(card, tmp_path, agent.url, "[privacy]\ntranscripts = true\n")


def test_a_timer_rings_when_the_session_is_over_until_the_button_is_pressed(home):
    with home.speaker() as firmware:
        home.hear("hey jarvis, set a timer for five seconds")
        set_at = firmware.wait_for("timer", 10, in_s=5)
        firmware.wait_for("playback_stopped", 10, reason="drained")
        home.hear("goodbye")
        firmware.wait_for("session_ended", 10)
        rings = [firmware.wait_for("chime", 10, chime="timer", since=set_at["t"])]
        rings.append(firmware.wait_for("chime", 5, chime="timer"))
        home.levers.tap(17)
        assert not [event for event in firmware.watch_for(4) if event["event"] == "chime"]

    assert rings[0]["t"] - set_at["t"] == pytest.approx(5, abs=0.1)
    assert rings[1]["t"] - rings[0]["t"] == pytest.approx(3, abs=0.1)


def test_the_volume_of_the_speaker_itself_is_changed(home):
    with home.speaker() as firmware:
        home.hear("hey jarvis, set the volume to thirty percent")
        firmware.wait_for("tool_call", 10, status="completed")
        firmware.wait_for("volume", 2, percent=30)
