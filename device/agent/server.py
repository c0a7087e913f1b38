"""The agent's socket: `earshot agent` calls `run`. It listens on loopback only, for the machine's own speaker."""

import asyncio
import ipaddress
import logging
import os
import re
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from importlib.util import find_spec
from typing import cast

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from device.agent import messages
from device.agent.hearing import Heard, Recogniser, Turns, Utterance, voice_detector
from device.agent.parts import Parts, Socket
from device.agent.session import Session
from device.agent.skills import COMMANDS
from device.agent.speaking import require_espeak, synthesise
from device.agent.timers import Timers
from device.errors import EarshotError, UsageError

log = logging.getLogger(__name__)

HOST, PORT, PATH = "127.0.0.1", 8765, "/ws/voice"
SESSIONS = 4
MESSAGE_BYTES = 2**20
# A browser names the page it acts for. Without this any web page could talk to the agent of whoever looks at it.
ORIGINS = [None, re.compile(r"https?://(127\.0\.0\.1|\[::1\]|localhost)(:\d+)?")]


def loopback(host: str) -> str:
    """The address to listen on. Raises UsageError if others could reach it."""
    if host == "localhost":
        return HOST
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return host
    raise UsageError(f"The agent has no password, so it listens on this machine only: use {HOST} instead of {host}.")


def default_parts(recogniser: Recogniser) -> Parts:
    """The real ear and voice."""

    async def recognise(utterance: Utterance) -> Heard:
        return await asyncio.get_running_loop().run_in_executor(recogniser.thread, recogniser.recognise, utterance)

    return Parts(
        commands=COMMANDS,
        timers=Timers(time.monotonic, f"{uuid.uuid4().hex[:6]} "),
        recognise=recognise,
        synthesise=synthesise,
        new_turns=lambda: Turns(voice_detector()),
        today=lambda: datetime.now().astimezone(),
    )


async def serve(
    host: str, port: int, *, ready: Callable[[int], None] | None = None, parts: Parts | None = None
) -> None:
    """Serve voice sessions until cancelled; `ready` is told the port once it is open (0 takes any free one).

    Raises UsageError for an address that others can reach, EarshotError if espeak-ng is missing or the port is taken.
    """
    address = loopback(host)
    if parts is not None:
        return await _serve(address, port, ready, parts)
    require_espeak()
    if find_spec("pocketsphinx") is None:
        raise EarshotError("The built-in agent cannot hear: pocketsphinx is missing. Run install.sh again.")
    recogniser = Recogniser(COMMANDS)
    try:
        await _serve(address, port, ready, default_parts(recogniser))
    finally:
        recogniser.close()


async def _serve(address: str, port: int, ready: Callable[[int], None] | None, parts: Parts) -> None:
    sessions: set[ServerConnection] = set()

    async def converse(connection: ServerConnection) -> None:
        socket = cast(Socket, connection)
        with suppress(ConnectionClosed):
            if len(sessions) >= SESSIONS:
                await socket.send(messages.error("busy", f"{SESSIONS} sessions are open already."))
                return await socket.close(1013)
            sessions.add(connection)
            try:
                await Session(socket, parts).run()
            finally:
                sessions.discard(connection)

    server = await _listen(converse, address, port)
    async with server:
        actual = next(iter(server.sockets)).getsockname()[1]
        log.info("The agent listens on %s, port %d", address, actual)
        if ready is not None:
            ready(actual)
        await asyncio.get_running_loop().create_future()


async def _listen(converse: Callable[[ServerConnection], object], address: str, port: int) -> Server:
    try:
        return await listen(
            converse,  # type: ignore[arg-type]
            address,
            port,
            process_request=_only_voice,
            origins=ORIGINS,
            max_size=MESSAGE_BYTES,
            compression=None,
            close_timeout=2,
        )
    except OSError as error:
        raise EarshotError(
            f"The agent cannot listen on {address}, port {port}: {os.strerror(error.errno or 0)}. Is another one running? "
            "Stop that, or choose another port."
        ) from error


def _only_voice(connection: ServerConnection, request: Request) -> Response | None:
    if request.path.partition("?")[0] == PATH:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"Voice sessions are at {PATH}.\n")


async def _run(host: str, port: int) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await serve(host, port)


def run(host: str = HOST, port: int = PORT) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit code. Raises as `serve` does."""
    asyncio.run(_run(host, port))
    return 0
