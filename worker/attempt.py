"""Run one attempt of a job: trainer process, lease, messages, orders. Does not import torch."""

import multiprocessing
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import structlog
from sqlalchemy import Connection as Transaction
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from store import jobs
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database, is_unavailable
from store.errors import JobNotFound, LeaseLost
from store.jobs import Claim, Job
from store.operations import tracing
from store.operations.logs import configure_logging
from store.settings import Settings
from worker.fence import Fence
from worker.instruments import Instruments
from worker.messages import (
    Assignment,
    Began,
    EpochCompleted,
    Failed,
    Finished,
    Message,
    Order,
    Progressed,
    Stopped,
    Timed,
    Warned,
)

TRAINER = "worker.trainer"
PRELOADED = ["worker.forkserver_preload"]
WATCH_SECONDS = 0.2  # the delay until a cancel request is seen
DEATH_SECONDS = 10  # the longest wait for a killed process to end
MAX_MESSAGES = 1000  # stored in one transaction
KILLED = (
    "the trainer was killed by SIGKILL, which this service did not send: "
    "the machine probably ran out of memory"
)

log = structlog.get_logger()

_processes = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Worker:
    """The resources of a worker process. `draining`, once set, releases its jobs and ends it."""

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
    """Start the forkserver of the trainers, and wait until it has loaded torch."""
    _processes.set_forkserver_preload(PRELOADED)
    process = _processes.Process(target=_do_nothing)
    process.start()
    process.join()


