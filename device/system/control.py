"""The local control socket: `earshot say`, `status` and `stop` ask the speaker that runs on this machine.

A JSON line each way. A request is {"order": "status" | "say" | "stop"}, with "text" to say; a reply {"ok": bool, …},
with a "message" where something is to be told. `Control` serves on the worker "control", `ask` is the command line's end.
"""

import errno
import json
import logging
import os
import pwd
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from device.errors import EarshotError, UsageError
from device.system.process import runtime_file

log = logging.getLogger(__name__)

ORDERS = ("status", "say", "stop")
TEXT_CHARACTERS = 2000
LINE_BYTES = 16 * 1024
"""The longest line, its end included. It fits a socket's buffer, so sending one to a client that does not read never waits."""
CLIENT_S = 1.0
"""How long a client may take for its request: the next one waits meanwhile."""
ANSWER_S = 2.0
"""How long the command line waits for the speaker."""
TICK_S = 0.4
"""A worker that is told to stop must notice within `worker.JOIN_S`."""
_BACKLOG = 8
SERVICE_FOLDER = Path("/run/earshot")
"""RuntimeDirectory= of the service, which runs as a user of its own."""


def problem(request: object) -> str | None:
    """What is wrong with a request, as a sentence; None for a good one."""
    if not isinstance(request, dict) or request.get("order") not in ORDERS:
        return f"A request is an object with an order: {', '.join(ORDERS)}."
    if request["order"] != "say":
        return None
    text = request.get("text")
    if not isinstance(text, str) or not text.strip():
        return "There is no text to say."
    if len(text) > TEXT_CHARACTERS:
        return f"The text has {len(text)} characters; {TEXT_CHARACTERS} is the most."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "The text is not UTF-8."
    return None


class Control:
    """Answers on the socket at `path`, one client at a time, and only this user or root.

    `answer` is called on the thread of `work` with a request that is free of mistakes and gives the reply, both as the
    module says. Whoever holds the lock of `process.alone` may replace what a dead speaker left at `path`; we must.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]], path: Path) -> None:
        self._answer = answer
        self._path = path

    def work(self, stopping: threading.Event) -> None:
        """Serve until `stopping` is set. Where the socket cannot be made there is a warning, and nothing to do."""
        try:
            listener = _listen(self._path)
        except OSError as error:
            reason = error.strerror or error
            log.warning("The control socket %s cannot be made (%s): no earshot say, status, stop.", self._path, reason)
            while not stopping.wait(TICK_S):
                pass
            return
        try:
            with listener:
                while not stopping.is_set():
                    self._serve_next(listener, stopping)
        finally:
            with suppress(OSError):
                self._path.unlink()

    def _serve_next(self, listener: socket.socket, stopping: threading.Event) -> None:
        try:
            client, _ = listener.accept()
        except TimeoutError:
            return
        except OSError:  # no file descriptor or no memory for it: some may come free
            stopping.wait(TICK_S)
            return
        with client, suppress(OSError):  # it left
            client.settimeout(TICK_S)
            if _user(client) in (os.getuid(), 0):
                client.sendall(self._reply(_read_line(client, stopping)))

    def _reply(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if wrong := problem(request):
            return _line({"ok": False, "message": wrong})
        try:
            return _line(self._answer({name: request[name] for name in ("order", "text") if name in request}))
        except Exception:  # a mistake of ours, which must not cost the conversation
            log.error("! control", exc_info=True)
            return _line({"ok": False, "message": "The speaker has no answer; its log says why."})


def _listen(path: Path) -> socket.socket:
    """Bind the socket, or raise OSError. Never through a link, and never in place of what others put there."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
            raise FileExistsError(errno.EEXIST, "something else is in its place")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux makes the file with the mode of the socket: unlike after a chmod it was never open to others.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        listener.settimeout(TICK_S)
    except OSError:
        listener.close()
        raise
    return listener


def _read_line(client: socket.socket, stopping: threading.Event) -> bytes:
    """A line, or what there was of it at its limit or end. Raises TimeoutError if it takes too long."""
    until = time.monotonic() + CLIENT_S
    line = b""
    while b"\n" not in line and len(line) < LINE_BYTES:
        if stopping.is_set() or time.monotonic() > until:
            raise TimeoutError
        with suppress(TimeoutError):
            piece = client.recv(LINE_BYTES - len(line))
            if not piece:
                break
            line += piece
    head, end, _ = line.partition(b"\n")
    return head if end else b""


def _line(message: dict[str, Any]) -> bytes:
    # As UTF-8, of which 2000 characters fit a line however odd; an agent's words may hold half a surrogate pair.
    line = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    if len(line) > LINE_BYTES:
        raise ValueError(f"a line of {len(line)} bytes is too long for the control socket")
    return line


def _user(connection: socket.socket) -> int:
    """The user at the other end, as the kernel knows it."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def ask(
    order: str, text: str | None = None, environ: Mapping[str, str] = os.environ, service: Path = SERVICE_FOLDER
) -> dict[str, Any]:
    """The reply of this user's speaker, else of the service's: at least {"ok": bool}.

    Raises:
        UsageError: there is no such order, or no text to say, or too much of it.
        EarshotError: no speaker runs here, it may not be asked, or it gives no answer in 2 s.
    """
    request = {"order": order} | ({} if text is None else {"text": text})
    if wrong := problem(request):
        raise UsageError(wrong)
    try:
        with _connect(runtime_file("sock", environ), service) as speaker:
            speaker.sendall(_line(request))
            with speaker.makefile("rb") as replies:
                reply = json.loads(replies.readline(LINE_BYTES))
    except TimeoutError:
        raise EarshotError(f"The speaker gives no answer in {ANSWER_S:.0f} s. {_LOOK}") from None
    except (OSError, ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict) or not isinstance(reply.get("ok"), bool):
        raise EarshotError(f"The speaker broke off without an answer. {_LOOK}")
    return reply


_LOOK = "See what it says: journalctl -u earshot"


def _connect(own: Path, service: Path) -> socket.socket:
    """A connection to the first of them at which a speaker answers."""
    for path in (own, *_sockets(service)):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(path))
            # In a folder of all users another one may have put a socket there to be told things.
            if path != own or _user(connection) == os.getuid():
                return connection
        except BlockingIOError:
            connection.close()
            raise EarshotError("Too many ask the speaker at once. Try again.") from None
        except OSError as error:  # nothing there, or left by a dead speaker
            if isinstance(error, PermissionError) and path != own:
                raise _refused(path) from None
        connection.close()
    raise EarshotError("No speaker runs here. Start it: earshot run, or systemctl start earshot")


def _sockets(service: Path) -> list[Path]:
    try:
        return sorted(path for path in service.iterdir() if path.name.startswith("earshot-") and path.suffix == ".sock")
    except PermissionError:
        raise _refused(service) from None
    except OSError:
        return []


def _refused(path: Path) -> EarshotError:
    try:
        owner = f"user {pwd.getpwuid(path.stat().st_uid).pw_name}"
    except (OSError, KeyError):
        owner = "another user"
    return EarshotError(f"The speaker on this machine belongs to {owner}: use sudo.")
