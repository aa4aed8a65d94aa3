"""The metrics of workers and dispatchers, besides those that the database gives.

Under `serve` the API exposes them: see store/operations/metrics.py. A process of the scaled-out
service exposes its own on `DROPOUT_WORKER_METRICS_PORT`. Trainers count nothing: they send their
timings to their supervisor.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from store.operations import metrics
from store.settings import Settings

STACK_MEMBERS = (1, 2, 4, 8, 16, 32, 64, 128)
# A small network takes milliseconds; gigabytes to a far object store take minutes.
CHECKPOINT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Instruments:
    """The instruments of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # With a folder, the numbers are in its files, and the process that reads them exposes them.
        own = self.registry if metrics.shared_folder() is None else None
        if own is None:
            metrics.reserve_space()
        self.attempts = Counter(
            "dropout_attempts",
            "Attempts that are over, by the job's state after them, or `lost`, and the reason.",
            ["outcome", "reason"],
            registry=own,
        )
        self.trainer_deaths = Counter(
            "dropout_trainer_deaths",
            "Trainers that died during an attempt, by signal or exit code.",
            ["cause"],
            registry=own,
        )
        self.failed_renewals = Counter(
            "dropout_lease_renewals_failed",
            "Renewals of a lease that failed because the database did not answer.",
            registry=own,
        )
        self.refused_writes = Counter(
            "dropout_stale_writes_refused",
            "Writes that were refused because another attempt owned the job.",
            registry=own,
        )
        self.reaped_leases = Counter(
            "dropout_leases_reaped",
            "Expired leases that were reaped, by the job's state after that.",
            ["state"],
            registry=own,
        )
        self.stack_members = Histogram(
            "dropout_stack_members",
            "Jobs that an attempt trained in one process: 1, or the trials of a stack.",
            buckets=STACK_MEMBERS,
            registry=own,
        )
        self.checkpoint_seconds = Histogram(
            "dropout_checkpoint_duration_seconds",
            "Time that a trainer took to store a checkpoint.",
            buckets=CHECKPOINT_SECONDS,
            registry=own,
        )

    def listen(self, settings: Settings) -> None:
        """Serve `/metrics` if the settings name a port. Raises OSError if the port is in use."""
        if settings.worker_metrics_port is None:
            return
        ProcessCollector(registry=self.registry)
        start_http_server(
            settings.worker_metrics_port,
            addr=settings.worker_metrics_host,
            registry=self.registry,
        )
