"""Names of models: the versions of a name, and aliases, which move from one version to another.

See docs/decisions/0017.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, literal, select

from store.database.tables import model_aliases, model_names, models, upsert
from store.errors import AliasNotFound, ModelNotFound, NameNotFound, QuotaExceeded

PRODUCTION = "production"
"""The alias that a name without `@` means, if the name has this alias."""

MAX_ALIASES = 100  # per name
MAX_VERSIONS = 100  # per name, in one answer

_MODEL_ID = "mdl_"
_NAME = re.compile(r"(?!(?:\.{1,2}|stats)\Z)[^\x00-\x1f\x7f-\x9f/@]{1,200}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class ModelName:
    """A name of at least one model; `aliases` maps each alias to its version."""

    name: str
    latest_version: int
    aliases: dict[str, int]


@dataclass(frozen=True)
class Version:
    """One of the models of a name; `created_at` is in Unix seconds."""

    version: int
    model_id: str
    served: bool
    created_at: float


def is_model_id(reference: str) -> bool:
    """Return whether the reference is an id: no name with versions begins like one."""
    return reference.startswith(_MODEL_ID)


def can_have_versions(name: str) -> bool:
    """Return whether `NAME@3` is an unambiguous reference that can stand in a URL's path.

    Excluded are control characters, `/` and `@`; the names `.` and `..`; more than 200 characters;
    names that begin like ids; and `stats`, since `/v2/models/stats` is a page of its own.
    """
    return _NAME.fullmatch(name) is not None and not is_model_id(name)


def next_version(connection: Connection, name: str, *, tenant: str) -> int:
    """Return the name's next version. None is used twice: concurrent transactions wait here."""
    query = (
        upsert(connection, model_names)
        .values(tenant=tenant, name=name, last_version=1)
        .on_conflict_do_update(
            index_elements=list(model_names.primary_key),
            set_={"last_version": model_names.c.last_version + 1},
        )
        .returning(model_names.c.last_version)
    )
    return int(connection.execute(query).scalar_one())


def id_of(reference: str, *, tenant: str) -> ColumnElement[str]:
    """Return SQL for the model id of `NAME`, `NAME@3` or `NAME@production`, or NULL.

    A name alone means its alias `production`, or its newest version if it has no such alias.
    """
    name, at, selector = reference.partition("@")
    if _VERSION.fullmatch(selector):
        of_version = _versions(name, tenant=tenant).where(models.c.version == int(selector))
        return of_version.scalar_subquery()
    if at:
        return _aliased(name, selector, tenant=tenant)
    newest = _versions(name, tenant=tenant).order_by(models.c.version.desc()).limit(1)
    return func.coalesce(_aliased(name, PRODUCTION, tenant=tenant), newest.scalar_subquery())


def get(connection: Connection, name: str, *, tenant: str) -> tuple[ModelName, list[Version]]:
    """Return the name and its versions, newest first. Raises NameNotFound."""
    query = (
        select(models.c.version, models.c.id, models.c.served, models.c.created_at)
        .where(_of_name(models, name, tenant=tenant), models.c.version.is_not(None))
        .order_by(models.c.version.desc())
        .limit(MAX_VERSIONS)
    )
    versions = [Version(*row) for row in connection.execute(query)]
    if not versions:
        raise NameNotFound(name)
    aliases = _aliases(connection, [name], tenant=tenant)[name]
    return ModelName(name, versions[0].version, aliases), versions


def page(connection: Connection, *, tenant: str, limit: int, after: str | None) -> list[ModelName]:
    """Return up to `limit` of the tenant's names beyond `after`, in the database's sort order."""
    query = (
        select(models.c.name, func.max(models.c.version))
        .where(models.c.tenant == tenant, models.c.version.is_not(None))
        .group_by(models.c.name)
        .order_by(models.c.name)
        .limit(limit)
    )
    if after is not None:
        query = query.where(models.c.name > after)
    found = [(name, version) for name, version in connection.execute(query)]
    aliases = _aliases(connection, [name for name, _ in found], tenant=tenant)
    return [ModelName(name, version, aliases[name]) for name, version in found]


