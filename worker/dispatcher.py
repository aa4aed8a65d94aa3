"""The outbox relay, the reaper and the sweeper of the scaled-out service. Any number may run."""

import threading
import time

import structlog
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import SQLAlchemyError

from store import jobs
from store.artifacts import LocalArtifacts
from store.database import Database, is_unavailable
from store.retention import sweeping
from store.settings import Settings
from worker.celery_app import SUPERVISE

POLL_SECONDS = 0.1
REAP_SECONDS = 5.0
RETRY_SECONDS = 1.0
BATCH = 100

log = structlog.get_logger()


def run(settings: Settings, database: Database, celery: Celery, stop: threading.Event) -> None:
    """Relay the ids of due jobs to their queues, and take back expired leases, until `stop`."""
    log.info("dispatcher ready")
    with sweeping(settings, database, LocalArtifacts(settings.artifact_root)):
        _loop(settings, database, celery, stop)


def _loop(settings: Settings, database: Database, celery: Celery, stop: threading.Event) -> None:
    reap_at = 0.0
    while not stop.wait(POLL_SECONDS):
        try:
            if time.monotonic() >= reap_at:
                reap(settings, database)
                reap_at = time.monotonic() + REAP_SECONDS
            relay(settings, database, celery)
        except BrokerError:
            log.warning("the broker does not answer")
            stop.wait(RETRY_SECONDS)
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            log.warning("the database does not answer")
            stop.wait(RETRY_SECONDS)


def reap(settings: Settings, database: Database) -> None:
    """Requeue or end the jobs whose lease has expired."""
    with database.write() as transaction:
        reaped = jobs.reap(
            transaction,
            max_attempts=settings.max_attempts,
            backoff_seconds=settings.retry_backoff_seconds,
        )
    for job in reaped:
        log.warning("lease expired", job=job.id, attempt=job.attempt, state=job.state)


def relay(settings: Settings, database: Database, celery: Celery) -> None:
    """Send a message for each due job without one. A message that goes out twice does no harm."""
    with database.read() as transaction:
        due = jobs.undelivered(
            transaction, redispatch_seconds=settings.redispatch_seconds, limit=BATCH
        )
    for job_id, queue in due:
        celery.send_task(SUPERVISE, args=[job_id], queue=queue, retry=False)
        with database.write() as transaction:
            jobs.mark_dispatched(transaction, [job_id])
