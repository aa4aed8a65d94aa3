"""Turns at something that few may do at a time, shared between owners."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """At most `total` turns at a time; no owner has all of them.

    Of the owners that wait, the next turn is for one that has the fewest.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, owner: str) -> Iterator[None]:
        """Wait for a turn, and have it during the block."""
        with self._changed:
            self._waiting[owner] += 1
            try:
                self._changed.wait_for(lambda: self._is_next(owner))
                self._taken[owner] += 1
            finally:
                self._waiting[owner] -= 1
                self._forget()
        try:
            yield
        finally:
            with self._changed:
                self._taken[owner] -= 1
                self._forget()

    @property
    def num_waiting(self) -> int:
        return self._waiting.total()

    def _is_next(self, owner: str) -> bool:
        has = self._taken[owner]
        return (
            self._taken.total() < self._total
            and has < self._total - 1
            and all(has <= self._taken[other] for other in self._waiting)
        )

    def _forget(self) -> None:
        """Forget owners without turns, and let the others look whether they are next."""
        self._taken += Counter()
        self._waiting += Counter()
        self._changed.notify_all()
