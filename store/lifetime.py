"""Processes that end with the one that started them, also when that was killed."""

import os
import sys
import threading
from collections.abc import Callable


def on_parent_exit(callback: Callable[[], None]) -> None:
    """Call back once standard input, a pipe that the parent holds open, comes to its end."""

    descriptor = sys.stdin.fileno()

    def wait() -> None:
        # Not through sys.stdin, whose lock a thread must not hold when the interpreter ends.
        while os.read(descriptor, 1024):
            pass
        callback()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
