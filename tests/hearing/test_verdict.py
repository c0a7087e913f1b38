import dataclasses

import pytest

from device.hearing.verdict import Found, verdict

GOOD = Found(played=400, silent=40, heard=400, looks=30, found=28)
"""Of a reply of 8 s."""
SELF = dataclasses.replace(GOOD, left=26)


def judged(found: Found, played_s: float = 8.0, erle_db: float | None = 40.0, **known: object) -> str:
    facts = {"lead_s": 0.04, "wrong_s": 0.01, "far_s": None, "return_db": -10.0, "ours": True} | known
    event = verdict(found, 7, played_s, erle_db=erle_db, **facts)
    assert event.reply == 7
    assert bool(event.trouble) == bool(event.message)
    return event.trouble


def test_a_reply_that_was_cancelled_is_fine():
    event = verdict(GOOD, 7, 8.0, erle_db=40.0, lead_s=0.04, wrong_s=0.01, far_s=None, return_db=-10.0, ours=True)
    assert (event.erle_db, event.delay_ms, event.trouble) == (40.0, 10.0, "")


def test_without_a_reference_it_says_so():
    assert judged(Found(played=100, heard=400)) == "echo_no_reference"


def test_less_than_a_second_tells_nothing_not_even_that_it_works():
    event = verdict(GOOD, 7, 0.98, erle_db=0.0, lead_s=0.04, wrong_s=0.01, far_s=None, return_db=-10.0, ours=True)
    assert event.trouble == "" and event.works is None


def test_a_muted_microphone_is_no_trouble():
    assert judged(Found(played=0, heard=10)) == ""


def test_a_room_that_is_loud_while_we_play_silence_is_told():
    silent = Found(played=400, silent=400, heard=400, silence_heard=390, silence_loud=385)
    assert judged(silent, erle_db=None) == "echo_silent_reference"


def test_people_who_talk_while_we_play_silence_are_no_trouble():
    silent = Found(played=400, silent=400, heard=400, silence_heard=390, silence_loud=280)
    assert judged(silent, erle_db=None) == ""


def test_a_delay_out_of_reach_is_told_with_its_length():
    event = verdict(GOOD, 7, 8.0, erle_db=2.0, lead_s=0.04, wrong_s=None, far_s=1.96, return_db=-10.0, ours=True)
    assert event.trouble == "echo_delay"
    assert "+1960 ms" in event.message


def test_an_echo_that_comes_before_we_are_told_is_told():
    assert judged(SELF, erle_db=1.0, lead_s=-0.05) == "echo_delay"


@pytest.mark.parametrize(("erle_db", "trouble"), [(5.9, "echo_not_cancelled"), (6.0, ""), (-3.0, "echo_not_cancelled")])
def test_a_voice_of_ours_that_stays_is_told_below_6_db(erle_db, trouble):
    assert judged(SELF, erle_db=erle_db) == trouble


@pytest.mark.parametrize(
    ("sounding", "unsure", "breaks", "trouble"), [(400, 350, 8, "echo_breaks"), (400, 180, 4, ""), (120, 100, 2, "")]
)
def test_sound_that_is_lost_so_often_that_nobody_can_talk_over_it_is_told(sounding, unsure, breaks, trouble):
    assert judged(dataclasses.replace(GOOD, sounding=sounding, unsure=unsure, breaks=breaks)) == trouble


def test_somebody_who_talks_through_the_whole_reply_is_no_trouble():
    assert judged(GOOD, erle_db=1.0) == ""  # we are not in what is left
    assert judged(dataclasses.replace(GOOD, left=5), erle_db=1.0) == ""  # but for the beginning


def test_what_is_too_soft_to_measure_is_neither_figure_nor_trouble():
    event = verdict(
        Found(played=400, heard=400, looks=30, found=3),
        7,
        8.0,
        erle_db=0.0,
        lead_s=0.04,
        wrong_s=0.01,
        far_s=None,
        return_db=-10.0,
        ours=True,
    )
    assert (event.erle_db, event.delay_ms, event.trouble) == (None, None, "")


def test_hardware_that_does_not_cancel_is_told_in_other_words():
    event = verdict(SELF, 7, 8.0, erle_db=0.0, lead_s=0.04, wrong_s=0.01, far_s=None, return_db=-10.0, ours=False)
    assert event.trouble == "echo_not_cancelled"
    assert "hardware" in event.message


@pytest.mark.parametrize(("return_db", "trouble"), [(-19.0, "echo_not_cancelled"), (-21.0, "")])
def test_hardware_is_told_apart_by_how_loud_we_are_still_heard(return_db, trouble):
    assert judged(SELF, erle_db=0.0, return_db=return_db, ours=False) == trouble


def test_hardware_that_cancels_needs_no_reference():
    assert judged(Found(heard=400), erle_db=None, ours=False) == ""
