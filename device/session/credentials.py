"""Where the API key comes from, and how it is kept from being shown."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from device.config import Agent
from device.errors import ConfigError

STORED = Path("/etc/credstore/earshot.api-key")
"""Where install.sh keeps it for systemd to hand to the service. Only root may read it, for `sudo earshot check`."""
_LIMIT = 65536  # bytes; the longest tokens in use have a few thousand


class Secret:
    """A text that shows itself only when asked with `reveal()`: not in logs, messages, tracebacks or pickles."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be copied or pickled")


@dataclass(frozen=True, slots=True)
class Key:
    """The API key, if there is one, and where it comes from, in words that follow "API key: "."""

    value: Secret | None
    source: str


def api_key(agent: Agent, environ: Mapping[str, str], stored: Path = STORED) -> Key:
    """The key from the systemd credential `api-key`, else EARSHOT_API_KEY, else `agent.api_key_file`, else `stored` if we may.

    Raises:
        ConfigError: the key, or the file it should be in, cannot be used. The key is not shown.
    """
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        # systemd answers for who may read this one; its mode may have a group bit.
        path = Path(directory, "api-key")
        if (text := _read(path, str(path), private=False)) is not None:
            return Key(_checked(text, str(path)), "from the systemd credential api-key")
    if text := environ.get("EARSHOT_API_KEY", "").strip():
        return Key(_checked(text, "EARSHOT_API_KEY"), "from EARSHOT_API_KEY")
    if agent.api_key_file:
        path = Path(agent.api_key_file)
        name = f"agent.api_key_file {path}"
        if (text := _read(path, name, private=True)) is None:
            raise ConfigError(f"{name} does not exist.")
        return Key(_checked(text, name), f"from {path}")
    if os.access(stored, os.R_OK) and (text := _read(stored, str(stored), private=True)) is not None:
        return Key(_checked(text, str(stored)), f"from {stored}")
    return Key(None, "none is set")


def _read(path: Path, name: str, private: bool) -> str | None:
    """The file's text, or None if there is no such file. The mode is asked of the open file, which nobody can swap."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hang us
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}.") from None
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{name} is not a file.")
        if private and mode & 0o077:
            raise ConfigError(f"{name} is open to others (mode {mode & 0o777:o}). Close it: chmod 600 {path}")
        return os.read(fd, _LIMIT).decode("utf-8-sig", "replace")
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}.") from None
    finally:
        os.close(fd)


def _checked(text: str, where: str) -> Secret:
    key = text.strip()
    if not key:
        raise ConfigError(f"{where} is empty; it should hold the API key.")
    if not all("!" <= letter <= "~" for letter in key):  # it travels in an HTTP header
        raise ConfigError(f"{where} holds a space, a line break or another character that no API key has.")
    return Secret(key)
