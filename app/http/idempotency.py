"""`Idempotency-Key`: a request that is sent again gets the stored answer and has no effect."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import Annotated

from fastapi import Header
from fastapi.responses import JSONResponse
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from store.access import idempotency
from store.access.idempotency import IN_FLIGHT_SECONDS, Answer
from store.database.engine import Database
from store.errors import IdempotencyKeyReused, RequestInFlight

RENEW_SECONDS = IN_FLIGHT_SECONDS / 4

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="For 24 hours, the same request with the same key gets the stored answer.",
    ),
]


@dataclass(frozen=True)
class Reservation:
    """A reserved key. `replay` is the stored answer, if there is one."""

    key: str | None
    replay: JSONResponse | None = None
    lease: "_Lease | None" = None

    def complete(self, transaction: Connection, answer: Answer) -> JSONResponse:
        """Store the answer, in the transaction of the request's own changes.

        Raises RequestInFlight if the process was stopped so long that another has taken over.
        """
        if self.key is not None:
            since = None if self.lease is None else self.lease.since
            idempotency.complete(transaction, self.key, answer, since=since)
        return JSONResponse(answer.body, answer.status, answer.headers)


def reserve(
    transaction: Connection, key: str | None, *, tenant: str, operation: str, request: bytes
) -> Reservation:
    """Reserve the key, if there is one, in the transaction of the request's own changes.

    A process that dies leaves no key in flight, and a second request waits for the first. For work
    that takes long, use `once`. `request` identifies the whole content of the request.
    Raises IdempotencyKeyReused and RequestInFlight.
    """
    if key is None:
        return Reservation(None)
    scoped = hashlib.sha256(f"{tenant} {operation} {key}".encode()).hexdigest()
    digest = hashlib.sha256(request).hexdigest()
    try:
        stored = idempotency.reserve(transaction, scoped, tenant=tenant, request_sha256=digest)
    except (IdempotencyKeyReused, RequestInFlight) as error:
        raise type(error)(key) from error  # the caller's own key, not its hash
    if stored is None:
        return Reservation(scoped)
    headers = {**stored.headers, "Idempotent-Replay": "true"}
    return Reservation(None, JSONResponse(stored.body, stored.status, headers))


@contextmanager
def once(
    database: Database, key: str | None, *, tenant: str, operation: str, request: bytes
) -> Iterator[Reservation]:
    """Reserve the key, if there is one, for a block that completes it; a failure releases it.

    While the block runs, a second request raises RequestInFlight. For the arguments see `reserve`.
    """
    with database.write() as transaction:
        reservation = reserve(transaction, key, tenant=tenant, operation=operation, request=request)
        held = reservation.key  # None without a key, and for a replay
        since = 0.0 if held is None else idempotency.held_since(transaction, held)
    if held is None:
        yield reservation
        return
    lease = _Lease(database, held, since)
    try:
        yield replace(reservation, lease=lease)
    except BaseException:
        with database.write() as transaction:
            idempotency.release(transaction, held, since=lease.since)
        raise
    finally:
        lease.end()


class _Lease:
    """Renews a key while its request runs: that of a process that dies is soon free again."""

    def __init__(self, database: Database, key: str, since: float) -> None:
        self.since = since
        self._database = database
        self._key = key
        self._is_over = Event()
        Thread(target=self._renew, daemon=True).start()

    def end(self) -> None:
        self._is_over.set()

    def _renew(self) -> None:
        while not self._is_over.wait(RENEW_SECONDS):
            try:
                with self._database.write() as transaction:
                    since = idempotency.renew(transaction, self._key, since=self.since)
            except SQLAlchemyError:
                continue  # there is time for others
            if since is None:
                return
            self.since = since
