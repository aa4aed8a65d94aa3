"""`/livez` and `/readyz`."""

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.context import ContextDep

router = APIRouter(tags=["health"])


class Ready(BaseModel):
    """Which parts answer. Redis is reported and never fails it: jobs are accepted without."""

    ready: bool
    checks: dict[str, Literal["ok", "failed", "not used"]]


@router.get("/livez")
async def livez() -> dict[str, str]:  # async: without waiting for one of the busy threads
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={200: {"model": Ready}, 503: {"model": Ready}})
async def readyz(context: ContextDep) -> JSONResponse:
    """The service can do its work: 200, or 503 while the database or the storage cannot."""
    checks = await context.readiness.look()
    ready = checks["database"] == checks["storage"] == "ok"
    body = Ready.model_validate({"ready": ready, "checks": checks})
    return JSONResponse(body.model_dump(), 200 if ready else 503)
