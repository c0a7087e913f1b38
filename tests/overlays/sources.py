"""Our overlays as their sources and compiled, and the trees that they are applied to."""

import re
import subprocess
from functools import cache
from pathlib import Path

from tests.overlays.merge import Node, read

_HERE = Path(__file__).parent
_OVERLAYS = _HERE.parents[1] / "overlays"
OVERLAYS = sorted(path.stem for path in _OVERLAYS.glob("*.dts"))
MODELS = ("pi4", "pi5")


def compiled(source: str) -> tuple[bytes, str]:
    """The compiled tree, and the compiler's warnings."""
    command = ["dtc", "-@", "-I", "dts", "-O", "dtb"]
    done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=10, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def source(overlay: str) -> str:
    return (_OVERLAYS / f"{overlay}.dts").read_text()


@cache
def overlay(name: str) -> Node:
    return read(compiled(source(name))[0])


@cache
def model(name: str) -> Node:
    return read(compiled((_HERE / f"{name}.dts").read_text())[0])


def head(overlay: str) -> str:
    """The head comment, without its stars."""
    comment = source(overlay).removeprefix("/*\n").partition("\n */\n")[0]
    return "\n".join(line.removeprefix(" *").removeprefix(" ") for line in comment.splitlines())


def documented(overlay: str) -> dict[str, str]:
    """The parameters in the head comment, with what is said of each."""
    section = head(overlay).partition("\nParameters:")[2].partition("\n\n")[0]
    found = re.findall(r"^  ([\w-]+) {2,}(.*(?:\n {6,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(about.split()) for name, about in found}
