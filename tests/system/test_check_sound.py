"""What the check says of microphone and speaker, in rooms with a fault each."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from device import soundcard
from device.config import Config
from device.errors import HardwareError
from device.soundcard import Device
from device.system.check.machine import Ran
from device.system.check.report import Verdict
from device.system.check.sound import Sound
from tests.fakes import tone
from tests.system.machines import FakeMachine, Room

OK, WARNING, FAILED, SKIPPED = Verdict.OK, Verdict.WARNING, Verdict.FAILED, Verdict.SKIPPED
RATE = 16_000


def noise(scale, channels=1, seconds=4):
    sound = np.random.default_rng(3).normal(scale=scale, size=(RATE * seconds, channels))
    return np.rint(sound).astype(np.int16)[:, 0] if channels == 1 else np.rint(sound).astype(np.int16)


@pytest.fixture
def machine(tmp_path):
    return FakeMachine(tmp_path / "machine")


def sound_in(room, cancels_echo=False, machine=None, **microphone):
    config = Config()
    config = dataclasses.replace(config, microphone=dataclasses.replace(config.microphone, **microphone))
    machine = machine or SimpleNamespace(run=lambda *command: Ran(127, ""))
    sound = Sound(config, lambda: room, cancels_echo, machine)
    sound.cards()
    return sound


def test_a_microphone_in_a_quiet_room_is_well():
    found = sound_in(Room()).microphone()
    assert found.verdict is OK and "16000 Hz" in found.text and "-61 dBFS" in found.text
    assert found.figures["levels"][0]["level_dbfs"] == pytest.approx(-60.8, abs=0.3)


def test_a_small_microphone_in_a_bedroom_at_night_is_well():
    found = sound_in(Room(noise(1.2))).microphone()
    assert found.verdict is OK and "-88 dBFS" in found.text


MIXER = """\
Simple mixer control '{}',0
  Capabilities: {}
  Capture channels: Mono
