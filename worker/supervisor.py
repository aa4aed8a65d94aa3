"""Claim jobs and run one attempt, reap expired leases, drive sweeps. Does not import torch.

The embedded worker and Celery both run jobs through `supervise`.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from dropout_core.files import NO_SPACE, is_disk_full
from store import datasets, events, jobs, models
from store import sweeps as store_sweeps
from store.database.engine import is_unavailable
from store.errors import DatasetNotFound, LeaseLost
from store.jobs import Job
from store.operations import tracing
from store.operations.retention import sweeping
from worker import sweeps
from worker.attempt import Attempt, Worker
from worker.member import Member
from worker.messages import Assignment, job_prefix
from worker.retrying_artifacts import RetryingArtifacts
from worker.trainer_process import TrainerProcess

POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0
DRIVE_SECONDS = 0.1
FAULT_SECONDS = 60.0  # a sweep that cannot be driven for so long has failed

log = structlog.get_logger()


def repeat(step: Callable[[], None], worker: Worker, *, reap_seconds: float) -> None:
    """Repeat the step until `worker.draining`; meanwhile reap expired leases, and drive sweeps.

    Unneeded data is deleted too. Sets `worker.draining` if the step, the reaper or the driver fails
    permanently, and raises that error.
    """
    with (
        sweeping(worker.settings, worker.database, worker.artifacts),
        ThreadPoolExecutor(2) as pool,
    ):
        # In threads of their own, because leases expire also while the broker hangs.
        reaper = pool.submit(_repeat, partial(reap, worker), reap_seconds, worker.draining)
        driven = partial(drive, worker, {})
        driver = pool.submit(_repeat, driven, DRIVE_SECONDS, worker.draining)
        _repeat(step, POLL_SECONDS, worker.draining)
        reaper.result()
        driver.result()


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

    A trial that can be stacked has its due company with it. If the supervisor itself fails, the
    error is logged and the jobs requeued with one more failure.
    Raises SQLAlchemyError if the claim fails; a claim that was committed all the same expires.
    """
    if worker.draining.is_set():
        return False
    claimed = _claim(job_id, worker)
    if not claimed:
        return False
    job = claimed[0]
    assert job.lease_expires_at is not None
    attributes: tracing.Attributes = {
        "dropout.job.id": job.id,
        "dropout.job.attempt": job.attempt,
        "dropout.stack.size": len(claimed),
        "dropout.queue.wait_seconds": (
            job.lease_expires_at - worker.settings.lease_seconds - job.run_after
        ),
    }
    with (
        bound_contextvars(job=job.id, attempt=job.attempt),
        tracing.span("attempt", kind="CONSUMER", parent=job.traceparent, attributes=attributes),
    ):
        _supervise(claimed, worker)
    return True


def _claim(job_id: str, worker: Worker) -> list[Job]:
    settings = worker.settings
    with worker.database.write() as transaction:
        return jobs.claim_stack(
            transaction,
            job_id,
            max_members=settings.max_stack,
            num_workers=settings.concurrency,
            owner=worker.owner,
            lease_seconds=settings.lease_seconds,
            num_threads=settings.threads_per_job,
            max_attempts=settings.max_attempts,
            max_running=settings.tenant_running_jobs,
        )


def _supervise(claimed: list[Job], worker: Worker) -> None:
    """Run an attempt of the jobs and, while their stack has more to do, the next ones.

    All of them have one trainer, which keeps the networks from rung to rung.
    """
    trainer: TrainerProcess | None = None
    try:
        while claimed:
            if not (assignments := _assignments(claimed, worker)):
                return
            with worker.database.read() as transaction:
                limited = [job.id for job in claimed if job.spec["training"]["max_runtime_seconds"]]
                paused_seconds = events.paused_seconds(transaction, limited)
            if trainer is None:
                seconds = worker.settings.fence_seconds
                trainer = TrainerProcess(assignments, fence_seconds=seconds)
            else:
                trainer.assign(assignments)
            worker.instruments.stack_members.observe(len(claimed))
            attempt = Attempt(claimed, trainer, worker, paused_seconds=paused_seconds)
            attempt.run(partial(_drive_sweep_of, claimed[0], worker))
            can_go_on = attempt.trainer_is_alive and assignments[0].is_stacked
            if not can_go_on:
                trainer.end()
            first, claimed = claimed[0], []
            for member in attempt.members:
                _note(member, worker)
            _drive_sweep_of(first, worker)
            claimed = _next_of(first, worker) if can_go_on else []
    except Exception as error:  # the failure of one job must not end the worker of the others
        log.exception("the supervisor failed")
        for job in claimed:
            _count(worker, "lost", "supervisor_failed")
            _requeue(job, worker, error)
    finally:
        if trainer is not None:
            trainer.end()


def _next_of(job: Job, worker: Worker) -> list[Job]:
    """Claim what the stack of the job is to train next, unless it is for others to begin."""
    if worker.draining.is_set():
        return []
    with worker.database.read() as transaction:
        next_id = jobs.next_of_stack(transaction, job)
    return [] if next_id is None else _claim(next_id, worker)


def _drive_sweep_of(job: Job, worker: Worker) -> None:
    if job.trial is not None and job.sweep_id is not None:
        _drive(job.sweep_id, worker)  # if that fails, `drive` looks at it soon


