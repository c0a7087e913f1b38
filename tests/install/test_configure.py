"""Bringing a machine up to its board and to a release: what is written, and what becomes of the owner's; which board it is."""

import re

import pytest

from device import config
from device.boards import BOARDS
from device.errors import UsageError
from device.install import choice, configure
from tests.install.machines import CONFIG

USB = " 1 [Jabra          ]: USB-Audio - Jabra\n                      Jabra at usb\n"


@pytest.fixture
def places(machine):
    """A machine with a USB speakerphone."""
    asound = machine.places.root / "proc/asound"
    asound.mkdir(parents=True)
    (asound / "cards").write_text(USB)
    (asound / "pcm").write_text("01-00: USB Audio : USB Audio : playback 1 : capture 1\n")
    (asound / "card1").mkdir()
    (asound / "card1/usbid").write_text("0b0e:0420\n")
    (asound / "card1/stream0").write_text("Playback:\n    Channels: 2\nCapture:\n    Channels: 1\n")
    return machine.places


@pytest.fixture
def bring_up(places, machine):
    def act(board=None, agent=None, elsewhere=False):
        machine.said.clear()
        configure.configure(places, board, agent, elsewhere, machine.said.append)
        return "\n".join(machine.said)

    return act


def test_the_first_time_writes_what_is_plugged_in(places, bring_up):
    said = bring_up()
    assert str(places.settings) in said
    assert places.board.read_text() == "usb\n"
    read = config.load(places.settings)
    assert read.microphone.device == read.speaker.device == "hw:CARD=Jabra,DEV=0"
    assert places.settings.stat().st_mode & 0o777 == 0o644
    assert places.unsettled.exists()


def test_a_second_time_says_and_changes_nothing(places, bring_up, machine):
    bring_up()
    places.unsettled.unlink()
    before = machine.tree()
    assert bring_up() == ""
    assert machine.tree() == before


def test_what_the_owner_wrote_is_kept_and_news_are_told(places, bring_up):
    bring_up()
    places.unsettled.unlink()
    mine = places.settings.read_text().replace("#volume = 60", "volume = 7").replace("#chimes = true\n", "")
    places.settings.write_text(mine)
    said = bring_up()
    assert "+#chimes = true" in said and "volume" not in said
    assert places.settings.read_text() == mine
    assert not places.unsettled.exists()


def test_another_board_is_taken_and_its_settings_are_shown(places, bring_up):
    bring_up()
    mine = places.settings.read_text()
    places.unsettled.unlink()
    said = bring_up("panel")
    assert places.settings.read_text() == mine
    assert "  [panel]\n  button = 17\n" in said
    assert places.board.read_text() == "panel\n" and places.unsettled.exists()


def test_settings_that_cannot_be_used_are_told_with_every_mistake(places, bring_up):
    places.settings.parent.mkdir(parents=True)
    places.settings.write_text("[speaker]\nvolume = 101\nloudness = 3\n")
    with pytest.raises(UsageError) as refused:
        bring_up()
    assert "volume" in str(refused.value) and "loudness" in str(refused.value)


def test_an_agent_that_does_not_exist_is_not_written_down(places, bring_up):
    with pytest.raises(UsageError, match=r"agent\.protocol"):
        bring_up(agent="datagrit")
    assert not places.settings.exists()
    bring_up(agent="local")
    assert places.settings.exists()


@pytest.mark.parametrize("agent", ["local", "datagrid", "atoms", "workbuddy", "savants", "openai"])
def test_each_agent_that_the_usage_names_can_be_chosen(places, bring_up, agent):
    bring_up(agent=agent)
    assert config.load(places.settings).agent.protocol == agent


@pytest.mark.parametrize("board", BOARDS)
def test_each_board_can_be_chosen_for_another_machine(places, bring_up, board):
    bring_up(board, elsewhere=True)
    read = config.load(places.settings)
    assert "Jabra" not in read.microphone.device + read.speaker.device


@pytest.mark.parametrize(
    ("board", "line"), [("respeaker-xvf3800", "echo_cancellation = false"), ("panel", "#echo_cancellation = true")]
)
def test_a_board_that_takes_out_its_echo_is_spared_ours(places, bring_up, board, line):
    bring_up(board)
    assert line in places.settings.read_text().splitlines()


@pytest.mark.parametrize(
    ("board", "line"), [("respeaker-xvf3800", "+echo_cancellation = false"), ("panel", "+#echo_cancellation = true")]
)
def test_settings_from_before_there_was_a_canceller_are_told_what_their_board_wants(places, bring_up, board, line):
    bring_up(board)
    before = re.sub("^#?echo_cancellation.*\n", "", places.settings.read_text(), flags=re.MULTILINE)
    places.settings.write_text(before)
    assert f"  {line}\n" in bring_up() + "\n"


def test_who_changes_to_a_board_that_leaves_its_echo_is_told_to_take_it_out(places, bring_up):
    bring_up("respeaker-xvf3800")
    assert "  echo_cancellation = true\n" in bring_up("usb")
    assert not config.load(places.settings).microphone.echo_cancellation


def test_the_boot_settings_wait_until_the_release_has_shown_that_it_works(machine, places, bring_up):
    text = machine.wire_up()
    bring_up("panel")
    assert text.read_bytes() == CONFIG and not machine.reboot.exists()


def test_another_machine_needs_a_board_that_is_named_now_or_was_before(places, bring_up):
    with pytest.raises(UsageError, match="Name the board with --board"):
        bring_up(elsewhere=True)
    assert not places.settings.exists() and not places.board.exists()
    bring_up("panel", elsewhere=True)
    bring_up(elsewhere=True)
    assert places.board.read_text() == "panel\n"


def test_the_board_is_the_one_named_else_the_one_before_else_what_is_plugged_in(places):
    assert choice.chosen_board(places, None, False)[0] is BOARDS["usb"]
    places.board.parent.mkdir(parents=True)
    places.board.write_text("panel\n")
    assert choice.chosen_board(places, None, False)[0] is BOARDS["panel"]
    assert choice.chosen_board(places, "mems-amp", False)[0] is BOARDS["mems-amp"]
    for unknown in (b"none\n", b"gone\n", b"\xff\xfe"):
        places.board.write_bytes(unknown)
        assert choice.chosen_board(places, None, False)[0] is BOARDS["usb"]


def test_a_board_with_a_slip_in_its_name_is_found(places):
    with pytest.raises(UsageError, match=r"Did you mean voicehat\?.*--list-boards"):
        choice.chosen_board(places, "voice-hat", False)


def test_without_any_sound_it_says_what_to_do(machine):
    with pytest.raises(UsageError, match="Plug one in"):
        choice.chosen_board(machine.places, None, False)
