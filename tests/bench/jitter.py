"""What a network's hesitations do to replies: the real speaker with its buffer and resampler, against a card and a network that
are computed, so that an hour of speech takes a minute.

    .venv/bin/python -m tests.bench.jitter [--speakers 60] [--replies 6]

Each speaker is switched on, knows nothing of its network, and plays a few replies of a few seconds.
"""

import argparse
import heapq
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import NamedTuple
from unittest import mock

import numpy as np

from device.config import Speaker as Settings
from device.events import Dropped, Event, PlaybackStarted
from device.speaking import speaker as module
from device.speaking.jitter import JitterBuffer
from tests.fakes import Clock

RATE = 24_000
HERTZ, LOUD = 220, 8000
"""The replies are a tone, so that each hole in it and each step can be seen."""
PAUSE_S = 1.0
HOLE_S = 0.004

Row = tuple[str, str, str]


class Network(NamedTuple):
    """How chunks of `chunk_s` travel: sent at `pace` times real time, in order, each up to `jitter_s` late, some stalled."""

    chunk_s: float = 0.02
    pace: float = 1.0
    jitter_s: float = 0.0
    stalls: float = 0.0
    stall_s: float = 0.5

    def times(self, rng: np.random.Generator, seconds: float) -> tuple[np.ndarray, int]:
        """When each chunk arrives, seconds after the first is sent, and how many stalls there were."""
        count = round(seconds / self.chunk_s)
        stalled = rng.random(count) < self.stalls
        late = rng.uniform(0, self.jitter_s, count) + stalled * self.stall_s
        return np.maximum.accumulate(np.arange(count) * self.chunk_s / self.pace + late), int(stalled.sum())


class Reply(NamedTuple):
    """What became of one: how long after its first chunk it was written, its holes, and its largest step over the tone's."""

    waited_s: float
    holes: int
    longest_s: float
    step: float
    stalls: int


class Card:
    """A sound card whose time passes as it is written to, and what comes to the speaker meanwhile."""

    def __init__(self, rate: int, clock: Clock, feed: list[tuple[float, int, int, bytes]], until: float) -> None:
        self.name, self.rate, self.channels, self.latency_s, self.period = "computed", rate, 1, 0.04, rate // 50
        self.clock, self.coming, self.until = clock, feed, until
        self.written: list[bytes] = []
        self.stopping = threading.Event()
        self.speaker: module.Speaker
        heapq.heapify(self.coming)

    def has_room(self) -> bool:
        self._pass(0.02 - module.MARGIN_S)
        return True

    def write(self, pcm: bytes) -> None:
        self._pass(len(pcm) / 2 / self.rate - 0.02 + module.MARGIN_S)
        self.written.append(pcm)
        if self.clock.now > self.until:
            self.stopping.set()

    def _pass(self, seconds: float) -> None:
        self.clock.now += seconds
        while self.coming and self.coming[0][0] <= self.clock.now:
            _, reply, _, pcm = heapq.heappop(self.coming)
            self.speaker.feed(reply, pcm, RATE)

    def close(self) -> None: ...


def live(
    network: Network, replies: int, seed: int, card_rate: int = 24_000, start_ms: int = Settings().jitter_ms
) -> list[Reply]:
    """One speaker's life, from its start."""
    rng, clock = np.random.default_rng(seed), Clock(0.0)
    begins, ends, first, feed, stalls, sent = [], [], [], [], [], 1.0
    for reply in range(1, replies + 1):
        seconds = float(rng.uniform(2, 6))
        times, count = network.times(rng, seconds)
        sent += float(rng.random()) * 0.02
        pcm = tone(round(seconds / network.chunk_s) * network.chunk_s)
        size = round(network.chunk_s * RATE) * 2
        feed += [(sent + t, reply, n, pcm[n * size : (n + 1) * size]) for n, t in enumerate(times)]
        begins.append(sent)
        first.append(sent + times[0])
        stalls.append(count)
        sent += max(seconds, times[-1]) + 2 * PAUSE_S
        ends.append(sent)
    card, events = Card(card_rate, clock, feed, sent), []

    def post(event: Event) -> None:
        events.append((clock.now, event))

    settings = Settings(volume=100, level=False, jitter_ms=start_ms)
    awake = threading.Event()
    awake.set()
    with mock.patch.object(module, "time", clock):
        card.speaker = module.Speaker(
            settings, post, open_stream=lambda: card, awake=awake, reference=lambda frame: None
        )
        card.speaker.work(card.stopping)
    sound = np.frombuffer(b"".join(card.written), np.int16).astype(np.int64)
    found = []
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        started = min(t for t, event in events if isinstance(event, PlaybackStarted) and event.reply == number + 1)
        holes, step = look(sound[round(begin * card_rate) : round(end * card_rate)], card_rate)
        found.append(Reply(started - first[number], len(holes), max(holes, default=0.0), step, stalls[number]))
    assert not [event for _, event in events if isinstance(event, Dropped) and event.where != "jitter_buffer_gap"]
    return found


