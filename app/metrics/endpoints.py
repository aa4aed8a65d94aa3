"""`/metrics`."""

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from app.deps import ContextDep

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse)
def get_metrics(context: ContextDep, http: Request) -> Response:
    """What the service counts, for Prometheus. Without its database, what needs none of it."""
    body, media_type = context.instruments.expose(http.headers.get("accept"))
    return Response(body, headers={"Content-Type": media_type})
