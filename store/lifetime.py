"""Processes that end with the one that started them, also when that was killed."""

import sys
import threading
from collections.abc import Callable


def on_parent_exit(callback: Callable[[], None]) -> None:
    """Call back once standard input, a pipe that the parent holds open, comes to its end."""

    def wait() -> None:
        sys.stdin.buffer.read()
        callback()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
