"""What endpoints ask for."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic_core import from_json

from app.errors import RequestError
from app.health.readiness import Readiness
from app.inference.predictors import Predictors
from app.metrics.instruments import Instruments
from app.security import Caller, Keyring
from store.artifacts import ArtifactStore
from store.database import Database
from store.settings import Settings

SLOW_REQUESTS = 8  # at a time; of forty threads
PLACE_SECONDS = 20.0
MAX_NUMBER = 2**31 - 1  # of events and epochs: the databases' integers


@dataclass(frozen=True)
class Context:
    """What one process of the API holds, made once by create_app."""

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    predictors: Predictors
    instruments: Instruments
    readiness: Readiness
    keyring: Keyring
    slow: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOW_REQUESTS))

    @property
    def uploads(self) -> Path:
        return self.settings.data_dir / "uploads"


# Plain functions would be called in threads, for which nobody should have to wait more than once.
async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def _require_media_type(request: Request, wanted: str) -> None:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    given = header.get_content_type() if header["content-type"] else "nothing"
    if given != wanted:
        raise RequestError(
            415, "unsupported_media_type", f"the body has to be {wanted}, and {given} was declared"
        )


async def require_json(request: Request) -> None:
    """Raise 415 unless the body is declared as JSON, 400 if its text is no Unicode."""
    _require_media_type(request, "application/json")
    body = await request.body()
    if b"\\ud" in body.lower():  # half of a surrogate pair passes Python's parser
        try:
            from_json(body)
        except ValueError as error:
            raise RequestError(400, "malformed_json", f"the body is not JSON: {error}") from error


async def take_place(context: "ContextDep") -> AsyncIterator[None]:
    """Hold one of the places for requests that take long, so that others find a thread.

    Raises RequestError (503) if none comes free in time.
    """
    try:
        await asyncio.wait_for(context.slow.acquire(), PLACE_SECONDS)
    except TimeoutError as error:
        detail = f"{SLOW_REQUESTS} requests that take long are under way here; try again"
        raise RequestError(503, "busy", detail) from error
    try:
        yield
    finally:
        context.slow.release()


async def require_form(request: Request) -> None:
    """Raise 415 unless the body is declared as a multipart form."""
    _require_media_type(request, "multipart/form-data")


ContextDep = Annotated[Context, Depends(_context)]
CallerDep = Annotated[Caller, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=100, description="Items of a page.")]
After = Annotated[str | None, Query(description="The `last_id` of the page before.")]
Number = Annotated[int, Query(ge=0, le=MAX_NUMBER)]
