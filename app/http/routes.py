"""The demands that each endpoint declares, and the route of each request.

An endpoint declares its demands where it is defined. The route of a request is found once, before
anything else: telemetry, authentication and the limit on the body then read the endpoint's demands,
and routing goes to the route that was found.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from store.access.keys import Scope

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

_FOUND = "dropout.found_route"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
FastEndpoint = Callable[..., Awaitable[Response]]


class BodyClass(Enum):
    """The content of a body, which decides its size limit; `create_app` sets the limits."""

    CONFIG = "config"  # JSON whose values are checked one by one
    COLUMNS = "columns"  # the same, with settings for each column of a table
    ROWS = "rows"  # JSON or tensors
    FILE = "file"  # a form with uploads


@dataclass(frozen=True)
class Demands:
    """The declaration of an endpoint.

    `scope` is the one that the caller's key needs; None opens the endpoint to all. Machines call a
    probe every few seconds: while it succeeds, it is neither traced nor logged.
    """

    scope: Scope | None
    body: BodyClass = BodyClass.CONFIG
    is_probe: bool = False


UNDECLARED = Demands(Scope.ADMIN)


def demands(
    scope: Scope | None, *, body: BodyClass = BodyClass.CONFIG, is_probe: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """Return a decorator that declares what an endpoint, or a mounted app, demands."""
    declared = Demands(scope, body, is_probe)

    def declare(endpoint: Endpoint) -> Endpoint:
        vars(endpoint)["demands"] = declared
        return endpoint

    return declare


def demands_of(endpoint: Any) -> Demands:
    """Return the endpoint's demands, or UNDECLARED, which only admins may call."""
    declared: Demands = getattr(endpoint, "demands", UNDECLARED)
    return declared


@dataclass(frozen=True)
class _Found:
    route: BaseRoute
    child_scope: AsgiScope
    demands: Demands | None
    has_method: bool = True


class FindRoute:
    """Find the route of each request, for everything further in.

    HEAD is answered wherever GET is, with the same headers (RFC 9110, section 9.3.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, _headers_only(send)
            scope[_FOUND] = _find(scope)
        await self._app(scope, receive, send)


def _headers_only(send: Send) -> Send:
    """Return a function that ends an answer after its headers, also one that would never end."""

    async def send_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return send_headers


def found_demands(scope: AsgiScope) -> Demands | None:
    """Return the demands of the request's endpoint; None if no route has its path and method.

    A wrong method on the path of an open endpoint is open too: it is answered with 405.
    """
    found: _Found | None = scope.get(_FOUND)
    return None if found is None else found.demands


def found_route(scope: AsgiScope) -> BaseRoute | None:
    """Return the route that has the path and the method of the request, if there is one."""
    found: _Found | None = scope.get(_FOUND)
    return found.route if found is not None and found.has_method else None


def _find(scope: AsgiScope) -> _Found | None:
    """Search as Starlette's router does, so that the route found is the one that is called."""
    partial = None
    for route in scope["app"].router.routes:
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            return _Found(route, child_scope, demands_of(child_scope["endpoint"]))
        if match is Match.PARTIAL and partial is None:
            declared = demands_of(child_scope["endpoint"])
            is_open = declared.scope is None
            partial = _Found(route, child_scope, declared if is_open else None, has_method=False)
    return partial


class FoundRoute(BaseRoute):
    """Go to the route that FindRoute has found; this is the first route of the app."""

    def matches(self, scope: AsgiScope) -> tuple[Match, AsgiScope]:
        found: _Found | None = scope.get(_FOUND)
        return (Match.NONE, {}) if found is None else (Match.FULL, found.child_scope)

    async def handle(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await scope[_FOUND].route.handle(scope, receive, send)


class FastRoute(Route):
    """A POST route to an endpoint that takes the request and the path's parameters.

    It is for the endpoints whose routing has to cost almost no time: it comes before all other
    routes, and calls the endpoint without FastAPI's reading of parameters and checking of answers.
    A route of FastAPI at the same path documents the endpoint.
    """

    def __init__(self, path: str, endpoint: FastEndpoint) -> None:
        super().__init__(path, _Called(endpoint), methods=["POST"])

    def matches(self, scope: AsgiScope) -> tuple[Match, AsgiScope]:
        match, found = super().matches(scope)
        if match is not Match.NONE:
            found["route"] = self  # its template is in logs and metrics
        return match, found


class _Called:
    """An ASGI app that calls an endpoint; Starlette would wrap a function."""

    def __init__(self, endpoint: FastEndpoint) -> None:
        self._endpoint = endpoint
        self.demands = demands_of(endpoint)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive), **scope["path_params"])
        await response(scope, receive, send)


def allowed_methods(scope: AsgiScope, routes: Sequence[BaseRoute]) -> list[str]:
    """Return the methods that the path has; Starlette names those of its first route alone."""
    asked = {
        method: {**scope, "method": "GET" if method == "HEAD" else method, _FOUND: None}
        for method in sorted(METHODS)
    }
    return [
        method
        for method in asked
        if any(route.matches(asked[method])[0] is Match.FULL for route in routes)
    ]
