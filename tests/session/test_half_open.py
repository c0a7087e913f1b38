"""An agent that stands still while its machine goes on acknowledging: each is noticed, and the session goes on with another."""

import tomllib

import pytest

from device.config import Agent
from device.events import ConnectionLost, SessionReady
from device.session import session
from device.session import socket as module
from device.session.connect import connect
from device.session.credentials import Secret
from device.session.link import Link
from device.session.protocols import PROTOCOLS
from tests import certificates
from tests.fakes import Recorder, threads, wait_until
from tests.servers.atoms import KEY
from tests.ways import WAYS


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_an_agent_that_stands_still_is_noticed_and_left(name, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority()))
    monkeypatch.setattr(session, "delay_s", lambda attempt, jitter: 0.01)
    for limit in ("WAIT_S", "PING_S", "SILENT_S"):
        monkeypatch.setattr(module, limit, getattr(module, limit) / 20)
    events = Recorder()
    with WAYS[name].server() as server:
        agent = Agent(**tomllib.loads(WAYS[name].tables.replace("{url}", server.url))["agent"])
        kind = PROTOCOLS[agent.protocol]
        link = Link(
            lambda number, conversation: kind(agent, Secret(KEY), number, conversation),
            Recorder(),
            events,
            connect=connect,
        )
        link.start(1, None)
        events.wait_kind(SessionReady)
        server.visit(1).fall_silent()
        lost = events.wait_kind(ConnectionLost)
        assert lost.code == "connection_lost" and "not been heard of" in lost.why
        events.wait_kind(SessionReady, 2)
        link.close()
        wait_until(lambda: not threads("link-receive") and not threads("link-send"))
        assert server.violations == []
