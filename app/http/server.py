"""uvicorn's server, and how streams and requests end that run when it stops."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.errors import problem


class Server(uvicorn.Server):
    """Call `end_streams` when the server stops.

    A stream lasts as long as its job: the server would wait for it in vain, then cut it off.
    """

    def __init__(self, config: uvicorn.Config, *, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)


class StoppedRequests:
    """Answer 503 to a request that still runs when the server stops waiting for it.

    The server cancels it, and would log an error and answer 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        has_begun = False

        async def send_noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except asyncio.CancelledError:  # by the server alone, which does not wait for the task
            if not has_begun:  # else the connection is closed within the answer
                refusal = problem(503, "stopping", "the service stops; try again")
                await refusal(scope, receive, send)
