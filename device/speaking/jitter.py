"""The jitter buffer: holds a reply back until enough is there to play through the network's hesitations. Pure.

Its clock is the sound card: `pull` is called once per period of 20 ms.
"""

from collections import deque
from enum import Enum, auto

import numpy as np

from device.speaking.network import PERIOD_S, Network

MAX_PERIODS = round(600 / PERIOD_S)
"""Ten minutes (29 MB at 24 kHz): a server may send a whole story at once, but not more."""
MAX_BLOCKS = 20_000
"""A block costs 200 bytes however little is in it."""
_BLOCK = 1 << 16
"""Bytes: small chunks of a reply are put together up to this."""
HANGOVER_PERIODS = 15
"""No message says that a reply is over: it is, when nothing came for 300 ms after all was played."""
AGAIN_PERIODS = 15
"""So much of what was heard already is heard again where a kept reply is resumed, 0.3 s: people lost the thread."""
WORTH_PERIODS = 50
"""With less than a second more it would be but a stutter: an agent that sends at the pace of speech has sent hardly more."""
KEEP_PERIODS = 1500
"""A reply is kept for half a minute: then nobody waits for its rest any more."""


class Phase(Enum):
    """What the buffer does with the next period."""

    EMPTY = auto()
    FILLING = auto()
    PLAYING = auto()
    KEPT = auto()