class Attempt:
    """One trainer and its supervision, until `over` holds the job as the attempt left it."""

    def __init__(self, job: Job, assignment: Assignment, worker: Worker) -> None:
        self.over: Job | None = None
        self._requeued_for = "released"
        self._worker = worker
        self._settings = worker.settings
        self._claim = Claim(job.id, job.attempt)
        self._tenant = job.tenant
        self._messages: deque[Message] = deque()  # received and not stored yet
        self._ordered_at: float | None = None
        self._keeps_model = False  # of a job that is cancelled
        self._looked_at = time.monotonic()
        self._finish_at = self._deadline(job)
        self._pipe, trainer_end = _processes.Pipe()
        self._trainer = _processes.Process(
            target=_run_trainer, args=(trainer_end, assignment), daemon=True
        )
        self._trainer.start()
        self._fence = Fence(self._trainer, seconds=self._settings.fence_seconds)
        trainer_end.close()  # so that the trainer's death closes the pipe

    def run(self) -> Job:
        """Supervise until the attempt is over, and return the job. Raises LeaseLost."""
        while self.over is None:
            alive = self._receive()
            stored = self._store_messages()
            if self.over is None and stored and not alive:
                self._requeue_after_death()
            if self.over is None:
                self._keep_lease()
            if self.over is None:
                self._give_orders()
        return self.over

    @property
    def reason(self) -> str:
        """Return why the attempt is over: the job's own reason, or the reason of its requeue."""
        return (self.over.state_reason if self.over else None) or self._requeued_for

    def _deadline(self, job: Job) -> float | None:
        """Return the monotonic time of the job's runtime limit, counted from its first start."""
        limit: float | None = job.spec["training"]["max_runtime_seconds"]
        if limit is None:
            return None
        assert job.lease_expires_at is not None
        assert job.started_at is not None
        claimed_at = job.lease_expires_at - self._settings.lease_seconds
        # Less than nothing has passed if the clock was set back since then.
        return time.monotonic() + limit - max(0.0, claimed_at - job.started_at)

    def end_trainer(self) -> None:
        self._fence.close()
        self._pipe.close()
        self._trainer.kill()
        self._trainer.join(DEATH_SECONDS)

    def _receive(self) -> bool:
        """Wait briefly for a message, take all that arrived; False once the trainer is dead."""
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
            self._worker.instruments.checkpoint_seconds.observe(timed.seconds)

    def _store_messages(self) -> bool:
        """Store received messages in one transaction; False while the database is unavailable."""
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
        """Apply a message to the job; return the job if that ends the attempt."""
        match message:
            case Began(step):
                jobs.began(transaction, self._claim, step)
                return None
            case Warned(warnings):
                jobs.warn(transaction, self._claim, warnings)
                return None
            case EpochCompleted(metrics):
                jobs.record(transaction, self._claim, metrics)
                return None
            case Progressed():
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
        """Renew the lease and check for a cancel. Raises LeaseLost after `fence_seconds`."""
        now = time.monotonic()
        if self._fence.is_due:
            raise LeaseLost(self._claim.job_id, self._claim.attempt)
        if now - self._fence.renewed_at >= self._settings.renew_seconds:
            if self._write(self._renew):
                self._fence.renewed_at = self._looked_at = now
            else:
                self._worker.instruments.failed_renewals.inc()
        elif now - self._looked_at >= WATCH_SECONDS:
            self._looked_at = now
            job = self._look()
            if job is not None and not self._may_go_on(job):
                self._write(self._cancel)

    def _renew(self, transaction: Transaction) -> Job | None:
        lease_seconds = self._settings.lease_seconds
        job = jobs.renew(transaction, self._claim, lease_seconds=lease_seconds)
        return None if self._may_go_on(job) else self._cancel(transaction)

    def _may_go_on(self, job: Job) -> bool:
        """Return whether the trainer may go on; a cancelled job may if it has a model to keep."""
        self._keeps_model = job.keep_model and job.epochs_completed > 0
        return job.state != "cancelling" or self._keeps_model

    def _look(self) -> Job | None:
        """Return the job, or None without the database.

        This reads, because writers of SQLite block each other. Raises LeaseLost if the job belongs
        to another attempt, or is deleted.
        """
        try:
            with self._worker.database.read() as transaction:
                job = jobs.get(transaction, self._claim.job_id, tenant=self._tenant)
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            return None
        except JobNotFound as error:
            raise LeaseLost(self._claim.job_id, self._claim.attempt) from error
        if job.attempt != self._claim.attempt:
            raise LeaseLost(self._claim.job_id, self._claim.attempt)
        return job

    def _cancel(self, transaction: Transaction) -> Job:
        # A killed trainer stops within a batch, and a cancelled job needs nothing more of it.
        self._trainer.kill()
        return jobs.cancelled(transaction, self._claim)

    def _give_orders(self) -> None:
        now = time.monotonic()
        waited = 0.0 if self._ordered_at is None else now - self._ordered_at
        if self._worker.draining.is_set():
            if waited > self._settings.grace_seconds:  # the next attempt uses the newest checkpoint
                self._write(lambda transaction: jobs.release(transaction, self._claim))
            self._order("finish_now" if self._keeps_model else "checkpoint_and_stop")
        elif self._keeps_model:
            if waited > self._settings.finish_seconds:
                self._write(self._cancel)
            self._order("finish_now")
        elif self._finish_at is not None and now >= self._finish_at:
            if waited > self._settings.finish_seconds:
                self._write(self._fail_unfinished)
            self._order("finish_now")

    def _fail_unfinished(self, transaction: Transaction) -> Job:
        detail = "the trainer did not score and save in finish_seconds"
        return jobs.fail(transaction, self._claim, reason="max_runtime_exceeded", detail=detail)

    def _order(self, order: Order) -> None:
        if self._ordered_at is not None:
            return
        self._ordered_at = time.monotonic()
        with suppress(OSError):  # the trainer is dead, which the next _receive detects
            self._pipe.send(order)

    def _requeue(self, transaction: Transaction, reason: str, detail: str) -> Job:
        self._requeued_for = reason
        return requeue(transaction, self._claim, self._settings, reason=reason, detail=detail)

    def _write(self, change: Callable[[Transaction], Job | None]) -> bool:
        """Commit a change, and store the job if it ends the attempt; False without the database."""
        try:
            with self._worker.database.write() as transaction:
                over = change(transaction)
        except LeaseLost:
            self._worker.instruments.refused_writes.inc()
            raise
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            log.warning("the database does not answer")
            time.sleep(WATCH_SECONDS)
            return False
        self.over = over
        return True

    def _requeue_after_death(self) -> None:
        """Requeue the job of a trainer that died."""
        self._trainer.join(DEATH_SECONDS)
        code = self._trainer.exitcode
        cause = f"exit {code}" if code is None or code >= 0 else signal.Signals(-code).name
        if self._fence.has_killed:
            detail = "the lease was not renewed in time"
        elif code == -signal.SIGKILL:  # this process did not send it: the fence is checked above
            detail = KILLED
        elif code is not None and code < 0:
            detail = f"the trainer was killed by {cause}"
        else:
            detail = f"the trainer ended with exit code {code}"
        self._write(lambda transaction: self._requeue(transaction, "worker_lost", detail))
        if self.over is not None:
            self._worker.instruments.trainer_deaths.labels(cause).inc()


def requeue(
    transaction: Transaction, claim: Claim, settings: Settings, *, reason: str, detail: str
) -> Job:
    """Requeue the job with one more failure, or fail it at `max_attempts`. Raises LeaseLost."""
    return jobs.retry(
        transaction,
        claim,
        reason=reason,
        detail=detail,
        max_attempts=settings.max_attempts,
        backoff_seconds=settings.retry_backoff_seconds,
    )


def _run_trainer(connection: Connection, assignment: Assignment) -> None:
    """Run the trainer in the child. It is imported by name: this module must not load torch."""
    configure_logging()
    with bound_contextvars(job=assignment.job_id, attempt=assignment.attempt):
        try:
            import_module(TRAINER).main(connection, assignment)
        except Exception:
            log.exception("the trainer failed")
            sys.exit(1)


def _do_nothing() -> None:
    pass
