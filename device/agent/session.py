"""One conversation: listen until a turn ends, answer it, listen again. Everything runs on the server's event loop."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import TypeVar

from websockets.exceptions import ConnectionClosed

from device.agent import messages
from device.agent.grammar import Command, find, without_wake, words_of
from device.agent.hearing import SENTENCE_S, Utterance
from device.agent.messages import Malformed, Start
from device.agent.parts import Parts, Socket
from device.agent.skills import Context
from device.agent.speaking import Pace, chunks

T = TypeVar("T")
log = logging.getLogger(__name__)

START_S = 10.0
KEPT_BYTES = int(0.7 * 32_000)
# A speaker that was without a connection sends up to 10 s at once: all of it may come while the first words are recognised.
BACKLOG_BYTES = 10 * 32_000
# The device plays later than we send: its jitter buffer, the sound card, the room.
ECHO_S = 0.3
# A radio in the room must not make the agent repeat for ever that it did not understand.
MISSES = 2
NOT_UNDERSTOOD = "Sorry, I did not understand."
APOLOGY = "Sorry, that did not work."
GREETING = "Hello. What can I do for you?"


class Session:
    """A conversation over `socket`. `run` returns when it is over."""

    def __init__(self, socket: Socket, parts: Parts) -> None:
        self._socket = socket
        self._parts = parts
        self._turns = parts.new_turns()
        self._turn: asyncio.Task[None] | None = None  # while there is one we do not listen, but keep the latest audio
        self._kept = b""
        self._pace = Pace()
        self._spoke = False
        self._misses = 0
        self._transcript: list[dict[str, str]] = []
        self._context = Context(parts.today(), parts.timers)

    async def run(self) -> None:
        """Hold the conversation. The socket's own exceptions pass through."""
        try:
            if not await self._start():
                return
            async for data in self._socket:
                await self._handle(data)
        finally:
            await self._cancel()

    async def _start(self) -> bool:
        """Answer everything but `start` with an error; False if none comes in time."""
        try:
            async with asyncio.timeout(START_S):
                start = None
                while start is None:
                    start = await self._first(await self._socket.recv())
        except TimeoutError:
            await self._socket.send(messages.error("start_timeout", f"No start message within {START_S:.0f} s."))
            await self._socket.close(1008)
            return False
        conversation = start.conversation_id or str(uuid.uuid4())
        names = {"session_id": str(uuid.uuid4()), "conversation_id": conversation}
        await self._socket.send(messages.message("started", names))
        await self._socket.send(messages.message("ready"))
        if start.initial_message:
            self._begin(self._answer, start.initial_message)
        elif start.greet:
            self._begin(self._say, [GREETING])
        return True

    async def _first(self, data: str | bytes) -> Start | None:
        try:
            kind, payload = messages.parse(data)
            if kind == "start":
                return messages.start_of(payload)
            code = "audio_before_ready" if kind == "audio" else "not_started"
            raise Malformed(code, "The first message must be start.")
        except Malformed as mistake:
            await self._socket.send(messages.error(mistake.code, str(mistake)))
            return None

    async def _handle(self, data: str | bytes) -> None:
        try:
            kind, payload = messages.parse(data)
            if kind == "audio":
                self._hear(messages.audio_of(payload))
            elif kind == "text":
                text = messages.text_of(payload)
                if await self._cancel():
                    await self._socket.send(messages.message("interrupted"))
                self._begin(self._answer, text)
            elif kind == "interrupt":
                await self._interrupt()
            elif kind == "stop":
                await self._cancel()
                await self._end()
            else:
                code = "already_started" if kind == "start" else "unknown_type"
                raise Malformed(code, "This message has no meaning here.")
        except Malformed as mistake:
            await self._socket.send(messages.error(mistake.code, str(mistake)))

    # --- listening

    def _hear(self, pcm: bytes) -> None:
        if self._turn is not None:
            self._kept = (self._kept + pcm)[-(KEPT_BYTES if self._spoke else BACKLOG_BYTES) :]
        elif ended := self._turns.hear(pcm):
            utterance, self._kept = ended
            self._begin(self._take, utterance)

    def _begin(self, turn: Callable[[T], Awaitable[None]], about: T) -> None:
        self._spoke = False
        self._turn = asyncio.create_task(self._guard(turn, about))

    async def _guard(self, turn: Callable[[T], Awaitable[None]], about: T) -> None:
        try:
            await turn(about)
        except ConnectionClosed:
            return
        except Exception as error:
            log.warning("A turn failed: %s", error)
            with suppress(ConnectionClosed):
                await self._socket.send(messages.error("internal", "The agent failed to answer. Its log says why."))
        self._turn = None
        kept, self._kept = self._kept, b""
        self._turns.reset()
        if not self._spoke:  # else it is our own echo
            self._hear(kept)

    async def _cancel(self) -> bool:
        """Give up the turn, if any; True if some of it was sent. When this returns, nothing more of it is."""
        turn, self._turn = self._turn, None
        if turn is None:
            return False
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        self._pace = Pace()
        return self._spoke

    async def _interrupt(self) -> None:
        answering = self._turn is not None
        await self._cancel()
        await self._socket.send(messages.message("interrupted"))
        if answering:
            kept, self._kept = self._kept[-KEPT_BYTES:], b""
            self._turns.reset()
            self._hear(kept)

    # --- answering

    async def _take(self, utterance: Utterance) -> None:
        heard = await self._parts.recognise(utterance)
        words = heard.text.split()
        if heard.clear and not without_wake(words):
            return
        if heard.clear and find(words, self._parts.commands):
            self._misses = 0
            await self._answer(heard.text)
        elif utterance.speech_s >= SENTENCE_S and self._misses < MISSES:
            self._misses += 1
            await self._say([NOT_UNDERSTOOD])

    async def _answer(self, text: str) -> None:
        words = words_of(text)
        found = find(words, self._parts.commands)
        await self._record("user", " ".join(found[1]) if found else text)
        if found is not None:
            await self._use(*found)
        elif without_wake(words):
            await self._say([NOT_UNDERSTOOD])

    async def _use(self, command: Command, words: list[str]) -> None:
        self._context.now = self._parts.today()
        self._context.orders.clear()
        self._context.over = False  # an interrupted goodbye is none
        await self._call(command, "started")
        try:
            reply = command.call(words, self._context)
            sentences: Iterator[str] = iter([reply]) if isinstance(reply, str) else iter(reply)
            first = next(sentences, "")
        except Exception:
            log.exception("The skill %s failed", command.name)
            await self._call(command, "failed")
            await self._say([APOLOGY])
            return
        await self._call(command, "completed")
        for order in self._context.orders:
            await self._socket.send(messages.message("device", order))
        await self._say(_survive(command, chain([first], sentences)))
        if self._context.over:
            await self._end()

    async def _call(self, command: Command, status: str) -> None:
        await self._socket.send(messages.message("tool_call", {"tool_name": command.name, "status": status}))

    async def _say(self, sentences: Iterable[str]) -> None:
        """Returns when the device has played it all."""
        now = asyncio.get_running_loop().time
        for sentence in filter(None, sentences):
            pcm = await self._parts.synthesise(sentence)
            await self._record("agent", sentence)
            self._spoke = True
            for chunk in chunks(pcm):
                await asyncio.sleep(self._pace.delay(now()))
                await self._socket.send(messages.audio(chunk))
                self._pace.sent(len(chunk), now())
        await asyncio.sleep(max(0.0, self._pace.played_at - now()) + (ECHO_S if self._spoke else 0.0))

    async def _record(self, role: str, text: str) -> None:
        entry = {"role": role, "text": text}
        self._transcript.append(entry)
        await self._socket.send(messages.message("transcript", entry))

    async def _end(self) -> None:
        await self._socket.send(messages.message("ended", {"credits_consumed": 0, "transcript": self._transcript}))
        await self._socket.close()


def _survive(command: Command, sentences: Iterable[str]) -> Iterator[str]:
    """The sentences, and an apology where making one fails."""
    try:
        yield from sentences
    except Exception:
        log.exception("The skill %s failed", command.name)
        yield APOLOGY
