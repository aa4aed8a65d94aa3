"""The objects that the endpoints of a process share, and parameters that many endpoints take."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request

from app.http.security import Caller, Keyring
from app.http.slots import Slots
from app.monitoring.instruments import Instruments
from app.monitoring.readiness import Readiness
from app.monitoring.watched_jobs import WatchedJobs
from app.serving.model_server import ModelServer
from app.serving.predictors import Predictors
from app.serving.statistics import Statistics
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database
from store.settings import Settings

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
    slots: Slots = field(default_factory=Slots)

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


async def hold_slot(context: "ContextDep", caller: "CallerDep") -> AsyncIterator[None]:
    """Hold one of the slots for slow requests until the answer begins.

    Raises RequestError (503) if no slot becomes free in time.
    """
    async with context.slots.hold(caller.tenant):
        yield


# A client may take long to read the answer, which needs no slot.
SLOT = Depends(hold_slot, scope="function")
ContextDep = Annotated[Context, Depends(_context)]
CallerDep = Annotated[Caller, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=100, description="The most items on the page.")]
After = Annotated[str | None, Query(description="The `last_id` of the previous page.")]
Number = Annotated[int, Query(ge=0, le=MAX_NUMBER)]
