"""Datasets: a row that describes a table, and the table itself as an artifact."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from store.database.tables import database_now, datasets, jobs, newest_first
from store.errors import DatasetInUse, DatasetNotFound

ACTIVE = ("queued", "running", "cancelling")


@dataclass(frozen=True)
class Dataset:
    """`options` are how its file was read; `warnings` are what its owner should know of that."""

    id: str
    tenant: str
    name: str
    format: str
    size_bytes: int
    sha256: str
    num_rows: int
    columns: list[dict[str, Any]]
    options: dict[str, Any]
    warnings: list[str]
    artifact: str
    created_at: float


def create(connection: Connection, **values: Any) -> Dataset:
    """Insert a dataset whose artifact is in place. `values` are a Dataset's but `created_at`."""
    query = insert(datasets).values(created_at=database_now(), **values).returning(datasets)
    return Dataset(**connection.execute(query).mappings().one())


def get(connection: Connection, dataset_id: str, *, tenant: str, lock: bool = False) -> Dataset:
    """The dataset; with `lock`, it cannot be deleted before the transaction ends.

    Raises DatasetNotFound, also for another tenant's.
    """
    query = select(datasets).where(datasets.c.id == dataset_id, datasets.c.tenant == tenant)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise DatasetNotFound(dataset_id)
    return Dataset(**row)


def page(connection: Connection, *, tenant: str, limit: int, after: str | None) -> list[Dataset]:
    """Up to `limit` of the tenant's datasets older than `after`, newest first."""
    query = newest_first(datasets, tenant=tenant, limit=limit, after=after)
    return [Dataset(**row) for row in connection.execute(query).mappings()]


def remove(connection: Connection, dataset_id: str, *, tenant: str) -> Dataset:
    """Delete the row; its artifact is the caller's to delete once the transaction is over.

    Raises DatasetNotFound, and DatasetInUse while a job that is not over needs it.
    """
    dataset = get(connection, dataset_id, tenant=tenant, lock=True)
    needs_it = select(jobs.c.id).where(jobs.c.dataset_id == dataset_id, jobs.c.state.in_(ACTIVE))
    job_id = connection.execute(needs_it.limit(1)).scalar()
    if job_id is not None:
        raise DatasetInUse(dataset_id, job_id)
    connection.execute(delete(datasets).where(datasets.c.id == dataset_id))
    return dataset
