"""Idempotency keys: a repeated request gets the answer of the first one."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select, update

from store.database.tables import database_now, idempotency_keys, upsert
from store.errors import IdempotencyKeyReused, RequestInFlight

# A process that dies during a request leaves its key in flight. A retry takes the key over after
# this time, which is longer than any request runs.
IN_FLIGHT_SECONDS = 900
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


def complete(connection: Connection, key: str, answer: Answer) -> None:
    """Store the answer, in the transaction that stores the result of the request."""
    connection.execute(
        update(idempotency_keys).where(idempotency_keys.c.key == key).values(**vars(answer))
    )


def release(connection: Connection, key: str) -> None:
    """Delete the key of a request that failed and stored nothing."""
    table = idempotency_keys
    connection.execute(delete(table).where(table.c.key == key, table.c.status.is_(None)))
