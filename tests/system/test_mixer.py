"""The sound card's settings, against a machine in a folder and an `amixer` of our own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import device
from device.boards import BOARDS, Board
from device.system import mixer

AMIXER = """#!/bin/sh
printf '%s\\n' "$*" >> "$LOG"
case $*,$(wc -l < "$LOG") in
*Broken*|*Late*,1) echo 'amixer: Cannot find the given element' >&2; exit 1;;
esac
exec sleep "${AMIXER_S:-0}"
"""
"""It knows no control called Broken, and Late only after it was asked once."""


class Machine:
    """A machine with a board of two controls; `plug` and `board` are its levers, `calls` what amixer was asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("etc/earshot", "proc/asound", "bin"):
            (root / folder).mkdir(parents=True)
        self.program("amixer", AMIXER)
        self.program("udevadm", "#!/bin/sh\n")
        self.board("toy")

    def program(self, name: str, text: str) -> None:
        (self.root / "bin" / name).write_text(text)
        (self.root / "bin" / name).chmod(0o755)

    def board(self, name: str) -> None:
        (self.root / "etc/earshot/board").write_text(f"{name}\n")

    def settings(self, text: str) -> None:
        (self.root / "etc/earshot/earshot.toml").write_text(text)

    def plug(self, card: str, title: str = "Toy") -> None:
        """A card with one PCM, as the kernel shows it."""
        asound = self.root / "proc/asound"
        number = len(list(asound.glob("card[0-9]*")))
        (asound / f"card{number}").mkdir()
        with (asound / "cards").open("a") as cards, (asound / "pcm").open("a") as pcm:
            cards.write(f"{number:2} [{card:15}]: USB-Audio - {title}\n{'':22}{title} at usb-1.2, high speed\n")
            pcm.write(f"{number:02}-00: Toy PCM : Toy PCM : playback 1 : capture 1\n")
        (asound / card).symlink_to(f"card{number}")

    def keep(self, card: str, newer: bool) -> None:
        """The system keeps the controls of a card; the board was chosen before that, or after."""
        state = self.root / "var/lib/alsa/asound.state"
        state.parent.mkdir(parents=True)
        state.write_text(f"state.{card} {{\n\tcontrol.1 {{\n\t}}\n}}\n")
        chosen = (self.root / "etc/earshot/board").stat().st_mtime
        os.utime(state, times=(chosen, chosen + (5 if newer else -5)))

    @property
    def calls(self) -> list[str]:
        log = self.root / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(mixer, "CONTROL_S", 0.0)
    for name, controls in {
        "toy": (("PGA Volume", "-3"), ("Out Switch", "on")),
        "broken": (("Broken", "1"), ("Good", "2")),
        "late": (("Late", "1"), ("Good", "2")),
        "plain": (),
    }.items():
        board = Board(name=name, title="Toy", about="of a test", cards=("toycard", "oldtoy"), mixer=controls)
        monkeypatch.setitem(BOARDS, name, board)
    return made


SET = ["-q -c toycard -- cset name='PGA Volume' -3", "-q -c toycard -- cset name='Out Switch' on"]


def test_each_control_is_set_in_the_order_of_the_board(machine):
    machine.plug("toycard")
    assert mixer.main(machine.root) == 0
    assert machine.calls == SET


def test_the_card_may_have_another_of_its_names(machine):
    machine.plug("oldtoy")
    mixer.main(machine.root)
    assert machine.calls == [call.replace("toycard", "oldtoy") for call in SET]


@pytest.mark.parametrize(("card", "newer"), [("toycard", False), ("another", True)])
def test_what_the_system_kept_of_another_card_or_before_the_board_was_chosen_changes_nothing(machine, card, newer):
    machine.plug("toycard")
    machine.keep(card, newer)
    mixer.main(machine.root)
    assert machine.calls == SET


def test_what_the_owner_has_set_since_the_board_was_chosen_is_theirs(machine):
    machine.plug("toycard")
    machine.keep("toycard", newer=True)
    mixer.main(machine.root)
    assert not machine.calls


