"""Every parameter changes what it says, and nothing else."""

import pytest

from tests.overlays.merge import MergeError, Node, apply
from tests.overlays.sources import MODELS, OVERLAYS, model, overlay
from tests.overlays.test_models import labelled, pins, switched_on

MICS, RESPEAKER, PANEL = "earshot-mems-amp", "earshot-respeaker-2mic-v2", "earshot-panel"


def differences(one: Node, other: Node, path: str = "") -> set[str]:
    """Paths of the properties and nodes that are not the same."""
    names = one.properties.keys() | other.properties.keys()
    found = {f"{path}:{name}" for name in names if one.properties.get(name) != other.properties.get(name)}
    for name in one.children.keys() | other.children.keys():
        if name in one.children and name in other.children:
            found |= differences(one.children[name], other.children[name], f"{path}/{name}")
        else:
            found.add(f"{path}/{name}")
    return found


# What is given, and the end of what it changes.
CHANGES = [
    (MICS, {"sdmode-pin": "4"}, ["earshot-sdmode-pins:brcm,pins", "voicehat-codec:sdmode-gpios"]),
    (RESPEAKER, {"card-name": "kitchen"}, ["sound:simple-audio-card,name"]),
    (RESPEAKER, {"no-lights": "true"}, [":status"]),
    (PANEL, {"button": "27"}, ["earshot-button-pins:brcm,pins"]),
    (PANEL, {"light1": "22"}, ["earshot-light-pins:brcm,pins"]),
    (PANEL, {"light2": "22"}, ["earshot-light-pins:brcm,pins"]),
    (PANEL, {"light3": "22"}, ["earshot-light-pins:brcm,pins"]),
    (PANEL, {"no-button": "true"}, ["/earshot-button"]),
    (PANEL, {"no-lights": "true"}, ["/earshot-lights"]),
    (PANEL, {"apa102": "true"}, ["/earshot-lights", ":status"]),
    (PANEL, {"no-button": "true", "apa102": "true"}, ["/earshot-button", "/earshot-lights", ":status"]),
]


@pytest.mark.parametrize("on", MODELS)
@pytest.mark.parametrize(("name", "given", "changed"), CHANGES)
def test_a_parameter_changes_what_it_is_for(name: str, given: dict[str, str], changed: list[str], on: str) -> None:
    found = sorted(differences(apply(model(on), overlay(name)), apply(model(on), overlay(name), given)))
    assert len(found) == len(changed)
    for end in changed:
        assert any(path.endswith(end) for path in found), (end, found)


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_parameter_is_untried(name: str) -> None:
    tried = {parameter for tried, given, _ in CHANGES if tried == name for parameter in given}
    has = overlay(name).children.get("__overrides__", Node()).properties
    assert tried == set(has)


@pytest.mark.parametrize("on", MODELS)
@pytest.mark.parametrize("pin", ["4", "0x4"])
def test_the_amplifiers_line_moves_for_the_driver_and_in_the_pins(on: str, pin: str) -> None:
    tree = apply(model(on), overlay(MICS), {"sdmode-pin": pin})
    codec = tree.children["voicehat-codec"]
    assert codec.cells("sdmode-gpios")[1:] == [4, 0]
    assert list(pins(tree, codec)) == [4]


@pytest.mark.parametrize("on", MODELS)
def test_the_card_can_have_another_name(on: str) -> None:
    tree = apply(model(on), overlay(RESPEAKER), {"card-name": "kitchen"})
    assert labelled(tree, "sound").strings("simple-audio-card,name") == ["kitchen"]


@pytest.mark.parametrize("on", MODELS)
def test_the_respeaker_without_lights_leaves_spi_off(on: str) -> None:
    tree = apply(model(on), overlay(RESPEAKER), {"no-lights": "true"})
    assert "spi0" not in switched_on(tree)


@pytest.mark.parametrize("on", MODELS)
def test_the_panel_has_each_light_and_the_button_where_it_is_told(on: str) -> None:
    given = {"button": "27", "light1": "22", "light2": "23", "light3": "24"}
    tree = apply(model(on), overlay(PANEL), given)
    assert list(pins(tree, tree.children["earshot-button"])) == [27]
    assert list(pins(tree, tree.children["earshot-lights"])) == [22, 23, 24]


@pytest.mark.parametrize("on", MODELS)
def test_the_panel_with_apa102_switches_spi_on(on: str) -> None:
    assert switched_on(apply(model(on), overlay(PANEL), {"apa102": "true"})) == {"spi0"}


@pytest.mark.parametrize(("name", "switch"), [(RESPEAKER, "no-lights"), (PANEL, "no-lights"), (PANEL, "no-button")])
def test_a_switch_that_is_given_as_off_changes_nothing(name: str, switch: str) -> None:
    assert apply(model("pi5"), overlay(name), {switch: "off"}) == apply(model("pi5"), overlay(name))


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_unknown_parameter_is_refused(name: str) -> None:
    with pytest.raises(MergeError, match="unknown parameter volume"):
        apply(model("pi5"), overlay(name), {"volume": "11"})


def test_a_pin_that_is_no_number_is_refused() -> None:
    with pytest.raises(MergeError, match="seventeen is no number"):
        apply(model("pi5"), overlay(PANEL), {"button": "seventeen"})
