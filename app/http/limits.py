"""Limits on a body's size, on the time that it takes to arrive, and on a tenant's requests."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.encodings import ENCODINGS, Decoder, encoding_of
from app.http.errors import BodyError, RequestError, database_problem, problem
from app.http.routes import BodyClass, found_demands
from store.access import keys, rate_limits
from store.database.engine import Database

BODY_IDLE_SECONDS = 30.0
MIN_RECEIVED_BYTES = 30 * 1024  # in that time, unless the body ends
NUM_FILES_UNDER_WAY = 8  # of the largest size, for a tenant without a quota
FORM_BYTES = 64 * 1024  # added to a file by the multipart form around it
# They are about a body that is decompressed further in.
_OF_ENCODED = (b"content-encoding", b"content-length", b"transfer-encoding")
_DRAWS = 20  # a process takes this part of the bucket at a time


class BodyTooLarge(BodyError):
    def __init__(self, limit: int) -> None:
        detail = f"the body may have {limit} bytes here; it has more"
        super().__init__(413, "body_too_large", detail)


class BodyTooSlow(BodyError):
    def __init__(self) -> None:
        detail = (
            f"less than {MIN_RECEIVED_BYTES} more bytes of the body arrived in "
            f"{BODY_IDLE_SECONDS:.0f} seconds"
        )
        super().__init__(408, "body_too_slow", detail)


class FilesTooLarge(BodyError):
    def __init__(self, limit: int) -> None:
        detail = f"the limit is {limit} bytes for all files that you upload at a time"
        super().__init__(429, "quota_exceeded", detail)


class BodyLimit:
    """Decompress bodies, and refuse one that stops arriving or is larger than its limit.

    FastAPI's own limit answers with plain text if the length was declared.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: Mapping[BodyClass, int]) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        demands = found_demands(scope)
        limit = self._max_bytes[BodyClass.CONFIG if demands is None else demands.body]
        headers = Headers(scope=scope)
        declared = int(headers.get("content-length", 0))
        decoder = None
        if declared > 0 or "transfer-encoding" in headers:
            try:
                encoding = encoding_of(",".join(headers.getlist("content-encoding")))
            except RequestError as error:
                known = {"Accept-Encoding": ", ".join(ENCODINGS)}
                refusal = problem(error.status, error.code, error.detail, headers=known)
                return await refusal(scope, receive, send)
            if encoding is not None:
                decoder = Decoder(encoding)
                # In place: everything further out has the same scope.
                kept = [header for header in scope["headers"] if header[0] not in _OF_ENCODED]
                scope["headers"] = kept
        body = _Body(receive, limit=limit, declared=declared, decoder=decoder)
        return await self._app(scope, body.receive, send)


