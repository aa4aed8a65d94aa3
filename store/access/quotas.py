"""Quotas of one tenant. They are checked in the transaction that adds the job or the dataset."""

import hashlib
import sys
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from store.database.tables import datasets, is_due, jobs, sweeps
from store.errors import QuotaExceeded

RUNNING = ("running", "cancelling")


def require_queue_quota(connection: Connection, *, tenant: str, max_queued: int) -> None:
    """Raise QuotaExceeded if the tenant has `max_queued` queued jobs.

    A job that is paused counts too, as it can be queued again at any time. A sweep that runs or is
    paused counts as one, however many trials it has.
    """
    lock(connection, tenant=tenant)
    waiting = jobs.c.state.in_(("queued", "paused")) & jobs.c.trial.is_(None)
    unfinished = sweeps.c.state.in_(("running", "paused"))
    num_queued = sum(
        connection.execute(select(func.count()).where(condition)).scalar_one()
        for condition in (
            (jobs.c.tenant == tenant) & waiting,
            (sweeps.c.tenant == tenant) & unfinished,
        )
    )
    if num_queued >= max_queued:
        raise QuotaExceeded(f"the limit is {max_queued} queued jobs, and {num_queued} are queued")


def require_dataset_quota(
    connection: Connection,
    *,
    tenant: str,
    size_bytes: int,
    max_datasets: int,
    max_bytes: int | None,
) -> None:
    """Raise QuotaExceeded if another dataset of that size, as uploaded, would exceed a limit."""
    lock(connection, tenant=tenant)
    totals = select(func.count(), func.coalesce(func.sum(datasets.c.size_bytes), 0))
    row = connection.execute(totals.where(datasets.c.tenant == tenant)).one()
    num_datasets, num_bytes = row[0], int(row[1])
    if num_datasets >= max_datasets:
        raise QuotaExceeded(f"the limit is {max_datasets} datasets, and {num_datasets} are stored")
    if max_bytes is not None and num_bytes + size_bytes > max_bytes:
        raise QuotaExceeded(
            f"the limit is {max_bytes} bytes for all datasets: {num_bytes} are stored, and this "
            f"dataset adds {size_bytes}"
        )


def within_running_limit(max_running: int) -> ColumnElement[bool]:
    """Return a condition for due jobs that may start within their tenant's limit of running jobs.

    The oldest come first. Each queue is counted alone: one without workers must not block another.
    """
    turn = func.row_number().over(
        partition_by=[jobs.c.tenant, jobs.c.queue], order_by=list(turns())
    )
    waiting = select(jobs.c.id, jobs.c.tenant, turn.label("turn")).where(is_due()).subquery()
    running = (
        select(jobs.c.tenant, func.count().label("num_running"))
        .where(_holds_a_worker())
        .group_by(jobs.c.tenant)
        .subquery()
    )
    num_running = func.coalesce(running.c.num_running, 0)
    return jobs.c.id.in_(
        select(waiting.c.id)
        .join_from(waiting, running, waiting.c.tenant == running.c.tenant, isouter=True)
        .where(waiting.c.turn <= max_running - num_running)
    )


def may_run(connection: Connection, job_id: str, *, max_running: int) -> bool:
    """Return whether the job's tenant is below its running limit, until this transaction ends."""
    tenant = connection.execute(select(jobs.c.tenant).where(jobs.c.id == job_id)).scalar()
    if tenant is None:
        return False
    lock(connection, tenant=tenant)
    theirs = (jobs.c.tenant == tenant) & _holds_a_worker()
    return connection.execute(select(func.count()).where(theirs)).scalar_one() < max_running


def room_beside(connection: Connection, trial: Any, max_running: int | None) -> int:
    """Return how many more jobs of the trial's tenant and of its sweep may run beside it."""
    theirs = (jobs.c.tenant == trial.tenant) & _holds_a_worker()
    limits = [(max_running, theirs)]
    if trial.sweep_id is not None:
        limit = select(sweeps.c.max_parallel).where(sweeps.c.id == trial.sweep_id)
        parallel = connection.execute(limit).scalar()
        limits.append((parallel, theirs & (jobs.c.sweep_id == trial.sweep_id)))
    return min(
        (
            maximum - connection.execute(select(func.count()).where(condition)).scalar_one()
            for maximum, condition in limits
            if maximum is not None
        ),
        default=sys.maxsize,
    )


def within_parallel_limit() -> ColumnElement[bool]:
    """Return a condition for due jobs whose sweep, if any, has room for another running trial."""
    others = jobs.alias()
    running = (
        select(func.count())
        .where(others.c.sweep_id == sweeps.c.id, others.c.state.in_(RUNNING))
        .where(others.c.trial.is_not(None))
        .correlate(sweeps)
        .scalar_subquery()
    )
    full = select(sweeps.c.id).where(
        sweeps.c.id == jobs.c.sweep_id, sweeps.c.max_parallel <= running
    )
    return jobs.c.sweep_id.is_(None) | ~full.exists()


def lock_sweep_of(connection: Connection, job_id: str) -> None:
    """Lock the job's sweep, if it limits its running trials, until this transaction ends."""
    sweep_id = select(jobs.c.sweep_id).where(jobs.c.id == job_id).scalar_subquery()
    limited = (sweeps.c.id == sweep_id) & sweeps.c.max_parallel.is_not(None)
    connection.execute(select(sweeps.c.id).where(limited).with_for_update())


def turns() -> tuple[ColumnElement[Any], ...]:
    """Return the order of due jobs: the oldest first, then the trials of the oldest sweep."""
    is_trial = jobs.c.trial.is_not(None)
    return is_trial, jobs.c.sweep_id, jobs.c.trial, jobs.c.repeat, jobs.c.id


def _holds_a_worker() -> ColumnElement[bool]:
    # A job that waits for its sweep runs without an owner.
    return jobs.c.state.in_(RUNNING) & jobs.c.owner.is_not(None)


def lock(connection: Connection, *, tenant: str) -> None:
    """Hold the tenant's quota lock until this transaction ends.

    SQLite needs none: it has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        digest = hashlib.blake2b(tenant.encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "big", signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(number)))
