"""A name for each request, which its answer and its lines of log carry."""

import re
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

HEADER = "X-Request-ID"

# What ids are made of, and nothing that could do harm in a log or a header.
_SANE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_RAW_HEADER = HEADER.lower().encode()


class RequestIds:
    """Answer with the request's own id where it is sane, else with a new one, and log with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = next((value for name, value in scope["headers"] if name == _RAW_HEADER), b"")
        given_id = given.decode("latin-1")
        request_id = given_id if _SANE.fullmatch(given_id) else f"req_{token_hex(13)}"
        answered = (_RAW_HEADER, request_id.encode())

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], answered]
            await send(message)

        before = bind_contextvars(request_id=request_id)
        try:
            return await self._app(scope, receive, send_named)
        finally:
            reset_contextvars(**before)
