"""How much a request may carry, declared or not, and how many of them there may be."""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Mapping

from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.errors import RequestError, database_problem, problem
from store.access import rate_limits
from store.database.engine import Database

BODY_IDLE_SECONDS = 30.0
_DRAWS = 20  # in which a process would empty a full bucket


class BodyTooLarge(RequestError, HTTPException):
    """An HTTPException because FastAPI lets no other through while it reads a body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, "body_too_large", f"a body may have {limit} bytes here, this is more")


class BodyTooSlow(RequestError, HTTPException):
    def __init__(self) -> None:
        detail = f"nothing more of the body came for {BODY_IDLE_SECONDS:.0f} seconds"
        super().__init__(408, "body_too_slow", detail)


class BodyLimit:
    """Refuse a body that is, or is declared to be, larger than its path allows, or stops coming.

    `larger` are patterns of paths, each with its own number of bytes; `default_bytes` are for every
    other. FastAPI's own limit answers with plain text if the length was declared.
    """

    def __init__(
        self, app: ASGIApp, *, default_bytes: int, larger: Mapping[re.Pattern[str], int]
    ) -> None:
        self._app = app
        self._default_bytes = default_bytes
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path = scope["path"]
        patterns = (size for pattern, size in self._larger.items() if pattern.fullmatch(path))
        limit = next(patterns, self._default_bytes)
        declared = int(dict(scope["headers"]).get(b"content-length", 0))
        received, is_whole = 0, False

        async def receive_limited() -> Message:
            nonlocal received, is_whole
            if declared > limit:
                raise BodyTooLarge(limit)
            if is_whole:  # what comes is the end of the connection, whenever that is
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
    """Answer 429 to a tenant that makes more requests than it may, here and elsewhere.

    A process takes several tokens at a time from the bucket that all share, and spends them by
    itself: few requests write, and none too many is let through.
    """

    def __init__(self, app: ASGIApp, *, database: Database, per_second: float, burst: int) -> None:
        self._app = app
        self._database = database
        self._per_second = per_second
        self._burst = burst
        self._in_hand: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("state", {}).get("caller")
        if caller is None:  # of what is open to all
            return await self._app(scope, receive, send)
        if self._in_hand[caller.tenant] > 0:
            self._in_hand[caller.tenant] -= 1
            return await self._app(scope, receive, send)
        try:
            num_tokens, wait_seconds = await run_in_threadpool(self._draw, caller.tenant)
        except SQLAlchemyError as error:
            return await database_problem(error, path=scope["path"])(scope, receive, send)
        if num_tokens == 0:
            return await self._refusal(wait_seconds)(scope, receive, send)
        self._in_hand[caller.tenant] += num_tokens - 1
        return await self._app(scope, receive, send)

    def _draw(self, tenant: str) -> tuple[int, float]:
        """How many tokens there were, several or the last; if none, the seconds until one is."""
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
        detail = f"{self._per_second:g} requests a second may be made, {self._burst} at once"
        headers = {"Retry-After": str(math.ceil(wait_seconds))}
        return problem(429, "too_many_requests", detail, headers=headers)