def look(sound: np.ndarray, rate: int) -> tuple[list[float], float]:
    """The lengths of holes in a tone, and its largest step over that of a whole one."""
    loud = np.flatnonzero(np.abs(sound) > LOUD / 20)
    apart = np.diff(loud) / rate
    step = 2 * np.pi * HERTZ / rate * LOUD
    return [float(gap) for gap in apart if gap > HOLE_S], float(np.abs(np.diff(sound)).max() / step)


def tone(seconds: float) -> bytes:
    """It begins and ends softly, as words do."""
    t = np.arange(round(seconds * RATE)) / RATE
    soft = np.minimum(1, np.minimum(t, seconds - t) / 0.02)
    return (LOUD * soft * np.sin(2 * np.pi * HERTZ * t)).astype(np.int16).tobytes()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--speakers", type=int, default=60)
    parser.add_argument("--replies", type=int, default=6)
    options = parser.parse_args()
    began = time.monotonic()
    rows: list[Row] = [("what", "reach", "got")]
    rows += [*starts(options.speakers, options.replies), *holes(options.speakers, options.replies), *story()]
    width, reach = (max(len(row[column]) for row in rows) for column in (0, 1))
    for what, aim, got in rows:
        print(f"{what:{width}}  {aim:{reach}}  {got}")
    print(f"in {time.monotonic() - began:.0f} s")


def starts(speakers: int, replies: int) -> Iterator[Row]:
    """From the first chunk's arrival to the first sample's writing."""
    cases = {
        "sent at the pace of speech, calm (0-5 ms)": (Network(jitter_s=0.005), "p95 <= 90 ms"),
        "the same in chunks of 100 ms": (Network(0.1, jitter_s=0.005), "report"),
        "sent at the pace of speech, 0-150 ms late": (Network(jitter_s=0.15), "report"),
        "sent 3 times as fast": (Network(pace=3), "as before"),
        "sent 20 times as fast, in chunks of 100 ms": (Network(0.1, pace=20), "as before"),
        "sent at once": (Network(0.1, pace=1e6), "as before"),
    }
    for name, (network, reach) in cases.items():
        lives = [live(network, replies, seed) for seed in range(max(1, speakers // 4))]
        first, second, later = ([life[n].waited_s for life in lives] for n in (0, 1, 2))
        later = [reply.waited_s for life in lives for reply in life[2:]]
        everything = [reply.waited_s for life in lives for reply in life]
        got = f"first reply {ms(first)}, second {ms(second)}, later {ms(later)}; of all {ms(everything)}"
        yield f"first audio received -> written: {name}", reach, got


def holes(speakers: int, replies: int) -> Iterator[Row]:
    """What is heard of it."""
    for card in (24_000, 48_000):
        for chunk_s in (0.02, 0.1):
            network = Network(chunk_s, jitter_s=0.15)
            yield row(
                f"0-150 ms late, chunks of {chunk_s * 1000:g} ms, card {card} Hz", "0", network, speakers, replies, card
            )
    network = Network(jitter_s=0.15, stalls=0.02)
    yield row("the same, 2 % of chunks stall for 500 ms", "<= 1 a stall", network, speakers, replies, 48_000)
    yield row(
        "calm, 0.1 % stall for 500 ms", "<= 1 a stall", Network(jitter_s=0.01, stalls=0.001), speakers, replies, 48_000
    )
    network = Network(jitter_s=0.01, stalls=0.002, stall_s=0.12)
    yield row("calm, 0.2 % stall for 120 ms (one in 10 s)", "report", network, speakers, replies, 48_000)


def row(name: str, reach: str, network: Network, speakers: int, replies: int, card: int) -> Row:
    lives = [live(network, replies, seed, card) for seed in range(speakers)]
    everything = [reply for life in lives for reply in life]
    first = sum(life[0].holes for life in lives)
    got = f"{sum(reply.holes for reply in everything)} in {len(everything)} replies ({first} in {speakers} first ones)"
    if network.stalls:
        worst = max(reply.holes - reply.stalls for reply in everything)
        got += f" with {sum(reply.stalls for reply in everything)} stalls, never more than {max(0, worst)} beyond them"
    longest = max(reply.longest_s for reply in everything)
    waits = ms([reply.waited_s for reply in everything])
    got += f"; longest {longest * 1000:.0f} ms; largest step {max(reply.step for reply in everything):.2f} of the tone's own"
    return f"holes heard: {name}", reach, f"{got}; begun after {waits}"


def story() -> Iterator[Row]:
    """Eleven minutes in chunks of 20 ms, as fast as they can be taken: what is held of it, and what it takes."""
    tracemalloc.start()
    buffer, began = JitterBuffer(0.06), time.perf_counter()
    gone = sum(buffer.push(1, bytes(960), RATE) for _ in range(33_000))
    took = (time.perf_counter() - began) / 33_000
    grown = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    yield (
        "a story of 11 minutes at once: kept",
        "10 min",
        f"{(33_000 - gone) / 3000:g} min, {took * 1e6:.1f} us a chunk",
    )
    yield "  memory it takes (28.8 MB of sound)", "a little more", f"{grown:.1f} MB"


def ms(values: list[float]) -> str:
    median, p95 = np.percentile(values, [50, 95]) * 1000
    return f"{median:.0f} (p95 {p95:.0f}) ms"


if __name__ == "__main__":
    main()
