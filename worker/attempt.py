"""Run one attempt of jobs that train in one process: leases, messages, orders. Imports no torch."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy import Connection as Transaction
from sqlalchemy.exc import SQLAlchemyError

from store import jobs
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database, is_unavailable
from store.errors import LeaseLost
from store.jobs import Job
from store.operations import tracing
from store.settings import Settings
from worker.batch import Batch
from worker.instruments import Instruments
from worker.member import Member
from worker.messages import (
    Began,
    EpochCompleted,
    Failed,
    Finished,
    Message,
    Order,
    Progressed,
    Reached,
    Stopped,
    Timed,
    Warned,
)
from worker.trainer_process import TrainerProcess

WATCH_SECONDS = 0.2  # the delay until a cancel request is seen
ENDED_SECONDS = 1.0  # between two looks at what follows from the members that have ended
GATHER_SECONDS = 0.05  # for which messages of several members wait for each other
MAX_MESSAGES = 1000  # stored in one transaction
LAST = (Reached, Finished, Failed, Stopped)  # messages after which there is no other of the job

log = structlog.get_logger()

# Members that a change ends, with the job as it leaves it; None if the lease is lost.
Ends = dict[Member, Job | None]


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


class Attempt:
    """One attempt of each job that a trainer has been assigned: one job, or a stack of trials.

    Each member has its own claim, and ends by itself; the others go on.
    """

    def __init__(
        self,
        claimed: Sequence[Job],
        trainer: TrainerProcess,
        worker: Worker,
        *,
        paused_seconds: Mapping[str, float],
    ) -> None:
        self.members = [
            Member(job, worker.settings, paused_seconds=paused_seconds.get(job.id, 0.0))
            for job in claimed
        ]
        self.trainer_is_alive = True
        self._worker = worker
        self._settings = worker.settings
        self._trainer = trainer
        self._members = {member.claim.job_id: member for member in self.members}
        self._messages: deque[tuple[str, Message]] = deque()  # received and not stored yet
        self._looked_at = trainer.fence.renewed_at = time.monotonic()

    def run(self, some_ended: Callable[[], None] = lambda: None) -> None:
        """Supervise until every member is over. Calls `some_ended` while there are others."""
        called_at, num_active = time.monotonic(), len(self.members)
        while active := self._active:
            if len(active) < num_active and time.monotonic() - called_at >= ENDED_SECONDS:
                some_ended()
                called_at, num_active = time.monotonic(), len(active)
            self.trainer_is_alive = self._receive()
            stored = self._store_messages()
            if self._active and stored and not self.trainer_is_alive:
                self._requeue_after_death()
            if self._active:
                self._keep_leases()
            if self._active:
                self._give_orders()

    @property
    def _active(self) -> list[Member]:
        return [member for member in self.members if not member.is_over]

    def _receive(self) -> bool:
        """Wait briefly for messages, take those that arrived; False once the trainer is dead.

        Those of several members are gathered for a moment, so that one transaction stores them.
        """
        is_alive = self._take(WATCH_SECONDS)
        until = time.monotonic() + GATHER_SECONDS
        while is_alive and self._messages and not self._all_have_ended():
            seconds = until - time.monotonic()
            if seconds <= 0 or len(self._messages) >= MAX_MESSAGES:
                break
            is_alive = self._take(seconds)
        return is_alive

    def _take(self, seconds: float) -> bool:
        received, is_alive = self._trainer.receive(seconds=seconds, limit=MAX_MESSAGES)
        for job_id, message in received:
            if isinstance(message, Timed):
                self._measure(message)
            elif job_id in self._members:
                self._messages.append((job_id, message))
        return is_alive

    def _all_have_ended(self) -> bool:
        """Return whether no further message is to be waited for: one job is not to wait at all."""
        active = self._active
        last = sum(isinstance(message, LAST) for _, message in self._messages)
        return len(active) == 1 or last >= len(active)

    def _measure(self, timed: Timed) -> None:
        tracing.record(timed.step, started_at=timed.started_at, seconds=timed.seconds)
        if timed.step == "checkpoint":
            self._worker.instruments.checkpoint_seconds.observe(timed.seconds)

    def _store_messages(self) -> bool:
        """Store received messages in one transaction; False while the database is unavailable."""
        if self._messages and not self._write(self._store_all, by_trainer=True):
            return False
        self._messages.clear()
        return True

    def _store_all(self, transaction: Transaction) -> Ends:
        ends: Ends = {}
        batch = Batch()
        for job_id, message in self._messages:
            member = self._members[job_id]
            if member.is_over or batch.add(member.claim, message):
                continue
            self._flush(transaction, batch, ends)  # which the message follows
            if member not in ends and not batch.add(member.claim, message):
                _try(ends, member, partial(self._store, transaction, member, message))
        self._flush(transaction, batch, ends)
        return ends

    def _flush(self, transaction: Transaction, batch: Batch, ends: Ends) -> None:
        for claim, over in batch.store(transaction).items():
            ends.setdefault(self._members[claim.job_id], over)

    def _store(self, transaction: Transaction, member: Member, message: Message) -> Job | None:
        """Apply a message to the job; return the job if that ends its attempt."""
        claim = member.claim
        match message:
            case Warned(warnings):
                jobs.warn(transaction, claim, warnings)
                return None
            case Progressed():
                jobs.progressed(transaction, claim)
                return None
            case Finished(reason, trained):
                return jobs.succeed(transaction, claim, reason=reason, trained=trained)
            case Failed(reason, detail, retryable=True):
                return member.requeue(transaction, reason=reason, detail=detail)
            case Failed(reason, detail):
                return jobs.fail(transaction, claim, reason=reason, detail=detail)
            case Stopped():
                return jobs.release(transaction, claim)
            case Began() | EpochCompleted() | Reached():  # which a batch has stored
                return None

    def _keep_leases(self) -> None:
        """Renew the leases, and look for what is asked of the jobs."""
        now, fence = time.monotonic(), self._trainer.fence
        if fence.is_due:
            self._end(dict.fromkeys(self._active))
        elif now - fence.renewed_at >= self._settings.renew_seconds:
            if self._write(self._renew):
                fence.renewed_at = self._looked_at = now
            else:
                self._worker.instruments.failed_renewals.inc()
        elif now - self._looked_at >= WATCH_SECONDS:
            self._looked_at = now
            self._look()

    def _renew(self, transaction: Transaction) -> Ends:
        active = self._active
        claims = [member.claim for member in active]
        asked = jobs.renew_all(transaction, claims, lease_seconds=self._settings.lease_seconds)
        ends: Ends = {member: None for member in active if member.claim not in asked}
        stopped = [m for m in active if m not in ends and not m.may_go_on(asked[m.claim])]
        return ends | self._cancel(stopped, transaction)

    def _look(self) -> None:
        """End the members whose job is cancelled, or belongs to another attempt, or is deleted.

        This reads, because writers of SQLite block each other.
        """
        active = self._active
        try:
            with self._worker.database.read() as transaction:
                asked = jobs.look(transaction, [member.claim for member in active])
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            return
        self._end({member: None for member in active if member.claim not in asked})
        stopped = [m for m in self._active if not m.may_go_on(asked[m.claim])]
        if stopped:
            self._write(partial(self._cancel, stopped))

    def _cancel(self, members: Sequence[Member], transaction: Transaction) -> Ends:
        ends: Ends = {}
        for member in members:
            _try(ends, member, partial(jobs.cancelled, transaction, member.claim))
        return ends

    def _give_orders(self) -> None:
        now, is_draining = time.monotonic(), self._worker.draining.is_set()
        due: dict[Order, list[str]] = {}
        late: list[tuple[Member, Order]] = []
        for member in self._active:
            order = member.due_order(is_draining=is_draining)
            if order is None:
                continue
            if member.ordered_at is None:
                member.ordered_at = now
                due.setdefault(order, []).append(member.claim.job_id)
            elif now - member.ordered_at > member.seconds_for(order, is_draining=is_draining):
                late.append((member, order))
        for order, job_ids in due.items():
            self._trainer.order(order, *job_ids)
        if late:
            self._write(partial(self._give_up, late))

    def _give_up(self, late: Sequence[tuple[Member, Order]], transaction: Transaction) -> Ends:
        ends: Ends = {}
        is_draining = self._worker.draining.is_set()
        for member, order in late:
            _try(ends, member, partial(member.give_up, transaction, order, is_draining=is_draining))
        return ends

    def _requeue_after_death(self) -> None:
        """Requeue the jobs of a trainer that died."""
        cause, detail = self._trainer.cause_of_death()

        def requeue(transaction: Transaction) -> Ends:
            ends: Ends = {}
            for member in self._active:
                again = partial(member.requeue, transaction, reason="worker_lost", detail=detail)
                _try(ends, member, again)
            return ends

        if self._write(requeue):
            self._worker.instruments.trainer_deaths.labels(cause).inc()

    def _write(self, change: Callable[[Transaction], Ends], *, by_trainer: bool = False) -> bool:
        """Commit a change, then end the members that it ends; False without the database."""
        try:
            with self._worker.database.write() as transaction:
                ends = change(transaction)
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            log.warning("the database does not answer")
            time.sleep(WATCH_SECONDS)
            return False
        self._worker.instruments.refused_writes.inc(list(ends.values()).count(None))
        self._end(ends, by_trainer=by_trainer)
        return True

    def _end(self, ends: Ends, *, by_trainer: bool = False) -> None:
        """End members; the trainer, if it does not know that, goes on with the others alone."""
        for member, over in ends.items():
            member.end(over)
        dropped = [m.claim.job_id for m, over in ends.items() if over is None or not by_trainer]
        if dropped and self._active:
            self._trainer.order("drop", *dropped)


def _try(ends: Ends, member: Member, change: Callable[[], Job | None]) -> None:
    """Make a change to the job of a member, and note if that ends the member, or shows its end."""
    try:
        over = change()
    except LeaseLost:
        ends[member] = None
    else:
        if over is not None:
            ends[member] = over
