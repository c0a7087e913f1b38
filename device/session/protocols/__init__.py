"""The agents by the name that `agent.protocol` gives them."""

from device.session.protocol import Protocol
from device.session.protocols.atoms import Atoms
from device.session.protocols.datagrid import Datagrid
from device.session.protocols.local import Local
from device.session.protocols.openai import OpenAI
from device.session.protocols.savants import Savants
from device.session.protocols.workbuddy import WorkBuddy

PROTOCOLS: dict[str, type[Protocol]] = {
    "local": Local,
    "datagrid": Datagrid,
    "atoms": Atoms,
    "workbuddy": WorkBuddy,
    "savants": Savants,
    "openai": OpenAI,
}


def takes_text(protocol: type[Protocol]) -> bool:
    """Whether that agent can be told something in writing."""
    return protocol.text is not Protocol.text
