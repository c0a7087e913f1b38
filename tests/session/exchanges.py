"""The conversations that the protocols' tests have recorded, with what is to come of them at the link."""

from collections.abc import Callable
from typing import Any, NamedTuple

from device import events as e
from tests.session import test_atoms, test_datagrid, test_local, test_openai, test_savants, test_workbuddy


class Case(NamedTuple):
    """One conversation with one agent, as it was recorded."""

    protocol: str
    exchange: list[str | bytes]
    ready: int
    """Which of the messages says that the session is ready."""
    facts: list[e.Event]
    """What is to come of it, beside `Connected`."""
    replies: list[bytes]
    agent: dict[str, Any]
    grant: Callable[[str, int], object] | None = None
    """The answer to the request for a credential, from the server's URL and the number of the request."""


STARTED = [e.SessionStarted(1, "s-1", "c-1"), e.SessionReady(1)]
QUESTION = e.Transcribed(1, "user", "Grüß Gott, what do the files say?")
DATAGRID = Case(
    "datagrid",
    test_datagrid.EXCHANGE,
    1,
    [
        *STARTED,
        QUESTION,
        e.ToolCalled(1, "search", "started"),
        e.ToolCalled(1, "search", "failed"),
        e.ToolCalled(1, "browse", "started"),
        e.ToolCalled(1, "browse", "completed"),
        e.ReplyStarted(1, 1),
        e.Cited(1, 2),
        e.Transcribed(1, "agent", "They say that it rains."),
        e.AgentInterrupted(1, 1),
        e.Transcribed(1, "user", "Thank you."),
        e.AgentErred(1, "tool_failed", "One of the tools does not answer."),
        e.ReplyStarted(1, 2),
        e.SessionEnded(1, "agent"),
    ],
    [b"\x10\x20" * 6000, b"\x20\x10" * 3600],
    {},
)
LOCAL = Case(
    "local",
    test_local.EXCHANGE,
    1,
    [
        *STARTED,
        QUESTION,
        e.VolumeAsked(1, by=10),
        e.TimerSet(1, "eggs", 300.0),
        e.ReplyStarted(1, 1),
        e.TimerCancelled(1, "eggs"),
        e.SessionEnded(1, "agent"),
    ],
    [b"\x10\x20" * 2400],
    {},
)
ATOMS = Case(
    "atoms",
    test_atoms.EXCHANGE,
    0,
    [
        e.SessionStarted(1, "s-1", "CALL-1"),
        e.SessionReady(1),
        e.ReplyStarted(1, 1),
        e.Transcribed(1, "agent", "Hello, how can I help?"),
        e.Transcribed(1, "user", "What time is it?"),
        e.ReplyStarted(1, 2),
        e.AgentErred(1, "invalid_event", "audio is required"),
        e.AgentInterrupted(1, 2),
        e.Transcribed(1, "agent", "It is"),
        e.Transcribed(1, "user", "Stop."),
        e.ReplyStarted(1, 3),
        e.SessionEnded(1, "agent"),
    ],
    [b"\x10\x20" * 8000, b"\x20\x10" * 12_800, b"\x30\x10" * 3200],
    {"agent_id": test_atoms.AGENT},
)
WORKBUDDY = Case(
    "workbuddy",
    test_workbuddy.EXCHANGE,
    0,
    [e.SessionStarted(1), e.SessionReady(1), e.ReplyStarted(1, 1), e.SessionEnded(1, "agent_disconnected")],
    [b"\x10\x20" * 8000 + bytes(15_360) + b"\x20\x10" * 8000],  # of a longer silence, the first half second
    {},
    lambda url, number: {"token": f"token-{number}", "ws_url": url.replace("http", "ws")},
)
SAVANTS = Case(
    "savants",
    test_savants.EXCHANGE,
    0,
    [
        e.SessionStarted(1),
        e.SessionReady(1),
        e.ReplyStarted(1, 1),
        e.AgentErred(1, "SLOW", "The model is slow today."),
        e.SessionEnded(1, "agent"),
    ],
    [b"\x10\x20" * 16_000 + bytes(12_800) + b"\x20\x10" * 16_000],
    {"options": test_savants.DEVICE},
    lambda url, number: {"token": f"token-{number}"},
)
OPENAI = Case(
    "openai",
    test_openai.EXCHANGE,
    1,
    [
        e.SessionStarted(1, "sess_1"),
        e.SessionReady(1),
        e.AgentInterrupted(1, 0),
        e.Transcribed(1, "user", "What is the weather?"),
        e.ToolCalled(1, "forecast", "started"),
        e.ToolCalled(1, "forecast", "completed"),
        e.ToolCalled(1, "get_weather", "started"),
        e.ToolCalled(1, "get_weather", "failed"),
        e.ReplyStarted(1, 1),
        e.Transcribed(1, "agent", "Mild."),
        e.ReplyStarted(1, 2),
        e.AgentInterrupted(1, 2),
        e.ConnectionLost(1, 0.0, "connection_lost", "OpenAI lets no session last longer; a new one begins."),
        e.SessionStarted(1, "sess_1"),
        e.SessionReady(1),
        e.SessionEnded(1, "agent"),
    ],
    [bytes(range(240)) * 120] * 2,
    {},
)
CASES = {
    "local": LOCAL,
    "datagrid": DATAGRID,
    "datagrid by handoff": DATAGRID._replace(
        agent={"access": "handoff"},
        grant=lambda url, number: {"url": f"{url}/?token=t-{number}", "start_message": {"type": "start", "id": number}},
    ),
    "atoms": ATOMS,
    "atoms by call": ATOMS._replace(
        agent={**ATOMS.agent, "access": "call"},
        grant=lambda url, number: {"data": {"access_token": f"wct_{number}", "sample_rate": 24_000}},
    ),
    "workbuddy": WORKBUDDY,
    "savants": SAVANTS,
    "openai": OPENAI,
}
