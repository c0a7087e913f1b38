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
    """Numbers the replies of one session; `numbers` never gives the same one twice, whatever the session.

    All is done by the thread that receives, but `interrupt`, which only writes one time.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.number = 0
        """The newest reply; 0 before the first."""
        self._heard_at: float | None = None
        """When audio of it came last; None: the next audio begins another."""
        self._asked_at = 0.0
        """When we last told the agent to be quiet."""
        self._settled_at = 0.0
        """Up to when that was is done with; what comes after an unsettled one is late, and dropped."""
        self._late_at = 0.0
        """When late audio came last."""

    def audio(self, now: float) -> bool | None:
        """Audio came at `now`: True if it begins a new reply, False if it goes on with `number`, None if it is too late."""
        asked = self._asked_at
        if asked > self._settled_at:
            if now - max(asked, self._late_at) < LATE_S:
                self._late_at = now
                return None
            self._settle(asked)
        begins = self._heard_at is None or now - self._heard_at > PAUSE_S
        if begins:
            self.number = next(self._numbers)
        self._heard_at = now
        return begins

    def interrupt(self, now: float) -> None:
        """We told the agent to be quiet. Any thread."""
        self._asked_at = now

    def interrupted(self) -> bool:
        """The agent says that it is quiet: audio from now on is new. True if this is news, False if it answers us."""
        asked = self._asked_at
        news = asked <= self._settled_at
        self._settle(asked)
        return news

    def _settle(self, asked: float) -> None:
        self._settled_at, self._heard_at = asked, None
