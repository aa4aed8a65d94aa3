"""The one task: run the job whose id the message carries, if it is still there to be run."""

from celery import Celery

from worker.celery_app import SUPERVISE
from worker.supervisor import Worker, supervise


def register(app: Celery, worker: Worker) -> None:
    """Teach the app its task."""

    @app.task(name=SUPERVISE)  # type: ignore[untyped-decorator]
    def run_job(job_id: str) -> None:
        supervise(job_id, worker)
