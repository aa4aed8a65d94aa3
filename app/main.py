"""create_app(settings): the whole HTTP edge, assembled."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import torch
from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from app import docs, errors
from app.datasets import endpoints as datasets
from app.deps import Context
from app.errors import problem_responses
from app.headers import SecurityHeaders
from app.health import endpoints as health
from app.inference import endpoints as inference
from app.inference.predictors import Predictors
from app.jobs import endpoints as jobs
from app.limits import BodyLimit
from app.metrics import endpoints as metrics
from app.metrics.instruments import Instruments
from app.metrics.recorded import RecordedJobs
from app.metrics.requests import RequestDurations
from app.models import endpoints as models
from app.request_ids import RequestIds
from app.security import KeyGuard, documented_key
from app.walkthrough import DESCRIPTION
from store.artifacts import LocalArtifacts
from store.database import Database
from store.settings import Settings

_UPLOADS = re.compile(r"/v1/datasets|/v1/models/[^/]+/predict-file")
_FORM_BYTES = 64 * 1024  # what a multipart form adds to its file


def create_app(settings: Settings) -> FastAPI:
    """The API on the database and the artifacts of `settings`."""
    database = Database(settings.database)
    artifacts = LocalArtifacts(settings.artifact_root)
    release = version("dropout-service")
    context = Context(
        settings=settings,
        database=database,
        artifacts=artifacts,
        predictors=Predictors(artifacts, max_bytes=settings.max_loaded_model_bytes),
        instruments=Instruments(
            recorded=RecordedJobs(database),
            versions={"version": release, "torch": torch.__version__},
        ),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # How many threads share a product changes how it rounds: predictions always use one.
        torch.set_num_threads(1)
        database.migrate()
        yield
        database.close()

    app = FastAPIOffline(
        title="Dropout Service",
        version=release,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    errors.install(app)
    docs.install(app)
    app.add_middleware(
        BodyLimit,
        default_bytes=settings.max_request_bytes,
        uploads=_UPLOADS,
        upload_bytes=settings.max_upload_bytes + _FORM_BYTES,
    )
    if settings.api_key is not None:
        # Metrics tell how much is done here, by which versions, and unlike a probe of health, who
        # scrapes can send a key.
        app.add_middleware(KeyGuard, prefixes=("/v1", "/metrics"), key=settings.api_key)
    for domain in (datasets, jobs, models, inference):
        app.include_router(
            domain.router,
            dependencies=[Depends(documented_key)],
            responses=problem_responses(401, 422, 503),
        )
    app.include_router(health.router)
    app.include_router(
        metrics.router, dependencies=[Depends(documented_key)], responses=problem_responses(401)
    )

    @app.get("/", include_in_schema=False)
    def to_docs() -> RedirectResponse:
        return RedirectResponse(docs.PATH)

    # Around all that Starlette builds, or the answer to an unexpected error would go without.
    stack = RequestDurations(app.build_middleware_stack(), instruments=context.instruments)
    app.middleware_stack = RequestIds(SecurityHeaders(stack))
    return app
