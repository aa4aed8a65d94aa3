"""How much a request may carry, declared or not."""

import re

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import RequestError


class BodyTooLarge(RequestError, HTTPException):
    """An HTTPException because FastAPI lets no other through while it reads a body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, "body_too_large", f"a body may have {limit} bytes here, this is more")


class BodyLimit:
    """Refuse a body that is declared to be, or turns out to be, larger than its path allows.

    `upload_bytes` are for the paths of `uploads`, `default_bytes` for every other. FastAPI's own
    limit answers with plain text if the length was declared.
    """

    def __init__(
        self, app: ASGIApp, *, default_bytes: int, uploads: re.Pattern[str], upload_bytes: int
    ) -> None:
        self._app = app
        self._default_bytes = default_bytes
        self._uploads = uploads
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        is_upload = self._uploads.fullmatch(scope["path"])
        limit = self._upload_bytes if is_upload else self._default_bytes
        declared = int(Headers(scope=scope).get("content-length", 0))
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            if declared > limit:
                raise BodyTooLarge(limit)
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit)
            return message

        return await self._app(scope, receive_limited, send)
