"""What the control socket is asked for: the state, since when, and what was counted; and two orders. Pure; time is given."""

from collections import Counter
from typing import Any

from device.checks import public_url
from device.config import Agent
from device.events import Event, QuietAsked, TextTyped
from device.panel.look import look
from device.state import CONVERSING, Phase, State

_LONGEST = 500
"""Characters of an agent's words: a line of the control socket is limited."""
_COUNTED = {
    "wake": "wakes",
    "near_miss": "near_misses",
    "session_ready": "connections",
    "reply_started": "replies",
    "interrupted": "interruptions",
    "ducked": "ducks",
    "resumed": "resumed",
    "retry": "retries",
    "error": "errors",
}


class Status:
    """Kept by the main thread; `answer` may be asked on another, which then sees some moment of the last step."""

    def __init__(self, agent: Agent, url: str, takes_text: bool, started: float) -> None:
        """`url`: where the agent is, if `agent` does not say so."""
        self._takes_text = takes_text
        self._agent = {"protocol": agent.protocol, "url": public_url(agent.url or url), "id": agent.agent_id}
        self._started = self._since = started
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._error: dict[str, Any] | None = None
        self._echo: dict[str, Any] | None = None
        """What the last reply that was long and loud enough told about the echo canceller."""
        self._newest_echo: dict[str, Any] | None = None

    def note(self, t: float, name: str, fields: dict[str, Any]) -> None:
        """Take in a line of the event log, of time `t`."""
        if name in _COUNTED:
            self._counts[_COUNTED[name]] += 1
        match name:
            case "state":
                self._since = t
            case "dropped":
                self._dropped[fields["where"]] += fields["frames"]
            case "echo":
                self._newest_echo = fields
                if self._echo is None or fields["erle_db"] is not None:
                    self._echo = fields
            case "error":
                self._error = {"t": t, **fields}
                if fields["code"].startswith("echo_"):
                    self._echo = self._newest_echo  # what was good before is so no more

    def answer(self, request: dict[str, Any], state: State, now: float) -> tuple[dict[str, Any], Event | None]:
        """The reply to a request (see `system.control`), and the event that it is for the brain, if any."""
        match request:
            case {"order": "say"} if not self._takes_text:
                return {"ok": False, "message": "This agent takes no text."}, None
            case {"order": "say"} if state.phase is Phase.CONNECTING:
                return {"ok": False, "message": "The agent is not reached yet: try again in a moment."}, None
            case {"order": "say"} if state.phase not in CONVERSING:
                return {"ok": False, "message": "No conversation is going on: say the wake word first."}, None
            case {"order": "say", "text": text}:
                return {"ok": True}, TextTyped(text)
            case {"order": "stop"}:
                return {"ok": True}, QuietAsked()
        return {"ok": True, **self._status(state, now)}, None

    def _status(self, state: State, now: float) -> dict[str, Any]:
        """The status at `now`, as JSON takes it; times are seconds ago."""
        error = self._error
        return {
            "state": state.phase,
            "since_s": round(now - self._since, 1),
            "light": look(state),
            "agent": self._agent,
            "muted": state.muted,
            "volume": state.volume,
            "night": state.night,
            "echo": self._echo
            and {
                "erle_db": self._echo["erle_db"],
                "delay_ms": self._echo["delay_ms"],
                "hears_itself": state.hears_itself,
            },
            "up_s": round(now - self._started, 1),
            "counters": {
                "sessions": state.session,
                **{name: self._counts[name] for name in _COUNTED.values()},
                "dropped": dict(self._dropped),
            },
            "last_error": error and {"code": error["code"], "message": error["message"][:_LONGEST]},
            "last_error_ago_s": error and round(now - error["t"], 1),
        }
