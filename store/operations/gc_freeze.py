"""Keep the garbage collector away from what a process loads once and keeps until it ends."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_imports() -> Iterator[None]:
    """Import in this block; the collector then leaves alone every object that exists at its end.

    Importing torch makes half a million objects. To search them for garbage, again and again while
    they are made and once more when the process ends, takes a third of its start and most of its
    end; later it would delay a request or a batch now and then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
