"""Somebody in the room with the speaker, in virtual time: its own ear and brain hear what it plays itself and what people do.

The loop is closed: what the brain orders (softer, silent) is heard in the echo as late as it would be on a card.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from device import brain
from device import events as e
from device.audio import FRAME_S, FRAME_SAMPLES, Frame
from device.config import Conversation
from device.hearing.ear import Ear
from device.speaking.jitter import WORTH_PERIODS
from device.state import Phase, State
from tests.room.acoustics import to_pcm

DUCKED = 10 ** (-18 / 20)
SESSION = 1
FOREVER = 1e9


class Happened(NamedTuple):
    """`what` the ear or the brain said, at `t` (seconds into the scene)."""

    t: float
    what: Any


class Reply(NamedTuple):
    """From `start` to `end` (frames) one reply is played."""

    start: int
    end: int


class Scene:
    """Plays replies and hears the room, frame by frame.

    `played`: what all replies together are (float32, 16 kHz, silent between them); `echo`: what the microphone hears of that at
    full volume, `delay_s` late; `near`: everything else it hears. `ear` builds the ear, given where it posts events.
    """

    def __init__(
        self,
        ear: Callable[[Callable[[e.Event], None]], Ear],
        played: np.ndarray,
        echo: np.ndarray,
        near: np.ndarray,
        delay_s: float,
        replies: Sequence[Reply],
        conversation: Conversation | None = None,
    ) -> None:
        self.happened: list[Happened] = []
        self.heard: list[np.ndarray] = []
        """What the microphone heard, as frames of int16."""
        self.cleaned: list[np.ndarray] = []
        """What the agent would get."""
        self.probabilities: list[float] = []
        self._inbox: list[e.Event] = []
        self.ear = ear(self._inbox.append)
        self._played, self._echo, self._near = played, echo, near
        self._delay = round(delay_s / FRAME_S * FRAME_SAMPLES)
        self._delay_s = delay_s
        self._replies = list(replies)
        settings = conversation or Conversation(idle_s=FOREVER, max_s=FOREVER)
        self.state = State(settings=settings, phase=Phase.LISTENING, session=SESSION, session_until=FOREVER)
        self.gain = np.ones(len(played), np.float32)
        """With which each sample was played."""
        self._target, self._stopped, self._kept = 1.0, False, False
        self.ear._send = lambda _, pcm: self.cleaned.append(np.frombuffer(pcm, np.int16))
        self.ear._begin(e.OpenEar(SESSION, 0.0, False))

    def run(self) -> "Scene":
        """To its end."""
        for number in range(len(self._near) // FRAME_SAMPLES):
            self._frame(number)
        return self

    def of(self, *kinds: type) -> list[float]:
        """When such things happened."""
        return [one.t for one in self.happened if isinstance(one.what, kinds)]

    def _frame(self, number: int) -> None:
        begin, end = number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES
        now = (number + 1) * FRAME_S
        for reply, (start, stop) in enumerate(self._replies, 1):
            if number == start:
                self._target, self._stopped = 1.0, False
                self.gain[begin - 1 if begin else 0] = 1.0
                self._step(e.ReplyStarted(SESSION, reply), now)
                self._step(e.PlaybackStarted(reply), now)
            if number == stop and self.state.playing == reply:
                self._ended(reply, "drained", now)
        before = self.gain[begin - 1] if begin else 1.0
        self.gain[begin:end] = np.linspace(before, self._target, FRAME_SAMPLES)
        if self.state.playing:
            pcm = to_pcm(self._played[begin:end] * self.gain[begin:end]).tobytes()
            self.ear.played(Frame(pcm, now + self._delay_s))
        room = self._near[begin:end].copy()
        late = np.arange(begin, end) - self._delay
        room += self._echo[begin:end] * self.gain[np.maximum(late, 0)]
        heard = to_pcm(room)
        self.heard.append(heard)
        self.ear._take(Frame(heard.tobytes(), now))
        self.probabilities.append(self.ear._speech.probability)
        while self._inbox:
            self._step(self._inbox.pop(0), now)
        if self.state.deadline is not None and self.state.deadline <= now:
            self._step(e.DeadlinePassed(), now)

    def _step(self, event: e.Event, now: float) -> None:
        self.happened.append(Happened(now, event))
        self.state, effects = brain.step(self.state, event, now)
        for effect in effects:
            self.happened.append(Happened(now, effect))
            match effect:
                case e.DuckPlayback():
                    self._target = DUCKED
                case e.RaisePlayback():
                    self._target = 1.0 if self.state.playing and not self._stopped else self._target
                case e.StopPlayback(keep=keep):
                    self._kept = keep
                    self._stopped = True
                    self._target = 0.0
                    self._ended(self.state.playing, "interrupted", now)
                case e.ResumePlayback(reply):
                    self._resume(reply, now)
                case e.JudgeEcho(reply, played_s):
                    self._inbox.append(self.ear._canceller.judge(reply, played_s))

    def _resume(self, reply: int, now: float) -> None:
        """Play on what was kept: from where it would be by now, for its echo is given beforehand."""
        left = self._replies[reply - 1].end - round(now / FRAME_S)
        if self._kept and left >= WORTH_PERIODS:
            self._target, self._stopped, self._kept = 1.0, False, False
            self._inbox.append(e.PlaybackStarted(reply))

    def _ended(self, reply: int, reason: str, now: float) -> None:
        if reply:
            played_s = now - self._replies[reply - 1].start * FRAME_S
            self._inbox.append(e.PlaybackStopped(reply, reason, reply, played_s))
