"""What a worker or a dispatcher counts, beside what the database tells of jobs.

Under `serve` the API answers with it: see store/operations/metrics.py. A process of the scaled-out
service answers itself, where `DROPOUT_WORKER_METRICS_PORT` says. Trainers count nothing: what they
have timed, they tell their supervisor.
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

# A small network takes milliseconds; gigabytes to a far object store take minutes.
CHECKPOINT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Instruments:
    """The instruments of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # With a folder, the numbers are in its files, and told by whoever reads them.
        own = self.registry if metrics.shared_folder() is None else None
        if own is None:
            metrics.reserve_space()
        self.attempts = Counter(
            "dropout_attempts",
            "Attempts that are over, by the state that they left the job in, or `lost`, and why.",
            ["outcome", "reason"],
            registry=own,
        )
        self.trainer_deaths = Counter(
            "dropout_trainer_deaths",
            "Trainers that died in the middle, by the signal or the exit code that they died of.",
            ["cause"],
            registry=own,
        )
        self.failed_renewals = Counter(
            "dropout_lease_renewals_failed",
            "Renewals of a lease that the database did not answer.",
            registry=own,
        )
        self.refused_writes = Counter(
            "dropout_stale_writes_refused",
            "Writes that were refused because the job had become another attempt's.",
            registry=own,
        )
        self.reaped_leases = Counter(
            "dropout_leases_reaped",
            "Expired leases that were taken back, by the state that the job went to.",
            ["state"],
            registry=own,
        )
        self.checkpoint_seconds = Histogram(
            "dropout_checkpoint_duration_seconds",
            "Time that a trainer took to store a checkpoint.",
            buckets=CHECKPOINT_SECONDS,
            registry=own,
        )

    def listen(self, settings: Settings) -> None:
        """Answer `/metrics` where the settings say, if they do. Raises OSError if it is taken."""
        if settings.worker_metrics_port is None:
            return
        ProcessCollector(registry=self.registry)
        start_http_server(
            settings.worker_metrics_port,
            addr=settings.worker_metrics_host,
            registry=self.registry,
        )
