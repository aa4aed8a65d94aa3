"""`/v2`: predictions in the Open Inference Protocol, for clients that were made for any server.

A model goes by its id, of which `1` is the only version, or by its name. A version is a number or
an alias; a name alone stands for its alias `production` or, while there is none, for its newest.
"""

import time
from contextlib import nullcontext
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.context import CallerDep, Context, ContextDep, place
from app.http import bodies
from app.http.bodies import body_of
from app.http.errors import RequestError
from app.http.inference_errors import PREFIX, error_responses
from app.http.routes import BodyClass, StraightEndpoint, demands
from app.http.security import Caller, documented_key
from app.open_inference import service
from app.open_inference.references import index, listed, reference, version_of, versions_meant
from app.open_inference.schemas import (
    InferAnswer,
    InferBody,
    Live,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    ServerMetadata,
    ServerReady,
    StatisticsAnswer,
)
from app.open_inference.service import RequestedModel
from store.access.keys import Scope

router = APIRouter(
    prefix=PREFIX,
    tags=["open inference"],
    dependencies=[Depends(documented_key)],
    responses=error_responses(),
)

Name = Annotated[str, Path(description="A model's id or name.")]
Version = Annotated[str, Path(description="A number or an alias; `1` of an id.")]

_INFER_BODY = bodies.documented(InferBody)
_INFER_ERRORS = error_responses(400, 404, 409, 413, 415, 503)


@router.get("")
@demands(Scope.READ)
async def server_metadata(http: Request) -> ServerMetadata:
    """What this server is, and which extensions of the protocol it knows."""
    return ServerMetadata(version=http.app.version)


@router.get("/health/live")
@demands(Scope.READ)
async def server_live() -> Live:
    """The process answers."""
    return Live()


@router.get("/health/ready", responses=error_responses(503))
@demands(Scope.READ)
async def server_ready(context: ContextDep) -> ServerReady:
    """The service can do its work: 503 while its database or storage cannot."""
    checks = await context.readiness.look()
    failed = [part for part in ("database", "storage") if checks[part] != "ok"]
    if failed:
        raise RequestError(503, "not_ready", f"the {' and the '.join(failed)} cannot be used")
    return ServerReady()


@router.get("/models/stats")
@demands(Scope.READ)
async def all_statistics(context: ContextDep, caller: CallerDep) -> StatisticsAnswer:
    """How often models were asked, and how long it took; those that were asked at all."""
    entries = await run_in_threadpool(index, context.database, tenant=caller.tenant)
    asked = [listed(entry) for entry in entries if entry.id in context.statistics]
    return StatisticsAnswer.of(asked, context.statistics)


@router.get("/models/{model}", responses=error_responses(404, 409, 503))
@demands(Scope.READ)
async def model_metadata(context: ContextDep, caller: CallerDep, model: Name) -> ModelMetadata:
    """The tensors that a model takes and gives, and its versions, up to the newest hundred."""
    return await _metadata(context, caller, model)


@router.get("/models/{model}/versions/{version}", responses=error_responses(404, 409, 503))
@demands(Scope.READ)
async def version_metadata(
    context: ContextDep, caller: CallerDep, model: Name, version: Version
) -> ModelMetadata:
    """The tensors that a version of a model takes and gives, and the other versions."""
    return await _metadata(context, caller, model, version)


@router.get("/models/{model}/ready", responses=error_responses(404, 409, 503))
@demands(Scope.READ)
async def model_ready(context: ContextDep, caller: CallerDep, model: Name) -> ModelReady:
    """The model is loaded; where it is not, it is loaded now."""
    await _find(context, caller, model)
    return ModelReady(name=model)


@router.get("/models/{model}/versions/{version}/ready", responses=error_responses(404, 409, 503))
@demands(Scope.READ)
async def version_ready(
    context: ContextDep, caller: CallerDep, model: Name, version: Version
) -> ModelReady:
    """The version is loaded; where it is not, it is loaded now."""
    await _find(context, caller, model, version)
    return ModelReady(name=model)


