"""Run one attempt of a job: claim it, watch its trainer, tidy up. Does not import torch.

`supervise` is the one way a job runs, from the embedded worker and from Celery alike.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from dropout_core.files import NO_SPACE, is_disk_full
from store import datasets, jobs
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database
from store.errors import DatasetNotFound, LeaseLost
from store.jobs import Claim, Job
from store.operations import tracing
from store.settings import Settings
from worker.attempt import Attempt, requeue
from worker.instruments import Instruments
from worker.messages import Assignment, job_prefix
from worker.retrying_artifacts import RetryingArtifacts

log = structlog.get_logger()


@dataclass(frozen=True)
class Worker:
    """Who supervises, with what. `draining` set means: hand every job back and claim no more."""

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    owner: str
    draining: threading.Event
    instruments: Instruments = field(default_factory=Instruments)

    @property
    def scratch(self) -> Path:
        return self.settings.data_dir / "scratch"


def supervise(job_id: str, worker: Worker) -> bool:
    """Run one attempt of the job, if it can be claimed, and return whether it was, once it is over.

    An attempt that fails in the supervisor itself is logged and handed back, charged. Raises
    SQLAlchemyError if the claim fails; if it was committed all the same, its lease runs out.
    """
    settings = worker.settings
    if worker.draining.is_set():
        return False
    with worker.database.write() as transaction:
        job = jobs.claim(
            transaction,
            job_id,
            owner=worker.owner,
            lease_seconds=settings.lease_seconds,
            num_threads=settings.threads_per_job,
            max_attempts=settings.max_attempts,
            max_running=settings.tenant_running_jobs,
        )
    if job is None:
        return False
    assert job.lease_expires_at is not None
    waited_seconds = job.lease_expires_at - settings.lease_seconds - job.run_after
    facts: tracing.Attributes = {
        "dropout.job.id": job.id,
        "dropout.job.attempt": job.attempt,
        "dropout.queue.wait_seconds": waited_seconds,
    }
    with (
        bound_contextvars(job=job.id, attempt=job.attempt),
        tracing.span("attempt", kind="CONSUMER", parent=job.traceparent, attributes=facts),
    ):
        _supervise(job, worker)
    return True


def _supervise(job: Job, worker: Worker) -> None:
    claim = Claim(job.id, job.attempt)
    log.info("attempt started")
    try:
        over, reason = _run(job, claim, worker)
    except LeaseLost:
        log.warning("lease lost")
        _count(worker, "lost", "lease_lost")
        return
    except Exception as error:  # one job's bad luck must not end the worker of the others
        log.exception("the supervisor failed")
        _count(worker, "lost", "supervisor_failed")
        _hand_back(claim, worker, error)
        return
    log.info("attempt over", state=over.state, reason=reason)
    _count(worker, over.state, reason)
    _tidy(over, worker)


def _count(worker: Worker, outcome: str, reason: str) -> None:
    """Tell how an attempt ended to whoever measures and traces."""
    worker.instruments.attempts.labels(outcome, reason).inc()
    tracing.describe(
        {"dropout.outcome": outcome, "dropout.reason": reason},
        failed=outcome in ("failed", "lost"),
    )


def _run(job: Job, claim: Claim, worker: Worker) -> tuple[Job, str]:
    """The job as the attempt left it, and why. Raises LeaseLost."""
    try:
        assignment = _assignment(job, worker)
    except DatasetNotFound as error:
        return _refuse(claim, worker, "invalid_data", str(error))
    except OSError as error:
        if not is_disk_full(error):
            raise
        return _refuse(claim, worker, "disk_full", NO_SPACE)
    attempt = Attempt(
        job,
        assignment,
        settings=worker.settings,
        database=worker.database,
        instruments=worker.instruments,
        draining=worker.draining,
    )
    try:
        return attempt.run(), attempt.reason
    finally:
        attempt.end_trainer()


def _refuse(claim: Claim, worker: Worker, reason: str, detail: str) -> tuple[Job, str]:
    with worker.database.write() as transaction:
        over = jobs.fail(transaction, claim, reason=reason, detail=detail)
    return over, over.state_reason or ""


def _hand_back(claim: Claim, worker: Worker, error: Exception) -> None:
    """Put the job back in the queue, charged; if even that fails, its lease will run out."""
    # The error's words may hold what is not the job's owner's to see: they are in the log.
    detail = f"the supervisor failed: {type(error).__name__}"
    try:
        with worker.database.write() as transaction:
            requeue(transaction, claim, worker.settings, reason="worker_lost", detail=detail)
    except (LeaseLost, SQLAlchemyError) as refusal:
        log.warning("the job is left to its lease", error=type(refusal).__name__)


def _assignment(job: Job, worker: Worker) -> Assignment:
    with worker.database.read() as transaction:
        dataset = datasets.get(transaction, job.dataset_id, tenant=job.tenant)
    worker.scratch.mkdir(parents=True, exist_ok=True)
    return Assignment(
        job_id=job.id,
        attempt=job.attempt,
        spec=job.spec,
        dataset_artifact=dataset.artifact,
        artifacts=RetryingArtifacts(worker.artifacts),
        scratch=worker.scratch,
        num_threads=job.num_threads or worker.settings.threads_per_job,
        checkpoint_seconds=worker.settings.checkpoint_seconds,
    )


def _tidy(job: Job, worker: Worker) -> None:
    """Delete what no later attempt needs: of a job that is over, all but its model."""
    if job.state not in jobs.TERMINAL:
        return
    model = f"{job_prefix(job.id)}/{job.attempt}/model/" if job.state == "succeeded" else None
    try:
        for key in worker.artifacts.list(job_prefix(job.id)):
            if model is None or not key.startswith(model):
                worker.artifacts.delete(key)
    except Exception as error:  # the job is over all the same, and the sweep comes later
        log.warning("what the job no longer needs was not deleted", error=repr(error))
