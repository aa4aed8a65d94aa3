"""`/v1/models/{id}/export` and `/card`: a model to take away, and what to know of it."""

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Response
from fastapi.responses import StreamingResponse

from app.context import CallerDep, ContextDep, take_place
from app.exports import service
from app.exports.card import card, records_of
from app.http.answers import download
from app.http.errors import problem_responses
from app.http.routes import demands
from app.http.security import keyed_router
from dropout_core.export.process import Format
from store import models
from store.access.keys import Scope

router = keyed_router("/v1/models/{model_id}", "exports", responses=problem_responses(404))

MARKDOWN = "text/markdown"
_MEDIA_TYPES: dict[Format, str] = {
    "safetensors": "application/zip",
    "onnx": "application/octet-stream",
    "torch": "application/octet-stream",
}


@router.get(
    "/export",
    response_class=StreamingResponse,
    dependencies=[Depends(take_place)],
    responses={
        200: {
            "content": {media_type: {} for media_type in _MEDIA_TYPES.values()},
            "description": "The file.",
        },
        **problem_responses(500),
    },
)
@demands(Scope.READ)
def export_model(
    context: ContextDep,
    caller: CallerDep,
    model_id: str,
    chosen: Annotated[Format, Query(alias="format")] = "safetensors",
) -> StreamingResponse:
    """Take the model away, as one of these:

    - `safetensors`: a zip of what the service keeps, which its Python package loads without a
      server, and which gives the same bits.
    - `onnx`: with all preprocessing of numbers and categories inside. Dates come as their parts and
      text as its hashed words, as the inputs' descriptions say.
    - `torch`: a program of `torch.export`, which takes the matrix that the package's encoder makes.

    Each has answered example rows as the service does, or is not sent.
    """
    with context.database.read() as transaction:
        model = models.resolve(transaction, model_id, tenant=caller.tenant)
    context.uploads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.uploads) as folder:
        path = service.write(context, model, chosen, folder=Path(folder))
        return download(path, filename=path.name, media_type=_MEDIA_TYPES[chosen])


@router.get(
    "/card",
    response_class=Response,
    responses={200: {"content": {MARKDOWN: {"schema": {"type": "string"}}}}},
)
@demands(Scope.READ)
def get_card(context: ContextDep, caller: CallerDep, model_id: str) -> Response:
    """The model card, in Markdown: its data, its curves and metrics, and how to make it again."""
    with context.database.read() as transaction:
        records = records_of(transaction, model_id, tenant=caller.tenant)
    return Response(card(records), media_type=MARKDOWN)
