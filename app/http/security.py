"""Authentication by API keys, and the scope that each call needs: see docs/decisions/0014.

While there are no keys, only programs on this machine may call, and they may do everything: the API
binds to loopback alone, and refuses pages that a browser has loaded from other hosts.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPBearer
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope
from structlog.contextvars import bind_contextvars

from app.http.bind import is_loopback
from app.http.bodies import BoundedRoute
from app.http.errors import database_problem, problem, problem_responses
from app.http.routes import found_demands
from store.access import keys
from store.access.keys import DEFAULT_TENANT, Scope
from store.database.engine import Database

REMEMBERED_SECONDS = 2.0  # until a key is looked up again; a revoked key works that long
USE_NOTED_SECONDS = 60.0

# Headers of a request that a proxy passed on.
_PASSED_ON = frozenset(
    (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")
)
# Of a page of this service, and of an address that a person has typed; programs send none.
_OWN_SITES = (b"same-origin", b"none")
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d+)?", re.ASCII)

Headers = Mapping[bytes, bytes]

log = structlog.get_logger()


documented_key = HTTPBearer(
    auto_error=False, description="A key of `dropout-service keys create`, once there is one."
)
"""For the API page only: Authentication reads the key."""


@dataclass(frozen=True)
class Caller:
    """The tenant that calls, and its scopes. While there are no keys, `token` is empty."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str | None
    token: str = field(repr=False)


ANYBODY = Caller(DEFAULT_TENANT, frozenset(Scope), None, "")


def keyed_router(
    prefix: str, tag: str, *, responses: Mapping[int | str, dict[str, Any]] | None = None
) -> APIRouter:
    """Return a router of endpoints that need a key, and document what all of them may answer."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[Depends(documented_key)],
        route_class=BoundedRoute,
        responses={**problem_responses(401, 403, 422, 429, 503, 507), **(responses or {})},
    )


class Keyring:
    """Finds the caller of a token in the database, and remembers the answer for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._callers: dict[str, tuple[Caller, float]] = {}
        self._looking: dict[str, asyncio.Task[Caller | None]] = {}
        self._noted: dict[str, float] = {}
        self._has_keys = False  # once true, it stays true: revoking the last key opens nothing
        self._open_until = 0.0

    async def caller(self, token: str) -> Caller | None:
        """Return None if a key is needed and the token is not valid. Raises SQLAlchemyError."""
        now = time.monotonic()
        if now < self._open_until:
            return ANYBODY
        caller, until = self._callers.get(token, (None, 0.0))
        if now < until:
            return caller
        # Streams of one key ask at the same moment: they share one look-up.
        looking = self._looking.get(token)
        if looking is None:
            look_up = run_in_threadpool(self._look_up, token)
            looking = self._looking[token] = asyncio.create_task(look_up)
            looking.add_done_callback(lambda done: self._looked_up(token, done))
        return await asyncio.shield(looking)

    def last_known(self, token: str) -> Caller | None:
        """Return the caller that the last look-up of the token found, if any."""
        was_open = self._open_until > 0 and not self._has_keys
        return ANYBODY if was_open else self._callers.get(token, (None, 0.0))[0]

    async def still_knows(self, caller: Caller) -> bool:
        """Return whether the caller's key is in force; True while the database does not answer."""
        try:
            return await self.caller(caller.token) is not None
        except SQLAlchemyError:
            return True

    def _looked_up(self, token: str, looking: asyncio.Task[Caller | None]) -> None:
        self._looking.pop(token, None)
        if not looking.cancelled():
            looking.exception()  # taken, or asyncio logs it if the callers have left

    def _look_up(self, token: str) -> Caller | None:
        with self._database.read() as transaction:
            if not self._has_keys and keys.any_exist(transaction):
                self._has_keys = True
            key = keys.find(transaction, token)
        now = time.monotonic()
        if not self._has_keys:
            self._open_until = now + REMEMBERED_SECONDS
            return ANYBODY
        if key is None:
            self._callers.pop(token, None)
            return None
        if now - self._noted.get(key.id, -USE_NOTED_SECONDS) >= USE_NOTED_SECONDS:
            self._noted[key.id] = now
            self._note_use(key.id)
        caller = Caller(key.tenant, frozenset(map(Scope, key.scopes)), key.id, token)
        self._callers[token] = caller, now + REMEMBERED_SECONDS
        return caller

    def _note_use(self, key_id: str) -> None:
        try:
            with self._database.write() as transaction:
                keys.note_use(transaction, key_id)
        except SQLAlchemyError:  # a full disk is no reason to refuse a read
            log.warning("the use of a key was not noted", key=key_id)


class Authentication:
    """Find the caller, or answer 401 or 403, before the body is read.

    A path or a method without a route needs a key too, of any scope, so that the routes cannot be
    found out without one.
    """

    def __init__(self, app: ASGIApp, *, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        demands = found_demands(scope)
        if demands is not None and demands.scope is None:
            return await self._app(scope, receive, send)
        needed = None if demands is None else demands.scope
        headers = dict(reversed(scope["headers"]))  # the first of two with the same name counts
        try:
            caller = await self._keyring.caller(_token(headers))
        except SQLAlchemyError as error:
            # Metrics have to be readable while the database is away.
            caller = self._keyring.last_known(_token(headers)) if needed is Scope.ADMIN else None
            if caller is None:
                return await database_problem(Request(scope), error)(scope, receive, send)
        if refusal := _refusal(caller, needed, headers):
            return await refusal(scope, receive, send)
        scope.setdefault("state", {})["caller"] = caller
        if caller is not None and caller.key_id is not None:
            bind_contextvars(key=caller.key_id)  # until the request ends: see RequestIds
        return await self._app(scope, receive, send)


def _token(headers: Headers) -> str:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refusal(caller: Caller | None, needed: Scope | None, headers: Headers) -> Response | None:
    if caller is None:
        detail = "send a valid API key, as `Authorization: Bearer <key>`"
        return problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
    if caller is ANYBODY and not _is_local(headers):
        detail = (
            "while this service has no keys, only programs on its own machine may call it, by a "
            "loopback address and not from a page of another server: make a key with "
            "`dropout-service keys create`"
        )
        return problem(403, "forbidden", detail)
    if needed is not None and not caller.scopes & {needed, Scope.ADMIN}:
        scopes = ", ".join(sorted(caller.scopes))
        detail = f"the key lacks the scope {needed.value!r}; it has {scopes}"
        return problem(403, "forbidden", detail)
    return None


def _is_local(headers: Headers) -> bool:
    """Return whether the Host names this machine, and no page of another origin makes the call.

    A page in a browser can reach loopback by a host name that resolves to it, and a GET of it, such
    as of an image, has no Origin: there Sec-Fetch-Site tells. Pages of the API itself are open.
    """
    host = headers.get(b"host", b"")
    origin = headers.get(b"origin")
    if not _names_loopback(host) or not _PASSED_ON.isdisjoint(headers):
        return False
    if headers.get(b"sec-fetch-site", b"none") not in _OWN_SITES:
        return False
    return origin is None or origin in (b"http://" + host, b"https://" + host)


@lru_cache(maxsize=100)
def _names_loopback(host: bytes) -> bool:
    named = _HOST.fullmatch(host.decode("latin-1"))
    return named is not None and is_loopback(named["name"].strip("[]").lower())
