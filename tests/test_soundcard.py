"""Sound cards: found by name, opened at what they support, and gone."""

import numpy as np
import pytest

from device import soundcard
from device.errors import HardwareError
from device.soundcard import Device, SoundCards, Stream, find

DEVICES = [
    Device(0, "bcm2835 Headphones: - (hw:0,0)", 0, 8, 44_100),
    Device(1, "seeed-2mic-voicecard: bcm2835-i2s-wm8960-hifi wm8960-hifi-0 (hw:1,0)", 2, 2, 44_100),
    Device(2, "pulse", 32, 32, 44_100),
    Device(3, "default", 32, 32, 48_000),
    Device(4, "seeed-2mic-voicecard: second (hw:1,1)", 2, 0, 48_000),
]


@pytest.mark.parametrize(
    ("name", "number"),
    [("default", 3), ("pulse", 2), ("Headphones", 0), ("headphones", 0), ("wm8960", 1), ("(hw:1,1)", 4)],
)
def test_a_device_is_found_by_its_name_or_a_part_of_it(name, number):
    assert find(DEVICES, name, "speaker").number == number


def test_an_exact_name_counts_more_than_a_part():
    devices = [Device(0, "pulse monitor", 1, 0, 48_000), Device(1, "pulse", 1, 0, 48_000)]
    assert find(devices, "pulse", "microphone").number == 1


def test_a_name_that_fits_several_is_refused_with_all_of_them():
    with pytest.raises(HardwareError, match=r"microphone\.device = 'seeed' fits several: .*hifi.*second") as refused:
        find(DEVICES, "seeed", "microphone")
    assert "pulse" not in str(refused.value)


def test_two_of_the_same_name_are_refused():
    twins = [Device(n, "USB Audio", 1, 0, 48_000) for n in range(2)]
    with pytest.raises(HardwareError, match="fits several"):
        find(twins, "USB Audio", "microphone")


def test_an_unknown_name_lists_those_there_are_and_asks_for_the_nearest():
    with pytest.raises(
        HardwareError, match=r"no speaker 'defualt'\. Did you mean 'default'\? This machine has: .*'pulse'"
    ):
        find(DEVICES, "defualt", "speaker")


def test_a_machine_without_any_says_so():
    with pytest.raises(HardwareError, match="This machine has: none at all"):
        find([], "default", "microphone")


@pytest.mark.parametrize(
    "name", ["hw:CARD=Headphones,DEV=0", "plughw:Headphones", "hw:CARD=Headphones", "hw:Headphones,0"]
)
def test_a_card_is_found_by_its_alsa_name_whatever_its_number_is_now(tmp_path, monkeypatch, name):
    class Proc:
        def __truediv__(self, card):
            return tmp_path / card

    (tmp_path / "card0").mkdir()
    (tmp_path / "Headphones").symlink_to("card0")
    monkeypatch.setattr(soundcard, "Path", lambda path: Proc())
    assert find(DEVICES, name, "speaker").number == 0


def test_an_alsa_name_of_a_card_that_is_not_there_is_unknown():
    with pytest.raises(HardwareError, match="no microphone 'hw:CARD=Nobody,DEV=0'"):
        find(DEVICES, "hw:CARD=Nobody,DEV=0", "microphone")


class PaStream:
    """An open stream as PyAudio gives it; `unplugged` makes it fail as PyAudio does."""

    def __init__(self, **options):
        self.options = options
        self.unplugged = False
        self.closed = False
        self.room = 0
        self.written = []

    def _check(self):
        if self.unplugged:
            raise OSError(-9999, "Unanticipated host error")

    def read(self, frames, exception_on_overflow):
        assert not exception_on_overflow, "PyAudio closes the stream with that exception"
        self._check()
        return bytes(frames * self.options["channels"] * 2)

    def write(self, pcm, frames, exception_on_underflow):
        assert not exception_on_underflow
        self._check()
        assert len(pcm) == frames * self.options["channels"] * 2
        self.written.append(pcm)

    def get_write_available(self):
        return self.room

    def get_input_latency(self):
        return 0.01

    def get_output_latency(self):
        return 0.04

    def close(self):
        self.closed = True


class PyAudio:
    """PortAudio on a machine with `DEVICES`; a card takes only `rates` and `counts`."""

    def __init__(self, rates=(16_000, 24_000, 44_100, 48_000), counts=(1, 2)):
        self.rates, self.counts = rates, counts
        self.tried = []
        self.terminated = False

    def get_device_count(self):
        return len(DEVICES)

    def get_device_info_by_index(self, index):
        device = DEVICES[index]
        return {
            "name": device.name, "maxInputChannels": device.inputs, "maxOutputChannels": device.outputs,
            "defaultSampleRate": float(device.rate),
        }  # fmt: skip

    def open(self, **options):
        self.tried.append((options["rate"], options["channels"]))
        if options["rate"] not in self.rates:
            raise OSError(-9997, "Invalid sample rate")
        if options["channels"] not in self.counts:
            raise OSError(-9998, "Invalid number of channels")
        return PaStream(**options)

    def terminate(self):
        self.terminated = True


