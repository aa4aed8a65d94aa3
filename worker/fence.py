"""The end of a trainer whose job may be another's by now."""

import threading
import time
from multiprocessing.process import BaseProcess


class Fence:
    """Kill a trainer whose lease was not renewed for `seconds`, unless it is closed before.

    In a thread of its own, because the supervisor's may hang in the very call that is to renew.
    """

    def __init__(self, trainer: BaseProcess, *, seconds: float) -> None:
        self.has_cut = False
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
                self.has_cut = True
                self._trainer.kill()
                return
