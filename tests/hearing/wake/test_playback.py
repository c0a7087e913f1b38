"""Wake words that the speaker says itself: what is played from second 100 on, and what the microphone hears of it."""

import numpy as np
import pytest

from device.audio import FRAME_S, FRAME_SAMPLES, Frame
from device.config import Wake
from device.events import NearMiss, WakeHeard
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import STEP_S, STEP_SAMPLES, WakeEngine
from device.hearing.wake.playback import Playback
from tests.fakes import pink_noise, said, silence

TWO = ("alexa", "hey_jarvis")
SETTINGS = Wake(words=TWO, voices="/nowhere", playing_threshold=0.5)
LATER_S = 1.5


@pytest.fixture(scope="module")
def engine():
    """An engine for two words, of which tests take twins."""
    return WakeEngine(word_paths(TWO))


@pytest.fixture
def playback(engine):
    return Playback(SETTINGS, engine.twin())


def frames(sound, begin_s=100.0):
    """The sound as frames, which are heard from that time on; what makes no whole one at its end with silence."""
    whole = np.concatenate([sound, silence(FRAME_S)])[: -(-len(sound) // FRAME_SAMPLES) * FRAME_SAMPLES]
    for number, pcm in enumerate(whole.reshape(-1, FRAME_SAMPLES), 1):
        yield Frame(pcm.tobytes(), begin_s + number * FRAME_S)


def play(playback, sound, begin_s=100.0):
    """When it was heard to its end."""
    for frame in frames(sound, begin_s):
        playback.take(frame)
    return frame.t


# --- What was said --------------------------------------------------------------------------------------------------


def test_before_anything_is_played_every_word_is_somebody_elses(playback):
    assert playback.is_not_ours("hey_jarvis", 100.0)


@pytest.mark.parametrize("voice", ["flite:slt", "flite:rms", "espeak:en-us"])
def test_a_word_in_the_midst_of_what_is_played_is_ours(playback, voice):
    end = play(playback, said("hey jarvis", voice))
    play(playback, silence(1), begin_s=end)
    assert not playback.is_not_ours("hey_jarvis", end + 0.2)
    assert playback.is_not_ours("alexa", end + 0.2), "of the other word nothing was said"


@pytest.mark.parametrize("frames_short", range(4))
@pytest.mark.parametrize("voice", ["flite:slt", "flite:kal16", "espeak:en-us"])
def test_a_word_with_which_all_that_is_played_ends_is_ours_wherever_it_ends_in_a_step(playback, voice, frames_short):
    end = play(playback, np.concatenate([silence(0.5 - frames_short * FRAME_S), said("hey jarvis", voice)]))
    assert not playback.is_not_ours("hey_jarvis", end + 0.1)


def test_a_while_after_we_said_it_the_word_is_somebody_elses(playback):
    end = play(playback, said("hey jarvis"))
    assert not playback.is_not_ours("hey_jarvis", end + 0.3)
    assert playback.is_not_ours("hey_jarvis", end + 0.3 + LATER_S)


def test_other_words_that_are_played_are_no_wake_word(playback):
    end = play(playback, said("it is ten past nine and the sun is shining"))
    assert all(playback.is_not_ours(word, end + 0.1) for word in TWO)


class Script:
    """An engine that gives scores by the number of the step, from 0, counted on over resets, which it keeps."""

    def __init__(self, **scores):
        self._scores = scores
        self.heard, self.resets = [], []

    def reset(self):
        self.resets.append(len(self.heard))

    def score(self, samples):
        self.heard.append(samples.copy())
        return {name: by_step.get(len(self.heard) - 1, 0.0) for name, by_step in self._scores.items()}


def test_what_comes_half_as_near_as_the_word_counts_for_the_microphone_is_ours():
    for score, ours in ((0.26, True), (0.25, False)):
        playback = Playback(SETTINGS, Script(hey_jarvis={2: score}))
        play(playback, silence(0.4))
        assert playback.is_not_ours("hey_jarvis", 100.24) is not ours


def test_it_goes_by_the_threshold_of_each_word():
    settings = Wake(words=TWO, threshold=0.8, thresholds={"alexa": 0.2}, playing_threshold=0.8)
    playback = Playback(settings, Script(alexa={1: 0.15}, hey_jarvis={1: 0.35}))
    play(playback, silence(0.4))
    assert not playback.is_not_ours("alexa", 100.16)
    assert playback.is_not_ours("hey_jarvis", 100.16)


def test_where_the_threshold_is_lower_while_we_play_half_of_that_is_ours():
    playback = Playback(Wake(words=TWO, playing_threshold=0.1), Script(hey_jarvis={1: 0.06}))
    play(playback, silence(0.4))
    assert not playback.is_not_ours("hey_jarvis", 100.16)


def test_a_stop_word_that_we_say_is_ours_from_half_of_the_threshold_on():
    playback = Playback(
        Wake(words=TWO, playing_threshold=0.1), Script(stop={1: 0.26}, halt={1: 0.24}), ("stop", "halt")
    )
    play(playback, silence(0.4))
    assert not playback.is_not_ours("stop", 100.16)
    assert playback.is_not_ours("halt", 100.16)


@pytest.mark.parametrize("off_s", [-1.05, -0.95, 0.0, 0.95, 1.05])
def test_ours_is_what_the_microphone_hears_within_a_second_of_our_saying_it_as_drivers_do_not_know_their_latency(off_s):
    playback = Playback(SETTINGS, Script(hey_jarvis={4: 0.9}))
    play(playback, silence(4))
    assert playback.is_not_ours("hey_jarvis", 100 + 5 * STEP_S + off_s) == (abs(off_s) > 1)


@pytest.mark.parametrize("frames_over", range(4))
def test_the_engine_hears_what_is_played_step_by_step_in_order_and_when_asked_silence_once(frames_over):
    script = Script()
    playback = Playback(SETTINGS, script)
    sound = np.arange(1, (8 + frames_over) * FRAME_SAMPLES + 1, dtype=np.int16)
    end = play(playback, sound)
    assert len(script.heard) == 2
    playback.is_not_ours("hey_jarvis", end)
    after = np.concatenate(script.heard)
    assert np.array_equal(after[: len(sound)], sound) and not after[len(sound) :].any()
    assert 0.34 <= len(after) / 16_000 - len(sound) / 16_000 <= 0.4, "a word is seen up to 0.26 s after its end"
    playback.is_not_ours("hey_jarvis", end + 0.2)
    assert len(script.heard) == 7
    play(playback, np.ones(4 * FRAME_SAMPLES, np.int16), begin_s=end)
    assert len(script.heard) == 8 and (script.heard[-1][frames_over * FRAME_SAMPLES :] == 1).all()


def test_what_was_said_already_needs_no_second_look():
    script = Script(hey_jarvis={1: 0.9})
    playback = Playback(SETTINGS, script)
    end = play(playback, silence(0.2))
    assert not playback.is_not_ours("hey_jarvis", end) and len(script.heard) == 2
    assert playback.is_not_ours("alexa", end) and len(script.heard) > 2


def test_after_a_gap_it_begins_anew_and_after_none_it_goes_on():
    script = Script()
    playback = Playback(SETTINGS, script)
    end = play(playback, np.full(6 * FRAME_SAMPLES, 1, np.int16))
    end = play(playback, np.full(6 * FRAME_SAMPLES, 2, np.int16), begin_s=end + 0.02)
    assert len(script.heard) == 3 and script.resets == [0]
    play(playback, np.full(FRAME_SAMPLES, 3, np.int16), begin_s=end)
    play(playback, np.full(4 * FRAME_SAMPLES, 4, np.int16), begin_s=end + 1)
    assert script.resets == [0, 3] and (script.heard[-1] == 4).all()


def test_two_halves_with_a_gap_between_make_no_word(playback):
    word = said("hey jarvis")
    end = play(playback, word[: len(word) // 2])
    play(playback, word[len(word) // 2 :], begin_s=end + 3)
    assert playback.is_not_ours("hey_jarvis", end + 3.5)


# --- The microphone, with the loudspeaker beside it -----------------------------------------------------------------


def conversation(engine, played, heard, latency_s=0.06, ahead_s=0.04, **settings):
    """What is heard in `heard` while `played` is played, both from second 100 on.

    The reference says that it is heard `latency_s` sooner than it is, and comes `ahead_s` before that.
    """
    detector = WakeDetector(Wake(words=TWO, voices="/nowhere", **settings), engine.twin())
    reference = list(frames(played, 100.0 - latency_s))
    found = []
    for frame in frames(heard):
        while reference and reference[0].t - ahead_s <= frame.t:
            detector.played(reference.pop(0))
        found += detector.hear(frame)
    return found


def at(seconds, sound, whole_s):
    """The sound at that time in silence."""
    return np.concatenate([silence(seconds), sound, silence(whole_s)])[: round(whole_s * 16_000)]


@pytest.mark.parametrize("latency_s", [0.0, 0.3])
def test_its_own_wake_word_does_not_wake_it(engine, latency_s):
    word = said("hey jarvis", "flite:rms")
    echo = at(0.5, word // 3, 2.5)
    (found,) = conversation(engine, at(0.5, word, 2.5), echo, latency_s)
    assert isinstance(found, NearMiss) and found.word == "hey_jarvis" and found.why == "playback"
    (found,) = conversation(engine, silence(2.5), echo, latency_s)
    assert isinstance(found, WakeHeard)


def test_neither_does_it_with_the_last_word_of_a_reply(engine):
    word = said("hey jarvis", "flite:rms")
    found = conversation(engine, at(0.5, word, 0.5 + len(word) / 16_000), at(0.5, word // 3, 2.5))
    assert [one.why for one in found] == ["playback"]


def test_who_says_it_while_something_else_is_played_is_heard(engine):
    reply = said("it is ten past nine and the sun is shining", "flite:slt")[: round(2.5 * 16_000)]
    heard = at(0.0, reply // 8, 3) + at(0.5, said("hey jarvis", "flite:rms"), 3)
    (found,) = [one for one in conversation(engine, reply, heard) if isinstance(one, WakeHeard)]
    assert found.word == "hey_jarvis"


def test_who_says_it_after_the_speaker_has_is_heard(engine):
    word = said("hey jarvis", "flite:rms")
    heard = at(0.2, word // 3, 4.5) + at(0.2 + len(word) / 16_000 + 1.2, word, 4.5)
    found = conversation(engine, at(0.2, word, 1.5), heard)
    assert [type(one) for one in found] == [NearMiss, WakeHeard]


def test_what_is_played_is_looked_at_while_the_microphone_hears_nothing_too(engine):
    word = said("hey jarvis", "flite:rms")
    assert conversation(engine, at(0.2, word, 2), silence(2)) == []
    noise = conversation(engine, pink_noise(2, 0.1)[: 25 * STEP_SAMPLES], at(0.3, word, 2.5))
    assert [type(one) for one in noise] == [WakeHeard]


def test_without_networks_of_its_own_a_detector_takes_no_notice_of_what_is_played():
    detector = WakeDetector(SETTINGS, Script(alexa={}, hey_jarvis={}))
    for frame in frames(silence(1)):
        detector.played(frame)
