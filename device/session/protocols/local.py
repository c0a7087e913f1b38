"""The agent on this machine (`earshot agent`): Datagrid's protocol, and orders for the speaker itself.

Those are its volume and its timers, which ring when the session is over. From an agent elsewhere they are not taken.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from device import events as e
from device.checks import is_loopback
from device.config import Agent
from device.session.credentials import Secret
from device.session.protocol import LONGEST_TEXT, Fact, MalformedError
from device.session.protocols.datagrid import START, Datagrid
from device.session.protocols.options import access_problem, option_problems

LONGEST_TIMER_S = 7 * 24 * 3600.0


class Local(Datagrid):
    """See `Protocol`."""

    name = "the built-in agent"
    url = "ws://127.0.0.1:8765/ws/voice"

    def __init__(self, agent: Agent, key: Secret | None, session: int, conversation_id: str | None = None) -> None:
        # A vendor's key is not for whoever listens on this machine.
        super().__init__(agent, None, session, conversation_id)

    @classmethod
    def problems(cls, agent: Agent, key: Secret | None) -> list[str]:
        """See `Protocol`. It needs no key, and takes Datagrid's options."""
        found = [*option_problems(cls.name, agent.options, START), *access_problem(agent, ())]
        if agent.url and not is_loopback(urlsplit(agent.url).hostname or ""):
            found.append(
                'agent.url: the agent of protocol "local" is on this machine; for one elsewhere use "datagrid".'
            )
        return found

    def _facts(self, kind: str, payload: Mapping[str, Any]) -> Iterator[Fact]:
        if kind != "device":
            yield from super()._facts(kind, payload)
            return
        match {name: value for name, value in payload.items() if not isinstance(value, bool)}:  # true is no number here
            case {"action": "volume", "to": int(to)}:
                yield e.VolumeAsked(self.session, to=to)
            case {"action": "volume", "by": int(by)}:
                yield e.VolumeAsked(self.session, by=by)
            case {"action": "timer_set", "name": str(name), "in_s": int(in_s) | float(in_s)} if _plausible(in_s):
                yield e.TimerSet(self.session, name[:LONGEST_TEXT], float(in_s))
            case {"action": "timer_cancel", "name": str(name)}:
                yield e.TimerCancelled(self.session, name[:LONGEST_TEXT])
            case _:
                raise MalformedError("an order for the speaker that it does not know")


def _plausible(in_s: float) -> bool:
    return 0 < in_s <= LONGEST_TIMER_S  # neither nan nor infinity
