"""The agent on a loopback socket with working fakes for ear, voice and clock; and a client that speaks its protocol."""

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from device.agent.hearing import Heard, Turns, Utterance
from device.agent.parts import Parts
from device.agent.server import serve
from device.agent.skills import COMMANDS
from device.agent.timers import Timers

LOUD, SILENT = b"\x01\x10" * 320, bytes(640)


class Levers:
    """What the fake ear will hear and how long that takes, how long the fake voice speaks, and what they were given."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.utterances: list[Utterance] = []
        self.recognition_s = 0.0
        self.sentence_s = 0.2
        self.now = 1000.0
        self.voice_fails = False
        self.commands = list(COMMANDS)

    async def recognise(self, utterance: Utterance) -> Heard:
        self.utterances.append(utterance)
        await asyncio.sleep(self.recognition_s)
        return self.heard.pop(0) if self.heard else Heard("")

    async def synthesise(self, sentence: str) -> bytes:
        if self.voice_fails:
            raise RuntimeError("no voice")
        return bytes(int(self.sentence_s * 24_000) * 2)

    def parts(self) -> Parts:
        return Parts(
            self.commands,
            Timers(lambda: self.now),
            self.recognise,
            self.synthesise,
            lambda: Turns(any),
            lambda: datetime(2026, 5, 4, 15, 7),
        )


class Client:
    """A speaker's end of the protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, kind: str, **payload: Any) -> None:
        self.socket.send(json.dumps({"type": kind, "payload": payload}))

    def audio(self, pcm: bytes) -> None:
        self.send("audio", data=base64.b64encode(pcm).decode())

    def say(self, speech_s: float = 1.0) -> None:
        """Speech, and the silence after which a turn ends."""
        for _ in range(round(speech_s * 50)):
            self.audio(LOUD)
        for _ in range(40):
            self.audio(SILENT)

    def receive(self, timeout: float = 3.0) -> dict[str, Any]:
        message = json.loads(self.socket.recv(timeout))
        assert isinstance(message, dict)
        return message

    def until(self, kind: str) -> list[dict[str, Any]]:
        """All messages up to the first of that type."""
        messages = [self.receive()]
        while messages[-1]["type"] != kind:
            messages.append(self.receive())
        return messages

    def start(self, **payload: Any) -> dict[str, Any]:
        self.send("start", **payload)
        started, ready = self.receive(), self.receive()
        assert (started["type"], ready) == ("started", {"type": "ready"})
        return dict(started["payload"])


class Agent:
    """`serve` in a thread of its own."""

    def __init__(self, parts: Parts | None) -> None:
        self._parts = parts
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="agent")
        self._thread.start()
        assert self._listening.wait(5)

    async def _serve(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        with suppress(asyncio.CancelledError):
            await serve("127.0.0.1", 0, ready=self._ready, parts=self._parts)

    def _ready(self, port: int) -> None:
        self.url = f"ws://127.0.0.1:{port}/ws/voice"
        self._listening.set()

    def close(self) -> None:
        assert self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def levers() -> Levers:
    return Levers()


@pytest.fixture
def agent(levers: Levers) -> Iterator[Agent]:
    agent = Agent(levers.parts())
    yield agent
    agent.close()


@pytest.fixture(scope="session")
def real_agent() -> Iterator[Agent]:
    agent = Agent(None)
    yield agent
    agent.close()


@pytest.fixture
def call(agent: Agent) -> Iterator[Callable[[], Client]]:
    """Opens connections, and closes them after the test."""
    with ExitStack() as sockets:
        yield lambda: Client(sockets.enter_context(connect(agent.url, close_timeout=1)))


@pytest.fixture
def client(call: Callable[[], Client]) -> Client:
    """A client whose session is ready."""
    client = call()
    client.start()
    return client
