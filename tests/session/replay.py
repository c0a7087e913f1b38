"""Recorded exchanges, played to a real session over a real socket, byte by byte as a test wants it; and what comes of it."""

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from device import events as e
from device.config import Agent
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.link import Link
from device.session.protocols import PROTOCOLS
from tests.fakes import LIMIT_S, Recorder
from tests.session.exchanges import Case
from tests.session.test_socket import BINARY, CLOSE, TEXT, frame

KEY = "sk_a-very-secret-key"
GOODBYE = frame(struct.pack("!H", 1000), CLOSE)
LAST = e.SessionEnded | e.SessionRefused | e.WorkerDied
FRAME_SAMPLES, LEVEL = 320, 40
"""The user's frame number n is a level of 40 n: it can be read after resampling too, in the middle of the message."""


def wire(message: str | bytes) -> bytes:
    """The message as one WebSocket frame."""
    return frame(message.encode(), TEXT) if isinstance(message, str) else frame(message, BINARY)


def sound_in(message: str | bytes) -> bytes | None:
    """The sound that a message of ours carries, if it does."""
    if isinstance(message, bytes):
        return message
    if not message.startswith("{"):
        return None
    fields = json.loads(message)
    data = fields.get("audio") or (fields.get("payload") or {}).get("data")
    return base64.b64decode(data) if data else None


