"""`/v1/sweeps`."""

from functools import partial
from typing import Annotated, Literal

import structlog
from fastapi import Body, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from app.context import (
    MAX_NUMBER,
    SLOT,
    CallerDep,
    Context,
    ContextDep,
    Limit,
    Listing,
    listing,
)
from app.events.answer import RESPONSES, EventsAskedDep
from app.events.answer import answer_of as events_answer
from app.events.schemas import EventPage
from app.http.answers import Page, page_of
from app.http.bodies import body_of, documented, read_json, require_json
from app.http.errors import problem_responses
from app.http.idempotency import IdempotencyKey, once
from app.http.routes import BodyClass, demands
from app.http.security import keyed_router
from app.monitoring.watched_events import Source
from app.sweeps import service, standing
from app.sweeps.plan import validation_of
from app.sweeps.schemas import (
    EXAMPLE,
    CancelRequest,
    State,
    SweepAnswer,
    SweepSummary,
    SweepValidation,
    TrialPage,
)
from store import ids, jobs, sweeps
from store.access.idempotency import Answer
from store.access.keys import Scope
from store.operations import tracing
from store.sweep_spec import SweepSpec

router = keyed_router("/v1/sweeps", "sweeps")

EVENTS = Source(sweeps.states, sweeps.event_page, jobs.TERMINAL)

log = structlog.get_logger()


@router.post(
    "",
    status_code=202,
    response_model=SweepAnswer,
    responses={
        200: {"model": SweepValidation, "description": "With `validate_only`: nothing is stored."},
        **problem_responses(400, 404, 409, 413, 415, 422),
    },
    dependencies=[Depends(require_json), SLOT],
)
@demands(Scope.TRAIN, body=BodyClass.COLUMNS)
def create_sweep(
    context: ContextDep,
    caller: CallerDep,
    spec: Annotated[SweepSpec, Body(examples=[EXAMPLE])],
    *,
    validate_only: Annotated[bool, Query(description="Check the sweep; do not run it.")] = False,
    key: IdempotencyKey = None,
) -> JSONResponse:
    """Submit a sweep. After the answer 202 it will run, even if the service crashes."""
    resolve = partial(
        service.resolve,
        context.database,
        spec,
        context.settings,
        artifacts=context.artifacts,
        tenant=caller.tenant,
    )
    if validate_only:
        checked = validation_of(resolve(), context.settings)
        return JSONResponse(checked.model_dump(mode="json"))

    with once(
        context.database,
        key,
        tenant=caller.tenant,
        operation="POST /v1/sweeps",
        request=spec.model_dump_json().encode() + spec.job.as_asked,
    ) as reservation:
        if reservation.replay is not None:
            return reservation.replay
        resolved = resolve()
        with context.database.write() as transaction:
            created = service.create(
                transaction,
                resolved,
                context.settings,
                tenant=caller.tenant,
                traceparent=tracing.traceparent(),
            )
            sweep = standing.answer_of(transaction, created)
            location = {"Location": f"/v1/sweeps/{sweep.id}"}
            answer = Answer(202, location, sweep.model_dump(mode="json"))
            accepted = reservation.complete(transaction, answer)
    log.info("sweep accepted", sweep=sweep.id)
    return accepted


@router.get("")
@demands(Scope.READ)
def list_sweeps(
    context: ContextDep,
    caller: CallerDep,
    asked: Annotated[Listing, listing("swp")],
    state: State | None = None,
    dataset: Annotated[
        str | None, Query(pattern=ids.pattern("ds"), description="Only those of this dataset.")
    ] = None,
) -> Page[SweepSummary]:
    """Sweeps, newest first."""
    with context.database.read() as transaction:
        found = sweeps.page(
            transaction, tenant=caller.tenant, state=state, dataset_id=dataset, **asked.part
        )
        answers = standing.summaries(transaction, found)
    return page_of(answers, [sweep.id for sweep in found], asked.limit)


@router.get("/{sweep_id}", responses=problem_responses(404))
@demands(Scope.READ)
def get_sweep(context: ContextDep, caller: CallerDep, sweep_id: str) -> SweepAnswer:
    """A sweep: its progress, its rungs and its winner."""
    with context.database.read() as transaction:
        sweep = sweeps.get(transaction, sweep_id, tenant=caller.tenant)
        return standing.answer_of(transaction, sweep)


