"""A speaker at the near end of a network cable, and its agent at the far end, behind TLS."""

import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device.demo.card import VirtualCard
from device.demo.processes import EARSHOT, Firmware
from device.demo.stream import EventStream
from tests import certificates
from tests.house import House, house
from tests.room.cable import NAME, Cable
from tests.servers.scripted import ScriptedServer
from tests.ways import KEY, Way, environment


class NearFirmware(Firmware):
    """`Firmware` at the near end of `cable`. The sound card is reached by its Unix socket, which knows no network."""

    def __init__(self, cable: Cable, config: Path, env: dict[str, str], log: Path) -> None:
        EventStream.__init__(self, lambda event: None, self.check)
        self.name, self.log = "earshot run", log
        argv = [*EARSHOT, "run", "--verbose", "--config", str(config), "--events", "-"]
        nobody = subprocess.DEVNULL
        with log.open("wb") as file:
            self.process = cable.near(argv, env=env, stdin=nobody, stdout=subprocess.PIPE, stderr=file)
        self._reader = threading.Thread(target=self._read, name="events", daemon=True)
        self._reader.start()


@contextlib.contextmanager
def far(
    cable: Cable, card: VirtualCard, way: Way, folder: Path, settings: str = ""
) -> Iterator[tuple[House, Any, NearFirmware]]:
    """A speaker that is ready, and the agent that it is to use; `settings` are further sections of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    with house(card, folder, f"{way.tables}\n{settings}", agent(cable, way)) as (home, server):
        env = card.env | home.levers.env | environment() | {"SSL_CERT_FILE": str(trusted(folder))}
        with NearFirmware(cable, home.config, env, home.log) as firmware:
            firmware.wait_for("ready", 10)
            yield home, server, firmware


def agent(cable: Cable, way: Way) -> ScriptedServer:
    """The agent, which listens at the far end."""
    server: ScriptedServer = way.serve(tls=certificates.server_context(), listener=cable.listener(), host=NAME)
    if way.lever:
        setattr(server, way.lever, KEY)
    return server


def trusted(folder: Path) -> Path:
    """The authority of the tests among all that the system trusts: to read a hundred more takes its time."""
    system = ssl.get_default_verify_paths().cafile
    path = folder / "trusted.pem"
    path.write_text((Path(system).read_text() if system else "") + certificates.authority().read_text())
    return path
