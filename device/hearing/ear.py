"""The ear: a worker that keeps the pre-roll, hears wake words and speech, and forwards frames to the agent while open.

Frames and orders come through one queue, so that their order is certain. Orders are never dropped; when the ear is more
than two seconds behind, frames are.

What is heard comes out of the echo canceller twice. The agent gets it without our echo and without noise; while we play, that
costs the beginning of what people say, for the suppressor cannot tell it from echo. Those who listen here get what a linear
filter leaves: more of our echo, and all of the people. When somebody talks over us, the agent gets that, too.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from device.audio import FRAME_S, SILENT_FRAME, Frame
from device.drops import Drops
from device.events import (
    CloseEar,
    EchoMeasured,
    Event,
    JudgeEcho,
    NearMiss,
    OpenEar,
    SendHeld,
    SpeechConfirmed,
    SpeechEnded,
    SpeechStarted,
    SpeechSuspected,
    StopWordHeard,
    WakeHeard,
)
from device.hearing.barge_in import Echo

RING_S = 2.0
OTHERS_S = 0.2
"""Of people the canceller lets something through at least so often."""
_RING_FRAMES = round(RING_S / FRAME_S)


Order = OpenEar | CloseEar | SendHeld | JudgeEcho


class _Mask(NamedTuple):
    """What was captured between these times (seconds, CLOCK_MONOTONIC) is a sound of our own."""

    since: float
    until: float


class _Held(NamedTuple):
    """A frame as the canceller cleaned it, and as the linear filter left it."""

    clean: Frame
    heard: Frame


class _Unmask(NamedTuple):
    """Nothing captured after this time (seconds, CLOCK_MONOTONIC) is a sound of our own."""

    at: float


class WakeWords(Protocol):
    """See `wake.detector.WakeDetector`."""

    def hear(
        self, frame: Frame, *, may_rest: bool, playing: bool, passed: bool
    ) -> Sequence[WakeHeard | NearMiss | StopWordHeard]: ...

    def played(self, frame: Frame) -> None: ...


class Speech(Protocol):
    """See `speech.SpeechDetector`."""

    def hear(self, frame: Frame, *, often: bool) -> SpeechStarted | SpeechEnded | None: ...

    def reset(self, *, speaking: bool) -> None: ...

    @property
    def probability(self) -> float: ...


class Canceller(Echo, Protocol):
    """See `canceller.Canceller`."""

    def played(self, frame: Frame) -> None: ...

    def clean(self, frame: Frame, *, engaged: bool) -> Frame: ...

    @property
    def linear(self) -> Frame: ...

    def judge(self, reply: int, played_s: float) -> EchoMeasured: ...


class BargeIn(Protocol):
    """See `barge_in.BargeIn`."""

    def hear(self, frame: Frame, probability: float, echo: Echo) -> SpeechSuspected | SpeechConfirmed | None: ...

    def reset(self) -> None: ...


class Ear:
    """Gives frames to `send`, with the session they are for, and events to `post`."""

    def __init__(
        self,
        wake: WakeWords,
        speech: Speech,
        send: Callable[[int, bytes], None],
        post: Callable[[Event], None],
        *,
        canceller: Canceller,
        barge_in: BargeIn | None = None,
        hold_s: float = 0.0,
        noise: Callable[[Frame], None] | None = None,
    ) -> None:
        """`barge_in`: None where nobody may talk over us. `hold_s`: for how long what is heard while we play is held back, so
        that `SendHeld` can send it unsuppressed. `noise` gets what the microphone hears while we are silent.
        """
        self._wake = wake
        self._speech = speech
        self._send = send
        self._post = post
        self._canceller = canceller
        self._barge_in = barge_in
        self._hold = round(hold_s / FRAME_S)
        self._noise = noise
        self._inbox: queue.SimpleQueue[Frame | Order | _Mask | _Unmask] = queue.SimpleQueue()
        self._ring: deque[Frame] = deque(maxlen=_RING_FRAMES)
        self._masks: deque[_Mask] = deque(maxlen=8)
        self._reference: deque[Frame] = deque(maxlen=_RING_FRAMES)
        """What is played, as it will be heard, on its way to those who listen to it; while the microphone is muted it stays."""
        self._session: int | None = None
        """To whom frames are forwarded; None while the ear is closed."""
        self._since = 0.0
        """What was captured earlier is not for them."""
        self._held: deque[_Held] = deque()
        """What was captured while we play and is not forwarded yet, at most `hold_s`."""
        self._talked_over = False
        """Somebody talks over what we play: it is forwarded at once, and nothing is suppressed in it."""
        self._hears_itself = False
        """The canceller does not work, so nobody is believed to talk over us: nothing is held back for them."""
        self._others_until = float("-inf")
        """Until when what is heard may be somebody else (seconds, CLOCK_MONOTONIC)."""
        self._owes_start = False
        """Somebody speaks, and it may be we."""
        self._drops = Drops("ear", post)
        self.heard_at: float | None = None
        """When the last frame was dealt with (seconds, CLOCK_MONOTONIC)."""

    def hear(self, frame: Frame) -> None:
        """Take in a frame. Called on the microphone's thread; never blocks."""
        self._drops.put(self._inbox, frame, _RING_FRAMES)

    def played(self, frame: Frame) -> None:
        """Take in a frame of the reference signal. Called on the speaker's thread; never blocks."""
        self._reference.append(frame)

    def order(self, order: Order) -> None:
        """Begin or end forwarding, or send what is held back; or post how well our own sound was cancelled."""
        self._inbox.put(order)

    def mask(self, seconds: float) -> None:
        """We make a sound ourselves for `seconds` from now: the agent gets silence instead."""
        now = time.monotonic()
        self._inbox.put(_Mask(now, now + seconds))

    def unmask(self, seconds: float) -> None:
        """Our sound was broken off: `seconds` from now the room is heard again."""
        self._inbox.put(_Unmask(time.monotonic() + seconds))

    def work(self, stopping: threading.Event) -> None:
        """Hear until told to stop."""
        while not stopping.is_set():
            try:
                item = self._inbox.get(timeout=0.2)
            except queue.Empty:
                continue
            match item:
                case Frame():
                    self._take(item)
                case OpenEar(session) if session != self._session:
                    self._begin(item)
                case SendHeld(since):
                    self._talked_over = True
                    self._forward_held(0, since)
                case CloseEar():
                    self._forward_held(0)
                    self._session = None
                case JudgeEcho(reply, played_s):
                    self._judge(self._canceller.judge(reply, played_s))
                case _Mask():
                    self._masks.append(item)
                case _Unmask(at):
                    self._masks = deque((_Mask(since, min(until, at)) for since, until in self._masks), maxlen=8)

    def _begin(self, order: OpenEar) -> None:
        self._speech.reset(speaking=order.speaking)
        if self._barge_in is not None:
            self._barge_in.reset()
        self._held.clear()
        self._talked_over = self._owes_start = False
        self._session, self._since = order.session, order.since
        for frame in self._ring:
            if frame.t >= order.since:
                self._forward(frame)

    def _judge(self, measured: EchoMeasured) -> None:
        """Post it; what it says of the canceller is believed here as the brain does (`talking_over.judge`)."""
        if measured.works is not None:
            self._hears_itself = not measured.works
        self._post(measured)

    def _take(self, raw: Frame) -> None:
        played = [self._reference.popleft() for _ in range(len(self._reference))]
        for reference in played:
            self._canceller.played(reference)
        clean = self._canceller.clean(raw, engaged=self._session is not None)
        heard, playing = self._canceller.linear, self._canceller.playing
        self._ring.append(heard)
        if self._session is not None and raw.t >= self._since:
            self._talked_over = self._talked_over and playing
            self._held.append(_Held(heard if self._talked_over else clean, heard))
            # Before the networks run: they take longer than the frame may wait.
            hold = playing and not self._talked_over and not self._hears_itself
            self._forward_held(self._hold if hold else 0)
            self._listen(heard, playing)
        if self._noise is not None and not playing:
            self._noise(raw)
        for reference in played:
            self._wake.played(reference)
        # What it made up for after a rest would hold up frames that somebody waits for.
        may_rest = self._session is None
        passed = self._canceller.let_through
        for one in self._wake.hear(heard, may_rest=may_rest, playing=playing, passed=passed):
            self._post(one)
        self.heard_at = time.monotonic()

    def _listen(self, frame: Frame, playing: bool) -> None:
        """For speech, in a session."""
        change = self._speech.hear(frame, often=playing and self._barge_in is not None)
        if not playing or self._canceller.let_through:
            self._others_until = frame.t + OTHERS_S
        if isinstance(change, SpeechStarted):
            self._owes_start, change = True, None
        if self._owes_start and (frame.t <= self._others_until or isinstance(change, SpeechEnded)):
            self._owes_start = False
            change = SpeechStarted() if change is None else None  # what has ended meanwhile was our own voice
        over = None if self._barge_in is None else self._barge_in.hear(frame, self._speech.probability, self._canceller)
        for event in (change, over):
            if event is not None:
                self._post(event)

    def _forward_held(self, keep: int, heard_since: float = float("inf")) -> None:
        """All but the newest `keep` frames; those of `heard_since` (seconds, CLOCK_MONOTONIC) on with nothing suppressed."""
        while len(self._held) > keep:
            clean, heard = self._held.popleft()
            self._forward(heard if heard.t >= heard_since else clean)

    def _forward(self, frame: Frame) -> None:
        assert self._session is not None
        ours = any(mask.since <= frame.t <= mask.until for mask in self._masks)
        self._send(self._session, SILENT_FRAME if ours else frame.pcm)
