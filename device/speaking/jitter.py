"""The jitter buffer: holds a reply back until enough is there to play through the network's hesitations. Pure.

Its clock is the sound card: `pull` is called once per period of 20 ms.
"""

from collections import deque
from enum import Enum, auto

import numpy as np

PERIOD_S = 0.02
MAX_PERIODS = round(300 / PERIOD_S)
"""Five minutes (14 MB at 24 kHz): a server may send a whole story at once, but not more."""
MAX_CHUNKS = 20_000
"""A chunk costs 400 bytes however little is in it."""
HANGOVER_PERIODS = 15
"""No message says that a reply is over: it is, when nothing came for 300 ms after all was played."""


class Phase(Enum):
    """What the buffer does with the next period."""

    EMPTY = auto()
    FILLING = auto()
    PLAYING = auto()


class JitterBuffer:
    """Chunks of s16le mono in, periods of 20 ms out. Each chunk belongs to a numbered reply."""

    def __init__(self, prefill_s: float) -> None:
        self.rate = 0
        """Hertz of what is in it and comes out of it; 0 before the first chunk."""
        self._period_bytes = 2
        self._prefill_periods = max(1, round(prefill_s / PERIOD_S))
        self._chunks: deque[tuple[int, memoryview]] = deque()
        self._bytes = 0
        self._waited = 0
        self.phase = Phase.EMPTY
        self.reply = 0
        """The reply that the last period came from."""
        self.played_s = 0.0
        """How much of that reply has come out."""
        self.playing = False
        """Some of a reply has been played: what comes next continues it, even after a gap."""
        self.gaps = 0
        """Periods of silence so far that were heard inside a reply, because the network was late."""

    def push(self, reply: int, pcm: bytes, rate: int) -> int:
        """Add a chunk of an even number of bytes; returns how many periods of the oldest sound had to go for it.

        Another rate is another session's: what is left of the last one has to go.
        """
        gone = 0
        if rate != self.rate:
            gone = -(-self._bytes // self._period_bytes)
            self._chunks.clear()
            self._bytes, self.rate, self._period_bytes = 0, rate, round(rate * PERIOD_S) * 2
        self._chunks.append((reply, memoryview(pcm)))
        self._bytes += len(pcm)
        if self.phase is Phase.EMPTY:
            self.phase, self._waited = Phase.FILLING, 0
        excess = self._bytes - MAX_PERIODS * self._period_bytes
        if len(self._chunks) > MAX_CHUNKS:
            excess = max(excess, len(self._chunks[0][1]))
        return gone + (-(-len(self._take(excess)) // self._period_bytes) if excess > 0 else 0)

    def pull(self) -> np.ndarray | None:
        """The next period (int16, `rate` / 50 samples), None where there is nothing to play now."""
        if self.phase is Phase.FILLING:
            self._fill()
        if self.phase is not Phase.PLAYING:
            return None
        pcm = self._take(self._period_bytes)
        if not self._bytes:
            self.phase, self._waited = Phase.FILLING, 0
        samples = np.zeros(self._period_bytes // 2, np.int16)
        samples[: len(pcm) // 2] = np.frombuffer(pcm, np.int16)
        return samples

    def drop(self, reply: int) -> None:
        """Forget all replies up to number `reply`, and that one was being played."""
        self._chunks = deque(chunk for chunk in self._chunks if chunk[0] > reply)
        self._bytes = sum(len(pcm) for _, pcm in self._chunks)
        self.phase, self._waited = Phase.FILLING if self._chunks else Phase.EMPTY, 0
        self.playing = False

    def _fill(self) -> None:
        enough = self._bytes >= self._prefill_periods * self._period_bytes
        if self._bytes and (enough or self._waited >= self._prefill_periods):
            self.gaps += self._waited if self.playing else 0
            self.phase, self.playing = Phase.PLAYING, True
        elif not self._bytes and self._waited >= HANGOVER_PERIODS:
            self.phase, self.playing = Phase.EMPTY, False
        self._waited += 1

    def _take(self, count: int) -> bytes:
        parts: list[memoryview] = []
        while count and self._chunks:
            reply, chunk = self._chunks.popleft()
            if len(chunk) > count:
                self._chunks.appendleft((reply, chunk[count:]))
                chunk = chunk[:count]
            if reply != self.reply:
                self.reply, self.played_s = reply, 0.0
            self.played_s += len(chunk) / 2 / self.rate
            parts.append(chunk)
            count -= len(chunk)
            self._bytes -= len(chunk)
        return b"".join(parts)
