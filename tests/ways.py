"""The agents and their ways in, as the owner of a speaker sets them up, each with the server that is at the other end."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from tests import certificates
from tests.servers.atoms import AGENT, KEY, AtomsServer
from tests.servers.datagrid import DatagridServer
from tests.servers.openai import OpenAIServer
from tests.servers.savants import SavantsServer
from tests.servers.workbuddy import WorkBuddyServer

STEPS = {"name_ms", "tcp_ms", "tls_ms", "upgrade_ms"}
TOKEN_STEPS = STEPS | {"token_ms"}


class Way(NamedTuple):
    """`hears` and `speaks` are hertz; `steps` what a connection takes; `token` what it is granted in place of the key."""

    protocol: str
    serve: Callable[..., Any]
    lever: str = ""
    """The server's attribute that holds the key; "": it has one of its own, the same."""
    settings: str = ""
    hears: int = 16_000
    speaks: int = 16_000
    steps: set[str] = STEPS
    token: Callable[[Any], str] = lambda visit: KEY

    def server(self, certificate: str = "good") -> Any:
        """An agent that wants `KEY`, over TLS with this certificate."""
        server = self.serve(tls=certificates.server_context(certificate))
        if self.lever:
            setattr(server, self.lever, KEY)
        return server

    @property
    def tables(self) -> str:
        """The settings, with {url} for the server's address."""
        return f'[agent]\nprotocol = "{self.protocol}"\nurl = "{{url}}"\n{self.settings}'


def reply(visit: Any, pcm: bytes, lead_s: float | None = 0.4) -> None:
    """Say a whole reply, as this agent does, `lead_s` ahead of real time."""
    for name in ("reply", "turn", "say"):
        if speak := getattr(visit, name, None):
            speak(pcm, lead_s=lead_s)
            return


def environment(key: str = KEY) -> dict[str, str]:
    """What `earshot` needs to know that is in no file: the key, and whom it is to trust."""
    return {"EARSHOT_API_KEY": key, "SSL_CERT_FILE": str(certificates.authority())}


def _query_token(visit: Any) -> str:
    return str(visit.query["token"])


ATOMS = f'agent_id = "{AGENT}"\n'
WAYS = {
    "datagrid": Way("datagrid", DatagridServer, "token", speaks=24_000),
    "datagrid-handoff": Way(
        "datagrid", DatagridServer, "token", 'access = "handoff"\n', 16_000, 24_000, TOKEN_STEPS, _query_token
    ),
    "atoms": Way("atoms", partial(AtomsServer, "query"), settings=ATOMS),
    "atoms-header": Way(
        "atoms",
        partial(AtomsServer, "header"),
        "",
        f'{ATOMS}access = "header"\n[agent.options]\nsample_rate = 24000\n',
        24_000,
        24_000,
    ),
    "atoms-call": Way(
        "atoms", partial(AtomsServer, "call"), "", f'{ATOMS}access = "call"\n', 24_000, 24_000, TOKEN_STEPS, _query_token
    ),
    "workbuddy": Way(
        "workbuddy", WorkBuddyServer, "key", steps=TOKEN_STEPS, token=lambda visit: json.loads(visit.messages[0][1])["token"]
    ),
    "savants": Way(
        "savants",
        SavantsServer,
        "key",
        '[agent.options]\ndeviceId = "kitchen"\n',
        steps=TOKEN_STEPS,
        token=lambda visit: str(visit.messages[0][1]),
    ),
    "openai": Way("openai", OpenAIServer, "key", hears=24_000, speaks=24_000),
}  # fmt: skip
