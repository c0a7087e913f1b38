"""What the lights show, as a function of the state, in strict priority. Pure."""

from enum import StrEnum

from device.state import Phase, State


class Look(StrEnum):
    """The looks, the most important first."""

    ERROR = "error"
    MUTED = "muted"
    SPEAKING = "speaking"
    TOOL = "tool"
    ENDING = "ending"
    LISTENING = "listening"
    CONNECTING = "connecting"
    OFFLINE = "offline"
    IDLE = "idle"


def look(state: State) -> Look:
    """The most important thing that is true of `state`."""
    truths = {
        Look.ERROR: state.phase is Phase.ERROR or state.exit_code not in (None, 0),
        Look.MUTED: state.muted,
        Look.SPEAKING: state.playing > 0,
        Look.TOOL: bool(state.tools),
        Look.ENDING: state.ending,
        Look.LISTENING: state.phase is Phase.LISTENING,
        Look.CONNECTING: state.phase is Phase.CONNECTING,
        Look.OFFLINE: state.phase is Phase.OFFLINE,
    }
    return next((shown for shown, true in truths.items() if true), Look.IDLE)
