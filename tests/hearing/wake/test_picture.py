"""The pictures of `earshot wake`: what they show can be found in their pixels."""

import sys

import numpy as np
import pytest
from PIL import Image

from device.config import Wake
from device.errors import HardwareError, UsageError
from device.events import NearMiss, WakeHeard
from device.hearing.wake import picture
from device.hearing.wake.evaluate import Evaluation, Row
from device.hearing.wake.files import Trace
from device.hearing.wake.picture import check_place, draw_evaluation, draw_trace

pytestmark = pytest.mark.slow  # a picture takes a while

FOUND = (WakeHeard("hey_jarvis", 0.93, 4.0), NearMiss("alexa", 0.4, 7.2, "score"), NearMiss("alexa", 0.9, 7.3, "voice"))


def trace(seconds=10, found=FOUND, rests=slice(-25, None)):
    """A hill for each word, and a rest of the last 25 steps, or of others."""
    t = np.arange(1, round(seconds / 0.08) + 1) * 0.08
    jarvis, alexa = (height * np.exp(-((t - at) ** 2) * 8) for height, at in ((0.95, 4), (0.9, 7.2)))
    for scores in (jarvis, alexa):
        scores[rests] = np.nan
    outline = (8000 * np.abs(np.sin(np.arange(seconds * 400) / 40))).astype(np.int16)
    scores = {"hey_jarvis": jarvis.astype(np.float32), "alexa": alexa.astype(np.float32)}
    return Trace(found, scores, -outline, outline)


def evaluation(alarms=(9, 3, 1, 0), missed=(0, 0, 2, 20), hours=2.0):
    rows = [Row(t, m, m, a, 1) for t, a, m in zip((0.25, 0.5, 0.75, 0.995), alarms, missed, strict=True)]
    return Evaluation(40, hours, tuple(rows), Row(None, 1, 1, 2, 0))


def drawn(path):
    with Image.open(path) as image:
        assert image.size == (1600, 800) and image.format == "PNG"
        return [np.asarray(band).astype(np.int16) for band in image.convert("RGB").split()]


def near(pixels, colour, apart):
    """Which pixels are of that colour, or less than `apart` from it."""
    rgb = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return sum(np.abs(band - value) for band, value in zip(pixels, rgb, strict=True)) < apart


def count(pixels, colour):
    return near(pixels, colour, 40).sum()


WORDS = Wake(words=("hey_jarvis", "alexa"))


def test_sound_scores_detections_near_misses_and_rests_are_seen(tmp_path):
    draw_trace(trace(), WORDS, "kitchen.wav", tmp_path / "x.png")
    pixels = drawn(tmp_path / "x.png")
    for colour in (picture.SOUND, picture.HEARD, picture.MISSED, *picture.WORDS[:2]):
        assert count(pixels, colour) > 300, colour


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    """The pixels of a picture in which nothing was found."""
    path = tmp_path_factory.mktemp("nothing") / "x.png"
    draw_trace(trace(found=()), WORDS, "kitchen.wav", path)
    return drawn(path)


def test_what_was_not_found_is_not_seen(nothing):
    assert count(nothing, picture.HEARD) < 50 and count(nothing, picture.MISSED) < 50


def test_each_words_own_threshold_is_seen_in_its_colour(tmp_path, nothing):
    own = Wake(words=WORDS.words, thresholds={"alexa": 0.8})
    draw_trace(trace(found=()), own, "kitchen.wav", tmp_path / "x.png")
    assert count(drawn(tmp_path / "x.png"), picture.WORDS[1]) > count(nothing, picture.WORDS[1]) + 400


def test_a_rest_is_shaded_from_its_first_step_to_the_end_of_its_last(tmp_path, nothing):
    draw_trace(trace(found=(), rests=slice(40, 41)), WORDS, "kitchen.wav", tmp_path / "x.png")
    for pixels, first, end in ((drawn(tmp_path / "x.png"), 40, 41), (nothing, 100, 125)):
        columns = np.flatnonzero(near(pixels, picture.REST, 6).sum(axis=0) > 100)
        step = (1576 - 104) / 125  # in pixels: from the left end of the axis to the right one
        assert columns[[0, -1]] == pytest.approx([104 + first * step, 104 + end * step], abs=2)


@pytest.mark.parametrize("seconds", [1, pytest.param(3600, marks=pytest.mark.slow)])
def test_a_second_and_an_hour_can_be_drawn(tmp_path, seconds):
    found = tuple(WakeHeard("hey_jarvis", 0.9, t) for t in range(0, seconds, 20))
    draw_trace(trace(seconds, found, slice(-3, None)), WORDS, "x.wav", tmp_path / "x.png")
    assert count(drawn(tmp_path / "x.png"), picture.SOUND) > 300


def test_misses_false_alarms_and_what_is_in_force_are_seen(tmp_path):
    draw_evaluation(evaluation(), Wake(), tmp_path / "x.png")
    pixels = drawn(tmp_path / "x.png")
    for colour in (picture.SOUND, picture.ALARM, picture.HEARD):
        assert count(pixels, colour) > 300, colour


@pytest.mark.parametrize(("hours", "alarms"), [(0.001, (100_000, 10, 1, 0)), (5000.0, (0, 0, 0, 0))])
def test_any_outcome_can_be_drawn(tmp_path, hours, alarms):
    draw_evaluation(evaluation(alarms, (0, 0, 0, 0), hours), Wake(), tmp_path / "x.png")
    drawn(tmp_path / "x.png")


def test_a_name_with_dollars_and_braces_is_only_a_name(tmp_path):
    draw_trace(trace(1), WORDS, r"$\frac{1}$ €.wav", tmp_path / "x.png")
    drawn(tmp_path / "x.png")


DRAW = pytest.mark.parametrize("draw", [check_place, lambda path: draw_evaluation(evaluation(), Wake(), path)])


@DRAW
def test_a_picture_that_cannot_be_written_is_told_of(tmp_path, draw):
    with pytest.raises(UsageError, match=r"none/x\.png cannot be written: No such file or directory"):
        draw(tmp_path / "none" / "x.png")


@DRAW
def test_without_matplotlib_the_way_out_is_told(tmp_path, monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(HardwareError, match=r"matplotlib is missing.*\./install\.sh --dev"):
        draw(tmp_path / "x.png")


def test_to_see_whether_a_picture_can_be_written_changes_nothing(tmp_path):
    check_place(tmp_path / "new.png")
    (tmp_path / "old.png").write_bytes(b"a picture")
    check_place(tmp_path / "old.png")
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"a picture"
