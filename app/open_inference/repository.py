"""`/v2/repository`: which models there are, and which of them are served."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from app.context import CallerDep, Context, ContextDep
from app.http import bodies
from app.http.bodies import body_of
from app.http.inference_errors import PREFIX, error_responses
from app.http.routes import demands
from app.http.security import documented_key
from app.open_inference.endpoints import Name
from app.open_inference.references import index
from app.open_inference.schemas import (
    IndexBody,
    LoadBody,
    Loaded,
    RepositoryEntry,
    UnloadBody,
    Unloaded,
)
from store import models
from store.access.keys import Scope
from store.models import IndexEntry

router = APIRouter(
    prefix=f"{PREFIX}/repository",
    tags=["open inference"],
    dependencies=[Depends(documented_key)],
    responses=error_responses(),
)


def _optional(kind: type[BaseModel]) -> dict[str, Any]:
    """A body that may be empty, as some of the clients' are, for the documentation."""
    body = bodies.documented(kind)["requestBody"]
    return {"requestBody": {**body, "required": False}}


@router.post("/index", openapi_extra=_optional(IndexBody), responses=error_responses(400, 413))
@demands(Scope.READ)
async def repository_index(
    http: Request, context: ContextDep, caller: CallerDep
) -> list[RepositoryEntry]:
    """Models and their versions, newest first, up to 5,000; by id where a name has no versions."""
    request = bodies.read_json(await body_of(http) or b"{}", IndexBody)
    entries = await run_in_threadpool(index, context.database, tenant=caller.tenant)
    return [RepositoryEntry.of(entry) for entry in entries if entry.served or not request.ready]


@router.post(
    "/models/{model}/load",
    openapi_extra=_optional(LoadBody),
    responses=error_responses(400, 404, 413, 503),
)
@demands(Scope.TRAIN)
async def load_model(http: Request, context: ContextDep, caller: CallerDep, model: Name) -> Loaded:
    """Serve a model, or every version of a name, and load the one that the name stands for."""
    bodies.read_json(await body_of(http) or b"{}", LoadBody)
    await run_in_threadpool(_set_served, context, model, True, tenant=caller.tenant)
    context.model_server.forget_names(caller.tenant)
    await context.model_server.find(model, tenant=caller.tenant)
    return Loaded(name=model)


@router.post(
    "/models/{model}/unload",
    openapi_extra=_optional(UnloadBody),
    responses=error_responses(400, 404, 413),
)
@demands(Scope.TRAIN)
async def unload_model(
    http: Request, context: ContextDep, caller: CallerDep, model: Name
) -> Unloaded:
    """Answer no more predictions of a model, or of any version of a name, until it is loaded."""
    bodies.read_json(await body_of(http) or b"{}", UnloadBody)
    unloaded = await run_in_threadpool(_set_served, context, model, False, tenant=caller.tenant)
    context.model_server.forget_names(caller.tenant)
    for entry in unloaded:
        context.predictors.forget(entry.id)
    return Unloaded(name=model)


def _set_served(context: Context, model: str, served: bool, *, tenant: str) -> list[IndexEntry]:
    with context.database.write() as transaction:
        return models.set_served(transaction, model, served, tenant=tenant)
