"""The firmware and the built-in agent as processes of their own, as systemd would start them."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from device.demo.programs import dying_with_us
from device.demo.stream import Event, EventStream
from device.errors import EarshotError

EARSHOT = (sys.executable, "-m", "device")
START_S = 20.0
STOP_S = 3.0


def free_port() -> int:
    """A TCP port on loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """`earshot` with `words`, ended with its context. What it says on stderr goes to the file `log`."""

    def __init__(self, words: list[str], env: dict[str, str], log: Path, stdout: int = subprocess.DEVNULL) -> None:
        self.name = f"earshot {words[0]}"
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                dying_with_us(*EARSHOT, *words),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=file,
                start_new_session=True,  # Ctrl-C is for us: we end it in good order
            )

    def last_lines(self, count: int) -> list[str]:
        """What it said last."""
        return self.log.read_text(errors="replace").splitlines()[-count:]

    def check(self) -> None:
        """EarshotError with what it said last, if it has ended."""
        code = self.process.poll()
        if code is not None:
            said = self.log.read_text(errors="replace").strip()[-2000:]
            raise EarshotError(f"{self.name} ended with {code}. It said:\n{said or '(nothing)'}")

    def stop(self) -> int:
        """SIGTERM, and SIGKILL where that does not help within 3 s; the exit code, negative for a signal."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(STOP_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Agent(Child):
    """The built-in agent on a free port of loopback; `url` is what the firmware's configuration needs."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}"
        super().__init__(["agent", "--port", str(self.port)], env, log)

    def wait_ready(self) -> None:
        """Until it accepts connections; EarshotError after 10 s."""
        end, pause = time.monotonic() + START_S, threading.Event()
        while time.monotonic() < end:
            self.check()
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            pause.wait(0.02)
        raise EarshotError(f"{self.name} does not listen on port {self.port} after {START_S:g} s")


class Firmware(Child, EventStream):
    """`earshot run` with its event log. `watch` is called with every event, in the thread that waits for one."""

    def __init__(
        self, config: Path, env: dict[str, str], log: Path, watch: Callable[[Event], None] = lambda event: None
    ) -> None:
        EventStream.__init__(self, watch, self.check)
        Child.__init__(self, ["run", "--config", str(config), "--events", "-"], env, log, subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, name="events", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.put(json.loads(line))

    def stop(self) -> int:
        """As any child; its last events are taken up."""
        code = super().stop()
        self._reader.join(STOP_S)
        self.drain()
        return code
