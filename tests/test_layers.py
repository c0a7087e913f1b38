"""Who may know whom: the pure parts nothing of the machine, the rooms nothing of each other, and only `app` all."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import device

ROOT = Path(device.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
ROOMS = ("hearing", "session", "speaking", "panel", "system", "agent", "demo", "install")
PURE = (
    "device.brain", "device.state", "device.events", "device.errors", "device.audio", "device.config",
    "device.settings", "device.checks", "device.boards", "device.record", "device.panel.look", "device.panel.patterns",
    "device.speaking.jitter", "device.speaking.chimes", "device.session.replies", "device.session.retry",
    "device.session.protocol", "device.session.protocols", "device.session.protocols.datagrid",
    "device.session.protocols.local", "device.session.protocols.atoms", "device.session.protocols.workbuddy",
    "device.session.protocols.savants", "device.session.protocols.openai", "device.session.protocols.messages",
    "device.session.protocols.options", "device.status", "device.system.describe", "device.talking_over", "device.night",
    "device.hearing.barge_in", "device.hearing.noise", "device.speaking.loudness", "device.speaking.network",
    "device.hearing.alignment", "device.hearing.played", "device.hearing.linear",
    "device.hearing.delay", "device.hearing.erle", "device.hearing.verdict",
)  # fmt: skip
WORLD = {
    "threading", "time", "socket", "queue", "os", "sys", "io", "signal", "select", "subprocess", "asyncio", "logging",
    "random", "pyaudio", "gpiozero", "websocket", "websockets", "onnxruntime", "samplerate", "pocketsphinx", "matplotlib",
}  # fmt: skip
"""What pure code does not touch. The clock, chance and the log are given to it, or left to others."""
BUILDERS = (
    "device.app", "device.__main__", "device.system.agent", "device.system.check.agent", "device.system.check.command",
    "device.system.check.panel", "device.system.check.wake", "device.system.check.echo",
)  # fmt: skip
"""These put parts together, and so know several rooms; the demo builds a whole room around them."""


@functools.cache
def imports(path):
    """All modules that the file imports, anywhere in it; `from a import b` counts as a.b where that is a module."""
    return tuple(_imports(path))


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def room_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "device" and parts[1] in ROOMS else None


def test_every_pure_part_is_there():
    assert set(PURE) <= set(MODULES)


@pytest.mark.parametrize("module", PURE)
def test_pure_parts_know_nothing_of_the_machine(module):
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & WORLD


@pytest.mark.parametrize("module", PURE)
def test_pure_parts_know_only_pure_parts(module):
    ours = {name for name in imports(MODULES[module]) if name.startswith("device")}
    # a protocol is told of a key, which a file beside it reads
    allowed = (
        {*PURE, "device", "device.session.credentials"} if module.startswith("device.session") else {*PURE, "device"}
    )
    assert ours <= allowed


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) not in (None, "demo", "agent")])
def test_the_rooms_do_not_know_each_other(module):
    if module not in BUILDERS:
        others = {name for name in imports(MODULES[module]) if room_of(name) not in (None, room_of(module))}
        assert not others


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) is None and module not in BUILDERS])
def test_what_is_shared_knows_no_room(module):
    rooms = {name for name in imports(MODULES[module]) if room_of(name)}
    assert rooms <= {"device.panel.look"}, "look is a function of the state, which the event log tells of too"


def test_only_the_command_line_knows_the_agent_and_the_demo():
    for module, path in MODULES.items():
        for other in ("agent", "demo"):
            if room_of(module) != other and module != "device.__main__":
                assert not [name for name in imports(path) if room_of(name) == other], module


def test_nobody_knows_the_app_but_the_command_line():
    knowing = [module for module, path in MODULES.items() if "device.app" in set(imports(path))]
    assert knowing == ["device.__main__"]


ALLOWED = {"device.session.transport": {("threading", "Lock")}}  # OpenSSL: one thread in a connection at a time


@pytest.mark.parametrize("module", MODULES)
def test_no_lock_no_timer_thread_and_no_sleep(module):
    if room_of(module) in ("agent", "demo"):
        return
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {
                ("threading", "Lock"), ("threading", "RLock"), ("threading", "Timer"), ("time", "sleep"),
            } - ALLOWED.get(module, set())  # fmt: skip


def loaded_by(statement):
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_firmware_starts_without_what_it_does_not_use():
    unused = {"websockets", "pocketsphinx", "matplotlib", "openwakeword", "sklearn", "scipy", "gpiozero", "asyncio"}
    assert not loaded_by("import device.app") & (unused | {"pyaudio", "onnxruntime"})


def test_the_command_line_starts_without_anything_heavy():
    heavy = {"numpy", "pyaudio", "websocket", "gpiozero", "onnxruntime", "websockets"}
    assert not loaded_by("import device.__main__") & heavy


def test_the_installer_starts_with_nothing_but_what_every_python_has():
    script = "import device.install.__main__, sys; print(*sys.modules)"
    command = ["/usr/bin/python3", "-S", "-s", "-c", script]
    env = {"PYTHONPATH": str(ROOT.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert "device.config" not in done.stdout.split()
