"""A job's events as a resumable server-sent-event stream."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import format_sse_event

from app.deps import Context
from app.jobs.schemas import EventAnswer
from store import events
from store.errors import JobNotFound
from store.jobs import TERMINAL, get

POLL_SECONDS = 0.2
KEEP_ALIVE_SECONDS = 15
BATCH = 500


async def stream(context: Context, job_id: str, *, after: int) -> AsyncIterator[bytes]:
    """Events numbered above `after` as they happen, up to the terminal one."""
    sent_at = time.monotonic()
    while True:
        try:
            found, over = await run_in_threadpool(_read, context, job_id, after)
        except JobNotFound:
            return  # deleted while it was watched
        for event in found:
            answer = EventAnswer.of(event)
            yield format_sse_event(
                data_str=answer.model_dump_json(), event=answer.type, id=str(answer.id)
            )
            after = event.sequence
        if found:
            sent_at = time.monotonic()
        elif over:
            return
        elif time.monotonic() - sent_at > KEEP_ALIVE_SECONDS:
            yield format_sse_event(comment="still here")
            sent_at = time.monotonic()
        if len(found) < BATCH and not over:
            await asyncio.sleep(POLL_SECONDS)


def _read(context: Context, job_id: str, after: int) -> tuple[list[events.Event], bool]:
    """New events, and whether the job is over, as of one moment."""
    with context.database.read() as transaction:
        # The state first: what is over then has all its events there already.
        over = get(transaction, job_id).state in TERMINAL
        return events.page(transaction, job_id, after=after, limit=BATCH), over
