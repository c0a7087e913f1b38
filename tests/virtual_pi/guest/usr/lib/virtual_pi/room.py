"""What happens in the virtual Pi's room: words are played to its microphone, its speaker is recorded, its lights are watched.

    room.py status                   what the speaker answers on its control socket
    room.py ready AFTER LIMIT        wait until the service has become ready after a time
    room.py hear WAV LIMIT           play WAV until the speaker says that it heard the wake word
    room.py observe S WAV [PRESS_S]  play WAV, and watch for S seconds; press the button after PRESS_S seconds of sound

Each prints a JSON object; times are of CLOCK_MONOTONIC, in seconds. `observe` leaves the sound in /run/observed.raw, s16le
mono at 24 kHz.
"""

import array
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

OTHER_SIDE = "hw:CARD=Loopback,DEV=1"
RATE = 24_000
LOUD = 500  # of 32768
LIGHTS = (5, 6, 13)
BUTTON = 17
LINES = Path("/run/gpio")
SAMPLE_S = 0.01
AGAIN_S = 4.0
"""After the end of a wake word it may take this long until it is counted."""


def ask(order: str) -> dict[str, Any]:
    """The speaker's reply, or {"ok": False} with what went wrong."""
    try:
        (path,) = Path("/run/earshot").glob("*.sock")
        with socket.socket(socket.AF_UNIX) as speaker:
            speaker.settimeout(3.0)
            speaker.connect(str(path))
            speaker.sendall(json.dumps({"order": order}).encode() + b"\n")
            with speaker.makefile("rb") as replies:
                reply: dict[str, Any] = json.loads(replies.readline())
                return reply
    except (OSError, ValueError) as error:
        return {"ok": False, "message": f"{type(error).__name__}: {error}"}


def ready(after: float, limit: float) -> dict[str, Any]:
    """When systemd was told so, or None if that takes longer than `limit`."""
    begin = time.monotonic()
    words = ["systemctl", "show", "earshot.service", "-p", "ActiveState", "-p", "ActiveEnterTimestampMonotonic"]
    while time.monotonic() - begin < limit:
        shown = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
        values = dict(line.split("=", 1) for line in shown.splitlines())
        at = int(values["ActiveEnterTimestampMonotonic"]) / 1e6
        if values["ActiveState"] == "active" and at > after:
            return {"at": at}
        time.sleep(0.2)
    return {"at": None}


def wakes() -> int | None:
    """How many wake words it has heard since it started; None where it does not answer."""
    reply = ask("status")
    return int(reply["counters"]["wakes"]) if reply["ok"] else None


def play(wav: str) -> str:
    """Play to the end; what aplay complained about."""
    done = subprocess.run(
        ["aplay", "-q", "-D", OTHER_SIDE, wav], capture_output=True, text=True, timeout=30, check=False
    )
    return done.stderr.strip()


def hear(wav: str, limit: float) -> dict[str, Any]:
    """Play `wav` over and over until it is heard; then end the conversation."""
    begin = time.monotonic()
    tries, said = 0, ""
    while time.monotonic() - begin < limit:
        before = wakes()
        if before is None:
            time.sleep(0.1)
            continue
        tries += 1
        said = play(wav)
        ended = time.monotonic()
        while time.monotonic() - ended < AGAIN_S:
            now = wakes()
            if now is not None and now > before:
                at = time.monotonic()
                ask("stop")
                return {"heard": True, "tries": tries, "begin": begin, "at": at, "after_s": round(at - ended, 2)}
            time.sleep(0.05)
    return {"heard": False, "tries": tries, "aplay": said, "status": ask("status")}


class Recorder:
    """Takes in what the speaker plays, and counts for how long it was loud."""

    def __init__(self) -> None:
        self.chunks: list[tuple[float, int]] = []
        self.pcm = b""
        self.loud_s = 0.0
        words = ["arecord", "-q", "-D", OTHER_SIDE, "-f", "S16_LE", "-c", "1", "-r", str(RATE), "-t", "raw"]
        self._process = subprocess.Popen(
            [*words, "--period-time=10000", "--buffer-time=2000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while piece := os.read(self._process.stdout.fileno(), 65536):
            rest += piece
            even = len(rest) // 2 * 2
            samples = array.array("h", rest[:even])
            self.pcm += rest[:even]
            rest = rest[even:]
            self.chunks.append((time.monotonic(), len(self.pcm) // 2))
            if samples and max(map(abs, samples)) > LOUD:
                self.loud_s += len(samples) / RATE

    def close(self) -> str:
        """End it; what arecord complained about."""
        self._process.terminate()
        self._thread.join(5)  # to the end of what it has written
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip()
        self._process.wait(5)
        return said


def watch_lights(seen: list[tuple[float, str]], stop: threading.Event) -> None:
    """Note every change of the lights' lines, as "010"."""
    lines = [os.open(LINES / f"sim_gpio{pin}" / "value", os.O_RDONLY) for pin in LIGHTS]
    last = ""
    while not stop.wait(SAMPLE_S):
        now = "".join(os.pread(line, 1, 0).decode() for line in lines)
        if now != last:
            seen.append((time.monotonic(), now))
            last = now
    for line in lines:
        os.close(line)


def press(pressed: bool) -> None:
    """Move the button's line as a finger does."""
    (LINES / f"sim_gpio{BUTTON}" / "pull").write_text("pull-down" if pressed else "pull-up")


def observe(seconds: float, wav: str, press_after: float | None) -> dict[str, Any]:
    """One scene; see the module."""
    begin = time.monotonic()
    lights: list[tuple[float, str]] = []
    stop = threading.Event()
    watcher = threading.Thread(target=watch_lights, args=(lights, stop), daemon=True)
    watcher.start()
    recorder = Recorder()
    time.sleep(0.5)
    played = time.monotonic()
    said = play(wav)
    ended = time.monotonic()
    pressed = None
    while time.monotonic() - begin < seconds:
        time.sleep(0.01)
        if press_after is not None and pressed is None and recorder.loud_s > press_after:
            press(True)
            pressed = time.monotonic()
            time.sleep(0.15)
            press(False)
    said += recorder.close()
    stop.set()
    watcher.join(2)
    Path("/run/observed.raw").write_bytes(recorder.pcm)
    found = {"begin": begin, "played": played, "ended": ended, "pressed": pressed, "end": time.monotonic()}
    return found | {"lights": lights, "chunks": recorder.chunks, "said": said}


def main(words: list[str]) -> None:
    """See the module."""
    match words:
        case ["status"] | ["stop"]:
            found = ask(words[0])
        case ["ready", after, limit]:
            found = ready(float(after), float(limit))
        case ["hear", wav, limit]:
            found = hear(wav, float(limit))
        case ["observe", seconds, wav, *rest]:
            found = observe(float(seconds), wav, float(rest[0]) if rest else None)
        case _:
            sys.exit(__doc__)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
