"""Claim a job and run one attempt, reap expired leases, sweep. Does not import torch.

The embedded worker and Celery both run jobs through `supervise`.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from dropout_core.files import NO_SPACE, is_disk_full
from store import datasets, jobs, models
from store.database.engine import is_unavailable
from store.errors import DatasetNotFound, LeaseLost
from store.jobs import Claim, Job
from store.operations import tracing
from store.operations.retention import sweeping
from worker.attempt import Attempt, Worker, requeue
from worker.messages import Assignment, job_prefix
from worker.retrying_artifacts import RetryingArtifacts

POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0

log = structlog.get_logger()


def repeat(step: Callable[[], None], worker: Worker, *, reap_seconds: float) -> None:
    """Repeat the step until `worker.draining`; meanwhile reap expired leases and sweep.

    Sets `worker.draining` if the step or the reaper fails permanently, and raises that error.
    """
    with (
        sweeping(worker.settings, worker.database, worker.artifacts),
        ThreadPoolExecutor(1) as pool,
    ):
        # In a thread of its own, because leases expire also while the broker hangs.
        reaper = pool.submit(_repeat, partial(reap, worker), reap_seconds, worker.draining)
        _repeat(step, POLL_SECONDS, worker.draining)
        reaper.result()


def _repeat(step: Callable[[], None], seconds: float, stop: threading.Event) -> None:
    try:
        while not stop.is_set():
            try:
                step()
            except SQLAlchemyError as error:
                if not is_unavailable(error):
                    raise
                log.warning("the database does not answer")
                stop.wait(RETRY_SECONDS)
            stop.wait(seconds)
    finally:
        stop.set()


def supervise(job_id: str, worker: Worker) -> bool:
    """Run one attempt of the job if it can be claimed, and return whether it was.

    If the supervisor itself fails, the error is logged and the job requeued with one more failure.
    Raises SQLAlchemyError if the claim fails; a claim that was committed all the same expires.
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
    attributes: tracing.Attributes = {
        "dropout.job.id": job.id,
        "dropout.job.attempt": job.attempt,
        "dropout.queue.wait_seconds": waited_seconds,
    }
    with (
        bound_contextvars(job=job.id, attempt=job.attempt),
        tracing.span("attempt", kind="CONSUMER", parent=job.traceparent, attributes=attributes),
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
    except Exception as error:  # the failure of one job must not end the worker of the others
        log.exception("the supervisor failed")
        _count(worker, "lost", "supervisor_failed")
        _requeue(claim, worker, error)
        return
    log.info("attempt over", state=over.state, reason=reason)
    _count(worker, over.state, reason)
    _delete_unneeded_artifacts(over, worker)


def _count(worker: Worker, outcome: str, reason: str) -> None:
    """Record how an attempt ended in metrics and traces."""
    worker.instruments.attempts.labels(outcome, reason).inc()
    tracing.update_span(
        {"dropout.outcome": outcome, "dropout.reason": reason},
        failed=outcome in ("failed", "lost"),
    )


def _run(job: Job, claim: Claim, worker: Worker) -> tuple[Job, str]:
    """Run an attempt, and return the job after it and the reason. Raises LeaseLost."""
    try:
        assignment = _assignment(job, worker)
    except DatasetNotFound as error:
        return _refuse(claim, worker, "invalid_data", str(error))
    except OSError as error:
        if not is_disk_full(error):
            raise
        return _refuse(claim, worker, "disk_full", NO_SPACE)
    attempt = Attempt(job, assignment, worker)
    try:
        return attempt.run(), attempt.reason
    finally:
        attempt.end_trainer()


def _refuse(claim: Claim, worker: Worker, reason: str, detail: str) -> tuple[Job, str]:
    with worker.database.write() as transaction:
        over = jobs.fail(transaction, claim, reason=reason, detail=detail)
    return over, over.state_reason or ""


def _requeue(claim: Claim, worker: Worker, error: Exception) -> None:
    """Requeue the job with one more failure; if even that fails, its lease expires."""
    # The job's owner must not see the error's message, which can quote internals: the log has it.
    detail = f"the supervisor failed: {type(error).__name__}"
    try:
        with worker.database.write() as transaction:
            requeue(transaction, claim, worker.settings, reason="worker_lost", detail=detail)
    except (LeaseLost, SQLAlchemyError) as refusal:
        log.warning("the job was not requeued; its lease will expire", error=type(refusal).__name__)


def _assignment(job: Job, worker: Worker) -> Assignment:
    with worker.database.read() as transaction:
        dataset = datasets.get(transaction, job.dataset_id, tenant=job.tenant)
    worker.scratch.mkdir(parents=True, exist_ok=True)
    return Assignment(
        job_id=job.id,
        attempt=job.attempt,
        spec=job.spec,
        dataset_artifact=dataset.artifact,
        dataset_reading=dataset.reading,
        artifacts=RetryingArtifacts(worker.artifacts),
        scratch=worker.scratch,
        num_threads=job.num_threads or worker.settings.threads_per_job,
        checkpoint_seconds=worker.settings.checkpoint_seconds,
    )


def _delete_unneeded_artifacts(job: Job, worker: Worker) -> None:
    """Delete all artifacts of a finished job except its model."""
    if job.state not in jobs.TERMINAL:
        return
    try:
        with worker.database.read() as transaction:
            has_model = job.id in models.of_jobs(transaction, [job.id])
        model = f"{job_prefix(job.id)}/{job.attempt}/model/" if has_model else None
        for key in worker.artifacts.list(job_prefix(job.id)):
            if model is None or not key.startswith(model):
                worker.artifacts.delete(key)
    except Exception as error:  # the job has ended in any case, and the sweep deletes the rest
        log.warning("artifacts of the job were not deleted", error=repr(error))


def reap(worker: Worker) -> None:
    """Requeue or end the jobs whose lease has expired."""
    with worker.database.write() as transaction:
        reaped = jobs.reap(
            transaction,
            lease_seconds=worker.settings.lease_seconds,
            max_attempts=worker.settings.max_attempts,
            backoff_seconds=worker.settings.retry_backoff_seconds,
        )
    for job in reaped:
        worker.instruments.reaped_leases.labels(job.state).inc()
        log.warning("lease expired", job=job.id, attempt=job.attempt, state=job.state)
