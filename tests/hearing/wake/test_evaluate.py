"""`earshot wake --evaluate`: counts that can be checked by hand, and the speaker's own decisions behind them."""

import re
from pathlib import Path

import numpy as np
import pytest

from device.errors import UsageError
from device.events import WakeHeard
from device.hearing.wake.evaluate import THRESHOLDS, Evaluation, Row, compare, evaluate, recordings, report
from device.hearing.wake.files import check, trace
from tests.fakes import pink_noise, said, silence
from tests.hearing.wake.listening import wake
from tests.hearing.wake.test_files import LIKE_IT, room, write_wav

pytestmark = pytest.mark.slow  # all networks over many sounds


def no_progress(files, seconds):
    """Nobody waits."""


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Three words, one of them drowned in noise, one after what is like it; a sentence, words where none should be, and what
    is like one."""
    top = tmp_path_factory.mktemp("evaluate")
    positive, negative = top / "positive", top / "negative"
    for directory in (positive / "noisy", negative):
        directory.mkdir(parents=True)
    write_wav(positive / "0.wav", room(said("hey jarvis"), after_s=0))
    write_wav(positive / "1.wav", room(said(*LIKE_IT), silence(1), said("hey jarvis", "espeak:en-us"), after_s=0))
    word = room(said("hey jarvis"), after_s=0)
    drowned = np.clip(pink_noise(3, 0.4)[: len(word)] + word // 8, -32768, 32767).astype(np.int16)
    write_wav(positive / "noisy" / "drowned.WAV", drowned)
    write_wav(negative / "sentence.wav", room(said("what time is it"), after_s=0))
    write_wav(negative / "word.wav", room(said("hey jarvis", "flite:rms"), said("hey jarvis"), after_s=0))
    write_wav(negative / "like.wav", room(said(*LIKE_IT), after_s=0))
    (negative / "notes.txt").write_text("what these are")
    return positive, negative


@pytest.fixture(scope="module")
def result(directories):
    return evaluate(*recordings(*directories), wake(), no_progress)


def by(evaluation, threshold):
    (row,) = (row for row in evaluation.rows if row.threshold == threshold)
    return row


def test_recordings_are_looked_for_in_all_directories_below(directories):
    positive, negative = recordings(*directories)
    assert [path.name for path in positive] == ["0.wav", "1.wav", "drowned.WAV"]
    assert [path.name for path in negative] == ["like.wav", "sentence.wav", "word.wav"]


def test_missed_words_and_false_alarms_are_counted_by_threshold(result):
    assert result.words == 3
    assert by(result, 0.5) == Row(0.5, missed=1, nearly=0, alarms=1, near=1)
    assert by(result, 0.35) == Row(0.35, missed=1, nearly=0, alarms=2, near=0)
    assert by(result, 0.05).missed == 0, "even the drowned one scores as much"
    missed = [row.missed for row in result.rows]
    assert missed == sorted(missed), "a higher threshold never misses less"


def test_the_time_of_other_sound_is_that_of_the_recordings(directories, result):
    seconds = sum((path.stat().st_size - 44) // 640 * 0.02 for path in directories[1].glob("*.wav"))
    assert result.hours == pytest.approx(seconds / 3600)


def alone(positive, negative, settings):
    """What is in force by hearing each recording with a detector of its own."""
    missed, nearly, alarms, near = 0, 0, 0, 0
    for path in positive + negative:
        found = trace(path, settings).found
        heard = sum(isinstance(one, WakeHeard) for one in found)
        if path in positive:
            missed += not heard
            nearly += not heard and len(found) > 0
        else:
            alarms += heard
            near += len(found) - heard
    return Row(None, missed, nearly, alarms, near)


def test_what_is_in_force_is_what_each_recording_alone_gives(directories, result):
    assert result.in_force == alone(*recordings(*directories), wake())


@pytest.mark.parametrize(
    ("settings", "words", "others"),
    [(wake(threshold=0.9, refractory_s=0.1, patience=3), 1, 1), (wake(refractory_s=30.0), 2, 0)],
)
def test_it_is_so_with_other_settings(directories, settings, words, others):
    positive, negative = recordings(*directories)
    some = positive[:words], negative[::-1][:others]
    assert evaluate(*some, settings, no_progress).in_force == alone(*some, settings)


def test_the_other_settings_count_at_every_threshold(directories, result):
    positive, negative = recordings(*directories)
    word = negative[-1:]
    often = by(evaluate([], word, wake(refractory_s=0.0), no_progress), 0.5)
    assert often.alarms > by(result, 0.5).alarms, "without a refractory time every step counts"
    loud = by(evaluate(positive[:1], word, wake(min_level_dbfs=-0.1), no_progress), 0.5)
    assert (loud.missed, loud.nearly, loud.alarms) == (1, 1, 0)


def test_a_threshold_stands_for_those_of_all_words(directories):
    positive, negative = recordings(*directories)
    settings = wake(words=("hey_jarvis", "alexa"), thresholds={"hey_jarvis": 0.9999})
    two = evaluate(positive[:1], negative[:1], settings, no_progress)
    assert two.in_force.missed == 1 and by(two, 0.5).missed == 0


@pytest.mark.slow
def test_the_order_of_the_recordings_does_not_matter(directories, result):
    positive, negative = recordings(*directories)
    assert evaluate(positive[::-1], negative[::-1], wake(), no_progress).rows == result.rows


@pytest.mark.parametrize("rate", [1000, 44_100, 768_000])
def test_the_shortest_recordings_that_are_taken_can_be_evaluated(tmp_path, directories, rate):
    short = write_wav(tmp_path / "short.wav", silence(0.1, rate), rate)
    check(short)
    result = evaluate([short], [short], wake(), no_progress)
    assert result.in_force.missed == 1 and 0 < result.hours <= 0.1 / 3600 and report(result, wake())


def test_who_waits_is_told_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("device.hearing.wake.evaluate._PROGRESS_FRAMES", 150)
    told = []
    short, long = write_wav(tmp_path / "short.wav", silence(1)), write_wav(tmp_path / "long.wav", silence(6.5))
    evaluate([short], [long], wake(), lambda *progress: told.append(progress))
    assert [files for files, _ in told] == [1, 1] and 4.5 < told[-1][1] < 7


def test_the_table_says_what_is_in_force_and_a_row_for_each_threshold(result):
    lines = report(result, wake(patience=2))
    head = " ".join(lines[: lines.index("")])
    assert "threshold = 0.5" in head and "patience = 2" in head and 'words = ["hey_jarvis"]' in head
    rows = {match[1]: match[2].split() for line in lines if (match := re.match(r"(0\.\d+|in force) +(.*)", line))}
    assert list(rows) == [f"{t:.3f}".removesuffix("0") for t in THRESHOLDS] + ["in force"]
    assert rows["0.50"] == ["1", "33.3", "0", "1", f"{1 / result.hours:.1f}", "1"]


@pytest.mark.parametrize(
    ("hours", "text"), [(1.5, "1.50 h … 2 an"), (1.6, "1.60 h … 1.9 an"), (0.01, "0.6 min … 300 an")]
)
def test_no_false_alarm_in_a_short_time_is_said_to_mean_little(hours, text):
    time, fewer = text.split(" … ")
    quiet = Evaluation(10, hours, (), Row(None, 0, 0, 0, 0))
    assert report(quiet, wake())[-1] == (
        f"No false alarm in {time} says that there are fewer than {fewer} hour, 19 times in 20."
    )


def test_the_command_gives_the_table_and_a_picture(directories, result, tmp_path, monkeypatch):
    def evaluated(positive, negative, settings, progress):
        assert (positive, negative) == recordings(*directories)
        progress(2, 90.0)
        return result

    monkeypatch.setattr("device.hearing.wake.evaluate.evaluate", evaluated)
    shown = []
    lines = list(compare(*directories, wake(), tmp_path / "x.png", shown.append))
    assert lines[:-1] == report(result, wake()) and lines[-1] == f"\nThe picture of it is {tmp_path / 'x.png'}."
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert shown == ["2 of 6 recordings, 2 min", ""], "the progress is taken away"


def test_a_picture_that_cannot_be_written_is_told_of_before_anything_is_heard(directories, tmp_path):
    shown = []
    with pytest.raises(UsageError, match=r"none/x\.png cannot be written"):
        next(compare(*directories, wake(), tmp_path / "none" / "x.png", shown.append))
    assert shown == []


def test_all_that_is_wrong_with_the_directories_is_told_at_once(tmp_path, directories):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "text.wav").write_text("hello")
    write_wav(bad / "empty.wav", b"")
    write_wav(bad / "8bit.wav", bytes(1000), width=1)
    write_wav(bad / "fine.wav", silence(1))
    with pytest.raises(UsageError) as refused:
        recordings(bad, tmp_path / "none")
    lines = str(refused.value).splitlines()
    assert len(lines) == 5 and "fine.wav" not in str(refused.value)
    for line, why in zip(
        lines[1:], ["none is no directory", "8 bits", "less than a tenth of a second", "is no WAV"], strict=True
    ):
        assert why in line


def test_a_long_list_of_bad_recordings_is_cut(tmp_path, directories):
    for n in range(30):
        (tmp_path / f"{n}.wav").touch()
    with pytest.raises(UsageError) as refused:
        recordings(tmp_path, directories[1])
    assert len(str(refused.value).splitlines()) == 22 and str(refused.value).endswith("and 10 more")


def test_a_directory_without_recordings_is_refused(tmp_path, directories):
    (tmp_path / "song.mp3").touch()
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path} holds no WAV file")):
        recordings(directories[0], tmp_path)


@pytest.mark.parametrize("inside", [".", "noisy"])
def test_a_recording_that_is_in_both_directories_is_refused(directories, inside):
    with pytest.raises(UsageError, match=r"is in both: a recording either holds a wake word or does not"):
        recordings(directories[0], Path(directories[0], inside))