@pytest.fixture
def machine(monkeypatch):
    """Makes sound cards of a PyAudio of the test's."""
    import pyaudio

    def make(**options):
        pa = PyAudio(**options)
        monkeypatch.setattr(pyaudio, "PyAudio", lambda: pa)
        cards = SoundCards()
        cards.pa = pa
        return cards

    return make


def test_what_the_machine_has_is_listed(machine):
    assert list(machine().devices) == DEVICES


def test_a_microphone_is_opened_at_16_khz_where_it_can(machine):
    cards = machine()
    stream = cards.open_input("default", 1)
    assert (stream.rate, stream.channels, stream.period, stream.latency_s) == (16_000, 1, 320, 0.01)
    options = stream._stream.options
    assert options["input"] and options["input_device_index"] == 3 and options["frames_per_buffer"] == 320
    assert "output" not in options


def test_a_microphone_without_16_khz_is_opened_at_its_own_rate(machine):
    cards = machine(rates=(44_100, 48_000))
    assert cards.open_input("default", 2).rate == 48_000
    assert cards.open_input("wm8960", 2).rate == 44_100


def test_a_speaker_is_opened_at_24_khz_in_mono_where_it_can_and_in_stereo_where_not(machine):
    assert machine().open_output("default").channels == 1
    cards = machine(rates=(48_000,), counts=(2,))
    stream = cards.open_output("pulse")
    assert (stream.rate, stream.channels, stream.period) == (48_000, 2, 960)
    assert cards.pa.tried[0] == (24_000, 1)


def test_the_rate_that_the_settings_name_comes_first_and_others_where_it_is_refused(machine):
    cards = machine()
    assert cards.open_input("default", 1, 48_000).rate == 48_000
    assert cards.open_output("pulse", 48_000).rate == 48_000
    assert cards.pa.tried == [(48_000, 1), (48_000, 1)]
    cards = machine(rates=(24_000,))  # a card with one rate for both directions, once the speaker has it
    assert cards.open_input("default", 1, 48_000).rate == 24_000
    assert machine(rates=(16_000,)).open_output("pulse", 48_000).rate == 16_000


def test_a_device_that_can_neither_is_refused_with_what_was_tried(machine):
    with pytest.raises(HardwareError, match=r"speaker 'pulse' cannot be opened: .*24000 Hz.*fuser"):
        machine(rates=()).open_output("pulse")


def test_more_channels_than_the_device_has_are_refused(machine):
    with pytest.raises(HardwareError, match=r"has 2 channels, not 4: see microphone\.channels"):
        machine().open_input("wm8960", 4)


def test_a_device_without_outputs_is_no_speaker(machine):
    with pytest.raises(HardwareError, match="no speaker 'second'"):
        machine().open_output("second")


def test_portaudio_is_given_up_at_the_end(machine):
    with machine() as cards:
        assert not cards.pa.terminated
    assert cards.pa.terminated


@pytest.fixture
def line():
    return PaStream(channels=2)


@pytest.fixture
def stream(line):
    return Stream(line, "USB Audio", 48_000, 2, 0.04)


def test_a_read_is_a_period(stream):
    assert len(stream.read()) == 960 * 2 * 2


def test_several_periods_are_read_at_once(stream):
    assert len(stream.read(4)) == 4 * 960 * 2 * 2


def test_a_write_may_be_a_part_of_a_period(stream, line):
    for count in (960, 240, 720):
        stream.write(np.zeros((count, 2), np.int16).tobytes())
    assert [len(pcm) for pcm in line.written] == [3840, 960, 2880]


def test_there_is_room_when_a_whole_period_fits(stream, line):
    answers = []
    for line.room in (0, 959, 960, 5000):
        answers.append(stream.has_room())
    assert answers == [False, False, True, True]


def test_a_device_that_is_gone_is_named(stream, line):
    line.unplugged = True
    with pytest.raises(
        HardwareError, match=r"microphone 'USB Audio' is gone \(.*host error.*\)\. Is it still plugged in"
    ):
        stream.read()
    with pytest.raises(HardwareError, match="speaker 'USB Audio' is gone"):
        stream.write(bytes(4))


def test_closing_gives_it_back(stream, line):
    stream.close()
    assert line.closed
