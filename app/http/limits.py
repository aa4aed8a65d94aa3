"""Limits on a body's size, on the time that it takes to arrive, and on a tenant's requests."""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.errors import RequestError, database_problem, problem
from app.http.routes import BodyClass, found_demands
from store.access import rate_limits
from store.database.engine import Database

BODY_IDLE_SECONDS = 30.0
_DRAWS = 20  # a process takes this part of the bucket at a time


class BodyTooLarge(RequestError, HTTPException):
    """The body is larger than the limit. FastAPI would wrap any error but an HTTPException."""

    def __init__(self, limit: int) -> None:
        detail = f"the body may have {limit} bytes here; it has more"
        super().__init__(413, "body_too_large", detail)


class BodyTooSlow(RequestError, HTTPException):
    """The body has stopped arriving."""

    def __init__(self) -> None:
        detail = f"no more of the body arrived for {BODY_IDLE_SECONDS:.0f} seconds"
        super().__init__(408, "body_too_slow", detail)


class BodyLimit:
    """Refuse a body that stops arriving, or whose size or Content-Length is over the limit.

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
        declared = int(dict(scope["headers"]).get(b"content-length", 0))
        received, is_whole = 0, False

        async def receive_limited() -> Message:
            nonlocal received, is_whole
            if declared > limit:
                raise BodyTooLarge(limit)
            if is_whole:  # the next message is the end of the connection, with no time limit
                return await receive()
            try:
                async with asyncio.timeout(BODY_IDLE_SECONDS):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTooSlow from error
            received += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if received > limit:
                raise BodyTooLarge(limit)
            return message

        return await self._app(scope, receive_limited, send)


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
