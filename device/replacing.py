"""Files that are there whole or not at all, whenever the power fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; what is there in the end takes the place of `path`, unless the body raises.

    Raises:
        OSError: the disk is full, or may not be written.
    """
    fresh = path.with_suffix(f".{os.getpid()}")
    try:
        yield fresh
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        with suppress(OSError):  # on a file system that is read-only, even to remove what is not there fails
            fresh.unlink()
