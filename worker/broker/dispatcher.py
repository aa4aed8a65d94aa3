"""The outbox relay, the reaper and the sweeper of the scaled-out service. Any number can run."""

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from store import jobs
from store.database.engine import Database
from store.settings import Settings
from worker.attempt import Worker
from worker.broker.celery_app import QUEUES, SUPERVISE
from worker.supervisor import RETRY_SECONDS, repeat

REAP_SECONDS = 5.0
# Messages that wait in a queue. Busy workers need no more of them, however many jobs wait: Redis
# stays small, and no message is sent again while its queue is full.
BACKLOG = 100

log = structlog.get_logger()


def run(worker: Worker, celery: Celery) -> None:
    """Send the ids of due jobs to their queues, and reap expired leases, until `draining`."""
    log.info("dispatcher ready")

    def step() -> None:
        try:
            relay(worker.settings, worker.database, celery)
        except (OperationalError, RedisError) as error:
            log.warning("the broker does not answer", error=repr(error))
            worker.draining.wait(RETRY_SECONDS)

    repeat(step, worker, reap_seconds=REAP_SECONDS)


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
