"""A span of each request."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.monitoring.request_durations import PROBES, method_of, route_of
from store.operations import tracing


class RequestSpans:
    """Trace each request, in the trace of its caller where that sends a `traceparent`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
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
                tracing.describe(
                    {
                        "http.request.method": method,
                        "http.route": route,
                        "http.response.status_code": status,
                    },
                    name=f"{method} {route}",
                    failed=status >= 500,
                )
