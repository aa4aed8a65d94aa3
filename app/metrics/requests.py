"""How long requests take, by where they were routed to."""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics.instruments import Instruments

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
EVENT_STREAM = "text/event-stream"


class RequestDurations:
    """Time each request until its answer is sent; an event stream, which waits, until it begins.

    By the template of its route, never by its path, and by methods that exist: whoever calls
    cannot make labels up. An answer that never began counts as the 500 that the server makes of it.
    """

    def __init__(self, app: ASGIApp, *, instruments: Instruments) -> None:
        self._app = app
        self._seconds = instruments.request_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started_at = time.perf_counter()
        status = 500
        over_at: float | None = None

        async def send_noting(message: Message) -> None:
            nonlocal status, over_at
            if message["type"] == "http.response.start":
                status = message["status"]
                if Headers(raw=message["headers"]).get("content-type", "").startswith(EVENT_STREAM):
                    over_at = time.perf_counter()
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            seconds = (over_at or time.perf_counter()) - started_at
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._seconds.labels(method, _route(scope), f"{status // 100}xx").observe(seconds)


def _route(scope: Scope) -> str:
    """The template, such as `/v1/jobs/{job_id}`; the root of mounted files; or `none`."""
    if "route" in scope:
        template: str = scope["route"].path
        return template
    return scope["root_path"] if "endpoint" in scope else "none"
