"""`Idempotency-Key`: a request that is sent again is answered, not done, again."""

import hashlib
from collections.abc import Callable
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


def answer_once(
    context: Context,
    key: str | None,
    *,
    operation: str,
    request: bytes,
    action: Callable[[Connection], Answer],
) -> JSONResponse:
    """Run the action in one transaction, or replay what it answered to the same request.

    `request` stands for everything that the request asks for. Raises IdempotencyKeyReused and
    RequestInFlight, and whatever the action does, which then has stored nothing.
    """
    if key is None:
        with context.database.write() as transaction:
            answer = action(transaction)
        return JSONResponse(answer.body, answer.status, answer.headers)
    scoped = hashlib.sha256(f"{operation} {key}".encode()).hexdigest()
    digest = hashlib.sha256(request).hexdigest()
    with context.database.write() as transaction:
        stored = idempotency.reserve(transaction, scoped, request_sha256=digest)
    if stored is not None:
        headers = {**stored.headers, "Idempotent-Replay": "true"}
        return JSONResponse(stored.body, stored.status, headers)
    try:
        with context.database.write() as transaction:
            answer = action(transaction)
            idempotency.complete(transaction, scoped, answer)
    except BaseException:
        with context.database.write() as transaction:
            idempotency.release(transaction, scoped)
        raise
    return JSONResponse(answer.body, answer.status, answer.headers)