class JitterBuffer:
    """Chunks of s16le mono in, periods of 20 ms out. Each chunk belongs to a numbered reply.

    `start_s`: how much is held back before anything is known of the network; then it adapts.
    """

    def __init__(self, start_s: float) -> None:
        self.rate = 0
        """Hertz of what is in it and comes out of it; 0 before the first chunk."""
        self._period_bytes = 2
        self._network = Network(start_s)
        self._now = 0
        """Periods since the start."""
        self._blocks: deque[tuple[int, bytes | bytearray]] = deque()
        self._used = 0
        """Bytes of the first block that are gone already."""
        self._bytes = 0
        self._newest = 0
        """The reply that the last chunk belonged to."""
        self._heard: deque[bytes] = deque(maxlen=AGAIN_PERIODS)
        """The last periods of the present reply as they came."""
        self._waited = 0
        self._lead = 0.0
        """Periods for which what came most punctually could have been played by now: a late first chunk does not count."""
        self._fade = False
        """The next period follows a gap: it fades in."""
        self.phase = Phase.EMPTY
        self.reply = 0
        """The reply that the last period came from."""
        self.played_s = 0.0
        """How much of that reply has come out."""
        self.playing = False
        """Some of a reply has been played: what comes next continues it, even after a gap."""
        self.kept = 0
        """Replies up to this one are kept, not played; 0: none."""
        self.gaps = 0
        """Periods of silence so far that were heard inside a reply, because the network was late."""

    def push(self, reply: int, pcm: bytes, rate: int) -> int:
        """Add a chunk of an even number of bytes; returns how many periods of the oldest sound had to go for it.

        Another rate is another session's: what is left of the last one has to go. A newer reply takes the place of a kept one.
        """
        if not pcm:
            return 0
        if self.kept and reply > self.kept:
            self.drop(self.kept)
        gone = self._change(rate) if rate != self.rate else 0
        if self.phase is Phase.EMPTY:
            self._wait()
        if reply != self._newest:
            self._network.begin()
        self._newest = reply
        self._lead = max(self._lead, self._bytes / self._period_bytes)
        self._network.came(self._now, len(pcm) / self._period_bytes)
        self._append(reply, pcm)
        excess = self._bytes - MAX_PERIODS * self._period_bytes
        if len(self._blocks) > MAX_BLOCKS:
            excess = max(excess, len(self._blocks[0][1]) - self._used)
        return gone + (-(-len(self._take(excess)) // self._period_bytes) if excess > 0 else 0)

    def pull(self) -> np.ndarray | None:
        """The next period (int16, `rate` / 50 samples), None where there is nothing to play now.

        A reply that breaks off fades away, and what follows a gap fades in.
        """
        self._now += 1
        if self.phase is Phase.FILLING:
            self._fill()
        elif self.phase is Phase.KEPT:
            self._waited += 1
            if self._waited > KEEP_PERIODS:
                self.drop(self.kept)
        return self._period() if self.phase is Phase.PLAYING else None

    def drop(self, reply: int) -> None:
        """Forget all replies up to number `reply`, and that one was being played or kept."""
        if reply < self.kept:
            return
        if self._blocks and self._blocks[0][0] <= reply:
            self._used = 0
        self._blocks = deque(block for block in self._blocks if block[0] > reply)
        self._bytes = sum(len(pcm) for _, pcm in self._blocks) - self._used
        self._wait()
        if not self._blocks:
            self.phase = Phase.EMPTY
        self._heard.clear()
        self.playing, self._fade, self.kept = False, False, 0

    def keep(self, reply: int) -> None:
        """Play no more of the replies up to number `reply`, the last there is, but keep what is there, and what is pushed yet:
        that is little, for the session drops what comes after an interruption."""
        if any(number > reply for number, _ in self._blocks):
            self.drop(reply)
            return
        if not self.playing:
            self._heard.clear()
        self.phase, self.playing, self.kept, self._waited = Phase.KEPT, False, reply, 0

    def resume(self, reply: int) -> bool:
        """Play on what is kept, a little of what was heard before it first; False where hardly anything is left to hear."""
        if self.kept != reply or self._bytes < WORTH_PERIODS * self._period_bytes:
            return False
        number, first = self._blocks[0]
        self._blocks[0] = number, first[self._used :]
        again = b"".join(self._heard)
        if again:
            self._blocks.appendleft((self.reply, again))
            self.played_s = max(0.0, self.played_s - len(again) / 2 / self.rate)
        self._bytes, self._used = self._bytes + len(again), 0
        self._heard.clear()
        self.phase, self.playing, self.kept, self._fade = Phase.PLAYING, True, 0, True
        return True

    def _change(self, rate: int) -> int:
        gone = -(-self._bytes // self._period_bytes)
        self._blocks.clear()
        self._heard.clear()
        self._bytes, self._used, self.rate, self._period_bytes = 0, 0, rate, round(rate * PERIOD_S) * 2
        return gone

    def _append(self, reply: int, pcm: bytes) -> None:
        self._bytes += len(pcm)
        number, last = self._blocks[-1] if self._blocks else (0, b"")
        if number == reply and isinstance(last, bytearray) and len(last) + len(pcm) <= _BLOCK:
            last += pcm
        else:
            self._blocks.append((reply, pcm if len(pcm) >= _BLOCK else bytearray(pcm)))

    def _wait(self) -> None:
        self.phase, self._waited, self._lead = Phase.FILLING, 0, 0.0

    def _fill(self) -> None:
        held, level = self._network.held, self._bytes / self._period_bytes
        if level and (level >= held + self._network.pause or self._lead >= held - 1):
            self._fade = self._blocks[0][0] == self.reply
            self.gaps += self._waited if self.playing and self._fade else 0
            self.phase, self.playing = Phase.PLAYING, True
        elif not level and self._waited >= HANGOVER_PERIODS:
            self.phase, self.playing = Phase.EMPTY, False
        self._waited += 1
        self._lead += 1 if level else 0

    def _period(self) -> np.ndarray:
        pcm = self._take(self._period_bytes)
        length, count = self._period_bytes // 2, len(pcm) // 2
        samples = np.zeros(length, np.int16)
        samples[:count] = np.frombuffer(pcm, np.int16)
        self._heard.append(pcm)
        if self._fade:
            self._fade = False
            self._fade_in(samples)
        if count < length:
            self._fade_away(samples, count)
            self._wait()
            self._waited = 0 if count else 1
        return samples

    def _fade_in(self, samples: np.ndarray) -> None:
        fade = len(samples) // 4
        samples[:fade] = samples[:fade] * np.linspace(0, 1, fade, endpoint=False)

    def _fade_away(self, samples: np.ndarray, count: int) -> None:
        """After `count` samples there are no more: what was heard last sounds on backwards, and fades within 10 ms.

        The sooner the more softly it ended: else it would swell again.
        """
        past = np.frombuffer(b"".join(self._heard), np.int16)[: -len(samples) // 2 - 1 : -1]
        loud, end_loud = (np.abs(part.astype(np.float32)).mean() for part in (past, past[: len(samples) // 8]))
        past = past[: round(len(past) * min(1.0, end_loud / max(loud, 1.0)))]
        start = min(count, len(samples) - len(past))
        end = start + len(past)
        samples[count:end] = past[: end - count]
        samples[start:end] = samples[start:end] * np.linspace(1, 0, len(past))

    def _take(self, count: int) -> bytes:
        parts: list[bytes | bytearray] = []
        while count and self._blocks:
            reply, block = self._blocks[0]
            part = block[self._used : self._used + count]
            self._used += len(part)
            if self._used == len(block):
                self._blocks.popleft()
                self._used = 0
            if reply != self.reply:
                self.reply, self.played_s = reply, 0.0
                self._heard.clear()
            self.played_s += len(part) / 2 / self.rate
            parts.append(part)
            count -= len(part)
            self._bytes -= len(part)
        return b"".join(parts)
