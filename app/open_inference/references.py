"""The protocol's names and versions of models, and the references of the store."""

from dataclasses import dataclass

from store import model_names, models
from store.database.engine import Database
from store.errors import ModelNotFound, NameNotFound
from store.models import IndexEntry, Model

ONLY_VERSION = "1"
"""The version of a model that a request names by its id."""


@dataclass(frozen=True)
class Version:
    """One version of a name or an id, and the id of its model."""

    name: str
    version: str
    model_id: str


def reference(model: str, version: str | None) -> str:
    """Return the store's reference. Raises ModelNotFound for a version of an id, other than `1`."""
    if version is None:
        return model
    if not model_names.is_model_id(model):
        return f"{model}@{version}"
    if version != ONLY_VERSION:
        raise ModelNotFound(f"{model}@{version}")
    return model


def version_of(model: str, found: Model) -> str:
    """Return the version by which the request's name or id calls the model `found`."""
    return ONLY_VERSION if model_names.is_model_id(model) else str(found.version)


def index(database: Database, *, tenant: str) -> list[IndexEntry]:
    """Return the tenant's models, newest first: see `models.repository`."""
    with database.read() as transaction:
        return models.repository(transaction, tenant=tenant)


def listed(entry: IndexEntry) -> Version:
    """Return a model's entry by its name, or by its id if the name has no versions."""
    if entry.name is None or entry.version is None:
        return Version(entry.id, ONLY_VERSION, entry.id)
    return Version(entry.name, str(entry.version), entry.id)


def versions_of(
    database: Database, model: str, version: str | None, *, tenant: str
) -> list[Version]:
    """Return the version or, for a name alone, all versions, newest first. Raises ModelNotFound."""
    with database.read() as transaction:
        if version is None and model_names.can_have_versions(model):
            try:
                _, versions = model_names.get(transaction, model, tenant=tenant)
            except NameNotFound as error:
                raise ModelNotFound(model) from error
            return [Version(model, str(v.version), v.model_id) for v in versions]
        found = models.resolve(transaction, reference(model, version), tenant=tenant)
        return [Version(model, version_of(model, found), found.id)]
