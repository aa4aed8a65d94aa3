"""`/livez`, `/readyz` and `/metrics`."""

from typing import Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel

from app.context import ContextDep
from app.http.errors import problem_responses
from app.http.routes import demands
from app.http.security import documented_key
from store.access.keys import Scope

router = APIRouter(tags=["health"], responses=problem_responses(422))

# Its own threads: requests to a database that hangs may occupy all others.
_metrics_threads = CapacityLimiter(2)


class Ready(BaseModel):
    """The state of each part. Redis never fails the check: jobs are accepted without it.

    The disk fails it while there is no space left for a job. Predictions go on without space.
    """

    ready: bool
    checks: dict[str, Literal["ok", "failed", "not used"]]


@router.get("/livez")
@demands(None, is_probe=True)
async def livez() -> dict[str, str]:  # async: needs no free thread
    """The process is alive."""
    return {"status": "ok"}


@router.get("/readyz", responses={200: {"model": Ready}, 503: {"model": Ready}})
@demands(None, is_probe=True)
async def readyz(context: ContextDep) -> JSONResponse:
    """The service is ready: 200; 503 while its database, storage or disk cannot take a job."""
    checks = await context.readiness.look()
    ready = checks["database"] == checks["storage"] == checks["disk"] == "ok"
    body = Ready.model_validate({"ready": ready, "checks": checks})
    return JSONResponse(body.model_dump(), 200 if ready else 503)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    dependencies=[Depends(documented_key)],
    responses=problem_responses(401, 403),
)
@demands(Scope.ADMIN, is_probe=True)
async def get_metrics(context: ContextDep, http: Request) -> Response:
    """Metrics for Prometheus; while the database is down, those that do not need it."""
    accept = http.headers.get("accept")
    body, media_type = await to_thread.run_sync(
        context.instruments.expose, accept, limiter=_metrics_threads
    )
    return Response(body, headers={"Content-Type": media_type})
