"""`/v1/models/{id}/export` and `/card`: the model as a file, and its model card."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Response
from fastapi.responses import StreamingResponse

from app.context import CallerDep, ContextDep
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


async def _hold_slot(context: ContextDep, caller: CallerDep) -> AsyncIterator[None]:
    async with context.export_slots.hold(caller.tenant):
        yield


@router.get(
    "/export",
    response_class=StreamingResponse,
    dependencies=[Depends(_hold_slot, scope="function")],
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
    """Download the model in one of these formats:

    - `safetensors`: a zip of the service's own files, which its Python package loads without a
      server, with predictions of the same bits.
    - `onnx`: includes the preprocessing of numbers and categories. Dates are given as their parts
      and text as its hashed words, as the inputs' descriptions say.
    - `torch`: a program of `torch.export`, which takes the matrix of the package's encoder.

    Each file is checked first: on example rows it predicts the same as the service.
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
    """The model card, in Markdown: its data, its curves and metrics, and how to reproduce it."""
    with context.database.read() as transaction:
        records = records_of(transaction, model_id, tenant=caller.tenant)
    return Response(card(records), media_type=MARKDOWN)
