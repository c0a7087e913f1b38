"""Sessions with a hostile agent, without a network: the link's threads, and connections that bring what `messages` makes."""

import itertools
import json
import queue
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

from device import events as e
from device.config import Agent
from device.session import session as session_module
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.link import Link
from device.session.outbox import Connection
from device.session.protocol import Protocol
from device.session.protocols import PROTOCOLS
from device.session.socket import Closed
from device.session.transport import Told
from tests.servers.atoms import KEY
from tests.session.exchanges import CASES
from tests.session.hostile import messages

PATIENCE_S = 20.0
PER_CONNECTION = 500
"""Messages, after which it hangs up."""


class Speaker:
    """A link, and all that it tells."""

    def __init__(self, agent: Agent, connect_by: Any = connect) -> None:
        self.told: queue.SimpleQueue[e.Event | int] = queue.SimpleQueue()
        """Events, and how many bytes of sound came."""
        kind = PROTOCOLS[agent.protocol]
        self.link = Link(
            lambda number, conversation: kind(agent, Secret(KEY), number, conversation),
            lambda number, pcm, rate: self.told.put(len(pcm)),
            self.told.put,
            connect=connect_by,
        )

    def until(self, kind: type, number: int) -> None:
        """Wait for that fact of session `number`."""
        while not isinstance(item := self.told.get(timeout=PATIENCE_S), kind):
            if isinstance(item, e.SessionRefused | e.SessionEnded | e.WorkerDied):
                raise RuntimeError(f"session {number}: {item}")

    def until_heard(self, size: int) -> None:
        while size > 0:
            item = self.told.get(timeout=PATIENCE_S)
            size -= item if isinstance(item, int) else 0


class Flood:
    """Connections that lead to a hostile agent. See `connect.connect`."""

    def __init__(self, name: str, count: int, seed: int) -> None:
        self.case = next(case for case in CASES.values() if case.protocol == name)
        self.left = count
        self._source = messages(name, seed)

    def __call__(self, protocol: Protocol, told: Told) -> Connection:
        if protocol.credential() is not None and self.case.grant is not None:
            protocol.granted(json.dumps(self.case.grant("https://voice.example", 1)).encode())
        protocol.request()
        first = [message for message in self.case.exchange[: self.case.ready + 1] if self.left % 2]
        return Hostile(self, itertools.chain(first, itertools.islice(self._source, PER_CONNECTION)))


class Hostile:
    """One of them; every other begins as it should."""

    def __init__(self, flood: Flood, source: Iterator[str | bytes]) -> None:
        self._flood = flood
        self._source = source
        self._sent = 0

    def receive(self) -> str | bytes | None:
        self._flood.left -= 1
        message = next(self._source, None)
        if message is None or self._flood.left < 0:
            raise Closed(1000 if self._flood.left > 0 else 4401)  # after which nobody comes again
        return message

    def send(self, message: str | bytes) -> None:
        self._sent += len(message)

    def written(self) -> int:
        return self._sent

    acknowledged = written

    def goodbye(self) -> None: ...

    close = reset = goodbye

    def abort(self, why: Exception | None = None) -> None: ...


@mock.patch.object(session_module, "delay_s", lambda attempt, jitter: 0.0)
def flood(name: str, count: int, seed: int) -> Counter[str]:
    """Have sessions until so many hostile messages have come; what they told, by kinds. The user does all there is to do."""
    told: Counter[str] = Counter()
    source = Flood(name, count, seed)
    url = "" if name == "local" else "https://voice.example"
    speaker = Speaker(Agent(**{"protocol": name, "url": url, **source.case.agent}), source)
    number = 0
    while source.left > 0:
        number += 1
        speaker.link.start(number, None)
        item: e.Event | int = 0
        while not isinstance(item, e.SessionEnded | e.SessionRefused | e.WorkerDied):
            item = speaker.told.get(timeout=PATIENCE_S)
            told[type(item).__name__] += 1
            use(speaker.link, number, item)
        speaker.link.close()
        while not speaker.told.empty():
            told[type(speaker.told.get()).__name__] += 1
    return told


def use(link: Link, number: int, fact: e.Event | int) -> None:
    """What a user may do when that happens."""
    match fact:
        case int():
            link.hear(number, bytes(640))
        case e.ReplyStarted(reply=reply):
            link.interrupt()
            link.heard(reply, 0.1)
        case e.Transcribed() | e.AgentErred():
            link.text("hello")
        case e.ConnectionLost(in_s=in_s) if in_s > 0:
            link.stop("patience")  # as long as the agent asks for, nobody waits
