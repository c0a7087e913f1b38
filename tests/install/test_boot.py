"""config.txt and overlays on a boot partition that is a directory. dtc is the real one."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from device.boards import BOARDS
from device.errors import HardwareError
from device.install import boot

OVERLAYS = Path(__file__).parent.parent.parent / "overlays"
DEFAULT = b"""# For more options and information see http://rptl.io/configtxt
dtparam=audio=on
dtoverlay=vc4-kms-v3d
max_framebuffers=2

[cm4]
otg_mode=1

[all]
"""
BOARD = BOARDS["mems-amp"]


class Card:
    """The boot partition of a machine at `root`."""

    def __init__(self, root: Path, place: str = "boot/firmware") -> None:
        self.root = root
        self.boot = root / place
        (self.boot / "overlays").mkdir(parents=True)
        (self.boot / "overlays/vc4-kms-v3d.dtbo").write_bytes(b"of the system")
        self.config = self.boot / "config.txt"
        self.config.write_bytes(DEFAULT)

    def apply(self, board: str = BOARD.name) -> boot.Outcome:
        return boot.apply(self.root, BOARDS[board], OVERLAYS)

    def remove(self) -> boot.Outcome:
        return boot.remove(self.root)

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}

    def booted(self, seconds_ago: float) -> None:
        (self.root / "proc").mkdir(exist_ok=True)
        (self.root / "proc/stat").write_text(f"cpu 1 2 3\nbtime {int(time.time() - seconds_ago)}\n")


@pytest.fixture
def card(tmp_path):
    return Card(tmp_path)


def lines(card):
    return card.config.read_text().splitlines()


def test_the_lines_stand_at_the_end_between_their_marks(card):
    assert card.apply().changed
    ours = [boot.BEGIN.decode(), "[all]", "dtoverlay=earshot-mems-amp", "dtoverlay=earshot-panel", "dtoverlay="]
    assert card.config.read_bytes() == DEFAULT + "\n".join([*ours, "# END earshot", ""]).encode()


def test_the_overlays_are_compiled_with_their_symbols_and_parameters(card):
    card.apply()
    built = card.boot / "overlays/earshot-panel.dtbo"
    source = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", built], capture_output=True, text=True, check=True).stdout
    assert "__overrides__" in source and "__fixups__" in source


def test_a_second_time_changes_nothing(card):
    card.apply()
    before = {path: path.stat().st_mtime_ns for path in card.boot.rglob("*")}
    assert not card.apply().changed
    assert {path: path.stat().st_mtime_ns for path in card.boot.rglob("*")} == before


def test_taken_out_nothing_is_left(card):
    before = card.files()
    card.apply()
    assert card.files() != before
    assert card.remove().changed
    assert card.files() == before
    assert not card.remove().changed


def test_the_backup_is_the_file_of_before_the_first_time(card):
    card.apply()
    card.config.write_bytes(card.config.read_bytes() + b"gpu_mem=16\n")
    card.apply("respeaker-2mic-v2")
    assert (card.boot / "config.txt.before-earshot").read_bytes() == DEFAULT


def test_another_board_takes_the_place_of_the_first(card):
    card.apply()
    card.apply("respeaker-2mic-v2")
    assert "dtoverlay=earshot-mems-amp" not in lines(card)
    assert lines(card).count("dtoverlay=earshot-respeaker-2mic-v2") == 1
    assert [path.name for path in card.boot.glob("overlays/earshot*")] == ["earshot-respeaker-2mic-v2.dtbo"]


def test_a_board_that_needs_nothing_leaves_nothing_of_the_one_before(card):
    before = card.files()
    card.apply()
    assert card.apply("usb").changed
    assert card.files() == before


def test_what_the_owner_writes_around_the_block_stays(card):
    card.apply()
    card.config.write_bytes(b"gpu_mem=16\n" + card.config.read_bytes() + b"dtparam=i2c_arm=on\n")
    assert not card.apply().changed
    card.remove()
    assert card.config.read_bytes() == b"gpu_mem=16\n" + DEFAULT + b"dtparam=i2c_arm=on\n"


def test_line_breaks_are_those_of_the_file(card):
    card.config.write_bytes(DEFAULT.replace(b"\n", b"\r\n"))
    card.apply()
    text = card.config.read_bytes()
    assert text.count(b"\n") == text.count(b"\r\n") == DEFAULT.count(b"\n") + 6
    assert not card.apply().changed


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(),
        st.text(st.sampled_from("a[]#=\r\n ")).map(str.encode),
        st.lists(st.sampled_from([b"[all]\n", b"dtoverlay=\r\n", boot.END + b"\n", b"x", b"\0"])).map(b"".join),
    ),
    st.sampled_from([board.overlays for board in BOARDS.values() if board.overlays]),
)
@example(b"a\r\nb", BOARD.overlays)
@example(b"a\r", BOARD.overlays)
@example(b"", BOARD.overlays)
def test_any_text_is_the_same_again_afterwards(text, overlays):
    assume(boot.BEGIN not in text)
    changed = boot.with_block(text, overlays)
    assert changed.startswith(text)
    assert boot.block(text, overlays) in changed
    assert boot.without_block(changed) == text
    assert boot.without_block(text) == text


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_of_a_block_that_was_cut_off_nothing_stays(data):
    text = data.draw(st.sampled_from([DEFAULT, DEFAULT.replace(b"\n", b"\r\n"), b""]))
    whole = boot.with_block(text, BOARD.overlays)
    cut = data.draw(st.integers(len(text) + len(boot.BEGIN), len(whole)))
    lost = whole[:cut] + b"\0" * data.draw(st.sampled_from([0, 512]))  # a file system that lost the end may show zeros
    again = boot.with_block(boot.without_block(lost), BOARD.overlays)
    assert again.count(boot.BEGIN) == again.count(boot.END) == 1
    assert boot.without_block(again).rstrip(b"\r\n\0") == text.rstrip(b"\r\n")


def test_what_the_owner_wrote_below_a_block_that_was_cut_off_stays(card):
    card.config.write_bytes(DEFAULT + boot.BEGIN + b"\n[all]\ndtoverlay=earshot-voicehat\ndtparam=watchdog=on\n")
    card.apply()
    assert "dtparam=watchdog=on" in lines(card)
    assert "dtoverlay=earshot-voicehat" not in lines(card)
    assert lines(card).count(boot.BEGIN.decode()) == 1


def test_a_whole_block_below_a_cut_off_one_does_not_take_the_owners_lines_with_it():
    text = DEFAULT + boot.BEGIN + b"\n[all]\narm_boost=1\n" + boot.block(b"", BOARD.overlays) + b"\n"
    assert boot.without_block(text) == DEFAULT + b"arm_boost=1\n"


def test_a_file_that_a_power_cut_left_half_written_goes(card):
    before = card.files()
    (card.boot / "config.txt.earshot").write_bytes(b"dtov")
    (card.boot / "overlays/earshot-panel.dtbo.earshot").write_bytes(b"\xd0\x0d")
    card.apply()
    assert not list(card.boot.rglob("*.earshot"))
    (card.boot / "config.txt.earshot").write_bytes(b"dtov")
    card.remove()
    assert card.files() == before


@pytest.mark.parametrize("name", ["config.txt", "config.txt.before-earshot", "overlays/earshot-mems-amp.dtbo"])
def test_a_full_card_is_said_and_config_txt_is_whole(card, name):
    (card.boot / f"{name}.earshot").symlink_to("/dev/full")  # what is written to it meets a full disk
    with pytest.raises(HardwareError, match=r"boot/firmware cannot be written: No space left.*Remove"):
        card.apply()
    assert card.config.read_bytes() == DEFAULT
    assert not list(card.boot.rglob("*.earshot"))
    assert card.apply().changed


def test_another_sound_card_on_the_same_pins_is_said(card):
    card.config.write_bytes(DEFAULT + b" dtoverlay=hifiberry-dac,slave\n#dtoverlay=max98357a\ndtoverlay=i2s-mmap\n")
    (sentence,) = card.apply().sentences
    assert "`dtoverlay=hifiberry-dac,slave`" in sentence and "`dtoverlay=earshot-mems-amp`" in sentence
    assert card.apply("panel").sentences == ()


def test_the_lines_of_the_system_itself_are_no_conflict(card):
    assert card.apply().sentences == ()


def test_a_reboot_is_needed_until_there_was_one(card):
    card.booted(seconds_ago=100)
    assert card.apply().reboot
    assert card.apply() == boot.Outcome(changed=False, reboot=True)
    os.utime(card.config, (time.time() - 50,) * 2)
    card.booted(seconds_ago=10)
    assert card.apply() == boot.Outcome(changed=False, reboot=False)


def test_on_a_pc_there_is_nothing_to_do(tmp_path):
    done = boot.apply(tmp_path, BOARD, OVERLAYS)
    assert not done.changed and not done.reboot
    assert "config.txt" in done.sentences[0]
    assert boot.apply(tmp_path, BOARDS["usb"], OVERLAYS).sentences == ()
    assert not boot.remove(tmp_path).changed


def test_older_systems_have_it_elsewhere(tmp_path):
    card = Card(tmp_path, "boot")
    card.apply()
    assert "dtoverlay=earshot-mems-amp" in lines(card)


@pytest.mark.parametrize("act", [Card.apply, Card.remove])
def test_a_boot_partition_that_is_not_mounted_is_said(tmp_path, act):
    card = Card(tmp_path, "boot")
    card.config.write_text(
        "DO NOT EDIT THIS FILE\n\nThe file you are looking for has moved to /boot/firmware/config.txt\n"
    )
    with pytest.raises(HardwareError, match="mount the boot partition"):
        act(card)


def test_without_dtc_it_says_what_to_install(card, monkeypatch):
    monkeypatch.setenv("PATH", str(card.root))
    with pytest.raises(HardwareError, match="device-tree-compiler"):
        card.apply()
    assert card.config.read_bytes() == DEFAULT


def test_an_overlay_with_a_mistake_is_said(card, tmp_path):
    sources = tmp_path / "sources"
    shutil.copytree(OVERLAYS, sources)
    (sources / "earshot-panel.dts").write_text("/dts-v1/;\n/plugin/;\n/ { oops\n")
    with pytest.raises(HardwareError, match=r"earshot-panel\.dts cannot be compiled: .*syntax error"):
        boot.apply(card.root, BOARD, sources)
    assert card.config.read_bytes() == DEFAULT
