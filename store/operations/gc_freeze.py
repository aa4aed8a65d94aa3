"""What a process loads once and keeps until it ends."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Have the collector leave all that there is by the end of the block alone.

    It is for imports. Torch's make half a million objects: to look for garbage among them, again
    and again while they come and once more when the process ends, takes a third of its start and
    most of its end. Later on it would hold up a request or a batch now and then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