class _Body:
    """The messages of a body. Raises BodyTooLarge, BodyTooSlow and InvalidEncoding."""

    def __init__(
        self, receive: Receive, *, limit: int, declared: int, decoder: Decoder | None
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._declared = declared
        self._decoder = decoder
        self._num_arrived = self._num_received = 0
        self._seconds = BODY_IDLE_SECONDS  # left until MIN_RECEIVED_BYTES more have to be there
        self._due_bytes = MIN_RECEIVED_BYTES
        self._has_arrived = self._is_received = False

    async def receive(self) -> Message:
        if self._declared > self._limit:
            raise BodyTooLarge(self._limit)
        if self._is_received:  # the next message is the end of the connection, with no time limit
            return await self._receive()
        if self._decoder is None:
            message = await self._arriving()
            self._is_received = self._has_arrived
        else:
            message = await self._decoded(self._decoder)
        self._num_received += len(message.get("body", b""))
        if self._num_received > self._limit:
            raise BodyTooLarge(self._limit)
        return message

    async def _decoded(self, decoder: Decoder) -> Message:
        while not (piece := decoder.read()):
            if self._has_arrived:
                decoder.end()
                self._is_received = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._arriving()
            if message["type"] == "http.disconnect":
                self._is_received = True
                return message
            decoder.feed(message.get("body", b""))
        await asyncio.sleep(0)  # other requests have their turn between two pieces
        return {"type": "http.request", "body": piece, "more_body": True}

    async def _arriving(self) -> Message:
        started_at = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._receive()
        except TimeoutError as error:
            raise BodyTooSlow from error
        self._num_arrived += len(message.get("body", b""))
        if self._num_arrived > self._limit:
            raise BodyTooLarge(self._limit)
        if self._num_arrived >= self._due_bytes:
            self._due_bytes = self._num_arrived + MIN_RECEIVED_BYTES
            self._seconds = BODY_IDLE_SECONDS
        else:
            self._seconds -= time.monotonic() - started_at
        self._has_arrived = not message.get("more_body", False)
        return message


class FilesUnderWay:
    """Answer 429 to a tenant whose files on their way into this process are too large together.

    A quota counts datasets once they are stored; this counts what an upload takes before that.
    """

    def __init__(self, app: ASGIApp, *, max_file_bytes: int, quota_bytes: int | None) -> None:
        self._app = app
        self._max_file_bytes = max_file_bytes
        self._quota_bytes = quota_bytes
        self._under_way: Counter[tuple[str, bool]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("state", {}).get("caller")
        demands = found_demands(scope)
        if caller is None or demands is None or demands.body is not BodyClass.FILE:
            return await self._app(scope, receive, send)
        is_stored = demands.scope is not keys.Scope.PREDICT
        limit = NUM_FILES_UNDER_WAY * self._max_file_bytes
        if self._quota_bytes is not None:  # a file that is not stored may be larger than the quota
            quota = self._quota_bytes + FORM_BYTES
            limit = quota if is_stored else max(quota, self._max_file_bytes)
        whose = caller.tenant, is_stored
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            self._under_way[whose] += size
            if self._under_way[whose] > limit:
                raise FilesTooLarge(limit)
            return message

        try:
            return await self._app(scope, receive_counted, send)
        finally:
            self._under_way[whose] -= received
            self._under_way += Counter()  # forget tenants that have none


class RequestRate:
    """Answer 429 to a tenant that makes too many requests, counted over all processes.

    A process takes several tokens at a time from the bucket that all processes share and spends
    them by itself: few requests write to the database, and the limit holds.
    """

    def __init__(self, app: ASGIApp, *, database: Database, per_second: float, burst: int) -> None:
        self._app = app
        self._database = database
        self._per_second = per_second
        self._burst = burst
        self._in_hand: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("state", {}).get("caller")
        if caller is None:  # the endpoint is open to all
            return await self._app(scope, receive, send)
        if self._in_hand[caller.tenant] > 0:
            self._in_hand[caller.tenant] -= 1
            return await self._app(scope, receive, send)
        try:
            num_tokens, wait_seconds = await run_in_threadpool(self._draw, caller.tenant)
        except SQLAlchemyError as error:
            return await database_problem(Request(scope), error)(scope, receive, send)
        if num_tokens == 0:
            return await self._refusal(wait_seconds)(scope, receive, send)
        self._in_hand[caller.tenant] += num_tokens - 1
        return await self._app(scope, receive, send)

    def _draw(self, tenant: str) -> tuple[int, float]:
        """Return how many tokens were drawn and, if none, in how many seconds one is due."""
        wait_seconds = 0.0
        for num_tokens in (math.ceil(self._burst / _DRAWS), 1):
            with self._database.write() as transaction:
                wait_seconds = rate_limits.draw(
                    transaction,
                    tenant=tenant,
                    num_tokens=num_tokens,
                    per_second=self._per_second,
                    burst=self._burst,
                )
            if wait_seconds == 0:
                return num_tokens, 0.0
        return 0, wait_seconds

    def _refusal(self, wait_seconds: float) -> Response:
        detail = f"you may make {self._per_second:g} requests a second, and {self._burst} at once"
        headers = {"Retry-After": str(math.ceil(wait_seconds))}
        return problem(429, "too_many_requests", detail, headers=headers)
