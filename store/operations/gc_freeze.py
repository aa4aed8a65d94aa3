"""Exclude the objects of imported modules from garbage collection."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_imports() -> Iterator[None]:
    """Disable garbage collection during the block, and exclude every object that exists at its end.

    Importing torch creates half a million objects. To search them for garbage, again and again
    during the import and once more at exit, takes a third of the start and most of the exit; in
    between it would delay a request or a batch now and then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
