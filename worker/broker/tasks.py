"""The one task: run the job whose id the message carries, if it is still there to be run."""

from typing import TYPE_CHECKING, Any

from store import jobs
from worker.broker.celery_app import SUPERVISE
from worker.supervisor import Worker, supervise

if TYPE_CHECKING:
    from celery import Celery


def register(app: "Celery", worker: Worker) -> None:
    """Teach the app its task."""

    @app.task(name=SUPERVISE, bind=True, shared=False)  # type: ignore[untyped-decorator]
    def run_job(task: Any, job_id: str) -> None:
        supervise(job_id, worker)
        _go_on(task.request.delivery_info["routing_key"], worker)


def _go_on(queue: str, worker: Worker) -> None:
    """Run what else is due. While all its places are taken, Celery looks for messages but once a
    second, which is long for a small job; and a message is only a hint.
    """
    while True:
        with worker.database.read() as transaction:
            due = jobs.claimable(
                transaction,
                queue=queue,
                limit=worker.settings.concurrency,
                max_running=worker.settings.tenant_running_jobs,
            )
        if not any(supervise(job_id, worker) for job_id in due):
            return
