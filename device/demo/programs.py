"""The Debian programs that make up the room."""

import shutil
import sys
from pathlib import Path

from device.errors import EarshotError

PACKAGES = {
    "pulseaudio": "pulseaudio",
    "pacat": "pulseaudio-utils",
    "pactl": "pulseaudio-utils",
    "espeak-ng": "espeak-ng",
    "flite": "flite",
    "setpriv": "util-linux",
}


def program(name: str) -> str:
    """The path of a program of `PACKAGES`; EarshotError names the package where it is missing."""
    # Beside our Python: where install.sh links PulseAudio on a desktop whose PipeWire its package would drive out.
    found = shutil.which(name) or shutil.which(name, path=Path(sys.executable).parent)
    if found is None:
        raise EarshotError(f"the program {name} is missing: install it with `apt install {PACKAGES[name]}`")
    return found


def dying_with_us(*command: str) -> list[str]:
    """`command`, made to get SIGTERM when the thread that starts it ends, however it ends."""
    return [program("setpriv"), "--pdeathsig", "TERM", *command]
