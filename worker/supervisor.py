"""claim -> start the trainer process -> heartbeat -> record -> finish. No torch here.

`supervise` is the one way a job runs, from the embedded worker and from Celery alike.
"""

import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import structlog
from sqlalchemy import Connection as Transaction
from sqlalchemy.exc import SQLAlchemyError

from store import datasets, jobs
from store.artifacts import ArtifactStore
from store.database import Database, is_unavailable
from store.errors import DatasetNotFound, JobNotFound, LeaseLost
from store.jobs import Claim, Job
from store.settings import Settings
from worker.protocol import (
    Assignment,
    EpochCompleted,
    Failed,
    Finished,
    Message,
    Order,
    Stopped,
    job_prefix,
)

TRAINER = "worker.trainer"
# A trainer is found through this module. The others are imported on first use, torch's by the first
# optimizer: together a second and a half that no job should wait for.
PRELOADED = [__name__, TRAINER, "numpy.ma", "torch._dynamo", "torch.profiler"]
WATCH_SECONDS = 0.2  # how soon a cancel is seen
DEATH_SECONDS = 10  # how long a killed process may take to be gone
MAX_MESSAGES = 1000  # stored in one transaction

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

    @property
    def scratch(self) -> Path:
        return self.settings.data_dir / "scratch"


def warm_up() -> None:
    """Start the server that trainers are forked from, and wait until it has loaded torch."""
    _processes.set_forkserver_preload(PRELOADED)
    process = _processes.Process(target=_do_nothing)
    process.start()
    process.join()


def supervise(job_id: str, worker: Worker) -> None:
    """Run one attempt of the job, if it can be claimed. Returns when the attempt is over."""
    settings = worker.settings
    if worker.draining.is_set():
        return
    with worker.database.write() as transaction:
        job = jobs.claim(
            transaction,
            job_id,
            owner=worker.owner,
            lease_seconds=settings.lease_seconds,
            num_threads=settings.threads_per_job,
            max_attempts=settings.max_attempts,
        )
    if job is None:
        return
    claim = Claim(job.id, job.attempt)
    logger = log.bind(job=job.id, attempt=job.attempt)
    logger.info("attempt started")
    try:
        assignment = _assignment(job, worker)
    except DatasetNotFound as error:
        with worker.database.write() as transaction:
            jobs.fail(transaction, claim, reason="invalid_data", detail=str(error))
        return
    attempt = _Attempt(job, claim, worker, assignment)
    try:
        attempt.run()
    except LeaseLost:
        logger.warning("lease lost")
    finally:
        attempt.end_trainer()
    if attempt.over:
        logger.info("attempt over", state=attempt.over.state, reason=attempt.over.state_reason)
        _tidy(attempt.over, worker)


class _Attempt:
    """One trainer, watched until `over` holds how the attempt ended."""

    def __init__(self, job: Job, claim: Claim, worker: Worker, assignment: Assignment) -> None:
        self.over: Job | None = None
        self._claim = claim
        self._settings = worker.settings
        self._database = worker.database
        self._draining = worker.draining
        self._messages: deque[Message] = deque()  # received and not stored yet
        self._ordered_at: float | None = None
        self._renewed_at = time.monotonic()
        self._looked_at = time.monotonic()
        self._finish_at = self._deadline(job)
        self._pipe, theirs = _processes.Pipe()
        self._trainer = _processes.Process(
            target=_run_trainer, args=(theirs, assignment), daemon=True
        )
        self._trainer.start()
        theirs.close()  # so that the trainer's death is the end of the pipe

    def run(self) -> None:
        """Watch until the attempt is over. Raises LeaseLost."""
        while self.over is None:
            alive = self._receive()
            stored = self._store_messages()
            if self.over is None and stored and not alive:
                self._retry("worker_lost", self._how_it_died())
            if self.over is None:
                self._keep_lease()
            if self.over is None:
                self._give_orders()

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
        self._pipe.close()
        self._trainer.kill()
        self._trainer.join(DEATH_SECONDS)

    def _receive(self) -> bool:
        """Wait a moment for a message, take all that are there; False once the trainer is gone."""
        try:
            timeout = WATCH_SECONDS
            while self._pipe.poll(timeout) and len(self._messages) < MAX_MESSAGES:
                self._messages.append(self._pipe.recv())
                timeout = 0
        except (EOFError, OSError):
            return False
        return True

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
        if now - self._renewed_at >= self._settings.fence_seconds:
            raise LeaseLost(self._claim.job_id, self._claim.attempt)
        if now - self._renewed_at >= self._settings.renew_seconds:
            if self._write(self._renew):
                self._renewed_at = self._looked_at = now
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
                job = jobs.get(transaction, self._claim.job_id)
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
        late = (
            self._ordered_at is not None and now - self._ordered_at > self._settings.grace_seconds
        )
        if self._draining.is_set():
            if late:  # the newest checkpoint has to do
                self._write(lambda transaction: jobs.release(transaction, self._claim))
            self._order("checkpoint_and_stop")
        elif self._finish_at is not None and now >= self._finish_at:
            if late:
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
        return jobs.retry(
            transaction,
            self._claim,
            reason=reason,
            detail=detail,
            max_attempts=self._settings.max_attempts,
            backoff_seconds=self._settings.retry_backoff_seconds,
        )

    def _write(self, change: Callable[[Transaction], Job | None]) -> bool:
        """Commit a change and note if it ends the attempt; False if the database is away."""
        try:
            with self._database.write() as transaction:
                over = change(transaction)
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            log.warning("the database does not answer", job=self._claim.job_id)
            time.sleep(WATCH_SECONDS)
            return False
        self.over = over
        return True

    def _how_it_died(self) -> str:
        self._trainer.join(DEATH_SECONDS)
        code = self._trainer.exitcode
        if code is not None and code < 0:
            return f"the trainer was ended by {signal.Signals(-code).name}"
        return f"the trainer ended with exit code {code}"


def _assignment(job: Job, worker: Worker) -> Assignment:
    with worker.database.read() as transaction:
        dataset = datasets.get(transaction, job.dataset_id)
    worker.scratch.mkdir(parents=True, exist_ok=True)
    return Assignment(
        job_id=job.id,
        attempt=job.attempt,
        spec=job.spec,
        dataset_artifact=dataset.artifact,
        artifact_root=worker.settings.artifact_root,
        scratch=worker.scratch,
        num_threads=job.num_threads or worker.settings.threads_per_job,
        checkpoint_seconds=worker.settings.checkpoint_seconds,
    )


def _tidy(job: Job, worker: Worker) -> None:
    """Delete what no later attempt needs: of a job that is over, all but its model."""
    if job.state not in jobs.TERMINAL:
        return
    model = f"{job_prefix(job.id)}/{job.attempt}/model/" if job.state == "succeeded" else None
    for key in worker.artifacts.list(job_prefix(job.id)):
        if model is None or not key.startswith(model):
            worker.artifacts.delete(key)


def _run_trainer(connection: Connection, assignment: Assignment) -> None:
    """In the child. By name, because this module must not load torch."""
    import_module(TRAINER).main(connection, assignment)


def _do_nothing() -> None:
    pass
