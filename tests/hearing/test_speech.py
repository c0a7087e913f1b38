"""Whether somebody speaks: the real network on voices and noises, and the hysteresis on scripted probabilities."""

import numpy as np
import pytest

from device.audio import FRAME_S, Frame
from device.events import SpeechEnded, SpeechStarted
from device.hearing.speech import CHUNK_SAMPLES, SpeechDetector
from tests.fakes import pink_noise, said, silence


def changes(sound, detector=None, speaking=False):
    """What changed, with seconds into `sound` (int16, 16 kHz)."""
    detector = detector or SpeechDetector()
    detector.reset(speaking=speaking)
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    heard = [(detector.hear(Frame(pcm.tobytes(), 0.0)), (n + 1) * FRAME_S) for n, pcm in enumerate(frames)]
    return [(type(change), t) for change, t in heard if change is not None]


@pytest.fixture(scope="module")
def detector():
    return SpeechDetector()


@pytest.mark.parametrize(
    "voice", ["flite:slt", "flite:rms", "flite:awb", "espeak:en-us", "espeak:en-gb", "espeak:en-us+f3"]
)
def test_start_and_end_of_a_sentence_are_seen_in_time(detector, voice):
    sentence = said("what is the weather like today", voice)
    sound = np.concatenate([silence(1), sentence, silence(1.5)])
    (started, start), (ended, end) = changes(sound, detector)
    assert (started, ended) == (SpeechStarted, SpeechEnded)
    assert 1 < start < 1.6
    over = 1 + len(sentence) / 16_000
    assert over + 0.1 < end < over + 0.9


def test_a_sentence_in_a_noisy_room_is_seen(detector):
    sentence = said("tell me a story", "flite:rms").astype(np.float64)
    sound = (
        np.concatenate([silence(1), sentence, silence(1.5)])
        + pink_noise(2.5 + len(sentence) / 16_000, 0.005)[: len(sentence) + 40_000]
    )
    kinds = [kind for kind, _ in changes(sound.astype(np.int16), detector)]
    assert kinds == [SpeechStarted, SpeechEnded]


def test_a_short_pause_within_a_sentence_ends_nothing(detector):
    sound = np.concatenate([said("set a timer"), silence(0.15), said("for ten minutes please"), silence(1.5)])
    assert [kind for kind, _ in changes(sound, detector)] == [SpeechStarted, SpeechEnded]


@pytest.mark.parametrize("level", [0.001, 0.01, 0.1])
def test_noise_is_no_speech(detector, level):
    assert changes(pink_noise(10, level), detector) == []


def test_silence_is_no_speech(detector):
    assert changes(silence(5), detector) == []


def test_clicks_and_claps_are_no_speech(detector):
    sound = pink_noise(5, 0.0005)
    for start in range(8000, len(sound), 12_000):
        length = 240 if start % 24_000 else 16
        burst = np.random.default_rng(start).standard_normal(length) * np.exp(-np.arange(length) / 60)
        sound[start : start + length] = (burst / np.abs(burst).max() * 30_000).astype(np.int16)
    assert changes(sound, detector) == []


def test_the_end_is_owed_to_who_was_speaking_already_even_if_it_is_silent_from_the_start(detector):
    ((kind, t),) = changes(silence(2), detector, speaking=True)
    assert kind is SpeechEnded and 0.45 < t < 0.6


def scripted(*probabilities, speaking=False):
    """What changed at which chunk of 40 ms."""
    left = list(probabilities)
    detector = SpeechDetector(lambda samples: left.pop(0))
    sound = np.zeros(CHUNK_SAMPLES * len(probabilities), np.int16)
    return [(kind, round(t / 0.04)) for kind, t in changes(sound, detector, speaking)]


def test_speech_starts_with_the_second_chunk_in_a_row():
    assert scripted(0.9, 0.9, 0.9) == [(SpeechStarted, 2)]
    assert scripted(0.9, 0.1, 0.9, 0.1, 0.9) == []
    assert scripted(0.5, 0.5, 0.5) == []


def test_speech_ends_after_480_ms_below():
    assert scripted(*[0.1] * 11, speaking=True) == []
    assert scripted(*[0.1] * 12, speaking=True) == [(SpeechEnded, 12)]
    assert scripted(*[0.1] * 11, 0.36, *[0.1] * 12, speaking=True) == [(SpeechEnded, 24)]


def test_between_the_two_limits_nothing_changes():
    assert scripted(*[0.4] * 30) == []
    assert scripted(*[0.4] * 30, speaking=True) == []


def test_it_goes_on_after_each_change():
    run = [0.9] * 2 + [0.1] * 12
    assert scripted(*run, *run) == [(SpeechStarted, 2), (SpeechEnded, 14), (SpeechStarted, 16), (SpeechEnded, 28)]


def test_the_network_gets_40_ms_of_the_sound_in_order():
    chunks = []

    def probability(samples):
        chunks.append(samples.copy())
        return 0.0

    sound = np.arange(3200, dtype=np.int16)
    changes(sound, SpeechDetector(probability))
    assert np.array_equal(np.concatenate(chunks), sound) and {len(chunk) for chunk in chunks} == {640}


def test_reset_forgets_half_a_chunk():
    chunks = []
    detector = SpeechDetector(lambda samples: chunks.append(samples.copy()) or 0.0)
    detector.hear(Frame(b"\1" * 640, 0.0))
    changes(np.full(640, 7, np.int16), detector)
    assert [set(chunk) for chunk in chunks] == [{7}]


def test_reset_forgets_what_the_network_remembers(detector):
    sound = said("good morning everybody")
    vowel = sound[4800:5440]
    detector.reset(speaking=False)
    fresh = detector._judge(vowel)
    changes(sound, detector)
    assert detector._judge(vowel) != fresh
    detector.reset(speaking=False)
    assert detector._judge(vowel) == fresh


def test_while_somebody_may_talk_over_us_the_probability_is_a_new_one_every_20_ms(detector):
    frames = said("what is the weather like today").astype(np.int16)[:32_000]
    frames = frames[: len(frames) // 320 * 320].reshape(-1, 320)
    detector.reset(speaking=False)
    seen = []
    for number, pcm in enumerate(frames):
        detector.hear(Frame(pcm.tobytes(), 0.0), often=number >= 50)
        seen.append(detector.probability)
    changed = np.diff(seen) != 0
    assert changed[2:49].sum() == 23 or changed[2:49].sum() == 24  # every other
    assert changed[50:90].all()
    # The second network knows at once what was said before.
    assert seen[50] > 0.9 and seen[51] > 0.9
