"""The events of a job or a sweep as a resumable stream of server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from app.context import Context
from app.events.schemas import EventAnswer
from app.http.errors import RequestError
from app.http.security import Caller
from app.monitoring.watched_events import AWAY_SECONDS, Numbered, Subject, Watched
from store.database.engine import is_unavailable
from store.errors import QuotaExceeded

EVENT_STREAM = "text/event-stream"
KEEP_ALIVE_SECONDS = 15
CALLER_SECONDS = 2.0  # until the caller's key is looked at again
MAX_STREAMS = 1000  # of a process
MAX_TENANT_STREAMS = 100  # of a tenant and process


def encode(event: Numbered) -> bytes:
    """Return the event as a server-sent event."""
    answer = EventAnswer.of(event)
    return format_sse_event(data_str=answer.model_dump_json(), event=answer.type, id=str(answer.id))


class EventStream(StreamingResponse):
    """Stream the events numbered above `after` as they happen, up to the terminal one.

    The stream stops early, and can be resumed, if the caller's key is no longer valid or the
    process stops. Sending it raises QuotaExceeded or RequestError (503) if too many are open.
    """

    def __init__(self, context: Context, subject: Subject, *, caller: Caller, after: int) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__((), media_type=EVENT_STREAM, headers=headers)
        self._context = context
        self._subject = subject
        self._caller = caller
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here, and not in the generator: one that is never begun would not give its place back.
        with self._place() as watched:
            self.body_iterator = self._events(watched)
            await super().__call__(scope, receive, send)

    @contextmanager
    def _place(self) -> Iterator[Watched]:
        every = self._context.watched_events
        if every.num_watchers[self._caller.tenant] >= MAX_TENANT_STREAMS:
            detail = f"{MAX_TENANT_STREAMS} event streams are open, which is the limit; close one"
            raise QuotaExceeded(detail)
        if every.num_watchers.total() >= MAX_STREAMS:
            detail = f"{MAX_STREAMS} event streams are open, which is the limit here; try again"
            raise RequestError(503, "busy", detail)
        with every.watching(self._subject) as watched:
            yield watched

    async def _events(self, watched: Watched) -> AsyncIterator[bytes]:
        after, sent_at = self._after, time.monotonic()
        while not self._context.watched_events.is_closed:
            if not await self._context.keyring.still_knows(self._caller):
                return
            changed = watched.changed
            try:
                found = await self._context.watched_events.messages_of(watched, after=after)
            except SQLAlchemyError as error:
                if not is_unavailable(error):
                    raise
                await asyncio.sleep(AWAY_SECONDS)
                continue
            if found:
                yield b"".join(message for _, message in found)
                after, sent_at = found[-1][0], time.monotonic()
                continue
            if watched.is_over or watched.is_deleted:
                return
            if time.monotonic() - sent_at > KEEP_ALIVE_SECONDS:
                yield format_sse_event(comment="still here")
                sent_at = time.monotonic()
            await _wait(changed, CALLER_SECONDS)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    """Wait for the event, so many seconds at most."""
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        pass
