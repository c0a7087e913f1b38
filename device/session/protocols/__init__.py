"""The agents by the name that `agent.protocol` gives them."""

from device.session.protocol import Protocol
from device.session.protocols.datagrid import Datagrid
from device.session.protocols.local import Local

PROTOCOLS: dict[str, type[Protocol]] = {"local": Local, "datagrid": Datagrid}
