"""Metrics of the jobs and sweeps in the database, read at each scrape by who answers it.

The histograms of waiting times, durations and attempts hold the newest jobs, up to a thousand of
each state: a scrape costs the same with a hundred thousand jobs, and shows the present. Their
counts go down when jobs are deleted, so they are gauge histograms (`_gcount` and `_gsum`): compute
quantiles from their values, not from their rates.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from store.database.engine import Database
from store.operations import statistics
from store.operations.statistics import JobTimes

NUM_RECENT = 1000  # of each state
SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
ATTEMPTS = (1, 2, 3, 5, 10)

log = structlog.get_logger()


class RecordedJobs(Collector):
    """Metrics of the jobs of a database; only `dropout_database_up` while it is down."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        try:
            with self._database.read() as transaction:
                counts = statistics.count_by_state(transaction)
                sweep_counts = statistics.count_sweeps_by_state(transaction)
                due_seconds = statistics.longest_due_seconds(transaction)
                lives = statistics.recent_job_times(transaction, limit=NUM_RECENT)
        except SQLAlchemyError:
            log.warning("the database does not answer")
            yield _up(0)
            return
        yield _up(1)
        yield _by_state("dropout_jobs", "Jobs on record.", counts)
        yield _by_state("dropout_sweeps", "Sweeps on record.", sweep_counts)
        yield GaugeMetricFamily(
            "dropout_oldest_queued_job_age_seconds",
            "Time since the oldest queued job was due; 0 if no job is due.",
            due_seconds,
        )
        yield _queue_waits(lives)
        yield _durations(lives)
        yield _attempts(lives)


def _up(value: int) -> Metric:
    return GaugeMetricFamily("dropout_database_up", "Whether the database answers.", value)


def _by_state(name: str, description: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, description, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    return family


def _queue_waits(lives: Iterable[JobTimes]) -> Metric:
    family = GaugeHistogramMetricFamily(
        "dropout_job_queue_wait_seconds",
        f"From creation to first start, of the newest {NUM_RECENT} jobs of each state.",
        labels=[],
    )
    waits = [max(0.0, life.started_at - life.created_at) for life in lives]
    family.add_metric([], _buckets(waits, SECONDS), sum(waits))
    return family


def _durations(lives: Iterable[JobTimes]) -> Metric:
    family = GaugeHistogramMetricFamily(
        "dropout_job_duration_seconds",
        f"From first start to end, of the newest {NUM_RECENT} jobs of each state.",
        labels=["state", "reason"],
    )
    durations = defaultdict(list)
    for life in lives:
        if life.finished_at is not None:
            outcome = (life.state, life.state_reason or "")
            durations[outcome].append(max(0.0, life.finished_at - life.started_at))
    for outcome, values in sorted(durations.items()):
        family.add_metric(outcome, _buckets(values, SECONDS), sum(values))
    return family


def _attempts(lives: Iterable[JobTimes]) -> Metric:
    """The events tell how attempts ended, but most events are epochs: too many to read."""
    family = GaugeHistogramMetricFamily(
        "dropout_job_attempts",
        f"Attempts that a job has taken, of the newest {NUM_RECENT} jobs of each state.",
        labels=["state"],
    )
    attempts = defaultdict(list)
    for life in lives:
        attempts[life.state].append(life.attempt)
    for state, values in sorted(attempts.items()):
        family.add_metric([state], _buckets(values, ATTEMPTS), sum(values))
    return family


def _buckets(values: Sequence[float], bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Return each upper bound with the number of values up to it; the last bound is infinite."""
    ordered = sorted(values)
    counts = [(str(float(bound)), bisect_right(ordered, bound)) for bound in bounds]
    return [*counts, ("+Inf", len(ordered))]
