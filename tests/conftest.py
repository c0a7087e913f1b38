"""What many tests share: the room with its virtual sound card."""

from collections.abc import Iterator

import pytest

from device.demo.card import VirtualCard


@pytest.fixture(scope="module")
def card() -> Iterator[VirtualCard]:
    with VirtualCard() as card:
        yield card
