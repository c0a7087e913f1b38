"""`earshot check` as a process, with real PyAudio on the virtual sound card."""

import json
import subprocess
import sys

import pytest

from tests.fakes import pink_noise

pytestmark = pytest.mark.slow


@pytest.fixture
def check(card, tmp_path):
    """The parts of `earshot check --json`, by name. Nobody is at the terminal."""
    config = tmp_path / "earshot.toml"
    config.write_text(
        '[microphone]\ndevice = "pulse"\n[speaker]\ndevice = "pulse"\n[panel]\nbutton = "none"\nlights = "none"\n'
    )

    def run(**environ):
        command = [sys.executable, "-m", "device", "check", "--json", "--config", str(config)]
        done = subprocess.run(
            command, env=card.env | environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        assert done.stderr == "" and done.returncode == 1, "there is no agent here"
        return {part["part"]: part for part in json.loads(done.stdout)["parts"]}

    return run


def test_a_microphone_that_hears_the_room_and_not_the_speaker(check, card):
    sound = card.play(pink_noise(30, 0.01), 16_000)
    try:
        parts = check()
    finally:
        sound.stop()
    assert parts["microphone"]["verdict"] == "ok"
    assert parts["microphone"]["figures"]["levels"][0]["level_dbfs"] == pytest.approx(-40, abs=2)
    assert parts["speaker"]["verdict"] == "warning"
    assert parts["echo"]["verdict"] == "ok" and parts["echo"]["figures"]["erle_db"] is None, parts["echo"]


def test_a_microphone_that_hears_the_speaker(check):
    parts = check(PULSE_SOURCE="speaker.monitor")
    assert parts["speaker"]["verdict"] == "ok" and 0 < parts["speaker"]["figures"]["delay_ms"] < 300
    assert parts["speaker"]["figures"]["echo_dbfs"] == pytest.approx(-18, abs=1)
    assert parts["echo"]["verdict"] == "ok" and parts["echo"]["figures"]["erle_db"] > 20, parts["echo"]


def test_a_card_that_stands_still_holds_it_no_longer_than_its_limit(check, card):
    card.suspend()
    try:
        parts = check()
    finally:
        card.resume()
    assert parts["speaker"]["verdict"] == "FAILED" and parts["microphone"]["verdict"] == "skipped"
    assert parts["lights"]["verdict"] == "skipped" and parts["agent"]["verdict"] == "FAILED"
    assert sum(part["seconds"] for part in parts.values()) < 20
