"""Where an utterance begins and ends, and whether to believe what was recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.agent.hearing import FRAME_BYTES, LONGEST_FRAMES, Heard, Turns, Utterance

LOUD, SILENT = b"\x01" * FRAME_BYTES, bytes(FRAME_BYTES)


def turns_in(frames: str, step: int = FRAME_BYTES) -> list[Utterance]:
    pcm, turns, found = b"".join(LOUD if frame == "#" else SILENT for frame in frames), Turns(any), []
    for start in range(0, len(pcm), step):
        ended = turns.hear(pcm[start : start + step])
        while ended:
            found.append(ended[0])
            ended = turns.hear(ended[1])
    return found


def test_a_turn_ends_on_silence_and_holds_what_came_just_before_it() -> None:
    (utterance,) = turns_in("." * 30 + "#" * 40 + "." * 30)
    assert utterance.pcm.count(b"\x01") == 40 * FRAME_BYTES
    assert utterance.pcm.startswith(SILENT)
    assert utterance.speech_s == pytest.approx(1.2)


def test_a_pause_between_words_does_not_end_a_turn() -> None:
    assert len(turns_in("#" * 20 + "." * 12 + "#" * 20 + "." * 30)) == 1


def test_a_click_is_no_turn() -> None:
    assert turns_in("." * 10 + "###" + "." * 50 + "#" + "." * 50) == []


def test_noise_that_never_ends_is_cut() -> None:
    (utterance, *_) = turns_in("#" * (LONGEST_FRAMES + 50))
    assert len(utterance.pcm) == LONGEST_FRAMES * FRAME_BYTES


@given(st.text("#.", max_size=120), st.integers(1, 2000).map(lambda n: 2 * n))
def test_how_the_stream_is_cut_into_messages_changes_nothing(frames: str, step: int) -> None:
    assert turns_in(frames, step) == turns_in(frames)


@pytest.mark.parametrize(
    "doubtful", [Heard(""), Heard("stop", overall=60), Heard("stop", worst=99), Heard("stop", letter_s=0.5)]
)
def test_any_doubt_is_enough_not_to_act(doubtful: Heard) -> None:
    assert Heard("stop", 20, 30, 0.1).clear
    assert not doubtful.clear
