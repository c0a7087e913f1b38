"""The loudspeaker: a worker that writes a period of 20 ms after the other to the sound card, silence where there is nothing.

The stream never stops: a DAC that sleeps swallows the first syllable, and some Pi drivers do not wake again.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from device.audio import FRAME_S, Frame, LostTime
from device.config import Speaker as Settings
from device.drops import Drops
from device.events import (
    Dropped,
    DuckPlayback,
    Event,
    PlaybackStarted,
    PlaybackStopped,
    PlayChime,
    RaisePlayback,
    ResumePlayback,
    SayReason,
    SetVolume,
    StopChime,
    StopPlayback,
)
from device.soundcard import Stream
from device.speaking import phrases
from device.speaking.jitter import JitterBuffer, Phase
from device.speaking.mix import Mix
from device.speaking.own import FADE_PART, Mask
from device.speaking.reference import Reference

log = logging.getLogger(__name__)

Order = StopPlayback | ResumePlayback | DuckPlayback | RaisePlayback | PlayChime | SayReason | StopChime | SetVolume

MARGIN_S = 0.003
"""A period is handed over this long before the card has room for it. The card holds two: 20 ms more are in hand."""
RESTING_PERIODS = 4
"""So many are written at a time while nothing sounds and nobody is about to be answered: an order may come 80 ms late."""
REST_AFTER = 500
"""Periods of silence before that. A card that starts takes more at once than it holds, which `LostTime` must not go by, and in
the first seconds the whole machine is busy with starting us."""
ROOM_S = 0.15
"""How long a chime may go on sounding in the room."""
_INBOX = 4096
"""Chunks that may wait for the next period; with 20 ms chunks that is more than the jitter buffer holds in a minute."""


class _Chunk(NamedTuple):
    reply: int
    pcm: bytes
    rate: int


class _Words(NamedTuple):
    samples: np.ndarray


class _Room(NamedTuple):
    noise_dbfs: float


class Speaker:
    """Plays what it is fed, at once while `awake` is set. `open_stream` opens the output (see `SoundCards.open_output`).

    `reference` is called on the thread that plays with all that sounds, as it sounds; see `reference.Reference`.
    """

    def __init__(
        self,
        settings: Settings,
        post: Callable[[Event], None],
        *,
        open_stream: Callable[[], Stream],
        awake: threading.Event,
        reference: Callable[[Frame], None],
    ) -> None:
        self._post = post
        self._open_stream = open_stream
        self._awake = awake
        self._resting = False
        """Silence was written `RESTING_PERIODS` at a time, last."""
        self._quiet = 0
        """For how many periods nothing sounded, up to `REST_AFTER`."""
        self._reference = reference
        self._inbox: queue.SimpleQueue[_Chunk | _Words | _Room | Order] = queue.SimpleQueue()
        self._buffer = JitterBuffer(settings.jitter_ms / 1000)
        self._settings = settings
        self._stopped = 0
        """Replies up to this one are not to be heard."""
        self._stop: StopPlayback | None = None
        """Takes effect with the next period."""
        self._resume = 0
        """The kept reply that is to be played on after the next period: a stop comes before it."""
        self._audible = False
        """A `PlaybackStarted` was posted that is owed its `PlaybackStopped`."""
        self._gaps = 0
        """Gaps of the jitter buffer that were reported."""
        self._played_s = 0.0
        """How much of the present reply was given to the card with the last period."""
        self._mask = Mask(settings)
        self._rate = 0
        """Hertz of the card; 0 until the stream is open."""
        self._drops = Drops("speaker", post)
        self.played_at: float | None = None
        """When the last period was written (seconds, CLOCK_MONOTONIC); None before the first."""
        self.latency_s: float | None = None
        """From writing a sample to hearing it, as far as the driver knows; None until the stream is open."""

    def feed(self, reply: int, pcm: bytes, rate: int) -> None:
        """Play `pcm` (s16le, mono, an even number of bytes) of `reply`, at 8,000 to 48,000 hertz. Never blocks."""
        self._drops.put(self._inbox, _Chunk(reply, pcm, rate), _INBOX)

    def order(self, order: Order) -> None:
        """Carry out `order` with the next period. Words wait for the end of the chime, and replace older words."""
        self._mask.ordered(order, time.monotonic())
        if isinstance(order, SayReason) and self._rate:  # rendered here: the thread that plays has 20 ms
            self._inbox.put(_Words(phrases.render(order.code, self._rate)))
        else:
            self._inbox.put(order)

    def room(self, noise_dbfs: float) -> None:
        """Play as loud as the noise of the room wants it (RMS in dB below full scale), where that is set. Never blocks."""
        self._inbox.put(_Room(noise_dbfs))

    @property
    def fading_s(self) -> float:
        """For how long from now the microphone may hear what has just been broken off."""
        return (self.latency_s or 0.0) + (RESTING_PERIODS + 1 if self._resting else 2) * FRAME_S + ROOM_S

    def masking_s(self, order: PlayChime | SayReason) -> float:
        """For how long the microphone may hear what `order` begins, if it is given now."""
        length = self._mask.length_s(order, time.monotonic())
        return length + self.fading_s if length else 0.0

    def work(self, stopping: threading.Event) -> None:
        """Play until told to stop.

        Raises:
            HardwareError: the device cannot be opened, or is gone.
        """
        stream = self._open_stream()
        log.info("= speaker %r at %d Hz, %d channels", stream.name, stream.rate, stream.channels)
        self.latency_s, self._rate = stream.latency_s, stream.rate
        mix = Mix(self._buffer, stream.rate, stream.period, self._settings)
        reference = Reference(stream.rate, stream.latency_s, self._reference)
        silence = bytes(stream.period * stream.channels * 2)
        lost = LostTime(FRAME_S)
        try:
            while not stopping.is_set():
                self._take_orders(stream, mix)
                samples = mix.period(self._stop)
                self._played_s = mix.played_s
                self._resting = self._may_rest(samples)
                count = RESTING_PERIODS if self._resting else 1
                self._write(stream, silence * count if samples is None else _interleave(samples, stream.channels))
                self.played_at = now = time.monotonic()
                self._play_on(mix)
                reference.written(samples, now, count)
                if frames := lost.tick(now, count):
                    self._post(Dropped("speaker", frames))
        finally:
            stream.close()

    def _take_orders(self, stream: Stream, mix: Mix) -> None:
        """Take what comes until the card has room for a period: what is decided late can be changed until then."""
        until = time.monotonic() + (0.0 if self._resting or stream.has_room() else FRAME_S - MARGIN_S)
        while True:
            wait = until - time.monotonic()
            try:
                self._take(self._inbox.get(block=wait > 0, timeout=max(0.0, wait)), mix)
            except queue.Empty:
                return

    def _may_rest(self, samples: np.ndarray | None) -> bool:
        self._quiet = min(self._quiet + 1, REST_AFTER) if samples is None else 0
        return (
            self._quiet == REST_AFTER and self._buffer.phase in (Phase.EMPTY, Phase.KEPT) and not self._awake.is_set()
        )

    def _take(self, item: _Chunk | _Words | _Room | Order, mix: Mix) -> None:
        match item:
            case _Chunk(reply, pcm, sound_rate) if self._is_wanted(reply):
                if dropped := self._buffer.push(reply, pcm, sound_rate):
                    self._post(Dropped("jitter_buffer", dropped))
            case StopPlayback(reply):
                self._stopped = max(self._stopped, reply)
                self._stop, self._resume = item, 0
            case ResumePlayback(reply):
                self._resume = reply
            case DuckPlayback() | RaisePlayback():
                mix.duck(isinstance(item, DuckPlayback))
            case SetVolume(percent):
                mix.volume(percent)
            case _Room(noise_dbfs):
                mix.room(noise_dbfs)
            case _Words(samples):
                mix.own.say(samples)
            case PlayChime() | SayReason() | StopChime():
                mix.own.take(item)

    def _is_wanted(self, reply: int) -> bool:
        if self._stop is None:
            return reply > self._stopped or reply <= self._buffer.kept
        return reply > self._stopped or self._stop.keep

    def _write(self, stream: Stream, block: bytes) -> None:
        if self._stop is not None:  # with the fade the reply is over: say so now, not 15 ms later
            fade = stream.period // FADE_PART * stream.channels * 2
            stream.write(block[:fade])
            self._report()
            block = block[fade:]
        stream.write(block)
        self._report()

    def _play_on(self, mix: Mix) -> None:
        resume, self._resume = self._resume, 0
        if resume and mix.resume(resume):
            self._stopped = resume - 1

    def _report(self) -> None:
        """Say what became true with the period that was just written."""
        stop, self._stop = self._stop, None
        if self._audible and not self._buffer.playing:
            self._audible = False
            number = max(self._buffer.reply, stop.reply) if stop else self._buffer.reply
            heard = self._buffer.reply, max(0.0, round(self._played_s, 3))
            self._post(PlaybackStopped(number, stop.reason if stop else "drained", *heard))
        elif not self._audible and self._buffer.playing:
            self._audible = True
            self._post(PlaybackStarted(self._buffer.reply))
        if self._buffer.gaps > self._gaps:
            self._post(Dropped("jitter_buffer_gap", self._buffer.gaps - self._gaps))
            self._gaps = self._buffer.gaps


def _interleave(samples: np.ndarray, channels: int) -> bytes:
    return np.repeat(samples, channels).tobytes()
