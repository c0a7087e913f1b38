import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, Frame
from device.hearing.played import Played


def frame(number: int, late: float = 0.0) -> Frame:
    """Samples that are all `number` + 1, heard in place `number`."""
    return Frame(np.full(FRAME_SAMPLES, number + 1, np.int16).tobytes(), 10 + number * FRAME_S + late)


def values(played: Played, first: int, count: int) -> list[int]:
    """What every so manieth frame holds."""
    return played.part(first * FRAME_SAMPLES, count * FRAME_SAMPLES)[::FRAME_SAMPLES].tolist()


def test_frames_are_kept_in_order():
    played = Played()
    for number in range(5):
        played.add(frame(number))
    assert values(played, 0, 5) == [1, 2, 3, 4, 5]


def test_what_was_not_played_yet_or_before_the_first_is_silence():
    played = Played()
    for number in range(3):
        played.add(frame(number))
    assert values(played, -2, 7) == [0, 0, 1, 2, 3, 0, 0]


def test_a_pause_that_nobody_told_of_is_silence():
    played = Played()
    assert [played.add(frame(number)) for number in (0, 1, 60, 61)] == [False, False, True, False]
    assert values(played, 0, 62) == [1, 2, *[0] * 58, 61, 62]


def test_another_sound_begins_after_half_a_second_of_silence_whether_it_is_told_or_not():
    played, pause = Played(), Frame(bytes(2 * FRAME_SAMPLES), 0.0)
    assert not played.add(frame(0))
    assert not any(played.add(pause._replace(t=frame(number).t)) for number in range(1, 26))
    assert played.add(frame(29))
    assert not any(played.add(pause._replace(t=frame(number).t)) for number in range(30, 36))
    assert not played.add(frame(40))


def test_a_thread_that_is_late_makes_no_pause():
    played = Played()
    for number in range(100):
        played.add(frame(number, late=0.02 if number % 7 == 0 else 0.0))
    assert values(played, 0, 100) == list(range(1, 101))


def test_a_short_pause_is_known_after_some_frames():
    played = Played()
    for number in (*range(30), *range(32, 60)):
        played.add(frame(number))
    assert values(played, 36, 24) == list(range(37, 61))


def test_what_is_old_is_forgotten():
    played = Played()
    for number in range(1000):
        played.add(frame(number))
    assert values(played, 0, 2) == [0, 0]
    assert values(played, 600, 400) == list(range(601, 1001))


def test_the_loudest_frame_of_some_is_known():
    played = Played()
    for number in range(5):
        played.add(frame(number))
    assert played.loudest(1, 3) == (4 / 32768) ** 2
    assert played.loudest(7, 9) == 0.0
    assert played.loudest(-5, -1) == 0.0


def test_between_two_samples_it_is_what_the_sound_is_there():
    played, t = Played(), np.arange(3 * FRAME_SAMPLES)
    sound = (8000 * np.sin(2 * np.pi * t / 40)).astype(np.int16)
    for number in range(3):
        pcm = sound[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES].tobytes()
        played.add(Frame(pcm, 10 + number * FRAME_S))
    for start in (300.0, 300.25, 299.75):
        expected = 8000 * np.sin(2 * np.pi * (start + np.arange(FRAME_SAMPLES)) / 40)
        assert np.abs(played.between(start, FRAME_SAMPLES) - expected).max() < 30
