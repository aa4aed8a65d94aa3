"""uvicorn's server, which ends event streams before it waits for requests to end."""

import socket
from collections.abc import Callable

import uvicorn


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
