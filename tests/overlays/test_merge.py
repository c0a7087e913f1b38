"""The rules by which the firmware puts an overlay into a tree. They were compared with Raspberry Pi's own dtmerge."""

import pytest

from tests.overlays.merge import MergeError, Node, apply, read
from tests.overlays.sources import compiled

BASE = """
    light: light { status = "disabled"; colour = <7 8>; };
    switch: switch { lit = <&light>; };
    plain { };
"""


def tree(body: str, *, overlay: bool = False) -> Node:
    return read(compiled(f"/dts-v1/; {'/plugin/;' if overlay else ''} / {{ {body} }};")[0])


def merged(body: str, **parameters: str) -> Node:
    return apply(tree(BASE), tree(body, overlay=True), parameters)


def test_a_tree_is_read_as_it_was_written() -> None:
    read_back = tree('names = "a", "bc"; cells = <1 0xffffffff>; flag; bytes = [01 02 03]; below { deeper@1 { }; };')
    assert read_back.strings("names") == ["a", "bc"]
    assert read_back.cells("cells") == [1, 0xFFFFFFFF]
    assert (read_back.properties["flag"], read_back.properties["bytes"]) == (b"", b"\1\2\3")
    assert read_back.at("/below/deeper@1") == Node()


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(MergeError, match="not a device tree"):
        read(bytes(64))


def test_properties_are_replaced_and_nodes_joined() -> None:
    result = merged('fragment@0 { target = <&light>; __overlay__ { status = "okay"; bulb { }; }; };')
    assert result.children["light"].strings("status") == ["okay"]
    assert result.children["light"].cells("colour") == [7, 8]
    assert "bulb" in result.children["light"].children


def test_a_target_can_be_a_path() -> None:
    assert (
        "new" in merged('fragment@0 { target-path = "/plain"; __overlay__ { new { }; }; };').children["plain"].children
    )


def test_references_within_an_overlay_and_to_the_tree_hold() -> None:
    result = merged('fragment@0 { target-path = "/"; __overlay__ { own: own { }; user { to = <&own &light>; }; }; };')
    user = result.children["user"]
    assert user.pointed(result, "to") is result.children["own"]
    assert user.cells("to")[1:] == result.children["light"].cells("phandle")


def test_two_overlays_keep_their_references_apart() -> None:
    body = 'fragment@0 { target-path = "/"; __overlay__ { %s: %s { }; %s-user { to = <&%s>; }; }; };'
    first = apply(tree(BASE), tree(body % (("a",) * 4), overlay=True))
    both = apply(first, tree(body % (("b",) * 4), overlay=True))
    for name in "ab":
        assert both.children[f"{name}-user"].pointed(both, "to") is both.children[name]


def test_the_labels_of_an_overlay_stay_its_own() -> None:
    result = merged('fragment@0 { target-path = "/"; __overlay__ { own: own { }; }; };')
    assert set(result.children["__symbols__"].properties) == {"light", "switch"}


def test_a_label_on_the_overlay_itself_leaves_the_targets_references_whole() -> None:
    body = """
        fragment@0 { target = <&light>; body: __overlay__ { }; };
        __overrides__ { mood = <&body>, "mood"; };
    """
    result = merged(body, mood="warm")
    assert result.children["light"].strings("mood") == ["warm"]
    assert result.children["switch"].pointed(result, "lit") is result.children["light"]


SWITCHED = """
    fragment@0 { target = <&light>; __overlay__ { first; }; };
    fragment@1 { target = <&light>; __dormant__ { second; }; };
    __overrides__ { plus = <0>, "-0+1"; follow = <0>, "!0=1"; };
"""


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ({}, {"first"}),
        ({"plus": "true"}, {"second"}),
        ({"plus": "off"}, {"second"}),  # plus and minus do not look at the value
        ({"follow": "true"}, {"second"}),
        ({"follow": "off"}, {"first"}),
    ],
)
def test_fragments_are_switched(given: dict[str, str], there: set[str]) -> None:
    assert {"first", "second"} & set(merged(SWITCHED, **given).children["light"].properties) == there


CELLS = """
    fragment@0 { target = <&light>; body: __overlay__ { colour = <1 2>; }; };
    __overrides__ {
        second = <&body>, "colour:4"; fourth = <&body>, "colour:12"; both = <&body>, "colour:0", <&body>, "copy:0";
        lit = <&body>, "status";
    };
"""


@pytest.mark.parametrize(
    ("given", "colour"),
    [
        ({"second": "9"}, [1, 9]),
        ({"second": "0x10"}, [1, 16]),
        ({"second": "down"}, [1, 1]),
        ({"second": "up"}, [1, 2]),
        ({"fourth": "5"}, [1, 2, 0, 5]),  # a property that is too short grows
        ({"both": "3"}, [3, 2]),
    ],
)
def test_cells_are_written(given: dict[str, str], colour: list[int]) -> None:
    assert merged(CELLS, **given).children["light"].cells("colour") == colour


def test_one_parameter_can_write_in_several_places() -> None:
    assert merged(CELLS, both="3").children["light"].cells("copy") == [3]


@pytest.mark.parametrize(
    ("value", "status"), [("true", "okay"), ("1", "okay"), ("no", "disabled"), ("off", "disabled")]
)
def test_a_switch_becomes_a_status(value: str, status: str) -> None:
    assert merged(CELLS, lit=value).children["light"].strings("status") == [status]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ('<&body>, "colour?"', "kind of override"),
        ('<&body>, "colour:0=7"', "kind of override"),
        ('<0>, "+5"', "fragment 5 does not exist"),
        ('<0>, "0"', "kind of override"),
    ],
)
def test_what_is_not_known_here_is_refused_and_not_guessed(change: str, why: str) -> None:
    body = f"fragment@0 {{ target = <&light>; body: __overlay__ {{ }}; }}; __overrides__ {{ do = {change}; }};"
    with pytest.raises(MergeError, match=why):
        merged(body, do="1")


def test_a_fragment_that_changes_the_overlay_itself_is_refused() -> None:
    with pytest.raises(MergeError, match="the overlay itself"):
        merged(
            "fragment@0 { target = <&own>; __overlay__ { }; }; fragment@1 { target = <&light>; own: __overlay__ { }; };"
        )


def test_without_symbols_the_first_missing_one_is_named() -> None:
    with pytest.raises(MergeError, match="can't find symbol light"):
        apply(Node(), tree("fragment@0 { target = <&light>; __overlay__ { }; };", overlay=True))