"""


@pytest.mark.parametrize(
    ("capabilities", "adjustable"),
    [
        ("cvolume cswitch cswitch-joined", True),
        ("volume volume-joined", True),
        ("pvolume pswitch", False),
        ("cswitch", False),
    ],
)
def test_a_microphone_that_hears_next_to_nothing_is_turned_up_where_its_card_can(machine, capabilities, adjustable):
    room = Room(noise(0.45))
    machine.programs["amixer -c 3 scontents"] = MIXER.format("Mic", capabilities)
    sound = sound_in(room, machine=machine)
    room.microphone_name = "Fine Card: USB Audio (hw:3,0)"
    found = sound.microphone()
    assert found.verdict is WARNING and "very quiet" in found.text and found.remedy
    assert ("alsamixer" in found.remedy and "sudo alsactl store" in found.remedy) is adjustable


def test_a_microphone_without_a_name_of_hardware_has_the_usual_mixer(machine):
    machine.programs["amixer scontents"] = MIXER.format("Capture", "cvolume")
    assert "alsamixer" in sound_in(Room(noise(0.45)), machine=machine).microphone().remedy


def test_nothing_but_silence_fails_with_a_remedy_and_blames_no_release():
    found = sound_in(Room(np.zeros(RATE * 4, np.int16))).microphone()
    assert found.verdict is FAILED and "silence" in found.text and "muted" in found.remedy and found.outside


def test_a_microphone_that_takes_the_room_for_noise_but_hears_the_speaker_is_well():
    sound = sound_in(Room(np.zeros(RATE * 4, np.int16), cable=0.1))
    assert sound.speaker().verdict is OK and sound.microphone().verdict is OK


def test_a_board_that_takes_out_echo_and_noise_is_not_called_dead_in_a_silent_room():
    assert sound_in(Room(np.zeros(RATE * 4, np.int16)), cancels_echo=True).microphone().verdict is WARNING


def test_who_is_there_is_asked_to_say_something_before_a_microphone_is_called_dead(tmp_path):
    around, asked = noise(3000), []
    around[: 2 * RATE] = 0
    sound = Sound(Config(), lambda: Room(around), False, FakeMachine(tmp_path), asked.append)
    sound.cards()
    assert sound.microphone().verdict is OK and asked == ["The microphone hears nothing at all. Say something."]


def test_the_channel_that_hears_is_named_where_the_chosen_one_is_silent():
    sound = noise(50, 2)
    sound[:, 0] = 0
    found = sound_in(Room(sound, channels=2), channels=2).microphone()
    assert found.verdict is FAILED and found.remedy == "Channel 1 hears: set microphone.channel = 1."


def test_a_card_with_more_channels_than_are_opened_is_told_of():
    room = Room(np.zeros(RATE * 4, np.int16))
    room.devices = (Device(0, "default", 2, 2, RATE),)
    assert "microphone.channels = 2" in sound_in(room).microphone().remedy


def test_that_card_may_be_named_as_alsa_does(monkeypatch):
    monkeypatch.setattr(soundcard, "_without_card_number", lambda name: "(hw:1,0)")
    room = Room(np.zeros(RATE * 4, np.int16))
    room.devices = (Device(0, "HDMI (hw:1,0)", 0, 8, RATE), Device(1, "Fine Card: Mic (hw:1,0)", 2, 2, RATE))
    assert "microphone.channels = 2" in sound_in(room, device="hw:CARD=Fine,DEV=0").microphone().remedy


def test_a_mix_with_a_silent_channel_is_warned_of_and_a_silent_channel_that_nobody_hears_is_not():
    sound = noise(50, 2)
    sound[:, 1] = 0
    assert "channel 1 is silent" in sound_in(Room(sound, channels=2), channels=2, channel="mix").microphone().text
    assert sound_in(Room(sound, channels=2), channels=2).microphone().verdict is OK


@pytest.mark.parametrize(
    ("around", "said"),
    [
        (np.clip(noise(30).astype(int) * 2000, -32_768, 32_767).astype(np.int16), "clipped"),
        (noise(30) + 8000, "swing around zero"),
        (tone(50, 4, RATE, 0.05) + tone(150, 4, RATE, 0.02) + noise(30), "the mains hum at 50 Hz"),
        (tone(60, 4, RATE, 0.05) + noise(30), "the mains hum at 60 Hz"),
    ],
)
def test_each_fault_of_a_microphone_is_warned_of_with_a_remedy(around, said):
    found = sound_in(Room(around.astype(np.int16))).microphone()
    assert found.verdict is WARNING and said in found.text and found.remedy


def test_a_microphone_begins_with_a_pop_that_is_not_listened_to():
    around = noise(30)
    around[:3000] = 32_767
    assert sound_in(Room(around)).microphone().verdict is OK


def test_the_speaker_is_heard_with_delay_and_level():
    found = sound_in(Room(cable=0.1)).speaker()
    assert found.verdict is OK and "the microphone hears it after" in found.text
    # 0.5 of full scale at a volume of 60 %, a tenth of it through the room
    assert found.figures["echo_dbfs"] == pytest.approx(-38, abs=1.5) and "delay_ms" in found.figures


def test_a_speaker_that_is_not_heard_is_a_warning_for_there_are_headphones():
    found = sound_in(Room()).speaker()
    assert found.verdict is WARNING and "does not hear the speaker" in found.text and "headphones" in found.remedy


def test_a_board_that_takes_out_the_echo_is_not_expected_to_hear_it():
    assert sound_in(Room(), cancels_echo=True).speaker().verdict is OK
    assert sound_in(Room(), echo_cancellation=False).speaker().verdict is OK
    assert "hears it after" in sound_in(Room(cable=0.1), cancels_echo=True).speaker().text


def test_a_speaker_that_is_too_loud_for_the_microphone_is_warned_of():
    found = sound_in(Room(cable=20.0)).speaker()
    assert found.verdict is WARNING and "distorted" in found.text


def test_the_speaker_is_tried_without_a_microphone_too():
    room = Room()

    def no_microphone(name, channels, rate):
        raise HardwareError("There is no microphone.")

    room.open_input = no_microphone
    found = sound_in(room).speaker()
    assert (
        found.verdict is OK
        and "you should have heard" in found.text
        and np.abs(np.frombuffer(room.played, np.int16).astype(int)).max() > 5000
    )


def test_a_machine_without_any_card_says_so_and_the_rest_is_skipped(tmp_path):
    room = Room()
    room.devices = (Device(0, "HDMI", 0, 2, 48_000),)
    assert "no microphone" in sound_in(room).cards().text
    nothing = Sound(Config(), lambda: room, False, FakeMachine(tmp_path))
    assert nothing.microphone().verdict is SKIPPED and nothing.speaker().verdict is SKIPPED


def test_the_cards_are_given_back():
    room = Room()
    sound = sound_in(room)
    sound.close()
    assert room.terminated.is_set()
