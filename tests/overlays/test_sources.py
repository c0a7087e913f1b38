"""The sources, before any tree: what the compiler says, and that their head comments are true."""

import re

import pytest

from tests.overlays.merge import apply
from tests.overlays.sources import OVERLAYS, compiled, documented, head, model, overlay, source

pytestmark = pytest.mark.parametrize("name", OVERLAYS)


def _defaults(name: str) -> dict[str, str]:
    stated = {parameter: re.search(r"\(default ([\w-]+)\)", about) for parameter, about in documented(name).items()}
    return {parameter: default[1] for parameter, default in stated.items() if default}


def test_it_compiles_without_a_warning(name: str) -> None:
    assert compiled(source(name))[1] == ""


def test_it_is_for_every_model(name: str) -> None:
    assert overlay(name).strings("compatible") == ["brcm,bcm2835"]


def test_its_name_says_whose_it_is(name: str) -> None:
    assert name.startswith("earshot-")


def test_the_parameters_in_the_head_comment_are_those_that_it_has(name: str) -> None:
    has = overlay(name).children["__overrides__"].properties if "__overrides__" in overlay(name).children else {}
    assert list(documented(name)) == list(has)
    assert has or "Parameters: none" in head(name)


def test_a_stated_default_is_what_is_there_without_the_parameter(name: str) -> None:
    base = model("pi5")
    assert apply(base, overlay(name), _defaults(name)) == apply(base, overlay(name))


def test_every_parameter_that_takes_a_value_states_its_default(name: str) -> None:
    takes_none = {"no-button", "no-lights", "apa102"}
    assert set(documented(name)) - takes_none == set(_defaults(name))


def test_the_lines_for_config_txt_in_the_head_comment_work(name: str) -> None:
    lines = re.findall(r"dtoverlay=(\S+)", head(name).partition("\nconfig.txt:")[2])
    assert lines
    for line in lines:
        loaded, *settings = line.split(",")
        assert loaded == name
        pairs = (setting.partition("=") for setting in settings)
        apply(model("pi5"), overlay(name), {parameter: value or "true" for parameter, _, value in pairs})


def test_every_pin_that_it_sets_is_in_the_diagram(name: str) -> None:
    drawn = set(re.findall(r"\bGPIO(\d+)\b", head(name).partition("\nParameters")[0]))
    for node in overlay(name).everything():
        if "brcm,pins" in node.properties:
            assert {str(pin) for pin in node.cells("brcm,pins")} <= drawn


def test_the_numbers_of_the_header_in_the_diagram_are_those_of_the_pins(name: str) -> None:
    header = {2: 3, 3: 5, 5: 29, 6: 31, 10: 19, 11: 23, 13: 33, 16: 36, 17: 11, 18: 12, 19: 35, 20: 38, 21: 40}
    header |= {23: 16, 25: 22}
    drawn = re.findall(r"^ +(\d+)  GPIO(\d+)\b", head(name), re.MULTILINE)
    assert drawn
    assert all(header[int(gpio)] == int(place) for place, gpio in drawn)
