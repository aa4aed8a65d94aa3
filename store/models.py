"""Trained models: one a job, immutable."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from store.errors import ModelNotFound
from store.ids import new_id
from store.pages import newest_first
from store.tables import database_now, models


@dataclass(frozen=True)
class Model:
    """`manifest` is the model.json beside the weights; `metrics` are by split of its data."""

    id: str
    tenant: str
    job_id: str
    name: str | None
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    num_parameters: int
    size_bytes: int
    artifact: str
    created_at: float


@dataclass(frozen=True)
class TrainedModel:
    """What a trainer hands over: facts of the model whose files lie under `artifact`."""

    manifest: dict[str, Any]
    metrics: dict[str, Any]
    num_parameters: int
    size_bytes: int
    artifact: str


def create(
    connection: Connection, trained: TrainedModel, *, tenant: str, job_id: str, name: str | None
) -> Model:
    """Insert the model of a job; the table admits one for each."""
    query = (
        insert(models)
        .values(
            id=new_id("mdl"),
            tenant=tenant,
            job_id=job_id,
            name=name,
            created_at=database_now(),
            **vars(trained),
        )
        .returning(models)
    )
    return Model(**connection.execute(query).mappings().one())


def get(connection: Connection, model_id: str, *, tenant: str) -> Model:
    """Raises ModelNotFound, also for another tenant's."""
    query = select(models).where(models.c.id == model_id, models.c.tenant == tenant)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise ModelNotFound(model_id)
    return Model(**row)


def of_jobs(connection: Connection, job_ids: list[str]) -> dict[str, str]:
    """Job id -> model id, for those of the jobs that have one."""
    query = select(models.c.job_id, models.c.id).where(models.c.job_id.in_(job_ids))
    return {row.job_id: row.id for row in connection.execute(query)}


def page(connection: Connection, *, tenant: str, limit: int, after: str | None) -> list[Model]:
    """Up to `limit` of the tenant's models older than `after`, newest first."""
    query = newest_first(models, tenant=tenant, limit=limit, after=after)
    return [Model(**row) for row in connection.execute(query).mappings()]


def remove(connection: Connection, model_id: str, *, tenant: str) -> Model:
    """Delete the row; its artifact is the caller's to delete. Raises ModelNotFound."""
    model = get(connection, model_id, tenant=tenant)
    connection.execute(delete(models).where(models.c.id == model_id))
    return model
