"""The rows of jobs: create, get, list, deliver and delete."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Unpack

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from store import events
from store.access import quotas
from store.database.lists import Part, listed
from store.database.tables import database_now, epochs, is_due, jobs
from store.errors import IllegalTransition, JobNotFound, TrialNeeded
from store.ids import new_id
from store.job_spec import JobSpec

STATES = ("queued", "running", "paused", "cancelling", "succeeded", "failed", "cancelled")
TERMINAL = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Job:
    """A row of the table; see store.database.tables for what the columns mean."""

    id: str
    tenant: str
    dataset_id: str
    name: str | None
    spec: dict[str, Any]
    warnings: list[str]
    queue: str
    state: str
    state_reason: str | None
    keep_model: bool
    detail: str | None
    attempt: int
    failures: int
    owner: str | None
    lease_expires_at: float | None
    run_after: float
    dispatched_at: float | None
    num_threads: int | None
    traceparent: str | None
    step: str | None
    epochs_completed: int
    num_events: int
    pause_requested: bool
    sweep_id: str | None
    trial: int | None
    repeat: int | None
    stack: str | None
    rung: int | None
    pause_after: int | None
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def resolved_config(self) -> dict[str, Any]:
        """Return the spec with every value, as it can be submitted again."""
        return JobSpec.of_stored(self.spec).every_value()


@dataclass(frozen=True)
class RungResult:
    """What a trial has reached at a rung: `values` of the objectives, or None and why it failed.

    `is_finished` says that its training is over, so that it has the same values at later rungs.
    """

    epochs: int
    values: list[float] | None
    is_finished: bool
    detail: str | None = None


def create(
    connection: Connection,
    spec: JobSpec,
    *,
    tenant: str,
    queue: str,
    warnings: Sequence[str] = (),
    traceparent: str | None = None,
    tuned_by: str | None = None,
) -> Job:
    """Insert a job's row and its first event. The dispatcher, if there is one, sends its message.

    `warnings` tell the job's owner how the data was interpreted; `traceparent` is the span of the
    request. `tuned_by` is the sweep that the job stands for: no worker runs it.
    """
    values = new_row(spec, tenant=tenant, queue=queue, warnings=warnings, traceparent=traceparent)
    if tuned_by is not None:
        values |= {"sweep_id": tuned_by, "state": "running", "step": "tuning"}
        values["started_at"] = database_now()
    query = insert(jobs).values(values).returning(jobs)
    job = Job(**connection.execute(query).mappings().one())
    events.append(connection, job.id, sequence=1, event_type=job.state, data={})
    return job


def new_row(
    spec: JobSpec,
    *,
    tenant: str,
    queue: str,
    warnings: Sequence[str] = (),
    traceparent: str | None = None,
) -> dict[str, Any]:
    """Return the values of a new job's row, which is queued."""
    now = database_now()
    return {
        "id": new_id("job"),
        "tenant": tenant,
        "dataset_id": spec.dataset.id,
        "name": spec.name,
        "spec": spec.model_dump(mode="json"),
        "warnings": list(warnings),
        "queue": queue,
        "traceparent": traceparent,
        "state": "queued",
        "attempt": 0,
        "failures": 0,
        "epochs_completed": 0,
        "num_events": 1,
        "run_after": now,
        "created_at": now,
    }


def get(connection: Connection, job_id: str, *, tenant: str) -> Job:
    """Return the job. Raises JobNotFound, also for another tenant's job."""
    query = select(jobs).where(jobs.c.id == job_id, jobs.c.tenant == tenant)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise JobNotFound(job_id)
    return Job(**row)


def page(
    connection: Connection,
    *,
    tenant: str,
    state: str | None = None,
    dataset_id: str | None = None,
    sweep_id: str | None = None,
    **part: Unpack[Part],
) -> list[Job]:
    """Return a part of the tenant's jobs, newest first by default."""
    query = listed(jobs, tenant=tenant, **part)
    if state is not None:
        query = query.where(jobs.c.state == state)
    if dataset_id is not None:
        query = query.where(jobs.c.dataset_id == dataset_id)
    if sweep_id is not None:
        query = query.where(jobs.c.sweep_id == sweep_id)
    return [Job(**row) for row in connection.execute(query).mappings()]


def states(connection: Connection, job_ids: Collection[str]) -> dict[str, tuple[int, str]]:
    """Return the number of events and the state of each of the jobs that exist, by id."""
    query = select(jobs.c.id, jobs.c.num_events, jobs.c.state).where(jobs.c.id.in_(job_ids))
    return {row.id: (row.num_events, row.state) for row in connection.execute(query)}


