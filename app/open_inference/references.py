"""How the protocol calls models, and which of ours it means."""

from dataclasses import dataclass

from store import model_names, models
from store.database.engine import Database
from store.errors import ModelNotFound, NameNotFound
from store.models import IndexEntry, Model

ONLY_VERSION = "1"
"""Of a model that goes by its id."""


@dataclass(frozen=True)
class Version:
    """One version of a name or an id, and the model that it is."""

    name: str
    version: str
    model_id: str


def reference(model: str, version: str | None) -> str:
    """What the store calls it. Raises ModelNotFound for another version of an id than the only."""
    if version is None:
        return model
    if not model_names.is_model_id(model):
        return f"{model}@{version}"
    if version != ONLY_VERSION:
        raise ModelNotFound(f"{model}@{version}")
    return model


def version_of(model: str, found: Model) -> str:
    """What the version of a model is called by who calls the model so."""
    return ONLY_VERSION if model_names.is_model_id(model) else str(found.version)


def index(database: Database, *, tenant: str) -> list[IndexEntry]:
    """The tenant's models, newest first: see `models.repository`."""
    with database.read() as transaction:
        return models.repository(transaction, tenant=tenant)


def listed(entry: IndexEntry) -> Version:
    """A model where there is nobody who has called it: by its name, if that has versions."""
    if entry.name is None or entry.version is None:
        return Version(entry.id, ONLY_VERSION, entry.id)
    return Version(entry.name, str(entry.version), entry.id)


def versions_meant(
    database: Database, model: str, version: str | None, *, tenant: str
) -> list[Version]:
    """The version, or of a name alone all that it has, the newest first.

    Raises ModelNotFound.
    """
    with database.read() as transaction:
        if version is None and model_names.can_have_versions(model):
            try:
                _, versions = model_names.get(transaction, model, tenant=tenant)
            except NameNotFound as error:
                raise ModelNotFound(model) from error
            return [Version(model, str(v.version), v.model_id) for v in versions]
        found = models.resolve(transaction, reference(model, version), tenant=tenant)
        return [Version(model, version_of(model, found), found.id)]
