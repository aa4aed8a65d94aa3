"""How long requests take, by where they were routed to: as a metric, and as a line of log."""

import time
from collections.abc import Iterable
from urllib.parse import quote

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.monitoring.instruments import Instruments

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
PROBES = frozenset({"/livez", "/readyz", "/metrics"})  # asked by machines, every few seconds
EVENT_STREAM = b"text/event-stream"
MAX_PATH_CHARACTERS = 200  # of a line of log

log = structlog.get_logger()


class RequestDurations:
    """Time each request until its answer is sent; an event stream, which waits, until it begins.

    By the template of its route, never by its path, and by methods that exist: whoever calls
    cannot make labels up. An answer that never began counts as the 500 that the server makes of it.

    With `access_log`, each request is a line of log too, but for probes that went well.
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
            if self._access_log and (status >= 400 or scope["path"] not in PROBES):
                _log_request(scope, status, seconds)


def method_of(scope: Scope) -> str:
    """The method, or `other` for one that does not exist."""
    return scope["method"] if scope["method"] in METHODS else "other"


def route_of(scope: Scope) -> str:
    """The template, such as `/v1/jobs/{job_id}`; the root of mounted files; or `none`."""
    if "route" in scope:
        template: str = scope["route"].path
        return template
    return scope["root_path"] if "endpoint" in scope else "none"


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
        # Quoted, since a caller chose it and a terminal obeys some characters.
        path=quote(scope["path"])[:MAX_PATH_CHARACTERS],
        status=status,
        duration_seconds=round(seconds, 6),
        tenant=None if caller is None else caller.tenant,
    )
