"""create_app(settings): the whole HTTP edge, assembled."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import torch
from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from app.context import Context
from app.datasets import endpoints as datasets
from app.exports import endpoints as exports
from app.health import endpoints as health
from app.http import docs, errors
from app.http.errors import problem_responses
from app.http.fast_routes import StraightRoute
from app.http.headers import SecurityHeaders
from app.http.limits import BodyLimit, RequestRate
from app.http.security import Authentication, Keyring, documented_key
from app.http.walkthrough import DESCRIPTION
from app.inference import endpoints as inference
from app.jobs import endpoints as jobs
from app.metrics import endpoints as metrics
from app.models import endpoints as models
from app.monitoring.instruments import Instruments
from app.monitoring.readiness import Readiness
from app.monitoring.recorded_jobs import RecordedJobs
from app.monitoring.request_durations import RequestDurations
from app.monitoring.request_ids import RequestIds
from app.monitoring.request_spans import RequestSpans
from app.names import endpoints as names
from app.open_inference import endpoints as open_inference
from app.open_inference import repository
from app.open_inference.errors import InferenceErrors
from app.serving.model_server import ModelServer
from app.serving.predictors import Predictors
from store.artifacts.artifact_store import open_artifacts
from store.database.engine import Database
from store.operations import tracing
from store.settings import Settings

_UPLOADS = re.compile(r"/v1/datasets|/v1/models/[^/]+/predict-file")
_ROWS = re.compile(r"/v1/models/[^/]+/predict|/v2/models/[^/]+(/versions/[^/]+)?/infer")
_FORM_BYTES = 64 * 1024  # what a multipart form adds to its file
_CONFIG_BYTES = 4 * 1024**2  # of other JSON, whose every value is looked at one by one


def create_app(settings: Settings) -> FastAPI:
    """The API on the database and the artifacts of `settings`."""
    database = Database(settings.database)
    artifacts = open_artifacts(settings)
    release = version("dropout-service")
    predictors = Predictors(artifacts, max_bytes=settings.max_loaded_model_bytes)
    context = Context(
        settings=settings,
        database=database,
        artifacts=artifacts,
        predictors=predictors,
        model_server=ModelServer(database, predictors),
        instruments=Instruments(
            recorded=RecordedJobs(database),
            versions={"version": release, "torch": torch.__version__},
        ),
        keyring=Keyring(database),
        readiness=Readiness(database, artifacts, settings.redis_url),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # How many threads share a product changes how it rounds: predictions always use one.
        torch.set_num_threads(1)
        database.migrate()
        await context.model_server.warm_up()
        yield
        database.close()
        tracing.end_tracing()  # here, since uvicorn ends the process by the signal that it got

    app = FastAPIOffline(
        title="Dropout Service",
        version=release,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Traces and metrics are ours: see app/monitoring/request_spans.py and app/metrics.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.context = context
    errors.install(app)
    docs.install(app)
    app.add_middleware(
        BodyLimit,
        default_bytes=min(_CONFIG_BYTES, settings.max_request_bytes),
        larger={
            _UPLOADS: settings.max_upload_bytes + _FORM_BYTES,
            _ROWS: settings.max_request_bytes,
        },
    )
    if settings.tenant_requests_per_second is not None:
        app.add_middleware(
            RequestRate,
            database=database,
            per_second=settings.tenant_requests_per_second,
            burst=settings.tenant_request_burst,
        )
    app.add_middleware(Authentication, keyring=context.keyring)
    for domain in (datasets, jobs, models, names, exports, inference):
        app.include_router(
            domain.router,
            dependencies=[Depends(documented_key)],
            responses=problem_responses(401, 403, 422, 429, 503, 507),
        )
    for protocol in (open_inference, repository):
        app.include_router(protocol.router, dependencies=[Depends(documented_key)])
    app.include_router(health.router)
    app.include_router(
        metrics.router,
        dependencies=[Depends(documented_key)],
        responses=problem_responses(401, 403),
    )

    for path, endpoint in (*inference.STRAIGHT, *open_inference.STRAIGHT):
        app.router.routes.insert(0, StraightRoute(path, endpoint))

    @app.get("/", include_in_schema=False)
    def to_docs() -> RedirectResponse:
        return RedirectResponse(docs.PATH)

    # Around all that Starlette builds, or the answer to an unexpected error would go without.
    stack: ASGIApp = RequestDurations(
        InferenceErrors(app.build_middleware_stack()),
        instruments=context.instruments,
        access_log=settings.access_log,
    )
    if tracing.is_tracing():
        stack = RequestSpans(stack)
    app.middleware_stack = RequestIds(SecurityHeaders(stack))
    return app
