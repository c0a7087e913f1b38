"""The index of a directory of Debian packages, by which apt takes it for an archive."""

import hashlib
import subprocess
from pathlib import Path

from device.replacing import replacing


def index(directory: Path) -> None:
    """Write `Packages` in the directory: for each package what it says of itself, and its checksum.

    Raises:
        OSError: the disk is full.
        subprocess.CalledProcessError: one of the packages is damaged.
    """
    with replacing(directory / "Packages") as fresh, fresh.open("w") as file:
        for path in sorted(directory.glob("*.deb")):
            control = subprocess.run(["dpkg-deb", "--field", path], check=True, capture_output=True, text=True).stdout
            checksum = hashlib.sha256(path.read_bytes()).hexdigest()
            file.write(
                f"{control.rstrip()}\nFilename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {checksum}\n\n"
            )
