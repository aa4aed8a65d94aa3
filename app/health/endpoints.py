"""`/livez` and `/readyz`."""

from typing import Literal

import redis
import structlog
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app.deps import Context, ContextDep

router = APIRouter(tags=["health"])

_REDIS_TIMEOUT_SECONDS = 1

log = structlog.get_logger()


class Readiness(BaseModel):
    """Which parts answer. Redis is reported and never fails it: jobs are accepted without."""

    ready: bool
    checks: dict[str, Literal["ok", "failed", "not used"]]


@router.get("/livez")
def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={200: {"model": Readiness}, 503: {"model": Readiness}})
def readyz(context: ContextDep) -> JSONResponse:
    """The service can do its work: 200, or 503 while the database or the storage cannot."""
    checks = {
        "database": _check_database(context),
        "storage": _check_storage(context),
        "redis": _check_redis(context),
    }
    ready = checks["database"] == checks["storage"] == "ok"
    body = Readiness.model_validate({"ready": ready, "checks": checks})
    return JSONResponse(body.model_dump(), 200 if ready else 503)


def _check_database(context: Context) -> str:
    try:
        context.database.ping()
    except SQLAlchemyError:
        log.warning("the database does not answer")
        return "failed"
    return "ok"


def _check_storage(context: Context) -> str:
    try:
        context.artifacts.writable()
    except OSError:
        log.warning("the artifact storage cannot be written")
        return "failed"
    return "ok"


def _check_redis(context: Context) -> str:
    url = context.settings.redis_url
    if url is None:
        return "not used"
    client = redis.Redis.from_url(
        url.get_secret_value(),
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
    )
    try:
        client.ping()
    except redis.RedisError:
        return "failed"
    finally:
        client.close()
    return "ok"
