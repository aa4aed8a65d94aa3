"""Trained models: one per job, and immutable except for `served`."""

import json
from dataclasses import dataclass
from typing import Any, Unpack

from sqlalchemy import Connection, delete, insert, select, update

from dropout_core.files import sha256_of
from store import model_names
from store.artifacts.artifact_store import ArtifactStore
from store.database.lists import Part, listed
from store.database.tables import database_now, model_aliases, models
from store.errors import ModelAliased, ModelNotFound
from store.ids import new_id

MAX_INDEX_ENTRIES = 5000

# As dropout_core.model.saved_model has them, which loads torch.
MANIFEST = "model.json"
WEIGHTS = "model.safetensors"

_INDEX = (models.c.id, models.c.name, models.c.version, models.c.served)


@dataclass(frozen=True)
class Model:
    """A row of the table. `manifest` is the model.json beside the weights; `metrics` are by split.

    `version` counts within the name, and is None without a name that can have versions. A model
    that is not `served` answers no predictions.
    """

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
    version: int | None
    served: bool


@dataclass(frozen=True)
class IndexEntry:
    """The identity of a model, and whether it is served."""

    id: str
    name: str | None
    version: int | None
    served: bool


@dataclass(frozen=True)
class TrainedModel:
    """A trainer's description of the model whose files lie under `artifact`."""

    manifest: dict[str, Any]
    metrics: dict[str, Any]
    num_parameters: int
    size_bytes: int
    artifact: str


def create(
    connection: Connection, trained: TrainedModel, *, tenant: str, job_id: str, name: str | None
) -> Model:
    """Insert the model of a job; the table admits one per job.

    It becomes the next version of its name. A name that cannot have versions is stored without
    one: see `model_names.can_have_versions`.
    """
    version = None
    if name is not None and model_names.can_have_versions(name):
        version = model_names.next_version(connection, name, tenant=tenant)
    query = (
        insert(models)
        .values(
            id=new_id("mdl"),
            tenant=tenant,
            job_id=job_id,
            name=name,
            version=version,
            created_at=database_now(),
            **vars(trained),
        )
        .returning(models)
    )
    return Model(**connection.execute(query).mappings().one())


def get(connection: Connection, model_id: str, *, tenant: str, lock: bool = False) -> Model:
    """Return the model; with `lock`, no alias can point to it before the transaction ends.

    Raises ModelNotFound, also for another tenant's.
    """
    query = select(models).where(models.c.id == model_id, models.c.tenant == tenant)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise ModelNotFound(model_id)
    return Model(**row)


def resolve(connection: Connection, reference: str, *, tenant: str) -> Model:
    """Return the model of an id, or of `NAME`, `NAME@3` or `NAME@production`.

    A name alone means its alias `production`, or its newest version if it has no such alias.
    Raises ModelNotFound, also for another tenant's.
    """
    if model_names.is_model_id(reference):
        return get(connection, reference, tenant=tenant)
    query = select(models).where(models.c.id == model_names.id_of(reference, tenant=tenant))
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise ModelNotFound(reference)
    return Model(**row)


def of_jobs(connection: Connection, job_ids: list[str]) -> dict[str, str]:
    """Return the models of the jobs that have one: job id -> model id."""
    query = select(models.c.job_id, models.c.id).where(models.c.job_id.in_(job_ids))
    return {row.job_id: row.id for row in connection.execute(query)}


def page(connection: Connection, *, tenant: str, **part: Unpack[Part]) -> list[Model]:
    """Return a part of the tenant's models, newest first by default."""
    query = listed(models, tenant=tenant, **part)
    return [Model(**row) for row in connection.execute(query).mappings()]


def aliased(connection: Connection, *, limit: int) -> list[Model]:
    """Return up to `limit` served models with an alias, of all tenants, newest first."""
    with_alias = select(model_aliases.c.model_id)
    query = select(models).where(models.c.id.in_(with_alias), models.c.served)
    newest = query.order_by(models.c.id.desc()).limit(limit)
    return [Model(**row) for row in connection.execute(newest).mappings()]


def repository(connection: Connection, *, tenant: str) -> list[IndexEntry]:
    """Return index entries of the tenant's models, newest first, up to `MAX_INDEX_ENTRIES`."""
    query = select(*_INDEX).where(models.c.tenant == tenant).order_by(models.c.id.desc())
    return [IndexEntry(*row) for row in connection.execute(query.limit(MAX_INDEX_ENTRIES))]


def set_served(
    connection: Connection, reference: str, served: bool, *, tenant: str
) -> list[IndexEntry]:
    """Set `served` of the model of an id, or of every version of a name, and return those models.

    Later versions are served. Raises ModelNotFound, also for another tenant's.
    """
    selected = models.c.tenant == tenant
    if model_names.is_model_id(reference):
        selected &= models.c.id == reference
    else:
        selected &= (models.c.name == reference) & models.c.version.is_not(None)
    # Locked in one order, or two such transactions could deadlock.
    connection.execute(select(models.c.id).where(selected).order_by(models.c.id).with_for_update())
    query = update(models).where(selected).values(served=served).returning(*_INDEX)
    changed = [IndexEntry(*row) for row in connection.execute(query)]
    if not changed:
        raise ModelNotFound(reference)
    return changed


def remove(connection: Connection, model_id: str, *, tenant: str) -> Model:
    """Delete the row; the caller deletes the artifact after the transaction.

    Raises ModelNotFound, and ModelAliased while an alias points to the model.
    """
    model = get(connection, model_id, tenant=tenant, lock=True)
    aliases = model_names.aliases_of(connection, [model_id])[model_id]
    if aliases:
        raise ModelAliased(model_id, f"{model.name}@{aliases[0]}")
    connection.execute(delete(models).where(models.c.id == model_id))
    return model


def damaged_files(artifacts: ArtifactStore, prefix: str, manifest: dict[str, Any]) -> list[str]:
    """Return the keys of a model's files that are not as its record's manifest says.

    Raises FileNotFoundError if one is missing.
    """
    manifest_key, weights_key = (f"{prefix}/{name}" for name in (MANIFEST, WEIGHTS))
    content, weights = artifacts.fetch(manifest_key).read_bytes(), artifacts.fetch(weights_key)
    try:
        stored = json.loads(content)
        # A migration rewrote the records of the first release, and not their files.
        as_recorded = stored == manifest or stored["format_version"] != manifest["format_version"]
    except (ValueError, KeyError, TypeError):
        as_recorded = False
    return [
        *([] if as_recorded else [manifest_key]),
        *([] if sha256_of(weights) == manifest["weights_sha256"] else [weights_key]),
    ]
