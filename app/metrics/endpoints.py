"""`/metrics`."""

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from app.context import ContextDep

router = APIRouter(tags=["health"])

# Not those that requests may have taken, who wait for a database that hangs.
_threads = CapacityLimiter(2)


@router.get("/metrics", response_class=PlainTextResponse)
async def get_metrics(context: ContextDep, http: Request) -> Response:
    """What the service counts, for Prometheus. Without its database, what needs none of it."""
    accept = http.headers.get("accept")
    body, media_type = await to_thread.run_sync(
        context.instruments.expose, accept, limiter=_threads
    )
    return Response(body, headers={"Content-Type": media_type})
