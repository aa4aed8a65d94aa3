"""`/v1/models`."""

from typing import Annotated

from anyio import from_thread
from fastapi import Response

from app.context import CallerDep, ContextDep, Listing, listing
from app.http.answers import Page, page_of
from app.http.errors import problem_responses
from app.http.routes import demands
from app.http.security import keyed_router
from app.models.schemas import ModelAnswer
from store import model_names, models
from store.access.keys import Scope
from store.artifacts.artifact_store import discard

router = keyed_router("/v1/models", "models")


@router.get("")
@demands(Scope.READ)
def list_models(
    context: ContextDep, caller: CallerDep, asked: Annotated[Listing, listing("mdl")]
) -> Page[ModelAnswer]:
    """Models, newest first."""
    with context.database.read() as transaction:
        found = models.page(transaction, tenant=caller.tenant, **asked.part)
        aliases = model_names.aliases_of(transaction, [m.id for m in found])
    answers = [ModelAnswer.of(model, aliases[model.id]) for model in found]
    return page_of(answers, [model.id for model in found], asked.limit)


@router.get("/{model_id}", responses=problem_responses(404))
@demands(Scope.READ)
def get_model(context: ContextDep, caller: CallerDep, model_id: str) -> ModelAnswer:
    """A model: its config, its scores and its checksums.

    Give its id, `NAME@3`, `NAME@production`, or its name alone, which stands for the alias
    `production` or, without one, for the newest version.
    """
    with context.database.read() as transaction:
        model = models.resolve(transaction, model_id, tenant=caller.tenant)
        return ModelAnswer.of(model, model_names.aliases_of(transaction, [model.id])[model.id])


@router.delete("/{model_id}", status_code=204, responses=problem_responses(404, 409))
@demands(Scope.TRAIN)
def delete_model(context: ContextDep, caller: CallerDep, model_id: str) -> Response:
    """Delete a model, by its id, with its weights; 409 while an alias stands for it."""
    with context.database.write() as transaction:
        model = models.remove(transaction, model_id, tenant=caller.tenant)
    from_thread.run_sync(context.model_server.forget_names, caller.tenant)
    context.predictors.forget(model_id)
    discard(context.artifacts, model.artifact)
    return Response(status_code=204)
