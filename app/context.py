"""What endpoints ask for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request

from app.http.errors import RequestError
from app.http.json_bodies import JSON, require_media_type, require_unicode
from app.http.security import Caller, Keyring
from app.monitoring.instruments import Instruments
from app.monitoring.readiness import Readiness
from app.serving.model_server import ModelServer
from app.serving.predictors import Predictors
from app.serving.statistics import Statistics
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database
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
    model_server: ModelServer
    instruments: Instruments
    readiness: Readiness
    keyring: Keyring
    statistics: Statistics = field(default_factory=Statistics)
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


async def require_json(request: Request) -> None:
    """Raise 415 unless the body is declared as JSON, 400 if its text is no Unicode."""
    require_media_type(request, JSON)
    require_unicode(await request.body())


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


place = asynccontextmanager(take_place)
"""The same for a part of an endpoint."""


async def require_form(request: Request) -> None:
    """Raise 415 unless the body is declared as a multipart form."""
    require_media_type(request, "multipart/form-data")


ContextDep = Annotated[Context, Depends(_context)]
CallerDep = Annotated[Caller, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=100, description="Items of a page.")]
After = Annotated[str | None, Query(description="The `last_id` of the page before.")]
Number = Annotated[int, Query(ge=0, le=MAX_NUMBER)]