@router.delete("/{sweep_id}", status_code=204, responses=problem_responses(404, 409))
@demands(Scope.TRAIN)
def delete_sweep(context: ContextDep, caller: CallerDep, sweep_id: str) -> Response:
    """Delete a sweep that has ended, with the jobs of its trials. Its models stay."""
    with context.database.write() as transaction:
        sweeps.remove(transaction, sweep_id, tenant=caller.tenant)
    return Response(status_code=204)


@router.post(
    "/{sweep_id}/cancel",
    status_code=202,
    openapi_extra=documented(CancelRequest, required=False),
    responses=problem_responses(400, 404, 409, 413),
)
@demands(Scope.TRAIN)
async def cancel_sweep(
    http: Request, context: ContextDep, caller: CallerDep, sweep_id: str
) -> SweepAnswer:
    """Stop a sweep and all of its trials.

    With `keep_model` it ends with the best of the results so far: no trial is started or promoted
    any more, and the winner among those that have come furthest is completed. It fails if no trial
    has a result.
    """
    request = read_json(await body_of(http) or b"{}", CancelRequest)
    return await run_in_threadpool(
        _cancel, context, sweep_id, tenant=caller.tenant, keep_model=request.keep_model
    )


def _cancel(context: Context, sweep_id: str, *, tenant: str, keep_model: bool) -> SweepAnswer:
    end = sweeps.exhaust if keep_model else sweeps.cancel
    with context.database.write() as transaction:
        return standing.answer_of(transaction, end(transaction, sweep_id, tenant=tenant))


@router.post("/{sweep_id}/pause", status_code=202, responses=problem_responses(404, 409))
@demands(Scope.TRAIN)
def pause_sweep(context: ContextDep, caller: CallerDep, sweep_id: str) -> SweepAnswer:
    """Let the trials of a sweep wait until it is resumed; those that run write a checkpoint."""
    with context.database.write() as transaction:
        sweep = sweeps.pause(transaction, sweep_id, tenant=caller.tenant)
        return standing.answer_of(transaction, sweep)


@router.post("/{sweep_id}/resume", status_code=202, responses=problem_responses(404, 409))
@demands(Scope.TRAIN)
def resume_sweep(context: ContextDep, caller: CallerDep, sweep_id: str) -> SweepAnswer:
    """Let a paused sweep go on from its checkpoints. Repeating it changes nothing."""
    with context.database.write() as transaction:
        sweep = sweeps.resume(transaction, sweep_id, tenant=caller.tenant)
        return standing.answer_of(transaction, sweep)


@router.get("/{sweep_id}/trials", responses=problem_responses(404))
@demands(Scope.READ)
def list_trials(
    context: ContextDep,
    caller: CallerDep,
    sweep_id: str,
    order: Annotated[
        Literal["score", "number"],
        Query(description="`score` begins with the best, `number` with the first."),
    ] = "score",
    limit: Limit = 20,
    after: Annotated[
        int | None, Query(ge=0, le=MAX_NUMBER, description="The `last_id` of the previous page.")
    ] = None,
) -> TrialPage:
    """The trials of a sweep, with their values, scores and jobs."""
    with context.database.read() as transaction:
        sweep = sweeps.get(transaction, sweep_id, tenant=caller.tenant)
        rows = standing.rows_of(transaction, sweep)
    return standing.trial_page(rows, order=order, limit=limit, after=after)


@router.get("/{sweep_id}/events", response_model=EventPage, responses=RESPONSES)
@demands(Scope.READ)
def get_events(
    context: ContextDep, caller: CallerDep, sweep_id: str, asked: EventsAskedDep
) -> EventPage | Response:
    """The events of a sweep: trials that were added, rungs that were decided, the winner.

    With `Accept: text/event-stream` they are a live stream, as the events of a job are.
    """
    with context.database.read() as transaction:
        sweep = sweeps.get(transaction, sweep_id, tenant=caller.tenant)
        return events_answer(transaction, context, sweep, source=EVENTS, asked=asked, caller=caller)