@router.get("/models/{model}/config", responses=error_responses(404, 409, 503))
@demands(Scope.READ)
async def model_config(context: ContextDep, caller: CallerDep, model: Name) -> ModelConfig:
    """A model as Triton's configuration would have it."""
    requested = await _find(context, caller, model)
    return ModelConfig.of(model, requested.served.predictor.description)


@router.get("/models/{model}/versions/{version}/config", responses=error_responses(404, 409, 503))
@demands(Scope.READ)
async def version_config(
    context: ContextDep, caller: CallerDep, model: Name, version: Version
) -> ModelConfig:
    """A version of a model as Triton's configuration would have it."""
    requested = await _find(context, caller, model, version)
    return ModelConfig.of(model, requested.served.predictor.description)


@router.get("/models/{model}/stats", responses=error_responses(404))
@demands(Scope.READ)
async def model_statistics(context: ContextDep, caller: CallerDep, model: Name) -> StatisticsAnswer:
    """How often each version of a model was asked, and how long it took."""
    return await _statistics(context, caller, model)


@router.get("/models/{model}/versions/{version}/stats", responses=error_responses(404))
@demands(Scope.READ)
async def version_statistics(
    context: ContextDep, caller: CallerDep, model: Name, version: Version
) -> StatisticsAnswer:
    """How often a version of a model was asked, and how long it took."""
    return await _statistics(context, caller, model, version)


@router.post(
    "/models/{model}/infer",
    response_model=InferAnswer,
    openapi_extra=_INFER_BODY,
    responses=_INFER_ERRORS,
)
@demands(Scope.PREDICT, body=BodyClass.ROWS)
async def infer(http: Request, model: Name) -> Response:
    """Predict rows: the same bits with any other rows, protocol or encoding.

    With the binary extension, data of tensors follow the JSON, whose length is then the header
    `Inference-Header-Content-Length`. The body may be compressed (gzip or deflate), and so is an
    answer of more than 16 KiB if the client accepts that. Outputs are `probabilities`, in the order
    of the classes or labels, and `prediction`.
    """
    return await _infer(http, model)


@router.post(
    "/models/{model}/versions/{version}/infer",
    response_model=InferAnswer,
    openapi_extra=_INFER_BODY,
    responses=_INFER_ERRORS,
)
@demands(Scope.PREDICT, body=BodyClass.ROWS)
async def infer_version(http: Request, model: Name, version: Version) -> Response:
    """Predict rows with a version of a model, as without one."""
    return await _infer(http, model, version)


async def _infer(http: Request, model: str, version: str | None = None) -> Response:
    context: Context = http.app.state.context
    caller: Caller = http.state.caller
    body = await body_of(http)
    requested = await _find(context, caller, model, version)
    model_id = requested.served.model.id
    started_at = time.perf_counter_ns()
    try:
        async with place(context) if service.is_large(http.headers, body) else nullcontext():
            done = await service.infer(
                context.model_server,
                requested,
                http.headers,
                body,
                max_bytes=context.settings.max_request_bytes,
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


STRAIGHT: list[tuple[str, StraightEndpoint]] = [
    (f"{PREFIX}/models/{{model}}/infer", infer),
    (f"{PREFIX}/models/{{model}}/versions/{{version}}/infer", infer_version),
]
"""What is called most; see StraightRoute."""


async def _find(
    context: Context, caller: Caller, model: str, version: str | None = None
) -> RequestedModel:
    served = await context.model_server.find(reference(model, version), tenant=caller.tenant)
    return RequestedModel(served, model, version_of(model, served.model))


async def _metadata(
    context: Context, caller: Caller, model: str, version: str | None = None
) -> ModelMetadata:
    requested = await _find(context, caller, model, version)
    name = model.partition("@")[0]
    versions = await run_in_threadpool(
        versions_meant, context.database, name, None, tenant=caller.tenant
    )
    numbers = [version.version for version in reversed(versions)]
    return ModelMetadata.of(model, numbers, requested.served.predictor)


async def _statistics(
    context: Context, caller: Caller, model: str, version: str | None = None
) -> StatisticsAnswer:
    versions = await run_in_threadpool(
        versions_meant, context.database, model, version, tenant=caller.tenant
    )
    return StatisticsAnswer.of(versions, context.statistics)
