"""Which reply a piece of audio belongs to, and which audio comes too late to be heard. Pure; time is an argument.

Not all agents name their replies, or say when one ends. Where they do not, a reply begins with audio after a pause of the
network, and after an interruption. What was on its way when we interrupted still arrives, and must not be heard: it is
dropped until the agent confirms the interruption, begins another reply by name, or has been silent for a moment.
"""

from collections.abc import Iterator

import numpy as np

PAUSE_S = 1.0
"""Audio after this much silence of the network begins a new reply."""
LATE_S = 0.6
"""Without any audio for this long, nothing of the interrupted reply is on its way any more."""
QUIETEST = 65
"""Samples below this (-54 dBFS) are silence: dither and comfort noise, not the softest of speech."""
QUIET_S = 0.5
"""Silence that long is no part of a reply; speech has shorter pauses."""
_KEPT_TURNS = 8
"""A reply that is that far back is not being played any more."""


class Replies:
    """Numbers the replies of one session; `numbers` never gives the same one twice, whatever the session.

    All is done by the thread that receives, but `interrupt`, which only writes one time, and `turns_from`, which reads.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.number = 0
        """The newest reply; 0 before the first."""
        self._turns: dict[int, str] = {}
        """What the agent calls the newest replies; "" if it does not."""
        self._heard_at: float | None = None
        """When audio of it came last; None: the next audio begins another."""
        self._asked_at = 0.0
        """When we last told the agent to be quiet."""
        self._settled_at = 0.0
        """Up to when that was is done with; what comes after an unsettled one is late, and dropped."""
        self._late_at = 0.0
        """When late audio came last."""
        self._broken_off: str | None = None
        """The reply that the agent broke off last, by its name."""

    def audio(self, now: float, turn: str = "", silent: bool = False) -> bool | None:
        """Audio came at `now`: True if it begins a new reply, False if it goes on with `number`, None if it is too late.

        `turn` is what the agent calls the reply, where it does. Where it is `silent`, it is a pause that the agent sends.
        """
        asked, known = self._asked_at, self._turns.get(self.number)
        if turn and turn == self._broken_off:
            return None
        if asked > self._settled_at:
            if turn == known if turn else now - max(asked, self._late_at) < LATE_S:
                self._late_at = self._late_at if silent else now
                return None
            self._settle(asked)
        begins = self._heard_at is None or (turn != known if turn else now - self._heard_at > PAUSE_S)
        if begins:
            self.number = next(self._numbers)
            self._turns[self.number] = turn
            self._turns.pop(self.number - _KEPT_TURNS, None)
        self._heard_at = now
        return begins

    def turns_from(self, reply: int) -> list[str]:
        """What the agent calls that reply and those after it. Any thread."""
        return [turn for number, turn in tuple(self._turns.items()) if number >= reply and turn]

    def interrupt(self, now: float) -> None:
        """We told the agent to be quiet. Any thread."""
        self._asked_at = now

    def interrupted(self) -> bool:
        """The agent says that it is quiet: audio from now on is new. True if this is news, False if it answers us."""
        asked = self._asked_at
        news = asked <= self._settled_at
        self._broken_off = self._turns.get(self.number)
        self._settle(asked)
        return news

    def _settle(self, asked: float) -> None:
        self._settled_at, self._heard_at = asked, None


class Quiet:
    """Silence in a stream that never ends: it is what tells replies apart there, and must not be played as one."""

    def __init__(self) -> None:
        self._silent_s = QUIET_S

    def hides(self, pcm: bytes, rate: int) -> bool:
        """Whether this piece (s16le, mono) lies in a silence of `QUIET_S` or more."""
        samples = np.frombuffer(pcm, np.int16)
        if samples.max() >= QUIETEST or samples.min() <= -QUIETEST:
            self._silent_s = 0.0
        else:
            self._silent_s += len(samples) / rate
        return self._silent_s >= QUIET_S

    @property
    def silent(self) -> bool:
        """Whether the last piece was silent, hidden or not."""
        return self._silent_s > 0
