"""What the check says of the echo, by what a canceller makes of what was played and heard."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from device.audio import FRAME_S, FRAME_SAMPLES, RATE
from device.config import Config
from device.events import EchoMeasured
from device.system.check import echo as part
from device.system.check import streams
from device.system.check.report import Verdict
from tests.system.machines import Loudspeaker, Microphone, Room

OK, WARNING, FAILED, SKIPPED = Verdict.OK, Verdict.WARNING, Verdict.FAILED, Verdict.SKIPPED


class TimedRoom(Room):
    """A room where time passes as the microphone is read, and whose card takes two periods ahead."""

    now = 0.0

    def open_input(self, name, channels, rate):
        return TimedMicrophone(super().open_input(name, channels, rate).room)

    def open_output(self, name, rate):
        return TimedLoudspeaker(super().open_output(name, rate).room)


class TimedMicrophone(Microphone):
    def read(self, periods=1):
        self.room.now += periods * FRAME_S
        return super().read(periods)


class TimedLoudspeaker(Loudspeaker):
    latency_s = FRAME_S  # from the end of a write: the period before is being played

    def has_room(self):
        return len(self.room.played) < (round(self.room.now / FRAME_S) + 2) * self.period * 2


class Listener:
    """Stands for the canceller: hears how late the sound comes by correlation. Lever: `says`, its verdict."""

    def __init__(self, settings):
        self.settings = settings
        self.reference, self.sound, self.verdicts = [], [], []
        self.late = 0
        """Frames of the reference that came after the microphone's of their time."""
        self.says = {"erle_db": 41.2}
        self.loaded = False

    def load(self):
        self.loaded = True

    def played(self, frame):
        self.late += bool(self.sound) and frame.t < self.sound[-1].t
        self.reference.append(frame)

    def clean(self, frame, *, engaged):
        assert engaged and self.loaded, "else it rests"
        self.sound.append(frame)
        return frame

    def judge(self, reply, played_s):
        heard, played = (
            np.frombuffer(b"".join(frame.pcm for frame in frames), np.int16).astype(float)
            for frames in (self.sound, self.reference)
        )
        match = np.fft.irfft(np.fft.rfft(heard, 1 << 17) * np.conj(np.fft.rfft(played, 1 << 17)))
        delay_s = int(np.argmax(match)) / RATE + self.sound[0].t - self.reference[0].t
        self.reference, self.sound = [], []
        self.verdicts.append(EchoMeasured(reply, **{"delay_ms": delay_s * 1000} | self.says))
        return self.verdicts[-1]


@pytest.fixture
def check(monkeypatch):
    def run(room, says=None, **microphone):
        monkeypatch.setattr(streams, "time", SimpleNamespace(monotonic=lambda: room.now))
        made = []

        def canceller(settings):
            made.append(Listener(settings))
            made[0].says |= says or {}
            return made[0]

        monkeypatch.setattr(part, "Canceller", canceller)
        config = Config()
        config = dataclasses.replace(config, microphone=dataclasses.replace(config.microphone, **microphone))
        return part.echo(config, room), *made

    return run


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
def test_a_phrase_is_said_and_the_canceller_is_told_when_it_was_played_and_heard(check, rate, channels):
    found, listener = check(TimedRoom(cable=0.3, rate=rate, channels=channels), channels=channels)
    assert found.verdict is OK and "41 dB of that are taken out" in found.text
    assert found.figures["by"] == "earshot" and found.figures["load_percent"] >= 0
    assert listener.late == 0
    assert [one.reply for one in listener.verdicts] == [1, 2, 3], "it is given time to learn the room"
    for one in listener.verdicts:
        assert one.delay_ms == pytest.approx(50, abs=2), "the room's own delay, beyond the card's"


def test_where_nothing_comes_back_there_is_nothing_to_take_out(check):
    found, _ = check(TimedRoom(), {"erle_db": None, "delay_ms": None})
    assert found.verdict is OK and "too little of the speaker" in found.text


def test_what_does_not_work_is_a_warning_in_the_cancellers_words(check):
    trouble = {"erle_db": 2.0, "trouble": "echo_not_cancelled", "message": "The speaker hears itself."}
    found, _ = check(TimedRoom(cable=0.3), trouble)
    assert found.verdict is WARNING and found.text == "The speaker hears itself." and "wake word" in found.remedy
    assert found.figures["code"] == "echo_not_cancelled"


def test_hardware_that_takes_it_out_is_measured_too(check):
    found, listener = check(TimedRoom(), {"erle_db": None}, echo_cancellation=False)
    assert found.figures["by"] == "hardware" and not listener.settings.echo_cancellation


def test_it_is_as_loud_as_the_settings_say(check):
    room = TimedRoom()
    check(room)
    loudest = np.abs(np.frombuffer(room.played, np.int16).astype(int)).max()
    assert 0.05 < loudest / 32_768 < 0.36  # 60 % squared


def test_a_canceller_that_cannot_be_loaded_fails_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "livekit", None)
    found = part.echo(Config(), Room())
    assert found.verdict is FAILED and "livekit" in found.text and "Install Earshot again" in found.text


def test_without_sound_cards_it_is_skipped():
    assert part.echo(Config(), None).verdict is SKIPPED


def test_a_card_that_is_gone_is_left_to_its_own_part(check):
    room = TimedRoom()
    room.gone = True
    assert check(room)[0].verdict is SKIPPED


@pytest.mark.slow
def test_the_canceller_itself_takes_out_what_comes_back(monkeypatch):
    room = TimedRoom(cable=0.3)
    monkeypatch.setattr(streams, "time", SimpleNamespace(monotonic=lambda: room.now))
    found = part.echo(Config(), room)
    assert found.verdict is OK and found.figures["erle_db"] > 25
    assert found.figures["delay_ms"] == pytest.approx(50, abs=15)


@pytest.mark.slow
def test_where_nobody_takes_it_out_that_is_told(monkeypatch):
    room = TimedRoom(cable=0.3)
    monkeypatch.setattr(streams, "time", SimpleNamespace(monotonic=lambda: room.now))
    config = Config()
    found = part.echo(
        dataclasses.replace(config, microphone=dataclasses.replace(config.microphone, echo_cancellation=False)), room
    )
    assert found.verdict is WARNING and found.figures["code"] == "echo_not_cancelled"


def test_frames_that_are_not_whole_are_left_out():
    assert len(part._frames(np.zeros(3 * FRAME_SAMPLES - 1, np.int16), 0.0)) == 2
