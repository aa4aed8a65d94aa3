"""Who may call, and what: see docs/decisions/0014.

While there are no keys, anybody on this machine may do everything, and nobody else can: the API
binds to loopback alone, and a page that a browser has from elsewhere is turned away.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import structlog
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPBearer
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from app.http import docs
from app.http.bind import is_loopback
from app.http.errors import database_problem, problem
from store.access import keys
from store.access.keys import DEFAULT_TENANT, Scope
from store.database.engine import Database

REMEMBERED_SECONDS = 2.0  # how long a key is taken for good without another look, and works revoked
USE_NOTED_SECONDS = 60.0

_OPEN = frozenset({"/", "/livez", "/readyz", "/openapi.json", docs.PATH})
# Of a request that a proxy passed on, from wherever it came.
_PASSED_ON = frozenset(
    (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")
)
_PREDICTING = re.compile(
    r"/v1/models/[^/]+/(predict|predict-file|evaluate|importance)|/v2/(?!repository/models/).*"
)

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d+)?", re.ASCII)

Headers = Mapping[bytes, bytes]

log = structlog.get_logger()


documented_key = HTTPBearer(
    auto_error=False, description="A key of `dropout-service keys create`, once there is one."
)
"""For the API page: Authentication does the work."""


@dataclass(frozen=True)
class Caller:
    """Whose call it is, and what they may do. `token` is empty while there are no keys."""

    tenant: str
    scopes: frozenset[Scope]
    token: str = field(repr=False)


ANYBODY = Caller(DEFAULT_TENANT, frozenset(Scope), "")


def needed_scope(method: str, path: str) -> Scope | None:
    """What a caller has to be allowed; None for what is open to all: health and the API page."""
    if path in _OPEN or path.startswith(f"{docs.ASSETS}/"):
        return None
    if not path.startswith(("/v1/", "/v2")):  # metrics, which are of all tenants, and nothing else
        return Scope.ADMIN
    if method in ("GET", "HEAD", "OPTIONS") or path == "/v2/repository/index":
        return Scope.READ
    is_prediction = method == "POST" and _PREDICTING.fullmatch(path)
    return Scope.PREDICT if is_prediction else Scope.TRAIN


class Keyring:
    """Which caller a token makes, asked of the database and remembered for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._callers: dict[str, tuple[Caller, float]] = {}
        self._noted: dict[str, float] = {}
        self._has_keys = False  # and never the other way: a revoked key opens nothing
        self._open_until = 0.0

    async def caller(self, token: str) -> Caller | None:
        """None if the token is no key in force, and one is needed. Raises SQLAlchemyError."""
        now = time.monotonic()
        if now < self._open_until:
            return ANYBODY
        caller, until = self._callers.get(token, (None, 0.0))
        return caller if now < until else await run_in_threadpool(self._look_up, token)

    def last_known(self, token: str) -> Caller | None:
        """Whom the token made when the database last answered; None if it was not asked."""
        was_open = self._open_until > 0 and not self._has_keys
        return ANYBODY if was_open else self._callers.get(token, (None, 0.0))[0]

    async def still_knows(self, caller: Caller) -> bool:
        """Whether the caller's key is in force, as far as the database tells."""
        try:
            return await self.caller(caller.token) is not None
        except SQLAlchemyError:
            return True

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
        caller = Caller(key.tenant, frozenset(map(Scope, key.scopes)), token)
        self._callers[token] = caller, now + REMEMBERED_SECONDS
        return caller

    def _note_use(self, key_id: str) -> None:
        try:
            with self._database.write() as transaction:
                keys.note_use(transaction, key_id)
        except SQLAlchemyError:  # a full disk is no reason to refuse a read
            log.warning("the use of a key was not noted", key=key_id)


class Authentication:
    """Know the caller, or answer 401 or 403, before the body is read."""

    def __init__(self, app: ASGIApp, *, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        needed = needed_scope(scope.get("method", ""), scope.get("path", ""))
        if scope["type"] != "http" or needed is None:
            return await self._app(scope, receive, send)
        headers = dict(reversed(scope["headers"]))  # of two of a name the first counts
        try:
            caller = await self._keyring.caller(_token(headers))
        except SQLAlchemyError as error:
            # Metrics are there to tell that the database is away.
            caller = self._keyring.last_known(_token(headers)) if needed is Scope.ADMIN else None
            if caller is None:
                return await database_problem(error, path=scope["path"])(scope, receive, send)
        if refusal := _refusal(caller, needed, headers):
            return await refusal(scope, receive, send)
        scope.setdefault("state", {})["caller"] = caller
        return await self._app(scope, receive, send)


def _token(headers: Headers) -> str:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refusal(caller: Caller | None, needed: Scope, headers: Headers) -> Response | None:
    if caller is None:
        detail = "send an API key that is in force, as `Authorization: Bearer <key>`"
        return problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
    if caller is ANYBODY and not _is_from_here(headers):
        detail = (
            "without keys this service is for programs on its own machine alone, and not for pages "
            "or names from elsewhere: make a key with `dropout-service keys create`"
        )
        return problem(403, "forbidden", detail)
    if not caller.scopes & {needed, Scope.ADMIN}:
        detail = f"the key has no scope {needed.value!r}: {', '.join(sorted(caller.scopes))} is all"
        return problem(403, "forbidden", detail)
    return None


def _is_from_here(headers: Headers) -> bool:
    """Whether the caller named this machine by a name of its own, and is no page of another's.

    A browser's pages can reach loopback too, under a name that is made to lead there.
    """
    host = headers.get(b"host", b"")
    origin = headers.get(b"origin")
    if not _names_loopback(host) or not _PASSED_ON.isdisjoint(headers):
        return False
    return origin is None or origin in (b"http://" + host, b"https://" + host)


@lru_cache(maxsize=100)
def _names_loopback(host: bytes) -> bool:
    named = _HOST.fullmatch(host.decode("latin-1"))
    return named is not None and is_loopback(named["name"].strip("[]").lower())
