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
from device.hearing.wake.picture import draw_evaluation, draw_trace

FOUND = (WakeHeard("hey_jarvis", 0.93, 4.0), NearMiss("alexa", 0.4, 7.2, "score"), NearMiss("alexa", 0.9, 7.3, "voice"))


def trace(seconds=10, found=FOUND):
    """A hill for each word, and a rest in the last fifth."""
    t = np.arange(1, round(seconds / 0.08) + 1) * 0.08
    jarvis, alexa = (height * np.exp(-((t - at) ** 2) * 8) for height, at in ((0.95, 4), (0.9, 7.2)))
    for scores in (jarvis, alexa):
        scores[len(scores) * 4 // 5 :] = np.nan
    outline = (8000 * np.abs(np.sin(np.arange(seconds * 400) / 40))).astype(np.int16)
    scores = {"hey_jarvis": jarvis.astype(np.float32), "alexa": alexa.astype(np.float32)}
    return Trace(found, scores, -outline, outline)


def evaluation(alarms=(9, 3, 1, 0), missed=(0, 0, 2, 20), hours=2.0):
    rows = [Row(t, m, m, a, 1) for t, a, m in zip((0.25, 0.5, 0.75, 0.995), alarms, missed, strict=True)]
    return Evaluation(40, hours, tuple(rows), Row(None, 1, 1, 2, 0))


def drawn(path):
    with Image.open(path) as image:
        assert image.size == (1600, 800) and image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def count(pixels, colour):
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - rgb).sum(axis=2) < 40).sum())


WORDS = Wake(words=("hey_jarvis", "alexa"))


def test_sound_scores_detections_near_misses_and_rests_are_seen(tmp_path):
    draw_trace(trace(), WORDS, "kitchen.wav", tmp_path / "x.png")
    pixels = drawn(tmp_path / "x.png")
    for colour in (picture.SOUND, picture.HEARD, picture.MISSED, *picture.WORDS[:2]):
        assert count(pixels, colour) > 300, colour
    assert count(pixels, picture.REST) > 50_000, "a fifth of the lower row"


def test_what_was_not_found_is_not_seen(tmp_path):
    draw_trace(trace(found=()), WORDS, "kitchen.wav", tmp_path / "x.png")
    pixels = drawn(tmp_path / "x.png")
    assert count(pixels, picture.HEARD) < 50 and count(pixels, picture.MISSED) < 50


def test_each_words_own_threshold_is_seen_in_its_colour(tmp_path):
    draw_trace(trace(found=()), WORDS, "kitchen.wav", tmp_path / "same.png")
    own = Wake(words=WORDS.words, thresholds={"alexa": 0.8})
    draw_trace(trace(found=()), own, "kitchen.wav", tmp_path / "own.png")
    same, apart = (count(drawn(tmp_path / name), picture.WORDS[1]) for name in ("same.png", "own.png"))
    assert apart > same + 400


@pytest.mark.parametrize("seconds", [1, 3600])
def test_a_second_and_an_hour_can_be_drawn(tmp_path, seconds):
    found = tuple(WakeHeard("hey_jarvis", 0.9, t) for t in range(0, seconds, 20))
    draw_trace(trace(seconds, found), WORDS, "x.wav", tmp_path / "x.png")
    assert count(drawn(tmp_path / "x.png"), picture.SOUND) > 300


def test_misses_false_alarms_and_what_is_in_force_are_seen(tmp_path):
    draw_evaluation(evaluation(), Wake(), tmp_path / "x.png")
    pixels = drawn(tmp_path / "x.png")
    for colour in (picture.SOUND, picture.ALARM, picture.HEARD):
        assert count(pixels, colour) > 300, colour


@pytest.mark.parametrize("hours", [0.001, 1.0, 5000.0])
@pytest.mark.parametrize("alarms", [(0, 0, 0, 0), (100_000, 10, 1, 0)])
def test_any_outcome_can_be_drawn(tmp_path, hours, alarms):
    draw_evaluation(evaluation(alarms, (0, 0, 0, 0), hours), Wake(), tmp_path / "x.png")
    drawn(tmp_path / "x.png")


def test_a_name_with_dollars_and_braces_is_only_a_name(tmp_path):
    draw_trace(trace(), WORDS, r"$\frac{1}$ €.wav", tmp_path / "x.png")
    drawn(tmp_path / "x.png")


def test_a_picture_that_cannot_be_written_is_told_of(tmp_path):
    with pytest.raises(UsageError, match=r"none/x\.png cannot be written: No such file or directory"):
        draw_trace(trace(), WORDS, "x.wav", tmp_path / "none" / "x.png")


def test_without_matplotlib_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(HardwareError, match=r"matplotlib is missing.*\./install\.sh --dev"):
        draw_evaluation(evaluation(), Wake(), tmp_path / "x.png")
