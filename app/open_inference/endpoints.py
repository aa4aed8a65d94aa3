"""`/v2`: predictions in the Open Inference Protocol, for clients that work with any server.

A request names a model by its id, whose only version is `1`, or by its name. A version is a number
or an alias; a name alone stands for its alias `production` or, without one, for its newest version.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.context import CallerDep, Context, ContextDep
from app.http import bodies
from app.http.bodies import body_of
from app.http.errors import RequestError
from app.http.inference_errors import PREFIX, error_responses
from app.http.routes import BodyClass, Endpoint, FastEndpoint, demands
from app.http.security import Caller, documented_key
from app.open_inference import service
from app.open_inference.references import index, listed, reference, version_of, versions_of
from app.open_inference.schemas import (
    IndexBody,
    InferAnswer,
    InferBody,
    Live,
    LoadBody,
    Loaded,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    RepositoryEntry,
    ServerMetadata,
    ServerReady,
    StatisticsAnswer,
    UnloadBody,
    Unloaded,
)
from app.open_inference.service import RequestedModel
from store import models
from store.access.keys import Scope
from store.models import IndexEntry

router = APIRouter(
    prefix=PREFIX,
    tags=["open inference"],
    dependencies=[Depends(documented_key)],
    responses=error_responses(),
)
open_router = APIRouter(prefix=PREFIX, tags=["open inference"], responses=error_responses())
"""For what needs no key, as `/livez` and `/readyz` do not."""

Name = Annotated[str, Path(description="A model's id or name.")]
Version = Annotated[str, Path(description="A number or an alias; `1` for an id.")]

_INFER: dict[str, Any] = {
    "response_model": InferAnswer,
    "openapi_extra": bodies.documented(InferBody),
    "responses": error_responses(400, 404, 409, 413, 415, 503),
}
_MODEL_ERRORS = error_responses(404, 409, 503)


async def _document_version(model: Name, version: Version) -> None:
    """Put the parameters of a path with a version into the API's document."""


def _get_versioned(
    subject: str, path: str, *, responses: dict[int | str, dict[str, Any]]
) -> Callable[[Endpoint], Endpoint]:
    """Return a decorator: GET `path` of a model, and of a version, which `_version` returns."""

    def add(endpoint: Endpoint) -> Endpoint:
        demands(Scope.READ)(endpoint)
        router.get(f"/models/{{model}}{path}", responses=responses)(endpoint)
        router.get(
            f"/models/{{model}}/versions/{{version}}{path}",
            name=f"version_{subject}",
            responses=responses,
            dependencies=[Depends(_document_version)],
        )(endpoint)
        return endpoint

    return add


def _version(http: Request) -> str | None:
    """Return the version that the path names, if it names one."""
    version: str | None = http.path_params.get("version")
    return version


async def _find(
    context: Context, caller: Caller, model: str, version: str | None
) -> RequestedModel:
    served = await context.model_server.find(reference(model, version), tenant=caller.tenant)
    return RequestedModel(served, model, version_of(model, served.model))


async def _requested(
    http: Request, context: ContextDep, caller: CallerDep, model: Name
) -> RequestedModel:
    return await _find(context, caller, model, _version(http))


RequestedDep = Annotated[RequestedModel, Depends(_requested)]


@router.get("")
@demands(Scope.READ)
async def server_metadata(http: Request) -> ServerMetadata:
    """The name and the version of this server, and the extensions of the protocol that it has."""
    return ServerMetadata(version=http.app.version)


@open_router.get("/health/live")
@demands(None, is_probe=True)
async def server_live() -> Live:
    """The process answers."""
    return Live()


@open_router.get("/health/ready", responses=error_responses(503))
@demands(None, is_probe=True)
async def server_ready(context: ContextDep) -> ServerReady:
    """The service is ready; 503 while its database or its storage does not work."""
    checks = await context.readiness.look()
    failed = [part for part in ("database", "storage") if checks[part] != "ok"]
    if failed:
        raise RequestError(503, "not_ready", f"the {' and the '.join(failed)} cannot be used")
    return ServerReady()


@router.get("/models/stats")
@demands(Scope.READ)
async def all_statistics(context: ContextDep, caller: CallerDep) -> StatisticsAnswer:
    """The number of requests to each model that had any, and how long they took."""
    entries = await run_in_threadpool(index, context.database, tenant=caller.tenant)
    requested = [listed(entry) for entry in entries if entry.id in context.statistics]
    return StatisticsAnswer.of(requested, context.statistics)


@_get_versioned("metadata", "", responses=_MODEL_ERRORS)
async def model_metadata(
    context: ContextDep, caller: CallerDep, model: Name, requested: RequestedDep
) -> ModelMetadata:
    """The tensors that a model takes and returns, and its versions, up to the newest hundred."""
    name = model.partition("@")[0]
    versions = await run_in_threadpool(
        versions_of, context.database, name, None, tenant=caller.tenant
    )
    numbers = [version.version for version in reversed(versions)]
    return ModelMetadata.of(model, numbers, requested.served.predictor)


