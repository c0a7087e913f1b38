"""The room that these tests share: one virtual card, empty."""

from collections.abc import Iterator

import pytest

from device.demo.card import VirtualCard


@pytest.fixture(scope="module")
def card() -> Iterator[VirtualCard]:
    with VirtualCard() as card:
        yield card
