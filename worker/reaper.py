"""Taking jobs back from workers that are gone."""

import structlog

from store import jobs
from store.database.engine import Database
from store.settings import Settings
from worker.instruments import Instruments

log = structlog.get_logger()


def reap(settings: Settings, database: Database, instruments: Instruments) -> None:
    """Requeue or end the jobs whose lease has expired."""
    with database.write() as transaction:
        reaped = jobs.reap(
            transaction,
            max_attempts=settings.max_attempts,
            backoff_seconds=settings.retry_backoff_seconds,
        )
    for job in reaped:
        instruments.reaped_leases.labels(job.state).inc()
        log.warning("lease expired", job=job.id, attempt=job.attempt, state=job.state)