@pytest.mark.parametrize(
    "name",
    ["plughw:CARD=toycard,DEV=0", "hw:toycard", "default", "toy", "Toy Box: Toy PCM (hw:0,0)", "hw:0,0", "everybodys"],
)
def test_it_waits_for_the_card_that_the_settings_name_and_no_longer(machine, monkeypatch, name):
    (machine.root / "etc/asound.conf").write_text("pcm.everybodys {\n type null\n}\n")
    machine.settings(f'[microphone]\ndevice = "{name}"\n')
    waits = []

    def pause():
        waits.append(list(machine.calls))
        machine.plug("toycard", "Toy Box")

    monkeypatch.setattr(mixer, "_pause", pause)
    mixer.main(machine.root)
    assert waits == [[]] and machine.calls == SET


def test_a_plain_name_that_fits_no_card_is_waited_for_among_others(machine, monkeypatch, capsys):
    machine.settings('[speaker]\ndevice = "USB Speaker"\n')
    machine.plug("vc4hdmi0", "vc4-hdmi-0")
    monkeypatch.setattr(mixer, "_pause", lambda: machine.plug("toycard", "Fine USB Speaker"))
    mixer.main(machine.root)
    assert capsys.readouterr().err == "" and machine.calls == SET


def test_a_card_that_does_not_come_is_a_line_and_no_failure(machine, capsys):
    machine.settings('[microphone]\ndevice = "hw:toycard"\n[speaker]\ndevice = "hw:CARD=other"\n')
    machine.plug("other")
    assert mixer.main(machine.root, card_s=0.0) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("The sound card toycard is not there.")
    assert not machine.calls


@pytest.mark.parametrize("settings", ["[speaker", "speaker = 3", "[speaker]\ndevice = 3"])
def test_settings_with_mistakes_are_waited_for_by_nobody(machine, settings, capsys):
    machine.settings(settings)
    began = time.monotonic()
    assert mixer.main(machine.root) == 0
    assert time.monotonic() - began < mixer.CARD_S / 10
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("board", ["plain", "unheard-of", ""])
def test_a_board_without_a_mixer_is_left_alone(machine, board):
    machine.board(board)
    machine.plug("toycard")
    assert mixer.main(machine.root) == 0
    assert not machine.calls


def test_a_machine_without_a_board_or_settings_is_fine(machine):
    (machine.root / "etc/earshot/board").unlink()
    machine.plug("toycard")
    assert mixer.main(machine.root) == 0


def test_a_missing_control_is_told_and_the_others_are_set(machine, capsys):
    machine.board("broken")
    machine.plug("toycard")
    assert mixer.main(machine.root) == 0
    assert [call.split("cset ")[1] for call in machine.calls] == ["name='Broken' 1", "name='Good' 2"]
    assert capsys.readouterr().err == (
        "toycard: the control 'Broken' cannot be set: amixer: Cannot find the given element\n"
    )


def test_a_control_that_comes_after_its_card_is_set_all_the_same(machine, monkeypatch, capsys):
    monkeypatch.setattr(mixer, "CONTROL_S", 5.0)
    machine.board("late")
    machine.plug("toycard")
    assert mixer.main(machine.root) == 0
    assert [call.split("cset ")[1] for call in machine.calls] == ["name='Late' 1", "name='Good' 2", "name='Late' 1"]
    assert capsys.readouterr().err == ""


def test_an_amixer_that_hangs_holds_nobody_up(machine, monkeypatch, capsys):
    monkeypatch.setenv("AMIXER_S", "20")
    monkeypatch.setattr(mixer, "_COMMAND_S", 0.1)
    machine.plug("toycard")
    began = time.monotonic()
    assert mixer.main(machine.root) == 0
    assert time.monotonic() - began < 10
    assert capsys.readouterr().err.count("timed out") == 2


def test_a_machine_without_amixer_is_told_so(machine, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    machine.plug("toycard")
    assert mixer.main(machine.root) == 0
    assert "No such file or directory: 'amixer'" in capsys.readouterr().err


def test_it_needs_nothing_but_the_standard_library():
    root = str(Path(device.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", "import device.system.mixer"],
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
