"""What the boards ask of the overlays, and what they then find on a Pi."""

import pytest

from device.boards import BOARDS, Board
from tests.overlays.merge import Node, apply
from tests.overlays.sources import MODELS, model, overlay
from tests.overlays.test_models import DOWN, UP, labelled, pins, switched_on

WITH_OURS = [board for board in BOARDS.values() if board.sources]


def loaded(board: Board, on: str) -> Node:
    """The model's tree with the board's lines of config.txt, as far as they load our overlays."""
    tree = model(on)
    for line in board.overlays:
        name, *settings = line.removeprefix("dtoverlay=").split(",")
        if name in board.sources:
            pairs = (setting.partition("=") for setting in settings)
            tree = apply(tree, overlay(name), {parameter: value or "true" for parameter, _, value in pairs})
    return tree


def states(tree: Node) -> list[dict[int, tuple[int, int]]]:
    """Function and pull by pin, of every device for which an overlay sets pins."""
    devices = [node for node in tree.everything() if "pinctrl-0" in node.properties and "status" not in node.properties]
    return [pins(tree, device) for device in devices if tree.by_phandle(device.cells("pinctrl-0")[0])]


@pytest.mark.parametrize("on", MODELS)
@pytest.mark.parametrize("board", WITH_OURS, ids=lambda board: board.name)
class TestABoard:
    def test_finds_its_button_pulled_up_and_its_lights_pulled_down(self, board: Board, on: str) -> None:
        pulls = {pin: pull for state in states(loaded(board, on)) for pin, (_, pull) in state.items()}
        assert board.button is None or pulls[board.button] == UP
        assert [pulls[pin] for pin in board.pins] == [DOWN] * len(board.pins)

    def test_finds_spi_on_where_its_lights_are_there_and_only_there(self, board: Board, on: str) -> None:
        assert ("spi0" in switched_on(loaded(board, on))) == (board.lights == "apa102")

    def test_has_no_pin_set_twice(self, board: Board, on: str) -> None:
        every = [pin for state in states(loaded(board, on)) for pin in state]
        assert len(every) == len(set(every))

    def test_has_a_sound_card_where_it_names_one(self, board: Board, on: str) -> None:
        tree = loaded(board, on)
        assert ("sound" in switched_on(tree)) == bool(board.cards)
        card = labelled(tree, "sound")
        if "simple-audio-card,name" in card.properties:
            assert tuple(card.strings("simple-audio-card,name")) == board.cards
