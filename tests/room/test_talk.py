"""The scene carries out what the brain orders."""

from types import SimpleNamespace

import numpy as np
import pytest

from device import events as e
from device.audio import FRAME_S, FRAME_SAMPLES
from device.talking_over import WORDS_S
from tests.room.talk import Reply, Scene

REPLY_S = 8.0


class Ear:
    """Hears nothing but what it is told to, by number of the frame."""

    def __init__(self, post, says):
        self._post, self._says = post, says
        self._speech = SimpleNamespace(probability=0.0)
        self._canceller = SimpleNamespace(judge=lambda reply, played_s: e.EchoMeasured(reply, None, None))
        self._frames = 0

    def _begin(self, order): ...

    def played(self, frame): ...

    def _take(self, frame):
        self._frames += 1
        for event in self._says.get(self._frames, ()):
            self._post(event)


@pytest.fixture
def scene():
    def run(says):
        sound = np.full(round(12 / FRAME_S) * FRAME_SAMPLES, 0.1, np.float32)
        numbered = {round(t / FRAME_S): events for t, events in says.items()}
        replies = [Reply(0, round(REPLY_S / FRAME_S))]
        return Scene(lambda post: Ear(post, numbered), sound, sound, sound, 0.05, replies).run()

    return run


def loudness(scene, t):
    return scene.gain[round(t / FRAME_S) * FRAME_SAMPLES]


def test_a_reply_that_was_stopped_for_nothing_is_played_on(scene):
    done = scene({2.0: [e.SpeechSuspected()], 2.2: [e.SpeechConfirmed(1.9)]})
    later = 2.2 + WORDS_S
    assert [loudness(done, t) for t in (1.0, 2.1, later - 0.1, later + 0.1)] == pytest.approx(
        [1, 0.126, 0, 1], abs=0.01
    )
    assert done.of(e.PlaybackStarted) == pytest.approx([0.02, later], abs=0.05)
    assert [one.what.reason for one in done.happened if isinstance(one.what, e.PlaybackStopped)] == [
        "interrupted",
        "drained",
    ]


def test_with_less_than_a_second_left_it_is_not(scene):
    at = REPLY_S - WORDS_S - 0.8
    done = scene({at - 0.2: [e.SpeechSuspected()], at: [e.SpeechConfirmed(at - 0.3)]})
    assert len(done.of(e.ResumePlayback)) == 1 and len(done.of(e.PlaybackStarted)) == 1
    assert loudness(done, REPLY_S - 0.5) == 0.0
