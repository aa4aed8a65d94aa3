"""The objects that the endpoints of a process share, and parameters that many endpoints take."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from pydantic import AwareDatetime

from app.http.security import Caller, Keyring
from app.http.slots import MAX_EXPORTS, Slots
from app.monitoring.instruments import Instruments
from app.monitoring.readiness import Readiness
from app.monitoring.watched_events import WatchedEvents
from app.serving.model_server import ModelServer
from app.serving.predictors import Predictors
from app.serving.statistics import Statistics
from store import ids
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database
from store.database.lists import Part
from store.job_spec import Name
from store.settings import Settings

MAX_NUMBER = 2**31 - 1  # for events and epochs: the largest integer of the databases
Limit = Annotated[int, Query(ge=1, le=100, description="The most items on the page.")]
_AFTER = "The `last_id` of the previous page."


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
    watched_events: WatchedEvents
    keyring: Keyring
    statistics: Statistics = field(default_factory=Statistics)
    slots: Slots = field(default_factory=Slots)
    export_slots: Slots = field(default_factory=lambda: Slots(MAX_EXPORTS, for_tenant=1))

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


@dataclass(frozen=True)
class Listing:
    """A page of a list. `part` has one item more than the page, which tells if others follow."""

    limit: int
    part: Part


def listing(prefix: str) -> Any:
    """Return the dependency that reads a Listing of things whose ids have the prefix."""

    async def read(
        limit: Limit = 20,
        after: Annotated[str | None, Query(pattern=ids.pattern(prefix), description=_AFTER)] = None,
        name: Annotated[Name | None, Query(description="Only those of this name.")] = None,
        created_after: Annotated[
            AwareDatetime | None,
            Query(description="Only what was created later, as in `2026-05-01T12:00:00Z`."),
        ] = None,
        order: Annotated[
            Literal["desc", "asc"],
            Query(description="`desc` begins with the newest, `asc` with the oldest."),
        ] = "desc",
    ) -> Listing:
        created_from = None if created_after is None else _just_after(created_after)
        part = Part(
            limit=limit + 1,
            after=after,
            name=name,
            created_from=created_from,
            oldest_first=order == "asc",
        )
        return Listing(limit, part)

    return Depends(read)


def _just_after(time: datetime) -> float:
    """Return the first moment that an answer tells as a later millisecond, in Unix seconds."""
    milliseconds = (time - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    return (milliseconds + 1) / 1000 - 0.5e-6  # answers round to microseconds, then cut


# A client may take long to read the answer, which needs no slot.
SLOT = Depends(hold_slot, scope="function")
ContextDep = Annotated[Context, Depends(_context)]
CallerDep = Annotated[Caller, Depends(_caller)]
Number = Annotated[int, Query(ge=0, le=MAX_NUMBER)]
