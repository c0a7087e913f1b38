"""Phrases as a grammar and as a matcher, and numbers in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.agent.grammar import Command, find, jsgf, pattern, vocabulary, without_wake, words_of
from device.agent.hearing import pronunciations
from device.agent.quantities import duration_words, number_in, number_words, seconds_in
from device.agent.skills import COMMANDS


def name_of(text: str) -> str | None:
    found = find(words_of(text), COMMANDS)
    return found[0].name if found else None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What time is it?", "time"),
        ("what's the date today", "date"),
        ("Hey Jarvis, what time is it?", "time"),
        ("Jarvis, goodbye.", "goodbye"),
        ("Set a timer for 5 minutes, please.", "set_timer"),
        ("set a timer for half an hour", "set_timer"),
        ("set a ten minute timer", "set_timer"),
        ("Set the volume to 50%", "set_volume"),
        ("turn the volume up", "louder"),
        ("volume down", "quieter"),
        ("tell me another story", "story"),
        ("another story", "story"),
        ("list my timers", "list_timers"),
        ("cancel timer two", "cancel_timer"),
        ("never mind", "stop"),
        ("tell me a joke", None),
        ("what time", None),
        ("", None),
        ("hey jarvis", None),
    ],
)
def test_a_written_sentence_finds_the_skill_it_is_a_phrase_of(text: str, name: str | None) -> None:
    assert name_of(text) == name


def test_the_words_given_to_a_skill_are_without_the_wake_word() -> None:
    found = find(words_of("hey jarvis set a timer for 25 seconds"), COMMANDS)
    assert found is not None
    assert found[1] == ["set", "a", "timer", "for", "twenty", "five", "seconds"]
    assert without_wake(["hey", "jarvis"]) == []


def test_the_grammar_has_a_rule_for_every_skill_and_hears_the_wake_word_alone() -> None:
    grammar = jsgf(COMMANDS)
    assert f"<command{len(COMMANDS) - 1}> = {COMMANDS[-1].phrase};" in grammar
    assert "public <utterance> = [<wake>] <command> | <wake>;" in grammar


def test_the_vocabulary_is_of_words_only() -> None:
    words = vocabulary(COMMANDS)
    assert {"jarvis", "ninety", "what's"} <= words
    assert all(word.replace("'", "").isalpha() for word in words)


def test_a_phrase_with_signs_that_mean_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="has no meaning"):
        pattern("what {time} is it")


def test_a_word_nobody_can_pronounce_is_named(tmp_path) -> None:
    (tmp_path / "dict").write_text("time T AY M\ntime(2) T AY AY M\nother AH DH ER\n")
    with pytest.raises(ValueError, match="of frobnicate"):
        pronunciations(tmp_path / "dict", {"time", "frobnicate"})
    assert pronunciations(tmp_path / "dict", {"time"})["time(2)"] == "T AY AY M"


@given(st.text(max_size=300))
def test_any_text_can_be_looked_up(text: str) -> None:
    find(words_of(text), COMMANDS)


@given(st.lists(st.sampled_from(sorted(vocabulary(COMMANDS))), max_size=12))
def test_any_heard_words_can_be_looked_up_and_used(words: list[str]) -> None:
    found = find(words, COMMANDS)
    assert found is None or isinstance(found[0], Command)


@given(st.integers(0, 100))
def test_numbers_in_words_are_read_back(number: int) -> None:
    assert number_in(number_words(number).split()) == number
    assert words_of(str(number)) == number_words(number).split()


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("five seconds", 5),
        ("a minute", 60),
        ("an hour", 3600),
        ("half an hour", 1800),
        ("set a ten minute timer", 600),
        ("set a timer for one hour and thirty minutes", 5400),
        ("twenty five minutes and ten seconds", 1510),
        ("zero minutes", 0),
        ("tell me a story", 0),
    ],
)
def test_durations_are_read_in_seconds(words: str, seconds: float) -> None:
    assert seconds_in(words.split()) == seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "one second"),
        (0.2, "one second"),
        (59.6, "one minute"),
        (90, "one minute and thirty seconds"),
        (3600, "one hour"),
        (5401, "one hour and thirty minutes"),
        (360000, "one hundred hours"),
    ],
)
def test_durations_are_told_in_their_two_greatest_periods(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
