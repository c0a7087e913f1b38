"""When scores count as a wake word, on scripted scores: one step every 80 ms from second 100 on."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.config import Wake
from device.events import NearMiss, WakeHeard
from device.hearing.wake.decision import APART_STEPS, Decision
from device.hearing.wake.engine import STEP_S

TWO = ("alexa", "hey_jarvis")


def at(step):
    return 100 + (step + 1) * STEP_S


def step_of(event):
    return round((event.audio_t - 100) / STEP_S) - 1


def decided(settings, checks=None, **scores):
    """All that comes of the scores of each word, step by step, and of steps without any that end what is near."""
    decision = Decision(settings, checks or {})
    steps = max(map(len, scores.values()))
    found = []
    for step in range(steps + APART_STEPS):
        of_step = {name: by_step[step] if step < len(by_step) else 0.0 for name, by_step in scores.items()}
        found += decision.decide(of_step, at(step))
    return found


def jarvis(*scores, checks=None, **settings):
    return decided(Wake(**settings), checks, hey_jarvis=scores)


def heard(step, score, word="hey_jarvis"):
    return WakeHeard(word, score, at(step))


def near(step, score, why="score", word="hey_jarvis"):
    return NearMiss(word, score, at(step), why)


class Check:
    """Says no until it is told otherwise, and keeps what it was asked."""

    def __init__(self, accepts=False):
        self.accepts = accepts
        self.asked = []

    def __call__(self, word, t):
        self.asked.append((word, t))
        return self.accepts


# --- What counts ----------------------------------------------------------------------------------------------------


def test_a_score_counts_from_the_threshold_on():
    assert jarvis(0, 0.5) == [heard(1, 0.5)]
    assert jarvis(0, 1.0) == [heard(1, 1.0)]
    assert jarvis(0, 0.499) == [near(1, 0.499)]


def test_each_word_may_have_a_threshold_of_its_own():
    settings = Wake(words=TWO, threshold=0.5, thresholds={"alexa": 0.9})
    assert decided(settings, alexa=[0.4], hey_jarvis=[0.6]) == [heard(0, 0.6)]
    assert decided(settings, alexa=[0.89], hey_jarvis=[0]) == [near(0, 0.89, word="alexa")]
    assert decided(settings, alexa=[0.9], hey_jarvis=[0]) == [heard(0, 0.9, "alexa")]


def test_while_we_play_another_threshold_is_that_of_all_words():
    settings = Wake(words=TWO, threshold=0.5, thresholds={"alexa": 0.9}, playing_threshold=0.2)
    quiet, talking = Decision(settings, {}), Decision(settings, {})
    for word in TWO:
        scores = dict.fromkeys(TWO, 0.0) | {word: 0.2}
        assert quiet.decide(scores, at(0)) == []
        assert talking.decide(scores, at(0), playing=True) == [heard(0, 0.2, word)]
        quiet, talking = Decision(settings, {}), Decision(settings, {})


def test_patience_counts_on_when_playback_begins():
    decision = Decision(Wake(patience=2, playing_threshold=0.2), {})
    assert decision.decide({"hey_jarvis": 0.6}, at(0)) == []
    assert decision.decide({"hey_jarvis": 0.2}, at(1), playing=True) == [heard(1, 0.2)]


def test_a_word_of_ones_own_goes_by_the_name_of_its_file():
    settings = Wake(words=("/models/computer.onnx",), thresholds={"computer": 0.3}, patiences={"computer": 2})
    assert decided(settings, computer=[0.3, 0.3]) == [heard(1, 0.3, "computer")]


def test_with_patience_the_score_must_stay_at_the_threshold():
    assert jarvis(0.9, 0.9, patience=3) == [near(0, 0.9, "patience")]
    assert jarvis(0.9, 0.9, 0.3, 0.9, 0.9, patience=3) == [near(0, 0.9, "patience")]
    assert jarvis(0.9, 0.9, 0.8, patience=3) == [heard(2, 0.8)]


def test_each_word_may_have_a_patience_of_its_own():
    settings = Wake(words=TWO, patience=1, patiences={"alexa": 2})
    assert decided(settings, alexa=[0.9, 0], hey_jarvis=[0, 0]) == [near(0, 0.9, "patience", "alexa")]
    assert decided(settings, alexa=[0.9, 0], hey_jarvis=[0.6, 0]) == [heard(0, 0.6)]


def test_for_a_while_after_a_word_none_counts():
    settings = Wake(words=TWO, refractory_s=0.75)
    found = decided(settings, alexa=[0, 0, 0, 0.9, 0, 0.9], hey_jarvis=[*[0.0] * 8, *[0.9] * 17])
    assert found == [heard(3, 0.9, "alexa"), heard(13, 0.9), heard(23, 0.9)]


def test_without_a_refractory_time_every_step_counts():
    assert len(jarvis(0.9, 0.9, 0.9, refractory_s=0.0)) == 3


def test_of_two_words_the_one_further_above_its_threshold_counts():
    settings = Wake(words=TWO, thresholds={"alexa": 0.9, "hey_jarvis": 0.5})
    assert decided(settings, alexa=[0.95], hey_jarvis=[0.7]) == [heard(0, 0.7)]
    assert decided(settings, alexa=[1.0], hey_jarvis=[0.55]) == [heard(0, 1.0, "alexa")]


# --- What nearly did ------------------------------------------------------------------------------------------------


def test_what_comes_above_half_the_threshold_is_a_near_miss_with_its_highest_score_and_the_time_of_that():
    assert jarvis(0.2, 0.3, 0.45, 0.4, 0.1) == [near(2, 0.45)]
    assert jarvis(0.25) == []
    assert jarvis(0.26) == [near(0, 0.26)]
    assert jarvis(0.26, threshold=0.9) == []


def test_a_near_miss_is_told_once_when_it_has_been_over_for_half_a_second_and_the_next_is_another():
    decision = Decision(Wake(), {})
    scores = [0.3, 0.4, 0.3, *[0.0] * 6, 0, 0.35, *[0.0] * 6, 0]
    told = [decision.decide({"hey_jarvis": score}, at(step)) for step, score in enumerate(scores)]
    assert [(step, found) for step, found in enumerate(told) if found] == [(8, [near(1, 0.4)]), (16, [near(10, 0.35)])]


def test_waves_within_half_a_second_are_one_near_miss_and_none_when_the_last_counts():
    assert jarvis(0.4, *[0.0] * 5, 0.3, *[0.0] * 5, 0.45) == [near(12, 0.45)]
    assert jarvis(0.4, *[0.0] * 6, 0.3) == [near(0, 0.4), near(7, 0.3)]
    assert jarvis(0.23, 0.4, 0.1, 0.41, 0, 0, 0, 0, 0, 0.97) == [heard(9, 0.97)]
    assert jarvis(0.4, *[0.0] * 6, 0.97) == [near(0, 0.4), heard(7, 0.97)]


def test_what_grows_into_a_word_or_fades_after_it_is_no_near_miss():
    assert jarvis(0.3, 0.45, 0.9, 0.45, 0.3, 0) == [heard(2, 0.9)]


def test_in_the_refractory_time_nothing_is_a_near_miss_nor_what_reaches_into_it_or_out_of_it():
    assert jarvis(0.9, 0, 0.4, 0, refractory_s=1.0) == [heard(0, 0.9)]
    assert jarvis(0.9, *[0.0] * 11, *[0.4] * 5, 0, refractory_s=1.0) == [heard(0, 0.9)]
    assert jarvis(0.9, *[0.0] * 6, 0.4, *[0.0] * 5, 0.4, refractory_s=0.9) == [heard(0, 0.9)]
    assert jarvis(0.9, *[0.0] * 12, 0.4, 0, refractory_s=1.0) == [heard(0, 0.9), near(13, 0.4)]
    settings = Wake(words=TWO, refractory_s=0.2)
    assert decided(settings, alexa=[*[0.4] * 9], hey_jarvis=[0, 0.9]) == [heard(1, 0.9)]


# --- Who is asked ---------------------------------------------------------------------------------------------------


def test_what_a_check_refuses_is_a_near_miss_with_its_name():
    level = Check()
    assert jarvis(0.6, 0.9, 0.7, checks={"level": level}) == [near(1, 0.9, "level")]
    assert level.asked == [("hey_jarvis", at(step)) for step in range(3)]


def test_a_word_that_is_refused_at_first_counts_as_soon_as_it_is_not():
    level = Check()
    decision = Decision(Wake(), {"level": level})
    assert decision.decide({"hey_jarvis": 0.9}, at(0)) == []
    level.accepts = True
    assert decision.decide({"hey_jarvis": 0.8}, at(1)) == [heard(1, 0.8)]
    assert decision.decide({"hey_jarvis": 0.0}, at(2)) == [], "it is no near miss any more"


def test_the_checks_are_asked_in_their_order_and_none_after_the_first_that_refuses():
    first, second, third = Check(True), Check(False), Check(True)
    assert jarvis(0.9, checks={"level": first, "voice": second, "speech": third}) == [near(0, 0.9, "voice")]
    assert len(first.asked) == len(second.asked) == 1 and third.asked == []


def test_no_check_is_asked_before_the_score_and_the_patience_suffice():
    check = Check(True)
    jarvis(0.49, 0.9, 0.1, 0.9, patience=2, checks={"speech": check})
    assert check.asked == []
    jarvis(0.9, 0.9, 0.9, patience=2, checks={"speech": check})
    assert check.asked == [("hey_jarvis", at(1))], "nor in the refractory time"


def test_where_the_better_of_two_words_is_refused_the_other_counts():
    settings = Wake(words=TWO)
    voice = lambda word, t: word != "alexa"  # noqa: E731
    assert decided(settings, {"voice": voice}, alexa=[0.9], hey_jarvis=[0.6]) == [heard(0, 0.6)]


def test_two_words_that_are_refused_are_each_a_near_miss_with_the_reason():
    found = decided(Wake(words=TWO), {"voice": Check()}, alexa=[0.9], hey_jarvis=[0.6])
    assert found == [near(0, 0.9, "voice", "alexa"), near(0, 0.6, "voice")]


# --- Whatever the scores --------------------------------------------------------------------------------------------

SCORES = st.lists(st.tuples(*[st.sampled_from([0.0, 0.2, 0.3, 0.45, 0.5, 0.7, 1.0])] * 2), min_size=1, max_size=60)


@given(SCORES, st.integers(1, 4), st.integers(1, 4), st.integers(0, 10), st.sets(st.integers(0, 60)))
def test_whatever_the_scores_the_rules_hold(scores, patience, alexas, refractory_steps, refused):
    settings = Wake(
        words=TWO,
        patience=patience,
        patiences={"alexa": alexas},
        thresholds={"hey_jarvis": 0.45},
        refractory_s=refractory_steps * STEP_S - 0.01 if refractory_steps else 0.0,
    )
    by_word = dict(zip(TWO, map(list, zip(*scores, strict=True)), strict=True))
    found = decided(settings, {"level": lambda word, t: step_of(WakeHeard(word, 0, t)) not in refused}, **by_word)
    words = [one for one in found if isinstance(one, WakeHeard)]
    for one, following in pairwise(words):
        assert following.audio_t >= one.audio_t + settings.refractory_s
        assert following.audio_t > one.audio_t
    for one in words:
        enough = {"alexa": alexas, "hey_jarvis": patience}[one.word]
        threshold = {"alexa": 0.5, "hey_jarvis": 0.45}[one.word]
        last = by_word[one.word][step_of(one) + 1 - enough : step_of(one) + 1]
        assert len(last) == enough and min(last) >= threshold and one.score == last[-1]
        assert step_of(one) not in refused
    misses = {(one.word, step_of(one), one.score) for one in found if isinstance(one, NearMiss)}
    assert len(found) == len(words) + len(misses)
    assert misses == {
        (name, peak, of_word[peak])
        for name, of_word in by_word.items()
        for wave in waves(of_word)
        if not any(concerns(word, wave, settings.refractory_s) for word in words)
        for peak in [max(wave, key=of_word.__getitem__)]
    }


def waves(scores):
    """The steps that are near, together where less than half a second lies between."""
    found = []
    for step, score in enumerate(scores):
        if score > 0.25:
            if not found or step - found[-1][-1] > APART_STEPS:
                found.append([])
            found[-1].append(step)
    return found


def concerns(word, wave, refractory_s):
    """Whether the wave belongs to a word that was heard, or to the time after it in which nothing counts."""
    return wave[0] <= step_of(word) < wave[-1] + APART_STEPS or word.audio_t < at(wave[0]) < word.audio_t + refractory_s


@pytest.mark.parametrize("score", [float("nan"), -1.0])
def test_a_score_that_is_none_means_nothing(score):
    assert jarvis(score, 0.4, score) == [near(1, 0.4)]