def metrics(connection: Connection, job_id: str, *, after_epoch: int) -> list[dict[str, Any]]:
    """Return the epochs recorded after `after_epoch`, in order, without gaps."""
    query = (
        select(epochs)
        .where(epochs.c.job_id == job_id, epochs.c.epoch > after_epoch)
        .order_by(epochs.c.epoch)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def remove(connection: Connection, job_id: str, *, tenant: str) -> Job:
    """Delete a finished job with its epochs and events; its model stays.

    Raises JobNotFound, IllegalTransition while the job is unfinished, and TrialNeeded for a trial,
    which is deleted with its sweep.
    """
    theirs = (jobs.c.id == job_id) & (jobs.c.tenant == tenant)
    of_sweep = select(jobs.c.sweep_id).where(theirs, jobs.c.trial.is_not(None))
    if (sweep_id := connection.execute(of_sweep).scalar()) is not None:
        raise TrialNeeded(job_id, sweep_id)
    query = delete(jobs).where(theirs, jobs.c.state.in_(TERMINAL)).returning(jobs)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise IllegalTransition(job_id, get(connection, job_id, tenant=tenant).state, "deleted")
    return Job(**row)


def claimable(
    connection: Connection,
    *,
    limit: int,
    queue: str | None = None,
    max_running: int | None = None,
) -> list[str]:
    """Return the ids of due jobs, of one queue or of all, oldest first, and then of due trials.

    `max_running` leaves out jobs that would exceed their tenant's running limit.
    """
    query = _due(limit=limit, queue=queue, max_running=max_running)
    return [row.id for row in connection.execute(query)]


def next_of_stack(connection: Connection, job: Job) -> str | None:
    """Return a due trial that can go on in the process of this one; None while other jobs wait.

    Those are the due jobs of its queue that are no trials. It is one of its stack, or the winner.
    """
    due = select(jobs.c.id).where(is_due(), jobs.c.queue == job.queue)
    if connection.execute(due.where(jobs.c.trial.is_(None)).limit(1)).scalar() is not None:
        return None
    same = (jobs.c.sweep_id == job.sweep_id) & (jobs.c.stack == job.stack)
    # A process has one number of threads, which each job's later attempts keep.
    threads = func.coalesce(jobs.c.num_threads, job.num_threads) == job.num_threads
    query = due.where(same, threads).order_by(*quotas.turns()).limit(1)
    found: str | None = connection.execute(query).scalar()
    return found


def due_for_dispatch(
    connection: Connection,
    *,
    redispatch_seconds: float,
    limit: int,
    queue: str | None = None,
    due_for_seconds: float = 0,
    max_running: int | None = None,
) -> list[tuple[str, str]]:
    """Return (id, queue) of jobs that are due for `due_for_seconds` and were not dispatched within
    `redispatch_seconds`, of one queue or of all, oldest first.

    `max_running` leaves out jobs that would exceed their tenant's running limit.
    """
    # One that was sent in the future was sent before the clock was set back.
    is_recent = jobs.c.dispatched_at.between(database_now() - redispatch_seconds, database_now())
    query = _due(limit=limit, queue=queue, max_running=max_running).where(
        jobs.c.dispatched_at.is_(None) | ~is_recent
    )
    if due_for_seconds:
        query = query.where(jobs.c.run_after <= database_now() - due_for_seconds)
    return [(row.id, row.queue) for row in connection.execute(query)]


def mark_dispatched(connection: Connection, job_ids: Sequence[str]) -> None:
    """Record that a message was sent now; if it is lost, another one is sent later."""
    # A job can be claimed or finished before this runs, and only its owner writes it then.
    queued = jobs.c.id.in_(job_ids) & (jobs.c.state == "queued")
    connection.execute(update(jobs).where(queued).values(dispatched_at=database_now()))


@cache  # it is asked ten times a second, and takes longer to build than to execute
def _due(*, limit: int, queue: str | None, max_running: int | None) -> Select[tuple[str, str]]:
    query = select(jobs.c.id, jobs.c.queue).where(is_due(), quotas.within_parallel_limit())
    query = query.order_by(*quotas.turns()).limit(limit)
    if queue is not None:
        query = query.where(jobs.c.queue == queue)
    if max_running is not None:
        query = query.where(quotas.within_running_limit(max_running))
    return query
