"""What this process is to its machine: alone, and quiet."""

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from device.errors import HardwareError


def runtime_file(kind: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Where a speaker of this user keeps its file of that kind: systemd's RuntimeDirectory= (the first of them), a
    login's, or for want of both the folder for temporary files, which all users share."""
    folder = (
        environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        or environ.get("XDG_RUNTIME_DIR")
        or tempfile.gettempdir()
    )
    return Path(folder) / f"earshot-{os.getuid()}.{kind}"


def is_first_start(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the first start since install.sh left the file `greet` in systemd's StateDirectory=. It is removed."""
    folder = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not folder:
        return False
    try:
        Path(folder, "greet").unlink()
    except OSError:  # it is not there, or the disk is read-only: better silent than a greeting at each start
        return False
    return True


@contextmanager
def alone(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Hold the lock that a second speaker of this user and runtime directory finds taken. It goes with the process.

    Raises:
        HardwareError: another one runs.
    """
    path = runtime_file("lock", environ)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HardwareError(f"The lock file {path} cannot be opened: {error.strerror}.") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.read(fd, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise HardwareError(
            f"Earshot runs already (process {pid}). Stop that one first, or see what it says: systemctl status earshot"
        ) from None
    try:
        with contextlib.suppress(OSError):  # on a full disk the lock holds as well, without our number in it
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)


def quiet_libraries() -> None:
    """Keep what C libraries print out of the log, for good: ALSA and PortAudio complain of every PCM they try.

    They write to file descriptor 2; Python goes on with a copy of it.
    """
    if sys.stderr is None:  # started with it closed
        return
    sys.stderr.flush()
    copy = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(copy, "w", buffering=1, errors="backslashreplace")