class Visit:
    """One WebSocket connection, as the agent sees it."""

    def __init__(self, stage: "Stage", tcp: socket.socket, path: str) -> None:
        self.path = path
        self.ready = False
        self.messages: list[str] = []
        self.numbers: list[int] = []
        """Of the user's frames, in the order in which they came."""
        self.goodbye = False
        self._stage = stage
        self._tcp = tcp

    def send(self, data: bytes) -> None:
        self._tcp.sendall(data)

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until that holds; it is looked at when something comes."""
        with self._stage.changed:
            assert self._stage.changed.wait_for(condition, LIMIT_S), "what the agent waits for does not come"

    def hang_up(self) -> None:
        """End our side of the connection without a goodbye. What is on its way to us is still read."""
        self._tcp.shutdown(socket.SHUT_WR)

    def break_off(self) -> None:
        """Reset the connection, as soon as the reading thread has let go of it."""
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._tcp.shutdown(socket.SHUT_RD)

    def read(self) -> None:
        """Take what comes until nothing can come any more."""
        with contextlib.suppress(OSError), self._tcp.makefile("rb") as file:
            for opcode, data in _frames(file.read):
                self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # what came is known to have come
                with self._stage.changed:
                    self._take(opcode, data)
                    self._stage.changed.notify_all()

    def _take(self, opcode: int, data: bytes) -> None:
        if opcode == CLOSE:
            self.goodbye = True
        if opcode not in (TEXT, BINARY):
            return
        message = data.decode() if opcode == TEXT else data
        pcm = sound_in(message)
        if pcm is None:
            self.messages.append(str(message))
            return
        if not self.ready:
            self._stage.violations.append("audio before ready")
        if len(pcm) % 2 or not pcm:
            self._stage.violations.append(f"a frame of {len(pcm)} bytes")
        self.numbers.append(round(float(np.median(np.frombuffer(pcm[: len(pcm) & ~1], np.int16))) / LEVEL))


def _frames(read: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of a client's frames."""
    while len(head := read(2)) == 2:
        length = head[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(read(2 if length == 126 else 8), "big")
        mask, data = read(4), read(length)
        if len(data) < length:
            return
        key = np.resize(np.frombuffer(mask, np.uint8), length)
        yield head[0] & 0x0F, (np.frombuffer(data, np.uint8) ^ key).tobytes()


Script = Callable[[Visit], None]


class Stage:
    """A server on loopback: `scripts` run one after the other, each on a connection; later ones are ready, and end."""

    def __init__(self, case: Case, *scripts: Script) -> None:
        self.visits: list[Visit] = []
        self.granted: list[str] = []
        self.violations: list[str] = []
        self.changed = threading.Condition()
        self._case = case
        self._scripts = scripts
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, name="stage", daemon=True)

    def __enter__(self) -> "Stage":
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in (self._accepting, *self._threads):
            thread.join(LIMIT_S)
            assert not thread.is_alive(), "a connection of the stage does not end"
        self._listener.close()

    def numbers(self) -> list[int]:
        """Of the user's frames on all connections."""
        return [number for visit in self.visits for number in visit.numbers]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                tcp, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(tcp,), name="stage-connection", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, tcp: socket.socket) -> None:
        tcp.settimeout(LIMIT_S)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with contextlib.suppress(OSError), tcp:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = tcp.recv(4096)
                    if not piece:
                        return  # connected ahead, and not wanted
                    head += piece
                self._answer(tcp, head.decode())
        except Exception as error:
            self.violations.append(f"{type(error).__name__}: {error}")

    def _answer(self, tcp: socket.socket, head: str) -> None:
        if head.startswith("POST"):
            assert self._case.grant is not None
            self.granted.append(head)
            body = json.dumps(self._case.grant(self.url, len(self.granted))).encode()
            tcp.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            tcp.recv(4096)  # until the other side closes: a reset could overtake the answer
            return
        found = re.search(r"Sec-WebSocket-Key: (\S+)", head)
        assert found is not None, head
        accept = base64.b64encode(hashlib.sha1(f"{found[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
        tcp.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        visit = Visit(self, tcp, head.split()[1])
        with self.changed:
            self.visits.append(visit)
            number = len(self.visits) - 1
        reader = threading.Thread(target=visit.read, name="stage-reader", daemon=True)
        reader.start()
        try:
            with contextlib.suppress(OSError):
                self._scripts[number](visit) if number < len(self._scripts) else self._part(visit)
        finally:
            reader.join(LIMIT_S)
            if reader.is_alive():
                self.violations.append("a connection that stays open")
                visit.hang_up()

    def _part(self, visit: Visit) -> None:
        visit.ready = True
        for message in self._case.exchange[: self._case.ready + 1]:
            visit.send(wire(message))
        visit.send(GOODBYE)


class Talker:
    """A speaker without sound that talks to a stage. The user says a frame whenever `says_at` happens."""

    def __init__(self, case: Case, url: str, says_at: tuple[type, ...] = (e.Connected, e.SessionReady)) -> None:
        self.events = Recorder()
        self.said = 0
        self.happened: Counter[type] = Counter()
        self.heard: dict[int, bytes] = {}
        """Replies by their numbers."""
        self._says_at = says_at
        kind, agent = PROTOCOLS[case.protocol], Agent(protocol=case.protocol, **{"url": url, **case.agent})
        assert kind.problems(agent, Secret(KEY)) == []
        self.link = Link(
            lambda number, conversation: kind(agent, Secret(KEY), number, conversation),
            self._feed,
            self._post,
            connect=connect,
        )

    def facts(self) -> list[e.Event]:
        """All events but those of the sending thread, which come when they come."""
        return [event for event in self.events.items if not isinstance(event, e.Connected | e.FirstAudioSent)]

    def converse(self) -> None:
        """Have a session until it is over."""
        try:
            self.link.start(1, None)
            # Not the last of all: the sending thread may have something to tell after it.
            self.events.wait(lambda items: any(isinstance(item, LAST) for item in items), 60)
        finally:
            self.link.close()

    def _post(self, event: e.Event) -> None:
        self.happened[type(event)] += 1
        if isinstance(event, self._says_at):
            pcm = np.full(FRAME_SAMPLES, self.said * LEVEL, np.int16).tobytes()
            self.said += 1  # first: the frame may have arrived when `hear` comes back
            self.link.hear(1, pcm)
        self.events(event)

    def _feed(self, reply: int, pcm: bytes, rate: int) -> None:
        assert len(pcm) % 2 == 0 and 8000 <= rate <= 48_000
        self.heard[reply] = self.heard.get(reply, b"") + pcm
