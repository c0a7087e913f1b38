"""What the README promises word for word: the example of a protocol, and that it names what there is."""

import dataclasses
import re
from pathlib import Path

import pytest

import device
from device.boards import BOARDS
from device.config import Agent
from device.events import SessionReady
from device.session.protocol import Audio, Request
from device.session.protocols import PROTOCOLS
from device.settings import rule_of
from device.speaking import phrases

README = (Path(device.__file__).parent.parent / "README.md").read_text()


def test_the_example_of_an_agent_is_one():
    (example,) = re.findall(r"```python\n(from device.events.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    echo = names["Echo"](Agent(url="https://echo.example/talk"), None, 7)

    assert names["Echo"].problems(Agent(), None) and not names["Echo"].problems(echo.agent, None)
    assert echo.request() == Request("wss://echo.example/talk", {})
    assert list(echo.receive("hello")) == [SessionReady(7)] and list(echo.receive(b"ab")) == [Audio(b"ab")]
    assert echo.audio(b"ab") == b"ab" and echo.opening() == echo.stop() == echo.interrupt() == []


def test_every_agent_that_may_be_chosen_is_there_and_in_the_readme():
    (field,) = (field for field in dataclasses.fields(Agent) if field.name == "protocol")
    assert list(rule_of(field).choices) == list(PROTOCOLS)
    for name in PROTOCOLS:
        assert f"| `{name}` |" in README


@pytest.mark.parametrize("code", phrases.NAMES)
def test_every_code_that_has_words_is_in_the_readme(code):
    assert f"`{code}`" in README or code == "token_refused"  # which is told as key_refused


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_is_in_the_readme_with_its_pins(name):
    board = BOARDS[name]
    (row,) = re.findall(rf"^\| `{name}` \|.*$", README, re.MULTILINE)
    assert board.title in row
    for pin in (*board.pins, *([board.button] if board.button is not None else [])):
        assert re.search(rf"\b{pin}\b", row)
