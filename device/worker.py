"""Threads with a name, a stop flag and a death that is noticed."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from device.errors import EarshotError
from device.events import WorkerDied

log = logging.getLogger(__name__)

JOIN_S = 0.8
"""How long a worker may take to end: no call in it blocks for longer (a sound card taken away may: hence daemon threads)."""


class Worker(threading.Thread):
    """Runs `work(stopping)`, which returns soon after `stopping` is set. If it ends otherwise, `WorkerDied` is posted."""

    def __init__(self, name: str, work: Callable[[threading.Event], None], post: Callable[[WorkerDied], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._post = post
        self.stopping = threading.Event()

    def run(self) -> None:
        message = "ended unasked"
        try:
            self._work(self.stopping)
        except Exception as error:
            expected = isinstance(error, EarshotError)
            log.log(logging.DEBUG if expected else logging.ERROR, "! %s", self.name, exc_info=True)
            message = str(error) or repr(error)
        finally:  # SystemExit ends the thread too, and only the thread
            if not self.stopping.is_set():
                self._post(WorkerDied(self.name, message))


def stop_all(workers: Iterable[Worker]) -> bool:
    """Stop all, then wait for each; True if all have ended. One that does not is named in the log."""
    workers = [worker for worker in workers if worker.ident is not None]
    for worker in workers:
        worker.stopping.set()
    until = time.monotonic() + JOIN_S
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            log.warning("! %s does not end", worker.name)
    return not any(worker.is_alive() for worker in workers)
