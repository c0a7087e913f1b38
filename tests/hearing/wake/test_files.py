"""`earshot wake FILE…`: what the speaker would have heard in recordings, with its scores."""

import wave

import numpy as np
import pytest

from device.errors import UsageError
from device.events import NearMiss, WakeHeard
from device.hearing.wake import files
from device.hearing.wake.decision import Decision
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import WakeEngine
from device.hearing.wake.files import SLICE_SAMPLES, check, frames, search, trace
from tests.fakes import pink_noise, said, silence
from tests.hearing.wake.listening import steps, wake

LIKE_IT = "hey service", "espeak:en-us"
"""Which hey_jarvis scores with 0.4."""
AFTER = silence(1.6)
"""What is heard after the end of a recording."""


def write_wav(path, sound, rate=16_000, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(sound if isinstance(sound, bytes) else sound.tobytes())
    return path


def room(*sounds, after_s=1.0):
    return np.concatenate([silence(1.0), *sounds, silence(after_s)])


def plain_scores(sound, word="hey_jarvis"):
    """Of an engine that never rests, for whole steps."""
    engine = WakeEngine(word_paths((word,)))
    return np.array([engine.score(step)[word] for step in steps(sound)], np.float32)


def test_a_recording_is_searched_with_the_speakers_own_detector(tmp_path):
    path = write_wav(tmp_path / "room.wav", room(said("hey jarvis"), after_s=0))
    (found,) = trace(path, wake()).found
    end = 1 + len(said("hey jarvis")) / 16_000
    assert isinstance(found, WakeHeard) and found.word == "hey_jarvis" and end - 0.3 < found.audio_t <= end + 0.4


def test_of_a_stereo_recording_at_another_rate_the_first_channel_is_searched(tmp_path):
    sound = np.repeat(room(said("hey jarvis")), 3)  # 48 kHz
    noise = pink_noise(len(sound) / 48_000, 0.3, rate=48_000)
    path = write_wav(tmp_path / "room.wav", np.stack([sound, noise[: len(sound)]], axis=1), 48_000, 2)
    (found,) = trace(path, wake()).found
    assert found.word == "hey_jarvis"


def test_a_near_miss_is_found_too_with_its_highest_score(tmp_path):
    seen = trace(write_wav(tmp_path / "near.wav", room(said(*LIKE_IT))), wake())
    (found,) = seen.found
    assert isinstance(found, NearMiss) and 0.25 < found.score < 0.5
    assert found.score == np.nanmax(seen.scores["hey_jarvis"])


def test_what_scores_long_after_the_end_of_a_recording_is_found_too(tmp_path):
    word = said("alexa", "espeak:en-gb")  # up to a second
    settings = wake(words=("alexa",), min_level_dbfs=-1.0)
    (found,) = trace(write_wav(tmp_path / "room.wav", room(word, after_s=0)), settings).found
    assert isinstance(found, NearMiss) and found.why == "level"


def test_the_settings_that_are_given_decide(tmp_path):
    path = write_wav(tmp_path / "near.wav", room(said(*LIKE_IT)))
    (found,) = trace(path, wake(threshold=0.35)).found
    assert isinstance(found, WakeHeard)
    (found,) = trace(path, wake(threshold=0.35, min_level_dbfs=-1.0)).found
    assert isinstance(found, NearMiss) and found.why == "level"


def test_every_score_of_every_word_is_kept_beyond_the_end(tmp_path):
    sound = room(said("hey jarvis"))
    words = ("alexa", "hey_jarvis")
    seen = trace(write_wav(tmp_path / "room.wav", sound), wake(words=words, always_on=True))
    whole = sound[: len(sound) // 320 * 320]
    assert tuple(seen.scores) == words
    for word in words:
        assert seen.scores[word] == pytest.approx(plain_scores(np.concatenate([whole, AFTER]), word), abs=1e-6)


def test_where_the_network_rested_there_is_no_score_and_where_it_made_up_for_it_there_is(tmp_path):
    sound = np.concatenate([pink_noise(12, 0.0005), room(said("hey jarvis"), after_s=0)])
    seen = trace(write_wav(tmp_path / "room.wav", sound), wake())
    scores, plain = seen.scores["hey_jarvis"], plain_scores(sound)
    rested = np.isnan(scores)
    assert len(seen.found) == 1 and 10 < np.count_nonzero(rested) < 140
    word = len(plain) - 12 + np.argmax(plain[-12:])
    assert not rested[word - 20 : word + 1].any(), "what came before the word was made up for"
    both = ~rested[: len(plain)]
    assert scores[: len(plain)][both] == pytest.approx(plain[both], abs=1e-4)


def test_the_outline_of_the_sound_is_kept(tmp_path):
    sound = (np.arange(16_000) % 640 - 100).astype(np.int16)
    seen = trace(write_wav(tmp_path / "saw.wav", sound), wake())
    slices = np.concatenate([sound, AFTER]).reshape(-1, SLICE_SAMPLES)
    assert np.array_equal(seen.lowest, slices.min(axis=1)) and np.array_equal(seen.highest, slices.max(axis=1))


def test_each_detection_each_near_miss_and_each_recording_without_a_word_is_a_line(tmp_path):
    spoken = write_wav(tmp_path / "spoken.wav", room(said("hey jarvis")))
    near = write_wav(tmp_path / "near.wav", room(said(*LIKE_IT)))
    lines = list(search([spoken, near], wake(words=("alexa", "hey_jarvis")), None))
    assert len(lines) == 3
    assert lines[0].startswith(f"{spoken}: hey_jarvis at 2.") and ", score 0.9" in lines[0]
    assert lines[1].startswith(f"{near}: near miss of hey_jarvis at ") and lines[1].endswith("(below the threshold)")
    assert lines[2] == f"{near}: no alexa or hey_jarvis"


def test_a_picture_that_cannot_be_drawn_is_told_of_before_anything_is_heard(tmp_path):
    path = write_wav(tmp_path / "silent.wav", silence(1))
    with pytest.raises(UsageError, match=r"none/x\.png cannot be written"):
        next(search([path], wake(), tmp_path / "none" / "x.png"))


@pytest.mark.slow
def test_a_recording_is_drawn(tmp_path):
    list(search([write_wav(tmp_path / "silent.wav", silence(1))], wake(), tmp_path / "x.png"))
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_one_recording_is_drawn_at_a_time(tmp_path):
    path = write_wav(tmp_path / "silent.wav", silence(1))
    with pytest.raises(UsageError, match="--plot draws one recording, and 2 were given"):
        list(search([path, path], wake(), tmp_path / "x.png"))


def test_every_reason_of_a_near_miss_has_words():
    checks = {}

    def decision(settings, asked):
        checks.update(asked)
        return Decision(settings, asked)

    WakeDetector(wake(confirm_speech=True), decision=decision)
    assert set(files.WHY) == {"score", "patience", *checks}


def wrong_recordings(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("hello")
    empty = tmp_path / "empty.wav"
    empty.touch()
    short = tmp_path / "short.wav"
    short.write_bytes(write_wav(tmp_path / "whole.wav", silence(1)).read_bytes()[:30])
    longer = tmp_path / "longer.wav"  # a chunk that says it is longer than the whole file
    longer.write_bytes(
        short.read_bytes()[:12] + b"fmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0LIST\xff\xff\0\0xxxx"
    )
    yield longer, "no WAV file that can be read .it is cut short."
    yield text, "no WAV file"
    yield empty, "no WAV file"
    yield short, "no WAV file"
    yield tmp_path, "cannot be read"
    yield tmp_path / "none.wav", "No such file"
    yield write_wav(tmp_path / "8bit.wav", bytes(1000), width=1), "8 bits a sample; 16 are needed"
    yield write_wav(tmp_path / "24bit.wav", bytes(3000), width=3), "24 bits a sample; 16 are needed"


def test_what_is_no_recording_is_refused_with_the_reason(tmp_path):
    for path, why in wrong_recordings(tmp_path):
        for refuse in (lambda path: next(frames(path)), check):
            with pytest.raises(UsageError, match=why) as refused:
                refuse(path)
            assert str(path) in str(refused.value)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_recording_that_ends_within_a_sample_is_searched_to_there(tmp_path, channels):
    path = write_wav(tmp_path / "cut.wav", silence(0.5 * channels), channels=channels)
    path.write_bytes(path.read_bytes()[:-1])
    assert trace(path, wake()).found == ()


@pytest.mark.parametrize("rate", [0, 1, 40, 2**32 - 1])
def test_a_recording_at_an_absurd_rate_is_refused_with_the_reason(tmp_path, rate):
    path = write_wav(tmp_path / "odd.wav", silence(1))
    header = bytearray(path.read_bytes())
    header[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(header)
    with pytest.raises(UsageError, match=r"odd\.wav.*\b" + str(rate)):
        next(frames(path))
