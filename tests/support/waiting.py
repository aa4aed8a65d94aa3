"""Waiting for what happens elsewhere: poll to a deadline instead of sleeping and hoping."""

import inspect
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout_seconds: float = 10) -> T:
    """The condition's first true answer; AssertionError if there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            wish = inspect.getsource(condition).strip()
            raise AssertionError(f"still {answer!r} after {timeout_seconds} s:\n{wish}")
        time.sleep(0.01)
    return answer