@_get_versioned("ready", "/ready", responses=_MODEL_ERRORS)
async def model_ready(requested: RequestedDep) -> ModelReady:
    """The model is loaded; it is loaded now if it was not."""
    return ModelReady(name=requested.name)


@_get_versioned("config", "/config", responses=_MODEL_ERRORS)
async def model_config(requested: RequestedDep) -> ModelConfig:
    """A model in the form of Triton's configuration."""
    return ModelConfig.of(requested.name, requested.served.predictor.description)


@_get_versioned("statistics", "/stats", responses=error_responses(404))
async def model_statistics(
    http: Request, context: ContextDep, caller: CallerDep, model: Name
) -> StatisticsAnswer:
    """The number of requests to each version of a model, and how long they took."""
    versions = await run_in_threadpool(
        versions_of, context.database, model, _version(http), tenant=caller.tenant
    )
    return StatisticsAnswer.of(versions, context.statistics)


@router.post("/models/{model}/infer", **_INFER)
@demands(Scope.PREDICT, body=BodyClass.ROWS)
async def infer(http: Request, model: Name) -> Response:
    """Predict rows. A row's bits are the same with any other rows, protocol or encoding.

    With the binary extension, the tensors' data follow the JSON, and the header
    `Inference-Header-Content-Length` has the length of the JSON. The body may be compressed (gzip
    or deflate); an answer of more than 16 KiB is compressed if the client accepts that. Outputs are
    `probabilities`, in the order of the classes or labels, and `prediction`.
    """
    return await _infer(http, model, None)


@router.post("/models/{model}/versions/{version}/infer", **_INFER)
@demands(Scope.PREDICT, body=BodyClass.ROWS)
async def infer_version(http: Request, model: Name, version: Version) -> Response:
    """Predict rows with one version of a model; otherwise the same as without a version."""
    return await _infer(http, model, version)


async def _infer(http: Request, model: str, version: str | None) -> Response:
    context: Context = http.app.state.context
    caller: Caller = http.state.caller
    body = await body_of(http)
    requested = await _find(context, caller, model, version)
    model_id = requested.served.model.id
    started_at = time.perf_counter_ns()
    try:
        is_quick = not service.is_large(body)
        async with nullcontext() if is_quick else context.slots.hold(caller.tenant):
            done = await service.infer(
                context.model_server,
                requested,
                http.headers,
                body,
                scratch=context.uploads,
            )
    except Exception:
        context.statistics.failed(model_id, ns=time.perf_counter_ns() - started_at)
        raise
    context.statistics.succeeded(
        model_id,
        num_rows=done.num_rows,
        read_ns=done.read_ns,
        compute_ns=done.compute_ns,
        write_ns=done.write_ns,
    )
    context.instruments.predict_rows.observe(done.num_rows)
    return done.response


@router.post(
    "/repository/index",
    openapi_extra=bodies.documented(IndexBody, required=False),
    responses=error_responses(400, 413),
)
@demands(Scope.READ)
async def repository_index(
    http: Request, context: ContextDep, caller: CallerDep
) -> list[RepositoryEntry]:
    """Models and their versions, newest first, up to 5,000; by id if a name has no versions."""
    request = bodies.read_json(await body_of(http) or b"{}", IndexBody)
    entries = await run_in_threadpool(index, context.database, tenant=caller.tenant)
    return [RepositoryEntry.of(entry) for entry in entries if entry.served or not request.ready]


@router.post(
    "/repository/models/{model}/load",
    openapi_extra=bodies.documented(LoadBody, required=False),
    responses=error_responses(400, 404, 413, 503),
)
@demands(Scope.TRAIN)
async def load_model(http: Request, context: ContextDep, caller: CallerDep, model: Name) -> Loaded:
    """Serve a model, or every version of a name, and load the one that the name stands for."""
    bodies.read_json(await body_of(http) or b"{}", LoadBody)
    await _set_served(context, caller, model, True)
    await context.model_server.find(model, tenant=caller.tenant)
    return Loaded(name=model)


@router.post(
    "/repository/models/{model}/unload",
    openapi_extra=bodies.documented(UnloadBody, required=False),
    responses=error_responses(400, 404, 413),
)
@demands(Scope.TRAIN)
async def unload_model(
    http: Request, context: ContextDep, caller: CallerDep, model: Name
) -> Unloaded:
    """Stop predictions of a model, or of every version of a name, until it is loaded again."""
    bodies.read_json(await body_of(http) or b"{}", UnloadBody)
    for entry in await _set_served(context, caller, model, False):
        context.predictors.forget(entry.id)
    return Unloaded(name=model)


async def _set_served(
    context: Context, caller: Caller, model: str, served: bool
) -> list[IndexEntry]:
    def write() -> list[IndexEntry]:
        with context.database.write() as transaction:
            return models.set_served(transaction, model, served, tenant=caller.tenant)

    entries = await run_in_threadpool(write)
    context.model_server.forget_names(caller.tenant)
    return entries


FAST_ROUTES: list[tuple[str, FastEndpoint]] = [
    (f"{PREFIX}/models/{{model}}/infer", infer),
    (f"{PREFIX}/models/{{model}}/versions/{{version}}/infer", infer_version),
]
"""The calls that have to be quick; see FastRoute."""
