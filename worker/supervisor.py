"""claim -> start the trainer process -> heartbeat -> record -> finish. No torch here.

`supervise` is the one way a job runs, from the embedded worker and from Celery alike.
"""

import multiprocessing
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import structlog
from sqlalchemy import Connection as Transaction
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from dropout_core.files import NO_SPACE, is_disk_full
from store import datasets, jobs
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database, is_unavailable
from store.errors import DatasetNotFound, JobNotFound, LeaseLost
from store.jobs import Claim, Job
from store.operations import tracing
from store.operations.logs import configure_logging
from store.settings import Settings
from worker.fence import Fence
from worker.instruments import Instruments
from worker.messages import (
    Assignment,
    EpochCompleted,
    Failed,
    Finished,
    FoldScored,
    Message,
    Order,
    Stopped,
    Timed,
    job_prefix,
)
from worker.retrying_artifacts import Patient

TRAINER = "worker.trainer"
PRELOADED = ["worker.forkserver_preload"]
WATCH_SECONDS = 0.2  # how soon a cancel is seen
DEATH_SECONDS = 10  # how long a killed process may take to be gone
MAX_MESSAGES = 1000  # stored in one transaction
KILLED = (
    "the trainer was ended by SIGKILL, which this service did not send: "
    "the machine may have run out of memory"
)

log = structlog.get_logger()

_processes = multiprocessing.get_context("forkserver")


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


def warm_up() -> None:
    """Start the server that trainers are forked from, and wait until it has loaded torch."""
    _processes.set_forkserver_preload(PRELOADED)
    process = _processes.Process(target=_do_nothing)
    process.start()
    process.join()


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
    attempt = _Attempt(job, claim, worker, assignment)
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
            _requeue(transaction, claim, worker.settings, reason="worker_lost", detail=detail)
    except (LeaseLost, SQLAlchemyError) as refusal:
        log.warning("the job is left to its lease", error=type(refusal).__name__)


