"""The speaker says a wake word itself, and the microphone hears it, with the real networks: whatever the time between them."""

import numpy as np
import pytest

from device.audio import Frame
from device.events import NearMiss, WakeHeard
from device.hearing.wake.detector import WakeDetector, word_paths
from device.hearing.wake.engine import WakeEngine
from tests.fakes import said, silence
from tests.hearing.wake.listening import wake

VOICES = ("flite:slt", "flite:rms", "espeak:en-us", "espeak:en-us+f3", "flite:awb", "espeak:en-gb")
START = 60
"""The frame of the microphone in which the word begins, or up to three later."""


@pytest.fixture(scope="module")
def jarvis():
    return WakeEngine(word_paths(("hey_jarvis",)))


def frames_of(sound):
    return sound[: len(sound) // 320 * 320].reshape(-1, 320)


def heard(engine, played, start, silent_before, lead):
    """What the detector hears when `played` (frames) is played, in the microphone from frame `start` on, `silent_before` frames
    of silence before it, and the reference `lead` frames earlier."""
    rng = np.random.default_rng(1)
    detector, found = WakeDetector(wake(always_on=True), engine.twin()), []
    sounds = {start - silent_before + n: frame for n, frame in enumerate([*[np.zeros(320)] * silent_before, *played])}
    for number in range(start + len(played) + 60):
        if (reference := sounds.get(number + lead)) is not None:
            detector.played(Frame(reference.astype(np.int16).tobytes(), (number + lead + 1) * 0.02))
        room = 0.3 * sounds.get(number, np.zeros(320)) + 15 * rng.standard_normal(320)
        found += detector.hear(Frame(room.astype(np.int16).tobytes(), (number + 1) * 0.02))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 1.0])
@pytest.mark.parametrize("lead", [1, 2, 5])
def test_it_does_not_wake_itself(jarvis, lead, after_s):
    refused = 0
    for voice in VOICES:
        played = frames_of(np.concatenate([said("hey jarvis", voice), silence(after_s)]))
        for phase in range(16):
            found = heard(jarvis, played, START + phase % 4, phase // 4, lead)
            assert not [one for one in found if isinstance(one, WakeHeard)], (voice, phase)
            refused += any(one.why == "playback" for one in found)
    assert refused > 80  # of 96; the others are too faint to count


@pytest.mark.parametrize("phase", [0, 5, 10, 15])
def test_it_does_not_wake_itself_with_the_last_word_of_a_reply(jarvis, phase):
    played = frames_of(said("hey jarvis", "espeak:en-us"))
    (found,) = heard(jarvis, played, START + phase % 4, phase // 4, lead=1)
    assert isinstance(found, NearMiss) and found.why == "playback"


def test_somebody_who_says_it_into_a_reply_is_heard(jarvis):
    reply = frames_of(said("the quick brown fox jumps over the lazy dog", "flite:slt"))
    engine, rng = jarvis.twin(), np.random.default_rng(1)
    detector, found = WakeDetector(wake(always_on=True), engine), []
    word = frames_of(said("hey jarvis", "flite:rms"))
    for number in range(len(reply) + 40):
        room = 15 * rng.standard_normal(320)
        if 0 <= number - 20 < len(reply):
            detector.played(Frame(reply[number - 20].tobytes(), (number + 2) * 0.02))
            room += 0.05 * reply[number - 20]
        if 0 <= number - 50 < len(word):
            room += word[number - 50]
        found += detector.hear(Frame(np.clip(room, -32768, 32767).astype(np.int16).tobytes(), (number + 1) * 0.02))
    assert [type(one) for one in found] == [WakeHeard]
