"""How many requests each model had since this process started, and how long they took."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field

_MAX_MODELS = 4096  # beyond that, the least recently requested is dropped


@dataclass
class Total:
    """A number of durations, and their sum in nanoseconds."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns


@dataclass
class ModelStatistics:
    """The requests for one model, and the three parts of those that succeeded.

    `compute` includes the time that a request waits in the queue. `last_at` is in Unix seconds.
    """

    num_rows: int = 0
    last_at: float = 0.0
    success: Total = field(default_factory=Total)
    fail: Total = field(default_factory=Total)
    read: Total = field(default_factory=Total)
    compute: Total = field(default_factory=Total)
    write: Total = field(default_factory=Total)


class Statistics:
    """Statistics by model. Each process of the API has its own; use them on its event loop only."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, ModelStatistics] = OrderedDict()

    def __contains__(self, model_id: str) -> bool:
        return model_id in self._models

    def of(self, model_id: str) -> ModelStatistics:
        """Return the model's statistics, zeros if it had no request."""
        return self._models.get(model_id, ModelStatistics())

    def succeeded(
        self, model_id: str, *, num_rows: int, read_ns: int, compute_ns: int, write_ns: int
    ) -> None:
        """Count a request: the time to read it, to compute its rows and to write the answer."""
        totals = self._requested(model_id)
        totals.num_rows += num_rows
        totals.success.add(read_ns + compute_ns + write_ns)
        totals.read.add(read_ns)
        totals.compute.add(compute_ns)
        totals.write.add(write_ns)

    def failed(self, model_id: str, *, ns: int) -> None:
        """Count a request that failed."""
        self._requested(model_id).fail.add(ns)

    def _requested(self, model_id: str) -> ModelStatistics:
        totals = self._models.setdefault(model_id, ModelStatistics())
        totals.last_at = time.time()
        self._models.move_to_end(model_id)
        if len(self._models) > _MAX_MODELS:
            self._models.popitem(last=False)
        return totals
