"""A virtual sound card with a room around it: a private PulseAudio, which PyAudio reaches through ALSA's `pulse`."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from device.demo.echo import echoing
from device.demo.programs import dying_with_us, program
from device.demo.sounds import LIMIT_S, RATE, Playing, Recording
from device.demo.voices import resample
from device.errors import EarshotError, HardwareError

# One stereo sink carries both ends, so that a recording of its monitor holds them sample by sample.
# Without norewinds a new stream begins in a block that the monitor has given away already: its first samples are lost.
CARD = (
    "module-null-sink sink_name=card rate=48000 format=s16le channels=2 channel_map=front-left,front-right norewinds=1",
    "module-remap-sink sink_name=room master=card channels=1 channel_map=mono master_channel_map=front-left remix=no",
    "module-remap-source source_name=microphone master=card.monitor channels=1 channel_map=mono"
    " master_channel_map=front-left remix=no",
)
SPEAKER = (
    "module-remap-sink sink_name=speaker master=card channels=1 channel_map=mono master_channel_map=front-right"
    " remix=no",
)
# Whatever ties a process to the user's sound, settings or service; a room is the same everywhere.
OUTSIDE = re.compile(
    "PULSE_|ALSA_|JACK_|PIPEWIRE_|DBUS_|DISPLAY|WAYLAND_|EARSHOT_|GPIOZERO_|NOTIFY_|WATCHDOG_|CREDENTIALS_|RUNTIME_"
)
NOWHERE = subprocess.DEVNULL
DEFAULTS = ("set-default-sink speaker", "set-default-source microphone")

# Complete, so that neither the user's ALSA configuration nor the machine's cards are seen.
ALSA = """
pcm.pulse { type pulse hint { show on description "Virtual card" } }
ctl.pulse { type pulse }
pcm.default { type pulse hint { show on description "Virtual card" } }
ctl.default { type pulse }
"""

# The shell outlives a killed parent for as long as it takes to clear up: its stdin is a pipe that only we hold.
KEEPER = """
"$@" </dev/null &
read -r _
kill "$!" && wait "$!"
rm -rf "$EARSHOT_ROOM"
"""


class VirtualCard:
    """Runs while its context does. `env` is the whole environment for a process that shall use the card.

    In it, PyAudio finds the card under the names "pulse" and "default". With `echo`, an impulse response for
    `device.demo.echo.echoing`, the microphone hears what the speaker plays.
    """

    def __init__(self, echo: np.ndarray | None = None) -> None:
        self._echo = echo

    def __enter__(self) -> "VirtualCard":
        pulseaudio, pacat = program("pulseaudio"), program("pacat")
        self._pacat = [*dying_with_us(pacat), "--raw", "--format=s16le", f"--rate={RATE}"]
        self._listen = [*self._pacat, "--record", "--device=card.monitor", "--latency-msec=10"]
        if not any(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
            raise EarshotError(
                "ALSA's plug-in for PulseAudio is missing: install it with `apt install libasound2-plugins`"
            )
        self.directory = Path(tempfile.mkdtemp(prefix="earshot-"))  # short: a socket's path has 107 bytes
        self.env = self._prepare()
        self._log = (self.directory / "log").open("wb")
        self._ticking: subprocess.Popen[bytes] | None = None
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "keeper", *self._daemon(pulseaudio)],
            env=self.env | {"EARSHOT_ROOM": str(self.directory), "HOME": f"{self.directory}/home"},
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is for us: we end it in good order
        )
        try:
            self._await_ready()
            self._set_going()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        try:
            self._keeper.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._keeper.pid, signal.SIGKILL)  # the daemon, too
        if self._ticking:
            self._ticking.wait(LIMIT_S)
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def play(self, pcm: np.ndarray, rate: int) -> Playing:
        """Play mono int16 samples into the room, without waiting. Other rates than 48 kHz are converted first."""
        if rate != RATE:
            pcm = resample(pcm, rate, RATE)
        # Half a second lies ready at the card: a busy machine shall not tear what is said. It starts at once all the same.
        options = "--playback --verbose --device=room --channels=1 --channel-map=mono --latency-msec=500"
        return Playing(pcm, [*self._pacat, *options.split()], self.env)

    def record(self, path: Path) -> Recording:
        """Record both ends of the card from now until the recording is stopped."""
        return Recording(path, [*self._listen, "--channels=2"], self.env)

    def unload(self) -> None:
        """Take the card away, as if it were unplugged: all its streams die."""
        self._pactl("unload-module", "module-null-sink")
        if self._ticking:
            self._ticking.wait(LIMIT_S)

    def reload(self) -> None:
        """Plug it in again."""
        for line in self._modules:
            self._pactl("load-module", *line.split())
        for line in self._orders:
            self._pactl(*line.split())
        self._set_going()

    def suspend(self) -> None:
        """Make the card stand still: its streams live, but no sample moves."""
        self._pactl("suspend-sink", "card", "1")

    def resume(self) -> None:
        """End `suspend`."""
        self._pactl("suspend-sink", "card", "0")

    def _set_going(self) -> None:
        """Keep the card moving in blocks of some 10 ms: alone it takes 2 s at a time. Ends with the card."""
        command = [*self._listen, "--channels=1"]
        self._ticking = subprocess.Popen(command, env=self.env, stdin=NOWHERE, stdout=NOWHERE, stderr=NOWHERE)
        if self._echo is not None:  # the first stream of all into the room would tear a piece out of what is played
            self.play(np.zeros(1, np.int16), RATE).wait(LIMIT_S)

    def _pactl(self, *words: str) -> None:
        command = [program("pactl"), *words]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if done.returncode:
            raise HardwareError(f"PulseAudio refuses {' '.join(words)}: {done.stderr.strip()}")

    def _prepare(self) -> dict[str, str]:
        """Write the configurations and return the environment that points to them."""
        room, home = self.directory, self.directory / "home"
        home.mkdir()
        (room / "run").mkdir(mode=0o700)
        (room / "alsa.conf").write_text(ALSA)
        (room / "client.conf").write_text("autospawn = no\n")
        (room / "daemon.conf").write_text("")
        server = f"module-native-protocol-unix socket={room}/native auth-anonymous=1"
        speaker, orders = (SPEAKER, ()) if self._echo is None else echoing(self._echo, room)
        self._modules, self._orders = (*CARD, *speaker), (*DEFAULTS, *orders)
        # The server's socket says: ready.
        lines = [*(f"load-module {line}" for line in self._modules), *self._orders, f"load-module {server}"]
        (room / "script.pa").write_text("\n".join(lines) + "\n")
        env = {name: value for name, value in os.environ.items() if not OUTSIDE.match(name)}
        return env | {
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",  # else libdbus looks for one
            "XDG_RUNTIME_DIR": f"{room}/run",
            "PULSE_SERVER": f"unix:{room}/native",
            "PULSE_CONFIG": f"{room}/daemon.conf",
            "PULSE_CLIENTCONFIG": f"{room}/client.conf",
            "PULSE_COOKIE": f"{room}/cookie",
            "PULSE_RUNTIME_PATH": f"{room}/run",
            "PULSE_STATE_PATH": f"{room}/state",
            "JACK_NO_START_SERVER": "1",  # PortAudio tries every sound system it was built with
            "ALSA_CONFIG_PATH": f"{room}/alsa.conf",
        }

    def _daemon(self, pulseaudio: str) -> list[str]:
        options = "-n --daemonize=no --use-pid-file=no --exit-idle-time=-1 --disallow-exit=yes --realtime=no"
        options += " --high-priority=no --log-target=stderr --log-level=notice"
        return [pulseaudio, *options.split(), f"--file={self.directory}/script.pa"]

    def _await_ready(self) -> None:
        end, pause = time.monotonic() + LIMIT_S, threading.Event()
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(f"{self.directory}/native")
                except OSError:
                    pause.wait(0.01)
                    continue
            return
        log = (self.directory / "log").read_text(errors="replace").strip()[-2000:]
        raise HardwareError(f"PulseAudio did not start within {LIMIT_S:g} s. It said:\n{log}")
