"""The boards: what is written of each can be used as it is by those who read it."""

import re
from pathlib import Path

import pytest

from device import config
from device.boards import BOARDS, Board
from device.settings import toml

OVERLAYS = Path(__file__).parent.parent / "overlays"
I2S = {18, 19, 20, 21}
SPI0 = {7, 8, 9, 10, 11}


def pins(board: Board) -> list[int]:
    return [*board.pins, *([] if board.button is None else [board.button])]


@pytest.fixture(params=BOARDS.values(), ids=BOARDS)
def board(request):
    return request.param


def test_the_boards_that_were_promised_are_there():
    assert {
        "mems-amp", "voicehat", "respeaker-2mic-v2", "panel", "respeaker-usb", "respeaker-xvf3800", "waveshare-wm8960",
        "voice-bonnet", "codec-zero", "usb",
    } <= set(BOARDS)  # fmt: skip


def test_a_name_is_easy_to_type_and_a_line_says_what_it_is(board):
    assert BOARDS[board.name] is board
    assert re.fullmatch(r"[a-z0-9-]+", board.name)
    assert "\n" not in board.title + board.about
    assert board.about[0].islower()


def test_its_settings_are_good_settings(board):
    sections = board.settings("hw:CARD=X,DEV=0", "hw:CARD=X,DEV=0", board.channels or 1)
    text = "".join(
        f"[{section}]\n" + "".join(f"{name} = {toml(value)}\n" for name, value in table.items())
        for section, table in sections.items()
    )
    read = config.parse(text.encode())
    assert read.microphone.device == "hw:CARD=X,DEV=0"
    assert (read.microphone.channels, read.microphone.channel) == (board.channels or 1, board.channel)
    assert read.panel.lights == board.lights
    assert read.panel.button == ("none" if board.button is None else board.button)
    if board.lights in ("leds", "rgb"):
        assert getattr(read.panel, board.lights) == board.pins
    if board.lights == "apa102":
        assert (read.panel.apa102, read.panel.spi) == (board.apa102, "0.0")


def test_the_echo_is_taken_out_by_the_board_or_by_us_and_not_by_both(board):
    settings = board.settings("a", "a", 1)
    assert settings["microphone"]["echo_cancellation"] is not board.cancels_echo
    assert board.cancels_echo is (board.name in ("respeaker-usb", "respeaker-xvf3800"))


def test_the_channel_to_hear_exists_even_where_the_card_has_fewer():
    board = Board(name="a", title="a", about="a", channel=3)
    assert board.settings("a", "a", 2)["microphone"]["channel"] == 1


def test_no_pin_has_two_uses(board):
    used = pins(board)
    assert len(set(used)) == len(used)
    assert not I2S & set(used)
    if board.lights == "apa102":
        assert not SPI0 & set(used)


def test_our_overlays_have_their_sources(board):
    for name in board.sources:
        assert (OVERLAYS / f"{name}.dts").is_file()


def test_the_lines_of_config_txt_are_such_as_the_firmware_reads(board):
    # Raspberry Pi's documentation asks for lines of no more than 80 characters.
    assert all(re.fullmatch(r"dt(overlay|param)=[\w,=-]{1,70}", line) for line in board.overlays)
    assert list(board.overlays) == sorted(board.overlays, key=lambda line: line.startswith("dtoverlay"))


def test_a_pin_that_an_overlay_drives_is_no_button_and_no_lamp():
    assert 16 not in pins(BOARDS["mems-amp"])  # shuts the amplifier down
    assert 16 not in pins(BOARDS["voicehat"])


def test_an_alsa_id_is_as_the_kernel_cuts_it(board):
    assert all(re.fullmatch(r"[A-Za-z]\w{0,14}", name) for name in board.cards)


def test_a_board_on_usb_is_known_by_its_number(board):
    assert all(re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", one) for one in board.usb)


def test_what_marks_a_board_marks_no_other():
    marks = [mark for board in BOARDS.values() for mark in (*board.usb, *board.hats)]
    assert len(set(marks)) == len(marks)


def test_a_control_is_set_once(board):
    names = [name for name, _ in board.mixer]
    assert len(set(names)) == len(names)
    assert all(value and not re.search(r"[,\s]$", value) for _, value in board.mixer)
