"""Processes that exit with their parent, and a lock that admits only one process."""

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_RETRY_SECONDS = 0.1


class AlreadyRunning(Exception):
    """Another process holds the lock."""


@contextmanager
def only_one(lock: Path, *, timeout_seconds: float = 0) -> Iterator[None]:
    """Hold a lock on a file, created if missing; the lock ends with this process in any case.

    Raises AlreadyRunning if another process still holds it after the timeout.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_seconds
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise AlreadyRunning(f"another process serves {lock.parent}") from error
                time.sleep(_RETRY_SECONDS)
        yield


def on_parent_exit(callback: Callable[[], None]) -> None:
    """Call back when standard input, a pipe that the parent holds open, is closed."""

    descriptor = sys.stdin.fileno()

    def wait() -> None:
        # Not through sys.stdin, whose lock a thread must not hold when the interpreter exits.
        while os.read(descriptor, 1024):
            pass
        callback()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
