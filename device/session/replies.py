"""Which reply a piece of audio belongs to, and which audio comes too late to be heard. Pure; time is an argument.

Agents neither number their replies nor say, all of them, when one ends. So a reply begins with audio after a pause of the
network, and after an interruption. What was on its way when we interrupted still arrives, and must not be heard: it is
dropped until the agent confirms the interruption, or has been silent for a moment.
"""

from collections.abc import Iterator

PAUSE_S = 1.0
"""Audio after this much silence of the network begins a new reply."""
LATE_S = 0.6
"""Without any audio for this long, nothing of the interrupted reply is on its way any more."""


class Replies:
    """Numbers the replies of one session; `numbers` never gives the same one twice, whatever the session."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.number = 0
        """The newest reply; 0 before the first."""
        self._heard_at: float | None = None
        """When audio of it came last; None: the next audio begins another."""
        self._dropping_since: float | None = None
        """When the last late audio came, while late audio is dropped."""

    def audio(self, now: float) -> bool | None:
        """Audio came at `now`: True if it begins a new reply, False if it goes on with `number`, None if it is too late."""
        if self._dropping_since is not None:
            if now - self._dropping_since < LATE_S:
                self._dropping_since = now
                return None
            self._dropping_since = None
        begins = self._heard_at is None or now - self._heard_at > PAUSE_S
        if begins:
            self.number = next(self._numbers)
        self._heard_at = now
        return begins

    def interrupt(self, now: float) -> None:
        """We told the agent to be quiet."""
        self._dropping_since, self._heard_at = now, None

    def interrupted(self) -> bool:
        """The agent says that it is quiet: audio from now on is new. True if this is news, False if it answers us."""
        news = self._dropping_since is None
        self._dropping_since = self._heard_at = None
        return news
