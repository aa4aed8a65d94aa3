"""Kill a trainer whose lease was not renewed in time: another attempt can own its job by then."""

import threading
import time
from multiprocessing.process import BaseProcess


class Fence:
    """A thread that kills a trainer whose lease was not renewed for `seconds`, until it is closed.

    It is a thread of its own, because the supervisor's thread can hang while it renews the lease.
    """

    def __init__(self, trainer: BaseProcess, *, seconds: float) -> None:
        self.has_killed = False
        self.renewed_at = time.monotonic()
        self._trainer = trainer
        self._seconds = seconds
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="fence", daemon=True).start()

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.renewed_at + self._seconds

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self.renewed_at + self._seconds - time.monotonic()):
            if self.is_due:
                self.has_killed = True
                self._trainer.kill()
                return
