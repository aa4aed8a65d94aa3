"""Idempotency keys: a repeated request gets the answer of the first one."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, true, update

from store.database.tables import database_now, idempotency_keys, upsert
from store.errors import IdempotencyKeyReused, RequestInFlight

# A process that dies during a request leaves its key in flight. A retry takes the key over after
# this time; a request that takes longer renews it.
IN_FLIGHT_SECONDS = 60
KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


def reserve(connection: Connection, key: str, *, tenant: str, request_sha256: str) -> Answer | None:
    """Reserve the tenant's key for a new request (None), or return the stored answer of a repeat.

    Raises IdempotencyKeyReused if the key came with another request, RequestInFlight if the first
    request has no answer yet.
    """
    table = idempotency_keys
    stale = table.c.created_at < database_now() - KEPT_SECONDS
    abandoned = table.c.status.is_(None) & (table.c.created_at < database_now() - IN_FLIGHT_SECONDS)
    connection.execute(delete(table).where(table.c.key == key, stale | abandoned))
    taken = connection.execute(
        upsert(connection, table)
        .values(key=key, tenant=tenant, request_sha256=request_sha256, created_at=database_now())
        .on_conflict_do_nothing()
        .returning(table.c.key)
    ).scalar()
    if taken is not None:
        return None
    row = connection.execute(select(table).where(table.c.key == key)).mappings().one_or_none()
    if row is None:  # another process has just released it
        raise RequestInFlight(key)
    if row["request_sha256"] != request_sha256:
        raise IdempotencyKeyReused(key)
    if row["status"] is None:
        raise RequestInFlight(key)
    return Answer(row["status"], row["headers"], row["body"])


def held_since(connection: Connection, key: str) -> float:
    """Return when the key was reserved, by which `renew` and `complete` tell who holds it."""
    chosen = select(idempotency_keys.c.created_at).where(idempotency_keys.c.key == key)
    return float(connection.execute(chosen).scalar_one())


def renew(connection: Connection, key: str, *, since: float) -> float | None:
    """Keep the key of a request that still runs; return since when it is held, None if it is not.

    It is not if another request has taken it over, which thought that this one had died.
    """
    renewed: float | None = connection.execute(
        update(idempotency_keys)
        .where(idempotency_keys.c.key == key, _is_held(since))
        .values(created_at=database_now())
        .returning(idempotency_keys.c.created_at)
    ).scalar()
    return renewed


def complete(
    connection: Connection, key: str, answer: Answer, *, since: float | None = None
) -> None:
    """Store the answer, in the transaction that stores the result of the request.

    Give `since` unless the key was reserved in the same transaction. Raises RequestInFlight if
    another request has taken the key over.
    """
    stored = connection.execute(
        update(idempotency_keys)
        .where(idempotency_keys.c.key == key, _is_held(since))
        .values(**vars(answer))
    )
    if stored.rowcount == 0:
        raise RequestInFlight(key)


def release(connection: Connection, key: str, *, since: float | None = None) -> None:
    """Delete the key of a request that failed and stored nothing."""
    table = idempotency_keys
    connection.execute(delete(table).where(table.c.key == key, _is_held(since)))


def _is_held(since: float | None) -> ColumnElement[bool]:
    """Return a condition for a key in flight that nobody has taken over.

    Whoever takes it over does so IN_FLIGHT_SECONDS after the last renewal, which may be later than
    its process knows: it is committed first.
    """
    table = idempotency_keys
    is_ours = true() if since is None else table.c.created_at < since + IN_FLIGHT_SECONDS
    return table.c.status.is_(None) & is_ours
