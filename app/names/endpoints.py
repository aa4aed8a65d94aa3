"""`/v1/names`: the versions of a name, and its aliases, such as `production`."""

from anyio import from_thread
from fastapi import Depends, Response
from fastapi.concurrency import run_in_threadpool

from app.context import CallerDep, Context, ContextDep, Limit
from app.http.answers import Page, page_of
from app.http.bodies import require_json
from app.http.errors import problem_responses
from app.http.routes import demands
from app.http.security import keyed_router
from app.names.schemas import AfterName, Alias, AliasRequest, NameAnswer, NameSummary
from store import model_names
from store.access.keys import Scope

router = keyed_router("/v1/names", "names")


@router.get("")
@demands(Scope.READ)
def list_names(
    context: ContextDep, caller: CallerDep, limit: Limit = 20, after: AfterName = None
) -> Page[NameSummary]:
    """Names of models, in alphabetical order."""
    with context.database.read() as transaction:
        found = model_names.page(transaction, tenant=caller.tenant, limit=limit + 1, after=after)
    return page_of([NameSummary.of(name) for name in found], [name.name for name in found], limit)


@router.get("/{name}", responses=problem_responses(404))
@demands(Scope.READ)
def get_name(context: ContextDep, caller: CallerDep, name: str) -> NameAnswer:
    """The versions of a name, and its aliases."""
    with context.database.read() as transaction:
        return NameAnswer.of(*model_names.get(transaction, name, tenant=caller.tenant))


@router.put(
    "/{name}/aliases/{alias}",
    dependencies=[Depends(require_json)],
    responses=problem_responses(400, 404, 409, 413, 415),
)
@demands(Scope.TRAIN)
async def set_alias(
    context: ContextDep, caller: CallerDep, name: str, alias: Alias, request: AliasRequest
) -> NameAnswer:
    """Make an alias stand for a version, for every request that follows.

    The version is loaded first: an alias never stands for a model that cannot be served. The name
    alone stands for the alias `production`.
    """
    await context.model_server.find(f"{name}@{request.version}", tenant=caller.tenant)
    answer = await run_in_threadpool(
        _set_alias, context, name, alias, version=request.version, tenant=caller.tenant
    )
    context.model_server.forget_names(caller.tenant)
    return answer


def _set_alias(context: Context, name: str, alias: str, *, version: int, tenant: str) -> NameAnswer:
    with context.database.write() as transaction:
        model_names.set_alias(transaction, name, alias, version=version, tenant=tenant)
        return NameAnswer.of(*model_names.get(transaction, name, tenant=tenant))


@router.delete("/{name}/aliases/{alias}", status_code=204, responses=problem_responses(404))
@demands(Scope.TRAIN)
def delete_alias(context: ContextDep, caller: CallerDep, name: str, alias: str) -> Response:
    """Delete an alias; its version stays."""
    with context.database.write() as transaction:
        model_names.remove_alias(transaction, name, alias, tenant=caller.tenant)
    from_thread.run_sync(context.model_server.forget_names, caller.tenant)
    return Response(status_code=204)
