"""Everything the speaker knows, as one value. Pure.

`brain.step` makes a new one of it for every event; `panel.look` and `record` read it.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from device.config import Conversation

RINGS = 20
"""How often a timer rings unless the button is pressed or a wake word heard."""


class Phase(StrEnum):
    """Where a conversation stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    LISTENING = "listening"
    SPEAKING = "speaking"
    CLOSING = "closing"
    OFFLINE = "offline"
    ERROR = "error"


RESTING = (Phase.IDLE, Phase.OFFLINE, Phase.ERROR)
"""No session: the wake word or the button starts one."""
ENDING_S = 3.0
"""So long before nobody's speaking ends a session, the lights show it."""
CONVERSING = (Phase.LISTENING, Phase.SPEAKING)


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that is to ring at `at` (seconds, CLOCK_MONOTONIC), `rings` times."""

    name: str
    at: float
    rings: int = RINGS


@dataclass(frozen=True, slots=True)
class State:
    """Everything the speaker knows. `None` in a time means: not waiting for that."""

    settings: Conversation = field(default_factory=Conversation)
    volume: int = 60
    preroll_s: float = 0.5
    night_volume: int = 100
    """Percent of `volume` at night."""
    night: bool = False

    phase: Phase = Phase.IDLE
    muted: bool = False
    press_spent: bool = False
    """The press going on has had its effect; letting go of the button has none."""

    session: int = 0
    conversation_id: str | None = None
    """The conversation that the present or the last session belongs to, as the agent calls it."""
    resume_until: float | None = None
    """Until when the next session goes on with it."""
    lost_until: float | None = None
    """When a session whose connection was lost is given up, even if one that does not last comes in between."""
    steady_at: float | None = None
    """When the present connection will have lasted."""
    trouble: tuple[str, str] | None = None
    """What keeps the agent from being reached, as code and sentence; None before a connection failed."""
    reply: int = 0
    """The newest reply of which audio was received; numbers go on from session to session."""
    playing: int = 0
    """The reply that is being played, 0 for none. It may outlast its session, or a lost connection."""
    played: int = 0
    """The newest reply whose playing has ended."""
    ducked_until: float | None = None
    """Until when the reply is played softly, because somebody may be talking over it."""
    kept: int = 0
    """The reply whose rest was put aside when somebody talked over it, 0 for none."""
    kept_until: float | None = None
    """When that is played on, for no words have followed."""
    silenced: int = 0
    """The newest reply that was broken off, though its last samples may still sound."""
    resumed: int = 0
    """The newest reply that was played on: that happens once."""
    hears_itself: bool = False
    """The echo canceller does not work: what sounds like talking over a reply may be the reply."""
    owes_warning: bool = False
    """That is to be said when the session is over."""
    warned: bool = False
    """It was said, or is about to be: once is enough."""
    someone_speaks: bool = False
    tools: tuple[str, ...] = ()
    """Tools the agent is using now."""
    timers: tuple[Timer, ...] = ()

    phase_until: float | None = None
    """When this phase gives up: connecting, closing, or showing a notice."""
    quiet_until: float | None = None
    """When `idle_s` of nobody speaking are over."""
    ending: bool = False
    """The last `ENDING_S` before that have begun."""
    session_until: float | None = None
    """When `max_s` are over."""
    chime_until: float | None = None
    """Until when falling silent earns the wake chime."""
    exit_code: int | None = None
    """Set while the process is on its way out."""

    @property
    def ending_at(self) -> float | None:
        """When they begin."""
        return None if self.quiet_until is None or self.ending else self.quiet_until - ENDING_S

    @property
    def deadline(self) -> float | None:
        """When the next `DeadlinePassed` is due."""
        waits = [
            self.phase_until,
            self.quiet_until,
            self.ending_at,
            self.session_until,
            self.ducked_until,
            self.kept_until,
        ]
        return min((wait for wait in (*waits, *(timer.at for timer in self.timers)) if wait is not None), default=None)
