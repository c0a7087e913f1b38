"""Talking over what we play: voices are believed, noises and what is left of ourselves are not."""

import numpy as np
import pytest

from device.audio import FRAME_S, FRAME_SAMPLES, RATE, Frame
from device.events import SpeechConfirmed, SpeechSuspected
from device.hearing.barge_in import BargeIn, is_voice, likeness
from tests.fakes import pink_noise, silence, tone


class Echo:
    """A canceller that works well; each of its figures is a lever."""

    playing = True
    residual_dbfs = -55.0
    let_through = True
    ours = False

    def is_ours(self):
        return self.ours


def voice(seconds, hertz=140, level=0.05):
    """What of a voice matters here: a pitch that wanders, and formants."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = hertz * t + 0.5 * np.sin(2 * np.pi * 3 * t)
    buzz = sum(np.cos(2 * np.pi * n * phase) / n for n in range(1, 20))
    return (buzz / buzz.std() * level * 32768).clip(-32768, 32767).astype(np.int16)


def quiet(seconds):
    return pink_noise(seconds, 0.0001)


def heard(sound, likely=0.0, echo=None, after_ms=250, detector=None):
    """(event, seconds into `sound`) for each; `likely`: the speech detector's probability, as one for all, or by time."""
    barge_in = detector or BargeIn(after_ms)
    found = []
    for number in range(len(sound) // FRAME_SAMPLES):
        t = (number + 1) * FRAME_S
        pcm = sound[number * FRAME_SAMPLES :][:FRAME_SAMPLES].tobytes()
        probability = likely(t) if callable(likely) else likely
        event = barge_in.hear(Frame(pcm, t), probability, echo or Echo())
        if event is not None:
            found.append((event, t))
    return found


def kinds(found):
    return [type(event) for event, _ in found]


TALK = np.concatenate((quiet(1), voice(1), quiet(1)))


def talking(t):
    return 0.9 if 1.05 < t < 2.05 else 0.02


def test_talk_is_suspected_at_once_and_confirmed_after_its_time():
    (suspected, early), (confirmed, late) = heard(TALK, talking)[:2]
    assert isinstance(suspected, SpeechSuspected) and 1.04 <= early <= 1.2
    assert isinstance(confirmed, SpeechConfirmed) and 1.1 <= late <= 1.3


def test_the_time_counts_from_the_first_sound_of_it_as_seen_in_hindsight():
    (_, (confirmed, late), *_) = heard(TALK, talking)
    assert 0.85 <= confirmed.since <= 1.0  # the canceller held back some of it
    (_, (_, later), *_) = heard(TALK, talking, after_ms=450)
    assert later - late == pytest.approx(0.2, abs=0.021)


def test_what_the_detector_does_not_take_for_speech_is_none():
    assert heard(TALK, 0.4) == []


def test_a_word_too_short_is_suspected_but_not_confirmed():
    word = np.concatenate((quiet(1), voice(0.1), quiet(1)))
    assert kinds(heard(word, lambda t: 0.9 if 1.0 < t < 1.15 else 0.1)) == [SpeechSuspected]


@pytest.mark.parametrize("likely", [0.02, 0.95])
def test_noise_is_not_confirmed_whatever_the_detector_says(likely):
    burst = pink_noise(0.3, 0.2)
    assert heard(np.concatenate((quiet(1), burst, quiet(0.2), burst, quiet(1))), likely) == []


def test_a_ringing_plate_is_no_voice():
    plate = tone(2300, 0.5, RATE) // 2 + tone(3700, 0.5, RATE) // 4
    assert heard(np.concatenate((quiet(1), plate.astype(np.int16), quiet(1))), 0.9) == []


def test_what_may_be_left_of_our_own_voice_is_not_believed():
    echo = Echo()
    echo.residual_dbfs = -30.0  # before the filter has converged
    assert heard(TALK, talking, echo) == []


def test_what_webrtc_takes_for_echo_altogether_is_echo():
    echo = Echo()
    echo.let_through = False
    assert heard(TALK, talking, echo) == []


def test_what_is_found_in_what_we_play_is_suspected_at_most():
    echo = Echo()
    echo.ours = True
    assert set(kinds(heard(TALK, talking, echo))) == {SpeechSuspected}


def test_nothing_is_suspected_while_nothing_plays():
    echo = Echo()
    echo.playing = False
    assert heard(TALK, talking, echo) == []


def test_a_suspicion_that_comes_to_nothing_is_over_and_the_next_one_waits():
    def cough(t):
        return 0.9 if t % 0.5 < 0.1 else 0.1

    barks = np.concatenate([np.concatenate((voice(0.08), quiet(0.42))) for _ in range(6)])
    found = heard(np.concatenate((quiet(1), barks, quiet(1))), cough)
    assert set(kinds(found)) == {SpeechSuspected}
    times = [t for _, t in found]
    assert min(np.diff(times)) >= 0.6  # 400 ms, and a rest


def test_a_room_that_has_become_loud_is_no_talk():
    hum = np.concatenate((quiet(1), voice(8, level=0.01)))
    found = heard(hum, 0.9)
    assert all(t < 4 for _, t in found)


def test_reset_forgets_what_was_suspected():
    detector = BargeIn(250)
    assert kinds(heard(TALK[: round(1.1 * RATE)], talking, detector=detector)) == [SpeechSuspected]
    detector.reset()
    assert heard(quiet(1), 0.0, detector=detector) == []


def test_a_voice_is_told_from_hiss_hum_and_silence():
    def sounds_like_one(sound):
        floats = sound.astype(np.float32)
        return is_voice(likeness(floats), floats)

    assert sounds_like_one(voice(0.04))
    assert not sounds_like_one(pink_noise(0.04))
    assert not sounds_like_one(tone(3000, 0.04, RATE))
    assert not sounds_like_one(silence(0.04))
