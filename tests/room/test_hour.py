"""The hour of mixed sound is what it says it is; its first three minutes are asked."""

import numpy as np
import pytest

from tests.room.hour import QUIET_DBFS, SNRS, hour
from tests.room.people import WORDS
from tests.room.sounds import RATE, count

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole():
    return hour(180)


def dbfs(sound):
    return 10 * np.log10(np.mean(sound.astype(np.float64) ** 2) / 32768**2)


def test_it_is_the_same_each_time_and_a_shorter_one_is_its_beginning(whole):
    short = hour(61.5)
    assert len(short.sound) == count(61.5) and np.array_equal(short.sound, whole.sound[: len(short.sound)])
    assert short.words == whole.words[: len(short.words)]


def test_its_parts_follow_each_other_to_the_end(whole):
    assert whole.parts[0].start_s == 0 and whole.parts[-1].end_s == len(whole.sound) / RATE == 180
    for part, following in zip(whole.parts, whole.parts[1:], strict=False):
        assert part.start_s < part.end_s == following.start_s


def test_each_minute_has_all_kinds_of_parts_and_every_word_twice(whole):
    for start in (0, 60, 120):
        parts = {part.kind for part in whole.parts if start <= part.start_s < start + 60}
        words = [word for word in whole.words if start <= word.start_s < start + 60]
        assert parts == {"speech", "music", "noise", "silence", "quiet", "clicks", "word"}
        assert sorted(word.word for word in words) == sorted([*WORDS, *WORDS])
        assert {word.snr_db for word in words} == {None, *SNRS}


def test_each_word_has_a_part_of_its_own_in_which_it_is_the_louder_the_less_the_noise(whole):
    spaces = [part for part in whole.parts if part.kind == "word"]
    for word, part in zip(whole.words, spaces, strict=True):
        assert part.start_s < word.start_s < word.end_s < part.end_s and part.name == word.background
        level = dbfs(whole.sound[count(word.start_s) : count(word.end_s)])
        together = 0.0 if word.snr_db is None else 10 * np.log10(1 + 10 ** (-word.snr_db / 10))
        assert level == pytest.approx(word.dbfs + together, abs=2.0)  # by chance they add up to a little more or less


def test_a_quiet_room_is_quiet_and_silence_silent(whole):
    assert dbfs(whole.only("quiet")) == pytest.approx(QUIET_DBFS, abs=0.2)
    assert len(whole.only("quiet")) == 21 * RATE
    assert not whole.only("silence").any()


def test_speech_is_near_and_far(whole):
    speech = whole.only("speech")
    seconds = [dbfs(one) for one in speech[: len(speech) // RATE * RATE].reshape(-1, RATE) if one.any()]
    assert min(seconds) < -38 and max(seconds) > -16
