"""The only Celery task: run the job whose id the message carries, if it is still due."""

from typing import TYPE_CHECKING, Any

from store import jobs
from worker.attempt import Worker
from worker.broker.celery_app import SUPERVISE
from worker.supervisor import supervise

if TYPE_CHECKING:
    from celery import Celery


def register(app: "Celery", worker: Worker) -> None:
    """Register the task on the app."""

    @app.task(name=SUPERVISE, bind=True, shared=False)  # type: ignore[untyped-decorator]
    def run_job(task: Any, job_id: str) -> None:
        supervise(job_id, worker)
        _run_due_jobs(task.request.delivery_info["routing_key"], worker)


def drain_step(worker: Worker) -> type:
    """Return a step of Celery's worker that releases its jobs whenever it stops.

    Without it, a worker that Celery gives up would take no message until its last job has ended.
    """
    from celery import bootsteps

    class Drain(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.components:Pool",)  # stops before the pool, which waits for jobs

        def stop(self, _worker: Any) -> None:
            worker.draining.set()

    return Drain


def _run_due_jobs(queue: str, worker: Worker) -> None:
    """Run the queue's other due jobs. While all its slots are taken, Celery polls for messages only
    once a second, which is long for a small job; and a message is only a hint.
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
