"""Wait for another process or thread: poll to a deadline."""

import inspect
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout_seconds: float = 10) -> T:
    """Return the condition's first true answer. Raises AssertionError if none comes in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            wish = inspect.getsource(condition).strip()
            raise AssertionError(f"still {answer!r} after {timeout_seconds} s:\n{wish}")
        time.sleep(0.01)
    return answer
