"""The records of each request: its id, its duration as a metric and in the log, and its span.

Requests are labelled by the template of their route and by methods that exist, never by their path:
callers cannot invent labels.
"""

import re
import time
from collections.abc import Iterable
from secrets import token_hex
from urllib.parse import quote

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars, unbind_contextvars

from app.http.routes import METHODS, found_demands
from app.monitoring.instruments import Instruments
from store.operations import tracing

REQUEST_ID = "X-Request-ID"
EVENT_STREAM = b"text/event-stream"
MAX_PATH_CHARACTERS = 200  # in a line of the log

_REQUEST_ID = REQUEST_ID.lower().encode()
# The characters of ids, which are all harmless in a log and in a header.
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

log = structlog.get_logger()


class RequestIds:
    """Answer and log with the request's own id if it is harmless, else with a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = next((value for name, value in scope["headers"] if name == _REQUEST_ID), b"")
        given_id = given.decode("latin-1")
        request_id = given_id if _SANE_ID.fullmatch(given_id) else f"req_{token_hex(13)}"
        answered = (_REQUEST_ID, request_id.encode())

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], answered]
            await send(message)

        before = bind_contextvars(request_id=request_id)
        try:
            return await self._app(scope, receive, send_named)
        finally:
            reset_contextvars(**before)
            unbind_contextvars("key")  # which Authentication has bound


class RequestDurations:
    """Measure each request until its answer is sent; an event stream until it begins.

    A request without an answer counts as the 500 that the server sends then. With `access_log`,
    each request except a probe that succeeds is also logged.
    """

    def __init__(self, app: ASGIApp, *, instruments: Instruments, access_log: bool) -> None:
        self._app = app
        self._seconds = instruments.request_seconds
        self._access_log = access_log

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
                if _is_event_stream(message["headers"]):
                    over_at = time.perf_counter()
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            seconds = (over_at or time.perf_counter()) - started_at
            labels = method_of(scope), route_of(scope), f"{status // 100}xx"
            self._seconds.labels(*labels).observe(seconds)
            if self._access_log and (status >= 400 or not _is_probe(scope)):
                _log_request(scope, status, seconds)


class RequestSpans:
    """Trace each request, in its caller's trace if the caller sends a `traceparent`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_probe(scope):
            return await self._app(scope, receive, send)
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = method_of(scope)
        parent = Headers(scope=scope).get("traceparent")
        with tracing.span(method, kind="SERVER", parent=parent):
            try:
                await self._app(scope, receive, send_noting)
            finally:
                route = route_of(scope)
                tracing.update_span(
                    {
                        "http.request.method": method,
                        "http.route": route,
                        "http.response.status_code": status,
                    },
                    name=f"{method} {route}",
                    failed=status >= 500,
                )


def method_of(scope: Scope) -> str:
    """Return the method, or `other` for one that does not exist."""
    return scope["method"] if scope["method"] in METHODS else "other"


def route_of(scope: Scope) -> str:
    """Return the template, such as `/v1/jobs/{job_id}`; the root of mounted files; or `none`."""
    if "route" in scope:
        template: str = scope["route"].path
        return template
    return scope["root_path"] if "endpoint" in scope else "none"


def _is_probe(scope: Scope) -> bool:
    demands = found_demands(scope)
    return demands is not None and demands.is_probe


def _is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"content-type" and value.startswith(EVENT_STREAM) for name, value in headers
    )


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    caller = scope.get("state", {}).get("caller")
    log.info(
        "request",
        method=method_of(scope),
        route=route_of(scope),
        # Quoted: the caller chose it, and some characters control a terminal.
        path=quote(scope["path"])[:MAX_PATH_CHARACTERS],
        status=status,
        duration_seconds=round(seconds, 6),
        tenant=None if caller is None else caller.tenant,
        client=scope["client"][0] if scope.get("client") else None,
    )
