"""`/v1/models`."""

from fastapi import APIRouter, Response

from app.deps import After, CallerDep, ContextDep, Limit
from app.errors import problem_responses
from app.models.schemas import ModelAnswer
from app.schemas import Page, page_of
from store import models
from store.artifacts import discard

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
def list_models(
    context: ContextDep, caller: CallerDep, limit: Limit = 20, after: After = None
) -> Page[ModelAnswer]:
    """Models, newest first."""
    with context.database.read() as transaction:
        found = models.page(transaction, tenant=caller.tenant, limit=limit + 1, after=after)
    return page_of([ModelAnswer.of(m) for m in found], [m.id for m in found], limit)


@router.get("/{model_id}", responses=problem_responses(404))
def get_model(context: ContextDep, caller: CallerDep, model_id: str) -> ModelAnswer:
    """A model: its config, what it scored, and what it is."""
    with context.database.read() as transaction:
        return ModelAnswer.of(models.get(transaction, model_id, tenant=caller.tenant))


@router.delete("/{model_id}", status_code=204, responses=problem_responses(404))
def delete_model(context: ContextDep, caller: CallerDep, model_id: str) -> Response:
    """Delete a model and its weights."""
    with context.database.write() as transaction:
        model = models.remove(transaction, model_id, tenant=caller.tenant)
    context.predictors.forget(model_id)
    discard(context.artifacts, model.artifact)
    return Response(status_code=204)
