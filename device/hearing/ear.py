"""The ear: a worker that keeps the pre-roll, hears wake words and speech, and forwards frames to the agent while open.

Frames and orders come through one queue, so that their order is certain. Orders are never dropped; when the ear is more
than two seconds behind, frames are.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from device.audio import FRAME_S, SILENT_FRAME, Frame
from device.drops import Drops
from device.events import CloseEar, Event, NearMiss, OpenEar, SpeechEnded, SpeechStarted, WakeHeard

RING_S = 2.0
_RING_FRAMES = round(RING_S / FRAME_S)


class _Mask(NamedTuple):
    """What was captured between these times (seconds, CLOCK_MONOTONIC) is a sound of our own."""

    since: float
    until: float


class _Unmask(NamedTuple):
    """Nothing captured after this time (seconds, CLOCK_MONOTONIC) is a sound of our own."""

    at: float


class WakeWords(Protocol):
    """See `wake.detector.WakeDetector`."""

    def hear(self, frame: Frame, *, may_rest: bool) -> Sequence[WakeHeard | NearMiss]: ...

    def played(self, frame: Frame) -> None: ...


class Speech(Protocol):
    """See `speech.SpeechDetector`."""

    def hear(self, frame: Frame) -> SpeechStarted | SpeechEnded | None: ...

    def reset(self, *, speaking: bool) -> None: ...


class Ear:
    """Gives frames to `send`, with the session they are for, and events to `post`."""

    def __init__(
        self, wake: WakeWords, speech: Speech, send: Callable[[int, bytes], None], post: Callable[[Event], None]
    ) -> None:
        self._wake = wake
        self._speech = speech
        self._send = send
        self._post = post
        self._inbox: queue.SimpleQueue[Frame | OpenEar | CloseEar | _Mask | _Unmask] = queue.SimpleQueue()
        self._ring: deque[Frame] = deque(maxlen=_RING_FRAMES)
        self._masks: deque[_Mask] = deque(maxlen=8)
        self._reference: deque[Frame] = deque(maxlen=_RING_FRAMES)
        """What is played, as it will be heard, on its way to the detector; while the microphone is muted it stays here."""
        self._session: int | None = None
        """To whom frames are forwarded; None while the ear is closed."""
        self._drops = Drops("ear", post)
        self.heard_at: float | None = None
        """When the last frame was dealt with (seconds, CLOCK_MONOTONIC)."""

    def hear(self, frame: Frame) -> None:
        """Take in a frame. Called on the microphone's thread; never blocks."""
        self._drops.put(self._inbox, frame, _RING_FRAMES)

    def played(self, frame: Frame) -> None:
        """Take in a frame of the reference signal. Called on the speaker's thread; never blocks."""
        self._reference.append(frame)

    def order(self, order: OpenEar | CloseEar) -> None:
        """Begin or end forwarding."""
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
                case CloseEar():
                    self._session = None
                case _Mask():
                    self._masks.append(item)
                case _Unmask(at):
                    self._masks = deque((_Mask(since, min(until, at)) for since, until in self._masks), maxlen=8)

    def _begin(self, order: OpenEar) -> None:
        self._speech.reset(speaking=order.speaking)
        self._session = order.session
        for frame in self._ring:
            if frame.t >= order.since:
                self._forward(order.session, frame)

    def _take(self, frame: Frame) -> None:
        self._ring.append(frame)
        if self._session is not None:
            self._forward(self._session, frame)  # before the networks run: they take longer than the frame may wait
            if (change := self._speech.hear(frame)) is not None:
                self._post(change)
        while self._reference:
            self._wake.played(self._reference.popleft())
        # What it made up for after a rest would hold up frames that somebody waits for.
        for heard in self._wake.hear(frame, may_rest=self._session is None):
            self._post(heard)
        self.heard_at = time.monotonic()

    def _forward(self, session: int, frame: Frame) -> None:
        ours = any(mask.since <= frame.t <= mask.until for mask in self._masks)
        self._send(session, SILENT_FRAME if ours else frame.pcm)
