"""The objects that the endpoints of a process share, and parameters that many endpoints take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request

from app.http.errors import RequestError
from app.http.security import Caller, Keyring
from app.monitoring.instruments import Instruments
from app.monitoring.readiness import Readiness
from app.monitoring.watched_jobs import WatchedJobs
from app.serving.model_server import ModelServer
from app.serving.predictors import Predictors
from app.serving.statistics import Statistics
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database
from store.settings import Settings

NUM_SLOTS = 8  # for slow requests, which leaves 32 of the 40 threads to others
SLOT_SECONDS = 20.0  # to wait for a slot
MAX_NUMBER = 2**31 - 1  # for events and epochs: the largest integer of the databases


@dataclass(frozen=True)
class Context:
    """The objects of one process of the API, made once by create_app."""

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    predictors: Predictors
    model_server: ModelServer
    instruments: Instruments
    readiness: Readiness
    watched_jobs: WatchedJobs
    keyring: Keyring
    statistics: Statistics = field(default_factory=Statistics)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(NUM_SLOTS))

    @property
    def uploads(self) -> Path:
        return self.settings.data_dir / "uploads"


# Coroutines: FastAPI would call plain functions in threads, and wait for a free one.
async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def hold_slot(context: "ContextDep") -> AsyncIterator[None]:
    """Hold one of the slots for slow requests, so that the others have threads left.

    Raises RequestError (503) if no slot becomes free in time.
    """
    try:
        await asyncio.wait_for(context.slots.acquire(), SLOT_SECONDS)
    except TimeoutError as error:
        detail = f"{NUM_SLOTS} slow requests are running already; try again"
        raise RequestError(503, "busy", detail) from error
    try:
        yield
    finally:
        context.slots.release()


slow_slot = asynccontextmanager(hold_slot)
"""hold_slot, for a part of an endpoint."""


ContextDep = Annotated[Context, Depends(_context)]
CallerDep = Annotated[Caller, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=100, description="The most items on the page.")]
After = Annotated[str | None, Query(description="The `last_id` of the previous page.")]
Number = Annotated[int, Query(ge=0, le=MAX_NUMBER)]
