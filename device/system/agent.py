"""Tries the configured agent up to `ready`, step by step, without sending any speech."""

import contextlib
import time
from collections.abc import Iterator

from device.checks import public_url
from device.config import Config
from device.errors import EarshotError, NetworkError, SessionError
from device.events import AgentErred, SessionReady
from device.session import http
from device.session.connect import connect
from device.session.credentials import Key
from device.session.protocol import Ended, MalformedError, Protocol, Send, early_verdict
from device.session.protocols import PROTOCOLS
from device.session.socket import Closed, Socket

READY_S = 10.0
"""How long the agent may take from the open connection to `ready`; the speaker waits as long in all."""
FAREWELL_S = 2.0
_STEPS = {
    "name": "its name is found",
    "tcp": "it answers",
    "tls": "the connection is encrypted, and it is who it says it is",
    "token": "it takes the key and gives a token",
    "upgrade": "the connection for voice is open",
}


def steps(config: Config, key: Key) -> Iterator[str]:
    """What works, a sentence for each step, as it is reached.

    Raises:
        EarshotError: what does not.
    """
    protocol = PROTOCOLS[config.agent.protocol](config.agent, key.value, 0)
    if health := protocol.health():
        began = time.monotonic()
        try:
            answer = http.send(health)
        except http.DeniedError as denied:
            raise protocol.denied(denied.answer) from None
        if not protocol.healthy(answer):
            raise EarshotError(f"The service at {public_url(health.url)} answers, but does not say that it is well.")
        yield f"the service is there ({_ms(time.monotonic() - began)})"
    taken: list[str] = []
    try:
        connection = connect(
            protocol,
            lambda step, seconds: taken.append(f"{_STEPS[step]} ({_ms(seconds)})"),
            lambda step, seconds: taken.append(f"for the token: {_STEPS[step]} ({_ms(seconds)})"),
        )
    except EarshotError:
        yield from taken
        raise
    try:
        yield from taken
        began = time.monotonic()
        for message in protocol.opening():
            connection.send(message)
        _listen(protocol, connection)
        yield f"it is ready to hear you ({_ms(time.monotonic() - began)})"
        _farewell(protocol, connection)
    finally:
        connection.close()


def _listen(protocol: Protocol, connection: Socket) -> None:
    """Until the agent is ready."""
    until, erred = time.monotonic() + READY_S, None
    while time.monotonic() < until:
        for fact in _facts(protocol, connection):
            match fact:
                case SessionReady():
                    return
                case Send(message):
                    connection.send(message)
                case AgentErred():
                    erred = fact
                case Ended() | SessionError():
                    raise early_verdict(fact, erred)
    said = f" It said: {erred.message} ({erred.code})" if erred else ""
    raise NetworkError("timeout", f"The agent answers, but was not ready within {READY_S:g} s.{said}")


def _facts(protocol: Protocol, connection: Socket) -> Iterator[object]:
    """What the next message means, if one comes within a second; what cannot be understood means nothing."""
    try:
        message = connection.receive()
    except Closed as close:
        yield protocol.closed(close.code)
        return
    with contextlib.suppress(MalformedError):
        yield from protocol.receive(message) if message is not None else ()


def _farewell(protocol: Protocol, connection: Socket) -> None:
    """Say goodbye where there is a way to, so that the session is not left open over there."""
    messages, until = protocol.stop(), time.monotonic() + FAREWELL_S
    for message in messages:
        connection.send(message)
    with contextlib.suppress(EarshotError):
        while messages and time.monotonic() < until:
            if any(isinstance(fact, Ended | SessionError) for fact in _facts(protocol, connection)):
                return


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
