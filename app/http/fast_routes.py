"""Endpoints that are asked so often that finding and calling them must cost next to nothing."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from app.http.errors import RequestError

Endpoint = Callable[..., Awaitable[Response]]


class StraightRoute(Route):
    """A POST route to an endpoint that takes the request and the path's parameters.

    Put before all others, it is found first, and called without what FastAPI does to learn what an
    endpoint takes and to check what it gives. A route of FastAPI's at the same path documents it.
    """

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, _Called(endpoint), methods=["POST"])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}  # its template is in logs and metrics


class _Called:
    """To Starlette an ASGI app, and none of its functions."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive), **scope["path_params"])
        await response(scope, receive, send)


async def body_of(request: Request) -> bytes:
    """The body, mostly of one message. Raises RequestError (400) if its client leaves before."""
    parts = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise RequestError(400, "disconnected", "the client left before its body was whole")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