def _drive(sweep_id: str, worker: Worker) -> Exception | None:
    """Apply what follows from a sweep's results; return an error that is not the database's."""
    try:
        ended = sweeps.advance(sweep_id, worker.database)
    except Exception as error:
        return None if is_unavailable(error) else error
    if ended:  # in a thread: a bucket takes its time for each of them
        threading.Thread(target=_delete_artifacts, args=(ended, worker), daemon=True).start()
    return None


def _delete_artifacts(job_ids: list[str], worker: Worker) -> None:
    try:
        for job_id in job_ids:
            worker.artifacts.delete(job_prefix(job_id))
    except Exception as error:  # the sweep of unneeded data deletes the rest
        log.warning("artifacts of trials were not deleted", error=repr(error))


@dataclass
class Fault:
    """Of a sweep that cannot be driven: since when, and when it is tried again (monotonic)."""

    since: float
    retry_at: float


def drive(worker: Worker, faults: dict[str, Fault] | None = None) -> None:
    """Drive the sweeps that nobody drives: they are new, or their last driver has died.

    `faults` are those of earlier calls. A sweep that still has one after FAULT_SECONDS has failed.
    """
    faults = {} if faults is None else faults
    with worker.database.read() as transaction:
        undriven = store_sweeps.undriven(transaction)
    for sweep_id in undriven:
        if worker.draining.is_set():
            return
        now, fault = time.monotonic(), faults.get(sweep_id)
        if fault is not None and now < fault.retry_at:
            continue
        error = _drive(sweep_id, worker)
        if error is None:
            faults.pop(sweep_id, None)
        elif fault is None:
            log.error("the sweep was not driven", sweep=sweep_id, exc_info=error)
            faults[sweep_id] = Fault(now, now + RETRY_SECONDS)
        elif now - fault.since < FAULT_SECONDS:
            fault.retry_at = now + RETRY_SECONDS
        else:
            _fail_sweep(sweep_id, worker, error)


def _fail_sweep(sweep_id: str, worker: Worker, error: Exception) -> None:
    log.error("the sweep has failed", sweep=sweep_id, exc_info=error)
    # The error's message can quote internals: the log has it.
    detail = f"what follows from its results could not be decided: {type(error).__name__}"
    with worker.database.write() as transaction:
        store_sweeps.fail(transaction, sweep_id, reason="internal_error", detail=detail)


def _note(member: Member, worker: Worker) -> None:
    """Tell how an attempt ended, and delete what is not needed then."""
    outcome, reason = member.outcome
    job_id, attempt = member.claim.job_id, member.claim.attempt
    if member.over is None:
        log.warning("lease lost", job=job_id, attempt=attempt)
    else:
        tell = log.debug if reason == "rung" else log.info  # there may be hundreds of trials
        tell("attempt over", job=job_id, attempt=attempt, state=outcome, reason=reason)
        _delete_unneeded_artifacts(member.over, worker)
    _count(worker, outcome, reason)


def _count(worker: Worker, outcome: str, reason: str) -> None:
    """Record how an attempt ended in metrics and traces."""
    worker.instruments.attempts.labels(outcome, reason).inc()
    tracing.update_span(
        {"dropout.outcome": outcome, "dropout.reason": reason},
        failed=outcome in ("failed", "lost"),
    )


def _requeue(job: Job, worker: Worker, error: Exception) -> None:
    """Requeue the job with one more failure; if even that fails, its lease expires."""
    # The job's owner must not see the error's message, which can quote internals: the log has it.
    detail = f"the supervisor failed: {type(error).__name__}"
    try:
        with worker.database.write() as transaction:
            Member(job, worker.settings).requeue(transaction, reason="worker_lost", detail=detail)
    except (LeaseLost, SQLAlchemyError) as refusal:
        log.warning("the job was not requeued; its lease will expire", error=type(refusal).__name__)


def _assignments(claimed: list[Job], worker: Worker) -> list[Assignment]:
    """Return what the trainer has to know of each job; fail the jobs if that is impossible."""
    first = claimed[0]
    try:
        with worker.database.read() as transaction:
            dataset = datasets.get(transaction, first.dataset_id, tenant=first.tenant)
            metrics: tuple[str, ...] = ()
            if first.trial is not None and first.sweep_id is not None:
                metrics = sweeps.metrics(transaction, first.sweep_id)
        worker.scratch.mkdir(parents=True, exist_ok=True)
    except DatasetNotFound as error:
        _refuse(claimed, worker, "invalid_data", str(error))
        return []
    except OSError as error:
        if not is_disk_full(error):
            raise
        _refuse(claimed, worker, "disk_full", NO_SPACE)
        return []
    artifacts = RetryingArtifacts(worker.artifacts)
    return [
        Assignment(
            job_id=job.id,
            attempt=job.attempt,
            spec=job.spec,
            dataset_artifact=dataset.artifact,
            dataset_reading=dataset.reading,
            artifacts=artifacts,
            scratch=worker.scratch,
            num_threads=job.num_threads or worker.settings.threads_per_job,
            checkpoint_seconds=worker.settings.checkpoint_seconds,
            pause_after=job.pause_after,
            metrics=metrics,
            stack_bytes=worker.settings.max_training_bytes,
        )
        for job in claimed
    ]


def _refuse(claimed: list[Job], worker: Worker, reason: str, detail: str) -> None:
    for job in claimed:
        member = Member(job, worker.settings)
        with worker.database.write() as transaction, suppress(LeaseLost):
            member.end(jobs.fail(transaction, member.claim, reason=reason, detail=detail))
        _note(member, worker)


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
