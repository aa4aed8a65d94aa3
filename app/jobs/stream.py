"""A job's events as a resumable stream of server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from app.context import Context
from app.http.errors import RequestError
from app.http.security import Caller
from app.jobs.schemas import EventAnswer
from app.monitoring.watched_jobs import AWAY_SECONDS, WatchedJob
from store.database.engine import is_unavailable
from store.errors import QuotaExceeded
from store.events import Event
from store.jobs import Job

EVENT_STREAM = "text/event-stream"
KEEP_ALIVE_SECONDS = 15
CALLER_SECONDS = 2.0  # until the caller's key is looked at again
MAX_STREAMS = 1000  # of a process
MAX_TENANT_STREAMS = 100  # of a tenant and process


def encode(event: Event) -> bytes:
    """Return the event as a server-sent event."""
    answer = EventAnswer.of(event)
    return format_sse_event(data_str=answer.model_dump_json(), event=answer.type, id=str(answer.id))


class EventStream(StreamingResponse):
    """Stream the events numbered above `after` as they happen, up to the terminal one.

    The stream stops early, and can be resumed, if the caller's key is no longer valid or the
    process stops. Sending it raises QuotaExceeded or RequestError (503) if too many are open.
    """

    def __init__(self, context: Context, job: Job, *, caller: Caller, after: int) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__((), media_type=EVENT_STREAM, headers=headers)
        self._context = context
        self._job = job
        self._caller = caller
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here, and not in the generator: one that is never begun would not give its place back.
        with self._place() as job:
            self.body_iterator = self._events(job)
            await super().__call__(scope, receive, send)

    @contextmanager
    def _place(self) -> Iterator[WatchedJob]:
        watched = self._context.watched_jobs
        if watched.num_watchers[self._caller.tenant] >= MAX_TENANT_STREAMS:
            detail = f"{MAX_TENANT_STREAMS} event streams are open, which is the limit; close one"
            raise QuotaExceeded(detail)
        if watched.num_watchers.total() >= MAX_STREAMS:
            detail = f"{MAX_STREAMS} event streams are open, which is the limit here; try again"
            raise RequestError(503, "busy", detail)
        with watched.watching(self._job) as job:
            yield job

    async def _events(self, job: WatchedJob) -> AsyncIterator[bytes]:
        after, sent_at = self._after, time.monotonic()
        while not self._context.watched_jobs.is_closed:
            if not await self._context.keyring.still_knows(self._caller):
                return
            changed = job.changed
            try:
                found = await self._context.watched_jobs.messages_of(job, after=after)
            except SQLAlchemyError as error:
                if not is_unavailable(error):
                    raise
                await asyncio.sleep(AWAY_SECONDS)
                continue
            if found:
                yield b"".join(message for _, message in found)
                after, sent_at = found[-1][0], time.monotonic()
                continue
            if job.is_over or job.is_deleted:
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