def set_alias(connection: Connection, name: str, alias: str, *, version: int, tenant: str) -> None:
    """Point the alias to that version, whatever it pointed to.

    `alias` begins with a letter, or it could be taken for a version. Raises ModelNotFound, and
    QuotaExceeded if the name has `MAX_ALIASES` aliases.
    """
    _require_alias_quota(connection, name, alias, tenant=tenant)
    # Without the lock, a deletion of the model could begin before this and end after it.
    target = (
        select(models.c.tenant, models.c.name, literal(alias), models.c.id)
        .where(_of_name(models, name, tenant=tenant), models.c.version == version)
        .with_for_update(read=True, key_share=True)
    )
    columns = ["tenant", "name", "alias", "model_id"]
    insert = upsert(connection, model_aliases).from_select(columns, target)
    query = insert.on_conflict_do_update(
        index_elements=list(model_aliases.primary_key),
        set_={"model_id": insert.excluded.model_id},
    )
    if connection.execute(query.returning(model_aliases.c.model_id)).scalar() is None:
        raise ModelNotFound(f"{name}@{version}")


def remove_alias(connection: Connection, name: str, alias: str, *, tenant: str) -> None:
    """Delete the alias. Raises AliasNotFound, also for another tenant's."""
    theirs = _of_name(model_aliases, name, tenant=tenant)
    query = delete(model_aliases).where(theirs, model_aliases.c.alias == alias)
    if connection.execute(query).rowcount == 0:
        raise AliasNotFound(f"{name}@{alias}")


def aliases_of(connection: Connection, model_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the sorted aliases of each model: model id -> aliases."""
    found: dict[str, list[str]] = {model_id: [] for model_id in model_ids}
    query = select(model_aliases.c.model_id, model_aliases.c.alias)
    for model_id, alias in connection.execute(query.where(model_aliases.c.model_id.in_(found))):
        found[model_id].append(alias)
    return {model_id: sorted(aliases) for model_id, aliases in found.items()}


def _versions(name: str, *, tenant: str) -> Select[str]:
    """Select the ids of the models of a name."""
    theirs = _of_name(models, name, tenant=tenant)
    return select(models.c.id).where(theirs, models.c.version.is_not(None)).correlate(None)


def _aliased(name: str, alias: str, *, tenant: str) -> ColumnElement[str]:
    theirs = _of_name(model_aliases, name, tenant=tenant)
    query = select(model_aliases.c.model_id).where(theirs, model_aliases.c.alias == alias)
    return query.scalar_subquery()


def _aliases(
    connection: Connection, names: Sequence[str], *, tenant: str
) -> dict[str, dict[str, int]]:
    """Return the aliases of each name: name -> alias -> version."""
    query = (
        select(model_aliases.c.name, model_aliases.c.alias, models.c.version)
        .join(models, models.c.id == model_aliases.c.model_id)
        .where(model_aliases.c.tenant == tenant, model_aliases.c.name.in_(names))
        .order_by(model_aliases.c.alias)
    )
    found: dict[str, dict[str, int]] = {name: {} for name in names}
    for name, alias, version in connection.execute(query):
        found[name][alias] = version
    return found


def _require_alias_quota(connection: Connection, name: str, alias: str, *, tenant: str) -> None:
    """Raise QuotaExceeded at `MAX_ALIASES`; concurrent calls can exceed it by a few."""
    others = _of_name(model_aliases, name, tenant=tenant) & (model_aliases.c.alias != alias)
    num_others = connection.execute(select(func.count()).where(others)).scalar_one()
    if num_others >= MAX_ALIASES:
        raise QuotaExceeded(f"{name!r} has {MAX_ALIASES} aliases, the limit: delete one first")


def _of_name(table: Table, name: str, *, tenant: str) -> ColumnElement[bool]:
    return (table.c.tenant == tenant) & (table.c.name == name)
