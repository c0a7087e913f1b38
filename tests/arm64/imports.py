"""Imports every module of the firmware in the environment of a flashed machine, and fails if one cannot be.

Run by tests/arm64/run.
"""

import importlib
import pkgutil
import platform
import sys
import time

import device

ABSENT = {"matplotlib"}
"""With it the demo draws pictures, which a speaker does not."""
OUTSIDE = (
    "numpy", "onnxruntime", "samplerate", "pyaudio", "gpiozero", "spidev", "websocket", "websockets", "pocketsphinx",
    "sklearn.linear_model",
)  # fmt: skip
"""What it needs of others, of which much is imported only where it is used."""


def main() -> int:
    begin = time.monotonic()
    ours = [module.name for module in pkgutil.walk_packages(device.__path__, "device.")]
    without, failed = [], []
    for name in (*OUTSIDE, *ours):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name in ABSENT and name in ours:
                without.append(name)
            else:
                failed.append(f"{name}: {error}")
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    sys.stdout.write(
        f"Python {platform.python_version()} on {platform.machine()}: of {len(ours)} modules, {len(without)} draw pictures "
        f"({', '.join(without) or 'none'}), {len(failed)} fail, in {time.monotonic() - begin:.0f} s\n"
    )
    sys.stdout.writelines(f"  {line}\n" for line in failed)
    return 1 if failed or len(ours) < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
