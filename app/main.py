"""create_app(settings): assemble the whole HTTP API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import torch
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from app.context import Context
from app.datasets import endpoints as datasets
from app.events import stream
from app.exports import endpoints as exports
from app.health import endpoints as health
from app.http import docs, errors
from app.http.headers import SecurityHeaders
from app.http.inference_errors import InferenceErrors
from app.http.limits import FORM_BYTES, BodyLimit, FilesUnderWay, RequestRate
from app.http.query import KnownQuery
from app.http.routes import BodyClass, FastRoute, FindRoute, FoundRoute, demands
from app.http.security import Authentication, Keyring
from app.http.server import StoppedRequests
from app.http.telemetry import RequestDurations, RequestIds, RequestSpans
from app.http.walkthrough import DESCRIPTION
from app.inference import endpoints as inference
from app.jobs import endpoints as jobs
from app.models import endpoints as models
from app.monitoring.disk import Disk
from app.monitoring.instruments import Instruments
from app.monitoring.readiness import Readiness
from app.monitoring.recorded_jobs import RecordedJobs
from app.monitoring.watched_events import WatchedEvents
from app.names import endpoints as names
from app.open_inference import endpoints as open_inference
from app.presets import endpoints as presets
from app.serving.model_server import ModelServer
from app.serving.predictors import Predictors
from app.sweeps import endpoints as sweeps
from store.artifacts.artifact_store import open_artifacts
from store.database.engine import Database
from store.operations import tracing
from store.settings import Settings

_CONFIG_BYTES = 256 * 1024
_COLUMNS_BYTES = 4 * 1024**2


def create_app(settings: Settings) -> FastAPI:
    """Return the API on the database and the artifacts of `settings`."""
    database = Database(settings.database)
    artifacts = open_artifacts(settings)
    release = version("dropout-service")
    predictors = Predictors(artifacts, max_bytes=settings.max_loaded_model_bytes)
    disk = Disk(settings)
    context = Context(
        settings=settings,
        database=database,
        artifacts=artifacts,
        predictors=predictors,
        model_server=ModelServer(database, predictors),
        instruments=Instruments(
            collectors=(RecordedJobs(database), disk),
            versions={"version": release, "torch": torch.__version__},
        ),
        watched_events=WatchedEvents(
            database, sources={"job": jobs.EVENTS, "swp": sweeps.EVENTS}, encode=stream.encode
        ),
        keyring=Keyring(database),
        readiness=Readiness(database, artifacts, disk=disk, redis_url=settings.redis_url),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # The number of threads changes how a product rounds: predictions always use one.
        torch.set_num_threads(1)
        database.migrate()
        await context.model_server.warm_up()
        yield
        database.close()
        tracing.end_tracing()  # here: uvicorn ends the process with the signal that stopped it

    app = FastAPIOffline(
        title="Dropout Service",
        version=release,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Each file has a descriptor, or up to 1 MiB of memory.
        form_limits={"max_files": 10, "max_fields": 200},
        redirect_slashes=False,  # behind a proxy the service does not know its own address
        # The service has its own traces and metrics: see app/http/telemetry.py.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.context = context
    errors.install(app)
    docs.install(app)
    app.add_middleware(KnownQuery)
    max_file_bytes = settings.max_upload_bytes + FORM_BYTES
    app.add_middleware(
        FilesUnderWay, max_file_bytes=max_file_bytes, quota_bytes=settings.tenant_dataset_bytes
    )
    app.add_middleware(
        BodyLimit,
        max_bytes={
            BodyClass.CONFIG: min(_CONFIG_BYTES, settings.max_request_bytes),
            BodyClass.COLUMNS: min(_COLUMNS_BYTES, settings.max_request_bytes),
            BodyClass.ROWS: settings.max_request_bytes,
            BodyClass.FILE: max_file_bytes,
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
    routes = app.router.routes
    fast = (*inference.FAST_ROUTES, *open_inference.FAST_ROUTES)
    routes[:0] = [FoundRoute(), *(FastRoute(*route) for route in fast)]
    # Not by include_router, which hides the routes and searches them twice.
    for part in (
        *(datasets, presets, jobs, sweeps, models, names),
        *(exports, inference, open_inference, health),
    ):
        routes.extend(part.router.routes)
    routes.extend(open_inference.open_router.routes)

    @app.get("/", include_in_schema=False)
    @demands(None)
    def to_docs() -> RedirectResponse:
        return RedirectResponse(docs.PATH)

    # Outside of Starlette's own: the answer to an unexpected error goes through these too.
    stack: ASGIApp = RequestDurations(
        InferenceErrors(StoppedRequests(app.build_middleware_stack())),
        instruments=context.instruments,
        access_log=settings.access_log,
    )
    if tracing.is_tracing():
        stack = RequestSpans(stack)
    app.middleware_stack = RequestIds(SecurityHeaders(FindRoute(stack)))
    return app
