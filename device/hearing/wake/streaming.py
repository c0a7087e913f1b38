"""The streaming wake network: where it is kept, and how it comes there. What it is, says `graph`."""

import hashlib
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from device.errors import HardwareError
from device.hearing.models import bundled, load
from device.replacing import replacing

log = logging.getLogger(__name__)

_SOURCES = ("melspectrogram.onnx", "embedding_model.onnx")
_LIMIT_S = 60.0
"""It takes a second on a PC, and a service manager waits no longer than 90 for the start."""


def kept_at() -> Path:
    """Its file, whether it is there or not: in the environment that Python runs in, and named by the checksum of its sources.

    Raises:
        HardwareError: a source is missing.
    """
    checksum = hashlib.sha256(Path(__file__).with_name("graph.py").read_bytes())
    for name in _SOURCES:
        checksum.update(bundled(name).read_bytes())
    return Path(sys.prefix, "share", "earshot", f"wake-{checksum.hexdigest()[:16]}.onnx")


def make() -> None:
    """Make it, and remove older ones. In a process of its own, because `onnx` would keep 30 MB of this one.

    Raises:
        HardwareError: that failed.
    """
    path = kept_at()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as fresh:
            command = [sys.executable, "-m", "device.hearing.wake.graph", str(fresh)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S)
            if done.returncode:
                raise HardwareError((done.stderr.strip() or "no reason was given").splitlines()[-1])
        for old in path.parent.glob("wake-*.onnx"):
            if old != path:
                old.unlink(missing_ok=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise HardwareError(str(error)) from None


def streaming_network() -> Any | None:
    """An onnxruntime session of it, made again if need be; None where that fails, which the log tells."""
    path = kept_at()
    if path.is_file():
        try:
            return load(path)
        except HardwareError as error:
            log.warning("! %s", error)
    log.warning("= The streaming wake network is missing, old or damaged: making it.")
    try:
        make()
        return load(path)
    except HardwareError as error:
        log.warning(
            "! It cannot be made (%s). The wake words work all the same, with openWakeWord's plain models, which take five "
            "times as much of the processor. install.sh makes it.",
            error,
        )
        return None


if __name__ == "__main__":
    try:
        make()
    except HardwareError as error:
        sys.exit(f"The streaming wake network cannot be made: {error}")
