"""The settings file as it is first written, and what one that was written before does not mention."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from device import config
from device.boards import BOARDS
from device.config import SECTIONS, Config
from device.install import settings

EVERY = [(name, one.name) for name, kind in SECTIONS.items() for one in dataclasses.fields(kind)]


def test_without_a_choice_it_says_the_defaults_and_sets_none():
    text = settings.document({})
    assert config.parse(text.encode()) == Config()
    assert not [line for line in text.splitlines() if line and line[0] not in "#["]
    set_all = "\n".join(
        line[1:] if line.startswith("#") and line[1:2].isalpha() else line for line in text.splitlines()
    )
    assert config.parse(set_all.encode()) == Config(), "a # taken away changes nothing"


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_the_settings_of_every_board_are_read_as_they_were_meant(board):
    chosen = board.settings("hw:CARD=X,DEV=0", "plughw:CARD=Y,DEV=1", board.channels or 1)
    read = config.parse(settings.document(chosen).encode())
    for section, values in chosen.items():
        for name, value in values.items():
            assert getattr(getattr(read, section), name) == value
    assert read.wake == Config().wake


@settings_of_hypothesis(max_examples=25)
@given(device=st.text(min_size=1), volume=st.integers(0, 100), threshold=st.floats(0.01, 1), chimes=st.booleans())
def test_whatever_is_chosen_is_read_again(device, volume, threshold, chimes):
    chosen = {"speaker": {"device": device, "volume": volume, "chimes": chimes}, "wake": {"threshold": threshold}}
    if not device.strip():
        return
    read = config.parse(settings.document(chosen).encode())
    assert (read.speaker.device, read.speaker.volume, read.speaker.chimes) == (device, volume, chimes)
    assert read.wake.threshold == threshold


def test_every_setting_is_explained_on_the_line_above():
    lines = settings.document({}).splitlines()
    for _, name in EVERY:
        at = next(n for n, line in enumerate(lines) if line.startswith(f"#{name} = "))
        assert lines[at - 1].startswith("# ") and len(lines[at - 1]) > 10


def test_a_file_as_it_is_first_written_has_no_news():
    assert list(settings.news(settings.document({}), {})) == []
    assert list(settings.news(settings.document({"speaker": {"volume": 3}}), {})) == []


@pytest.mark.parametrize(("section", "name"), [one for one in EVERY if one != ("agent", "options")])
def test_what_a_file_does_not_mention_is_news(section, name):
    head, heading, rest = settings.document({}).partition(f"[{section}]")
    rest = re.sub(rf"^#{name} = .*\n", "", rest, count=1, flags=re.MULTILINE)
    news = list(settings.news(head + heading + rest, {}))
    assert len(news) == 3
    assert news[0] == f" [{section}]" and news[1].startswith("+# ") and news[2].startswith(f"+#{name} = ")


def test_of_news_the_value_of_the_board_is_shown_where_it_has_one():
    gone = settings.document({}).replace("#echo_cancellation = true\n", "")
    chosen = {"microphone": {"echo_cancellation": False, "device": "hw:CARD=Array,DEV=0"}}
    assert [line for line in settings.news(gone, chosen) if "=" in line] == ["+echo_cancellation = false"]


def test_a_setting_is_known_by_its_section_and_a_table_by_its_heading():
    whole = settings.document({})
    assert settings.document({}).count("#device = ") == 2
    gone = whole.replace('#device = "default"\n', "", 1)
    assert [line for line in settings.news(gone, {}) if line.startswith("+#device")] == ['+#device = "default"']
    assert list(settings.news(whole.replace("#options = {}", "[agent.options]\nx = 1"), {})) == []


def test_an_owners_way_of_writing_is_understood():
    text = settings.document({}).replace("#volume = 60", "  volume=7 # quiet").replace("[wake]", " [ wake ] ")
    assert list(settings.news(text, {})) == []
