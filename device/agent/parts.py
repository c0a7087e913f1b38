"""What a session is given: its socket, and what all sessions share. Tests replace them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from device.agent.grammar import Command
from device.agent.hearing import Heard, Turns, Utterance
from device.agent.timers import Timers


class Socket(Protocol):
    """What of a WebSocket connection a session uses."""

    async def recv(self) -> str | bytes: ...
    async def send(self, message: str) -> None: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...
    def __aiter__(self) -> Any: ...


@dataclass(frozen=True)
class Parts:
    """The agent's abilities, shared by all sessions."""

    commands: list[Command]
    timers: Timers
    recognise: Callable[[Utterance], Awaitable[Heard]]
    synthesise: Callable[[str], Awaitable[bytes]]
    new_turns: Callable[[], Turns]
    today: Callable[[], datetime]
