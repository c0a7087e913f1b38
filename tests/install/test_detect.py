"""What is plugged in, on machines whose /proc and /sys were written by hand from what real ones show."""

from pathlib import Path

import pytest

from device.boards import BOARDS
from device.errors import UsageError
from device.install import detect

STEREO = """Playback:
  Status: Stop
  Interface 1
    Altset 1
    Format: S16_LE
    Channels: 2
    Rates: 16000

Capture:
  Status: Stop
  Interface 2
    Altset 1
    Format: S16_LE
    Channels: {}
    Rates: 16000
"""


class Machine:
    """A root directory; each method plugs something in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._cards: list[str] = []
        self._pcms: list[str] = []
        self.write("proc/asound/cards", "--- no soundcards ---\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def card(self, name: str, driver: str = "simple-card", *pcms: str, usb: str = "", channels: int = 2) -> None:
        number = len(self._cards)
        self._cards.append(f"{number:2} [{name:15}]: {driver} - {name}\n                      {name} at somewhere\n")
        self._pcms += [f"{number:02}-{pcm}\n" for pcm in pcms or ("00: HiFi : HiFi : playback 1 : capture 1",)]
        self.write("proc/asound/cards", "".join(self._cards))
        self.write("proc/asound/pcm", "".join(self._pcms))
        if usb:
            self.write(f"proc/asound/card{number}/usbid", usb + "\n")
            self.write(f"proc/asound/card{number}/stream0", f"{name} : USB Audio\n\n" + STEREO.format(channels))
            vendor, product = usb.split(":")
            self.write(f"sys/bus/usb/devices/1-1.{number}/idVendor", vendor + "\n")
            self.write(f"sys/bus/usb/devices/1-1.{number}/idProduct", product + "\n")

    def hdmi(self) -> None:
        name = f"vc4hdmi{len(self._cards)}"
        self.card(name, "vc4-hdmi", "00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1")

    def jack(self) -> None:
        self.card("Headphones", "bcm2835_headpho", "00: bcm2835 Headphones : bcm2835 Headphones : playback 8")

    def loopback(self) -> None:
        pcm = "Loopback PCM : Loopback PCM : playback 8 : capture 8"
        self.card("Loopback", "Loopback", f"00: {pcm}", f"01: {pcm}")

    def hat(self, product: str) -> None:
        self.write("proc/device-tree/hat/product", product + "\0")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def name(machine):
    found = detect.board(machine.root).board
    return found and found.name


def pcms(machine, board):
    sound = detect.sound(BOARDS[board], machine.root)
    return sound and (sound.microphone, sound.speaker, sound.channels)


@pytest.mark.parametrize(
    ("usb", "board"), [("2886:0018", "respeaker-usb"), ("2886:001a", "respeaker-xvf3800"), ("0b0e:0412", "usb")]
)
def test_a_board_on_usb_is_known_by_its_number(machine, usb, board):
    machine.hdmi()
    machine.card("Whatever", "USB-Audio", usb=usb)
    found, why = detect.board(machine.root)
    assert found is BOARDS[board]
    assert (usb if board != "usb" else "Whatever") in why


def test_a_hat_is_known_by_its_eeprom(machine):
    machine.hat("Google AIY audioHAT Board v1")
    assert name(machine) == "voicehat"
    machine.card("sndrpigooglevoi")  # which two boards have
    assert name(machine) == "voicehat"


def test_a_board_is_known_by_a_card_that_only_it_has(machine):
    machine.card("IQaudIOCODEC")
    assert name(machine) == "codec-zero"


def test_a_card_that_several_boards_have_is_a_question(machine):
    machine.card("wm8960soundcard")
    with pytest.raises(UsageError, match=r"waveshare-wm8960 or voice-bonnet.*--board"):
        detect.board(machine.root)


def test_two_boards_are_a_question(machine):
    machine.hat("Google AIY audioHAT Board v1")
    machine.card("ArrayUAC10", "USB-Audio", usb="2886:0018")
    with pytest.raises(UsageError, match=r"voicehat .*audioHAT.*respeaker-usb .*2886:0018.*--board"):
        detect.board(machine.root)


def test_a_usb_card_that_happens_to_be_called_like_a_boards_is_not_that_board(machine):
    machine.card("Array", "USB-Audio", usb="1234:5678")
    assert name(machine) == "usb"


def test_a_board_for_which_the_kernel_has_no_card_yet_is_found_on_the_bus(machine):
    machine.write("sys/bus/usb/devices/1-1/idVendor", "2886\n")
    machine.write("sys/bus/usb/devices/1-1/idProduct", "001a\n")
    assert name(machine) == "respeaker-xvf3800"


def test_without_anything_to_hear_with_there_is_none_and_it_says_what_to_do(machine):
    machine.hdmi()
    machine.jack()
    found, why = detect.board(machine.root)
    assert found is None
    assert "Plug one in" in why


def test_a_machine_without_sound_at_all_has_none(tmp_path):
    assert detect.sound(BOARDS["usb"], tmp_path / "nothing") is None
    assert detect.board(tmp_path / "nothing").board is None
    assert detect.cards(tmp_path / "nothing") == []


def test_the_virtual_card_does_where_there_is_no_other(machine):
    machine.loopback()
    assert name(machine) == "other"
    assert pcms(machine, "panel") == ("hw:CARD=Loopback,DEV=0", "hw:CARD=Loopback,DEV=0", 1)


@pytest.mark.parametrize("first", ["virtual", "real"])
def test_a_real_card_is_taken_before_a_virtual_one(machine, first):
    if first == "virtual":
        machine.loopback()
    machine.card("Codec")
    machine.loopback()
    assert pcms(machine, "other") == ("hw:CARD=Codec,DEV=0", "hw:CARD=Codec,DEV=0", 2)


def test_a_usb_card_is_taken_before_others_and_hdmi_never(machine):
    machine.hdmi()
    machine.card("Codec")
    machine.card("USB", "USB-Audio", usb="0b0e:0412", channels=1)
    assert pcms(machine, "panel") == ("hw:CARD=USB,DEV=0", "hw:CARD=USB,DEV=0", 1)
    assert name(machine) == "usb"


def test_microphone_and_speaker_may_be_two_cards(machine):
    machine.hdmi()
    machine.jack()
    machine.loopback()
    machine.card("Mic", "USB-Audio", "00: USB Audio : USB Audio : capture 1", usb="0c76:161f", channels=1)
    assert pcms(machine, "usb") == ("hw:CARD=Mic,DEV=0", "hw:CARD=Headphones,DEV=0", 1)
    assert name(machine) == "usb"


def test_the_first_pcm_of_each_direction_is_taken(machine):
    machine.card(
        "PCH", "HDA-Intel", "03: HDMI 0 : HDMI 0 : playback 1", "02: Mic : Mic : capture 1", "07: Out : : playback 1"
    )
    assert pcms(machine, "other") == ("hw:CARD=PCH,DEV=2", "hw:CARD=PCH,DEV=7", 2)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_usb_board_is_opened_with_the_channels_its_firmware_has(machine, channels):
    machine.card("ArrayUAC10_1", "USB-Audio", usb="2886:0018", channels=channels)
    assert pcms(machine, "respeaker-usb") == ("hw:CARD=ArrayUAC10_1,DEV=0",) * 2 + (channels,)


def test_a_board_whose_overlay_is_not_loaded_yet_gets_the_card_it_will_have(machine):
    assert pcms(machine, "codec-zero") == ("hw:CARD=Zero,DEV=0",) * 2 + (2,)
    machine.card("USB", "USB-Audio", usb="0b0e:0412")
    assert pcms(machine, "mems-amp") == ("hw:CARD=sndrpigooglevoi,DEV=0",) * 2 + (2,)


def test_of_the_cards_that_a_board_may_have_the_one_that_is_there_is_taken(machine):
    machine.card("IQaudIOCODEC")
    assert pcms(machine, "codec-zero") == ("hw:CARD=IQaudIOCODEC,DEV=0",) * 2 + (2,)


def test_the_model_is_as_the_firmware_says(machine):
    assert detect.model(machine.root) == ""
    machine.write("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert detect.model(machine.root) == "Raspberry Pi 5 Model B Rev 1.0"