class _Attempt:
    """One trainer, watched until `over` holds how the attempt ended."""

    def __init__(self, job: Job, claim: Claim, worker: Worker, assignment: Assignment) -> None:
        self.over: Job | None = None
        self._requeued_for = "released"
        self._instruments = worker.instruments
        self._claim = claim
        self._tenant = job.tenant
        self._settings = worker.settings
        self._database = worker.database
        self._draining = worker.draining
        self._messages: deque[Message] = deque()  # received and not stored yet
        self._ordered_at: float | None = None
        self._looked_at = time.monotonic()
        self._finish_at = self._deadline(job)
        self._pipe, theirs = _processes.Pipe()
        self._trainer = _processes.Process(
            target=_run_trainer, args=(theirs, assignment), daemon=True
        )
        self._trainer.start()
        self._fence = Fence(self._trainer, seconds=self._settings.fence_seconds)
        theirs.close()  # so that the trainer's death is the end of the pipe

    def run(self) -> Job:
        """Watch until the attempt is over; the job as it is then. Raises LeaseLost."""
        while self.over is None:
            alive = self._receive()
            stored = self._store_messages()
            if self.over is None and stored and not alive:
                self._bury_trainer()
            if self.over is None:
                self._keep_lease()
            if self.over is None:
                self._give_orders()
        return self.over

    @property
    def reason(self) -> str:
        """Why it is over: the job's own reason, or what it goes back to the queue for."""
        return (self.over.state_reason if self.over else None) or self._requeued_for

    def _deadline(self, job: Job) -> float | None:
        """When the time is over that the job may run, counted from its first attempt's start."""
        limit: float | None = job.spec["training"]["max_runtime_seconds"]
        if limit is None:
            return None
        assert job.lease_expires_at is not None
        assert job.started_at is not None
        claimed_at = job.lease_expires_at - self._settings.lease_seconds
        return time.monotonic() + limit - (claimed_at - job.started_at)

    def end_trainer(self) -> None:
        self._fence.close()
        self._pipe.close()
        self._trainer.kill()
        self._trainer.join(DEATH_SECONDS)

    def _receive(self) -> bool:
        """Wait a moment for a message, take all that are there; False once the trainer is gone."""
        try:
            timeout = WATCH_SECONDS
            while self._pipe.poll(timeout) and len(self._messages) < MAX_MESSAGES:
                message = self._pipe.recv()
                if isinstance(message, Timed):
                    self._measure(message)
                else:
                    self._messages.append(message)
                timeout = 0
        except (EOFError, OSError):
            return False
        return True

    def _measure(self, timed: Timed) -> None:
        tracing.record(timed.step, started_at=timed.started_at, seconds=timed.seconds)
        if timed.step == "checkpoint":
            self._instruments.checkpoint_seconds.observe(timed.seconds)

    def _store_messages(self) -> bool:
        """Write what was received, in order and at once; False while the database is away."""
        if self._messages and not self._write(self._store_all):
            return False
        self._messages.clear()
        return True

    def _store_all(self, transaction: Transaction) -> Job | None:
        for message in self._messages:
            if over := self._store(transaction, message):
                return over
        return None

    def _store(self, transaction: Transaction, message: Message) -> Job | None:
        """What a message does to the job; the job, if that ends the attempt."""
        match message:
            case EpochCompleted(metrics):
                jobs.record(transaction, self._claim, metrics)
                return None
            case FoldScored():
                jobs.progressed(transaction, self._claim)
                return None
            case Finished(reason, trained):
                return jobs.succeed(transaction, self._claim, reason=reason, trained=trained)
            case Failed(reason, detail, retryable=True):
                return self._requeue(transaction, reason, detail)
            case Failed(reason, detail):
                return jobs.fail(transaction, self._claim, reason=reason, detail=detail)
            case Stopped():
                return jobs.release(transaction, self._claim)

    def _keep_lease(self) -> None:
        """Renew in time, see a cancel soon. Raises LeaseLost after too long without an answer."""
        now = time.monotonic()
        if self._fence.is_due:
            raise LeaseLost(self._claim.job_id, self._claim.attempt)
        if now - self._fence.renewed_at >= self._settings.renew_seconds:
            if self._write(self._renew):
                self._fence.renewed_at = self._looked_at = now
            else:
                self._instruments.failed_renewals.inc()
        elif now - self._looked_at >= WATCH_SECONDS:
            self._looked_at = now
            if self._is_cancelling():
                self._write(self._cancel)

    def _renew(self, transaction: Transaction) -> Job | None:
        lease_seconds = self._settings.lease_seconds
        job = jobs.renew(transaction, self._claim, lease_seconds=lease_seconds)
        return self._cancel(transaction) if job.state == "cancelling" else None

    def _is_cancelling(self) -> bool:
        """Read only, since it is asked often and writers of SQLite wait for each other.

        Raises LeaseLost if the job is another attempt's by now, or gone.
        """
        try:
            with self._database.read() as transaction:
                job = jobs.get(transaction, self._claim.job_id, tenant=self._tenant)
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            return False
        except JobNotFound as error:
            raise LeaseLost(self._claim.job_id, self._claim.attempt) from error
        if job.attempt != self._claim.attempt:
            raise LeaseLost(self._claim.job_id, self._claim.attempt)
        return job.state == "cancelling"

    def _cancel(self, transaction: Transaction) -> Job:
        # A killed trainer stops in the middle of a batch, and a cancelled job has no use for more.
        self._trainer.kill()
        return jobs.cancelled(transaction, self._claim)

    def _give_orders(self) -> None:
        now = time.monotonic()
        waited = 0.0 if self._ordered_at is None else now - self._ordered_at
        if self._draining.is_set():
            if waited > self._settings.grace_seconds:  # the newest checkpoint has to do
                self._write(lambda transaction: jobs.release(transaction, self._claim))
            self._order("checkpoint_and_stop")
        elif self._finish_at is not None and now >= self._finish_at:
            if waited > self._settings.finish_seconds:
                self._fail("max_runtime_exceeded", "the trainer did not end in time")
            self._order("finish_now")

    def _order(self, order: Order) -> None:
        if self._ordered_at is not None:
            return
        self._ordered_at = time.monotonic()
        try:
            self._pipe.send(order)
        except OSError:
            return  # it is dead, which the next look finds out

    def _fail(self, reason: str, detail: str) -> None:
        self._write(
            lambda transaction: jobs.fail(transaction, self._claim, reason=reason, detail=detail)
        )

    def _retry(self, reason: str, detail: str) -> None:
        self._write(lambda transaction: self._requeue(transaction, reason, detail))

    def _requeue(self, transaction: Transaction, reason: str, detail: str) -> Job:
        self._requeued_for = reason
        return _requeue(transaction, self._claim, self._settings, reason=reason, detail=detail)

    def _write(self, change: Callable[[Transaction], Job | None]) -> bool:
        """Commit a change and note if it ends the attempt; False if the database is away."""
        try:
            with self._database.write() as transaction:
                over = change(transaction)
        except LeaseLost:
            self._instruments.refused_writes.inc()
            raise
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            log.warning("the database does not answer")
            time.sleep(WATCH_SECONDS)
            return False
        self.over = over
        return True

    def _bury_trainer(self) -> None:
        """Give the job of a trainer that died to another attempt."""
        self._retry("worker_lost", self._how_it_died())
        if self.over is not None:
            code = self._trainer.exitcode
            cause = f"exit {code}" if code is None or code >= 0 else signal.Signals(-code).name
            self._instruments.trainer_deaths.labels(cause).inc()

    def _how_it_died(self) -> str:
        if self._fence.has_cut:
            return "its lease was not renewed in time"
        self._trainer.join(DEATH_SECONDS)
        code = self._trainer.exitcode
        if code == -signal.SIGKILL:  # not by this process, which would not ask
            return KILLED
        if code is not None and code < 0:
            return f"the trainer was ended by {signal.Signals(-code).name}"
        return f"the trainer ended with exit code {code}"


def _requeue(
    transaction: Transaction, claim: Claim, settings: Settings, *, reason: str, detail: str
) -> Job:
    return jobs.retry(
        transaction,
        claim,
        reason=reason,
        detail=detail,
        max_attempts=settings.max_attempts,
        backoff_seconds=settings.retry_backoff_seconds,
    )


def _assignment(job: Job, worker: Worker) -> Assignment:
    with worker.database.read() as transaction:
        dataset = datasets.get(transaction, job.dataset_id, tenant=job.tenant)
    worker.scratch.mkdir(parents=True, exist_ok=True)
    return Assignment(
        job_id=job.id,
        attempt=job.attempt,
        spec=job.spec,
        dataset_artifact=dataset.artifact,
        artifacts=Patient(worker.artifacts),
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


def _run_trainer(connection: Connection, assignment: Assignment) -> None:
    """In the child. By name, because this module must not load torch."""
    configure_logging()
    with bound_contextvars(job=assignment.job_id, attempt=assignment.attempt):
        try:
            import_module(TRAINER).main(connection, assignment)
        except Exception:
            log.exception("the trainer failed")
            sys.exit(1)


def _do_nothing() -> None:
    pass
