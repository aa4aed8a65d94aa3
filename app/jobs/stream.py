"""A job's events as a resumable stream of server-sent events."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import format_sse_event
from sqlalchemy.exc import SQLAlchemyError

from app.context import Context
from app.http.security import Caller
from app.jobs.schemas import EventAnswer
from store import events
from store.database.engine import is_unavailable
from store.errors import JobNotFound, QuotaExceeded
from store.jobs import TERMINAL, get

POLL_SECONDS = 0.2
AWAY_SECONDS = 2.0  # between two attempts while the database is down
KEEP_ALIVE_SECONDS = 15
BATCH = 500
MAX_STREAMS = 100  # a tenant and process: each reads the database every POLL_SECONDS

_num_open: Counter[str] = Counter()


def require_free_stream(tenant: str) -> None:
    """Raise QuotaExceeded if the tenant has as many streams open as it may."""
    if _num_open[tenant] >= MAX_STREAMS:
        raise QuotaExceeded(f"{MAX_STREAMS} event streams are open, which is the limit; close one")


async def stream(
    context: Context, job_id: str, *, caller: Caller, after: int
) -> AsyncIterator[bytes]:
    """Yield the events numbered above `after` as they happen, up to the terminal one.

    The stream stops early, and can be resumed, if the caller's key is no longer valid.
    """
    tenant = caller.tenant
    _num_open[tenant] += 1
    try:
        async for event in _events(context, job_id, tenant=tenant, after=after):
            if event is not None:
                yield event
            elif not await context.keyring.still_knows(caller):
                return
    finally:
        _num_open[tenant] -= 1


async def _events(
    context: Context, job_id: str, *, tenant: str, after: int
) -> AsyncIterator[bytes | None]:
    """Yield events as bytes, and None after each read of the database."""
    sent_at = time.monotonic()
    while True:
        try:
            found, over = await run_in_threadpool(_read, context, job_id, tenant, after)
        except JobNotFound:
            return  # deleted while it was watched
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            await asyncio.sleep(AWAY_SECONDS)
            continue
        yield None
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


def _read(
    context: Context, job_id: str, tenant: str, after: int
) -> tuple[list[events.Event], bool]:
    """Return new events, and whether the job has ended, in one transaction."""
    with context.database.read() as transaction:
        # The state first: a job that has ended then has all its events.
        over = get(transaction, job_id, tenant=tenant).state in TERMINAL
        return events.page(transaction, job_id, after=after, limit=BATCH), over
