"""What one tenant may have at a time. Checked in the transaction that adds to it."""

import hashlib

from sqlalchemy import ColumnElement, Connection, func, select

from store.database.tables import database_now, datasets, jobs
from store.errors import QuotaExceeded

RUNNING = ("running", "cancelling")


def require_place_in_queue(connection: Connection, *, tenant: str, max_queued: int) -> None:
    """Raise QuotaExceeded if another job would have to wait with too many."""
    lock(connection, tenant=tenant)
    theirs = (jobs.c.tenant == tenant) & (jobs.c.state == "queued")
    num_queued = connection.execute(select(func.count()).where(theirs)).scalar_one()
    if num_queued >= max_queued:
        raise QuotaExceeded(f"{max_queued} jobs may wait at a time, and {num_queued} do")


def require_place_for_dataset(
    connection: Connection,
    *,
    tenant: str,
    size_bytes: int,
    max_datasets: int,
    max_bytes: int | None,
) -> None:
    """Raise QuotaExceeded if another dataset of that size, as uploaded, would be too much."""
    lock(connection, tenant=tenant)
    totals = select(func.count(), func.coalesce(func.sum(datasets.c.size_bytes), 0))
    row = connection.execute(totals.where(datasets.c.tenant == tenant)).one()
    num_datasets, num_bytes = row[0], int(row[1])
    if num_datasets >= max_datasets:
        raise QuotaExceeded(f"{max_datasets} datasets may be kept, and {num_datasets} are")
    if max_bytes is not None and num_bytes + size_bytes > max_bytes:
        raise QuotaExceeded(
            f"datasets may take {max_bytes} bytes together: {num_bytes} are taken, and this "
            f"would be {size_bytes} more"
        )


def next_to_run(max_running: int) -> ColumnElement[bool]:
    """Of each tenant's jobs in each queue, as many of the oldest as may run beside those that do.

    In each, since a queue may have no worker.
    """
    turn = func.row_number().over(partition_by=[jobs.c.tenant, jobs.c.queue], order_by=jobs.c.id)
    waiting = (
        select(jobs.c.id, jobs.c.tenant, turn.label("turn"))
        .where(jobs.c.state == "queued", jobs.c.run_after <= database_now())
        .subquery()
    )
    running = (
        select(jobs.c.tenant, func.count().label("num_running"))
        .where(jobs.c.state.in_(RUNNING))
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
    """Whether the job's tenant has a place for it to run, until this transaction is over."""
    tenant = connection.execute(select(jobs.c.tenant).where(jobs.c.id == job_id)).scalar()
    if tenant is None:
        return False
    lock(connection, tenant=tenant)
    theirs = (jobs.c.tenant == tenant) & jobs.c.state.in_(RUNNING)
    return connection.execute(select(func.count()).where(theirs)).scalar_one() < max_running


def lock(connection: Connection, *, tenant: str) -> None:
    """Let no other transaction that asks for this add to what the tenant has before this is over.

    SQLite has one writer at a time as it is.
    """
    if connection.dialect.name == "postgresql":
        digest = hashlib.blake2b(tenant.encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "big", signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(number)))
