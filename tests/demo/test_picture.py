"""The picture, the figures and the lines of a made-up conversation."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from device.demo.figures import figures, show
from device.demo.narration import Narrator, describe
from device.demo.picture import BUTTON, ECHO, MICROPHONE, OVER, SPEAKER, WAKE, draw
from tests.demo.sample import conversation, event, sound


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "conversation.wav"
    sound(path)
    return path


@pytest.mark.slow
def test_the_picture_shows_sounds_and_marks(wav: Path, tmp_path: Path) -> None:
    draw(conversation(), wav, tmp_path / "conversation.png", ["a line"])
    with Image.open(tmp_path / "conversation.png") as image:
        assert image.size == (1600, 900)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for colour in (MICROPHONE, SPEAKER, BUTTON, WAKE, ECHO, OVER):
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - rgb).sum(axis=2) < 60).sum() > 500  # a thin line is mixed with what is below it


@pytest.mark.slow
def test_a_conversation_that_broke_off_early_can_be_drawn(wav: Path, tmp_path: Path) -> None:
    for count in (1, 2, 5):
        draw(conversation()[:count], wav, tmp_path / "conversation.png", [])
        assert (tmp_path / "conversation.png").stat().st_size > 0


def test_figures_come_from_the_log_and_from_what_was_heard(wav: Path) -> None:
    measured = figures(conversation(), wav)
    assert measured["wake word detected → first audio sent"] == pytest.approx([35.0])
    assert measured["reply received → heard"] == pytest.approx([70.0] * 5, abs=0.1)
    assert measured["button pressed → silence"] == pytest.approx([20.0], abs=0.1)
    assert measured["talked over → silence"] == pytest.approx([350.0], abs=0.1)
    assert show(measured)[1] == "reply received → heard: 70 ms (70 to 70, 5 times)"


def test_what_did_not_happen_is_not_measured(wav: Path) -> None:
    assert show(figures(conversation()[:2], wav))[0].endswith("not measured")


def test_lines_are_aligned_timed_from_the_wake_word_and_fit_a_terminal() -> None:
    out = io.StringIO()
    narrator = Narrator(out)
    for e in conversation():
        narrator(e)
    lines = out.getvalue().splitlines()
    assert lines[:2] == [
        '         person   "hey jarvis, what time is it"',
        "   0.00  ear      wake word hey_jarvis, score 0.98",
    ]
    assert "  12.02  agent    interrupted by the button" in lines
    assert "  29.84  agent    interrupted by talking" in lines
    assert max(map(len, lines)) <= 80 and not any("\x1b" in line for line in lines)


def test_colour_is_for_terminals() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    Narrator(out)(event(0.0, "button", kind="pressed"))
    assert out.getvalue().startswith("\x1b[1;31m") and out.getvalue().endswith("\x1b[0m\n")


def test_events_of_tomorrow_are_passed_over() -> None:
    assert describe(event(0.0, "telepathy")) is None
    assert describe(event(0.0, "wake")) is None
