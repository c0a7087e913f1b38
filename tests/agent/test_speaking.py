"""How fast a reply leaves, and that espeak-ng's voice has the right form."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.agent import speaking
from device.agent.speaking import AHEAD_S, CHUNK_BYTES, RATE, Pace, chunks, require_espeak, synthesise
from device.errors import EarshotError


@given(st.floats(0, 1e6), st.lists(st.floats(0, 0.5), min_size=1, max_size=50))
def test_no_more_is_ever_sent_than_the_lead_ahead_of_the_ear(start: float, lags: list[float]) -> None:
    pace, now = Pace(), start
    for lag in lags:
        now += pace.delay(now) + lag
        pace.sent(CHUNK_BYTES, now)
        assert pace.played_at - now <= AHEAD_S + 1e-6


def test_the_first_chunks_leave_at_once() -> None:
    pace = Pace()
    for _ in range(4):
        assert pace.delay(100.0) == 0
        pace.sent(CHUNK_BYTES, 100.0)
    assert pace.delay(100.0) == pytest.approx(0.1)


@given(st.binary(max_size=20_000))
def test_chunks_are_the_whole_in_pieces_of_at_most_100_ms(pcm: bytes) -> None:
    pieces = list(chunks(pcm))
    assert b"".join(pieces) == pcm
    assert all(len(piece) <= RATE // 10 * 2 for piece in pieces)


def test_a_sentence_becomes_speech_at_24_khz() -> None:
    pcm = asyncio.run(synthesise("It is -v three o'clock."))
    assert len(pcm) % 2 == 0
    assert 0.8 < len(pcm) / 2 / RATE < 3
    assert max(pcm) > 0


def test_without_espeak_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking.shutil, "which", lambda name: None)
    with pytest.raises(EarshotError, match="apt install espeak-ng"):
        require_espeak()
