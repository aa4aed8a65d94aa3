"""The outbox relay, the reaper and the sweeper of the scaled-out service. Any number can run."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from store import jobs
from store.artifacts.artifact_store import open_artifacts
from store.database.engine import Database, is_unavailable
from store.operations.retention import sweeping
from store.settings import Settings
from worker.broker.celery_app import QUEUES, SUPERVISE
from worker.instruments import Instruments
from worker.supervisor import reap

POLL_SECONDS = 0.1
REAP_SECONDS = 5.0
RETRY_SECONDS = 1.0
# Messages that wait in a queue. Busy workers need no more of them, however many jobs wait: Redis
# stays small, and no message is sent again while its queue is full.
BACKLOG = 100

log = structlog.get_logger()


def run(
    settings: Settings,
    database: Database,
    celery: Celery,
    stop: threading.Event,
    *,
    instruments: Instruments,
) -> None:
    """Send the ids of due jobs to their queues, and reap expired leases, until `stop`."""
    log.info("dispatcher ready")
    with sweeping(settings, database, open_artifacts(settings)), ThreadPoolExecutor(1) as pool:
        # In a thread of its own, because leases expire also while the broker hangs.
        reaping = partial(reap, settings, database, instruments)
        reaper = pool.submit(_repeat, reaping, REAP_SECONDS, stop)
        _repeat(partial(relay, settings, database, celery), POLL_SECONDS, stop)
        reaper.result()


def _repeat(step: Callable[[], None], seconds: float, stop: threading.Event) -> None:
    """Repeat the step until `stop`; set `stop` if a step fails permanently."""
    try:
        while not stop.is_set():
            try:
                step()
            except (OperationalError, RedisError):
                log.warning("the broker does not answer")
                stop.wait(RETRY_SECONDS)
            except SQLAlchemyError as error:
                if not is_unavailable(error):
                    raise
                log.warning("the database does not answer")
                stop.wait(RETRY_SECONDS)
            stop.wait(seconds)
    finally:
        stop.set()


def relay(settings: Settings, database: Database, celery: Celery) -> None:
    """Send a message for each due job without one, as far as its queue has room.

    A duplicate message is harmless, so sent messages are recorded afterwards, in one transaction.
    """
    for queue in QUEUES:
        if not (limit := room(celery, queue)):
            continue
        with database.read() as transaction:
            due = jobs.due_for_dispatch(
                transaction,
                queue=queue,
                redispatch_seconds=settings.redispatch_seconds,
                limit=limit,
                max_running=settings.tenant_running_jobs,
            )
        if not due:
            continue
        job_ids = [job_id for job_id, _ in due]
        for job_id in job_ids:
            celery.send_task(SUPERVISE, args=[job_id], queue=queue, retry=False)
        with database.write() as transaction:
            jobs.mark_dispatched(transaction, job_ids)


def room(celery: Celery, queue: str) -> int:
    """Return how many more messages fit in the queue's backlog."""
    with celery.connection_or_acquire() as connection:
        num_waiting: int = connection.default_channel.queue_declare(queue).message_count
    return max(0, BACKLOG - num_waiting)
