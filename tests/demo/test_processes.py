"""Agent and firmware as children, with stand-ins for both."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from device.demo import processes
from device.demo.processes import Agent, Child, Firmware
from device.errors import EarshotError

STAND_IN = """
import json, os, signal, socket, sys, time
what = sys.argv[1]
if what == "agent":
    with socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1]))) as server:
        server.settimeout(10)
        signal.pause()
elif what == "run":
    assert sys.argv[2] == "--config" and sys.argv[4:] == ["--events", "-"]
    def tell(event):
        print(json.dumps({"t": time.monotonic(), "event": event}), flush=True)
    def stop(*_):
        tell("stopped")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    tell("ready")
    signal.pause()
elif what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(20)
elif what == "broken":
    sys.exit("the microphone is gone")
"""


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "earshot.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(processes, "EARSHOT", (sys.executable, str(script)))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_the_agent_is_ready_when_it_listens(log: Path) -> None:
    with Agent(dict(os.environ), log) as agent:
        agent.wait_ready()
        assert agent.url == f"ws://127.0.0.1:{agent.port}"
    assert agent.process.returncode is not None


def test_the_firmwares_events_come_in_to_the_last(log: Path, tmp_path: Path) -> None:
    with Firmware(tmp_path / "earshot.toml", dict(os.environ), log) as firmware:
        assert firmware.wait_for("ready", 10.0)["t"] <= time.monotonic()
        assert firmware.stop() == 0
    assert [event["event"] for event in firmware.events] == ["ready", "stopped"]


def test_a_child_that_dies_says_why(log: Path) -> None:
    with Child(["broken"], dict(os.environ), log) as child:
        child.process.wait(10)
        with pytest.raises(EarshotError, match=r"earshot broken ended with 1(.|\n)*the microphone is gone"):
            child.check()


def test_a_child_that_will_not_end_is_killed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.3)
    with Child(["stubborn"], dict(os.environ), log, subprocess.PIPE) as child:
        assert child.process.stdout is not None and child.process.stdout.readline() == b"ready\n"
        assert child.stop() == -9
        child.process.stdout.close()


def test_children_end_with_a_parent_that_is_killed(log: Path) -> None:
    program = f"""
import os, sys
from device.demo import processes
processes.EARSHOT = {processes.EARSHOT!r}
from pathlib import Path
child = processes.Agent(dict(os.environ), Path({str(log)!r}))
child.wait_ready()
print(child.process.pid, flush=True)
input()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Path("/proc") / parent.stdout.readline().strip()
    assert child.exists()
    parent.kill()
    parent.communicate(timeout=5)  # closes its pipes
    end, pause = time.monotonic() + 3, threading.Event()
    while running(child) and time.monotonic() < end:
        pause.wait(0.02)
    orphaned = running(child)
    if orphaned:
        os.kill(int(child.name), signal.SIGKILL)  # a test that fails leaves nothing behind either
    assert not orphaned


def running(process: Path) -> bool:
    """Whether it is there and not only waiting to be reaped."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
