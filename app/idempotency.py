"""`Idempotency-Key`: a request that is sent again is answered, not done, again."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Header
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from app.deps import Context
from store import idempotency
from store.idempotency import Answer

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="The same key and request again get the stored answer for 24 hours.",
    ),
]


class Reservation:
    """The right to answer one request. `replay` is set where it was answered before."""

    def __init__(self, key: str | None, replay: JSONResponse | None) -> None:
        self.replay = replay
        self._key = key

    def complete(self, transaction: Connection, answer: Answer) -> JSONResponse:
        """Store the answer in the transaction that stores what it speaks of."""
        if self._key is not None:
            idempotency.complete(transaction, self._key, answer)
        return JSONResponse(answer.body, answer.status, answer.headers)


@contextmanager
def once(
    context: Context, key: str | None, *, operation: str, request: bytes
) -> Iterator[Reservation]:
    """Reserve the key, if there is one, for a block that completes it; a block that fails frees it.

    `request` stands for everything that the request asks for. Raises IdempotencyKeyReused and
    RequestInFlight.
    """
    if key is None:
        yield Reservation(None, None)
        return
    scoped = hashlib.sha256(f"{operation} {key}".encode()).hexdigest()
    digest = hashlib.sha256(request).hexdigest()
    with context.database.write() as transaction:
        stored = idempotency.reserve(transaction, scoped, request_sha256=digest)
    if stored is not None:
        headers = {**stored.headers, "Idempotent-Replay": "true"}
        yield Reservation(None, JSONResponse(stored.body, stored.status, headers))
        return
    try:
        yield Reservation(scoped, None)
    except BaseException:
        with context.database.write() as transaction:
            idempotency.release(transaction, scoped)
        raise
