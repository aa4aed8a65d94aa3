"""`/v1/jobs`."""

from typing import Annotated

import structlog
from fastapi import Body, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from app.context import CallerDep, Context, ContextDep, Listing, Number, listing
from app.events.answer import RESPONSES, EventsAskedDep, answer_of
from app.events.schemas import EventPage
from app.http.answers import Page, page_of
from app.http.bodies import body_of, documented, read_json, require_json
from app.http.errors import problem_responses
from app.http.idempotency import IdempotencyKey, reserve
from app.http.routes import BodyClass, demands
from app.http.security import keyed_router
from app.jobs import tuning
from app.jobs.schemas import (
    EXAMPLE,
    CancelRequest,
    JobAnswer,
    MetricsAnswer,
    State,
    ValidationAnswer,
)
from app.monitoring.watched_events import Source
from app.resolving.resolved_job import resolve
from store import events, ids, jobs
from store.access import quotas
from store.access.idempotency import Answer
from store.access.keys import Scope
from store.job_spec import JobSpec
from store.operations import tracing

router = keyed_router("/v1/jobs", "jobs")

EVENTS = Source(jobs.states, events.page, jobs.TERMINAL)

log = structlog.get_logger()


@router.post(
    "",
    status_code=202,
    response_model=JobAnswer,
    responses={
        200: {"model": ValidationAnswer, "description": "With `validate_only`: nothing is stored."},
        **problem_responses(400, 409, 413, 415, 422),
    },
    dependencies=[Depends(require_json), Depends(tuning.slot_to_tune, scope="function")],
)
@demands(Scope.TRAIN, body=BodyClass.COLUMNS)
def create_job(
    context: ContextDep,
    caller: CallerDep,
    spec: Annotated[JobSpec, Body(examples=[EXAMPLE])],
    *,
    validate_only: Annotated[bool, Query(description="Check the job; do not run it.")] = False,
    key: IdempotencyKey = None,
) -> JSONResponse:
    """Submit a job. After the answer 202 the job will run, even if the service crashes."""
    if spec.tune is not None:
        return tuning.submit(context, spec, caller=caller, validate_only=validate_only, key=key)
    if validate_only:
        with context.database.write() as transaction:
            resolved = resolve(
                transaction,
                spec,
                context.settings,
                artifacts=context.artifacts,
                tenant=caller.tenant,
            )
        return JSONResponse(ValidationAnswer.of(resolved).model_dump(mode="json"))

    with context.database.write() as transaction:
        reservation = reserve(
            transaction,
            key,
            tenant=caller.tenant,
            operation="POST /v1/jobs",
            request=spec.as_asked,
        )
        if reservation.replay is not None:
            return reservation.replay
        quotas.require_queue_quota(
            transaction, tenant=caller.tenant, max_queued=context.settings.tenant_queued_jobs
        )
        resolved = resolve(
            transaction,
            spec,
            context.settings,
            artifacts=context.artifacts,
            tenant=caller.tenant,
        )
        created = jobs.create(
            transaction,
            resolved.spec,
            tenant=caller.tenant,
            queue=resolved.queue,
            warnings=resolved.warnings,
            traceparent=tracing.traceparent(),
        )
        job = JobAnswer.of(created)
        location = {"Location": f"/v1/jobs/{job.id}"}
        answer = Answer(202, location, job.model_dump(mode="json"))
        accepted = reservation.complete(transaction, answer)
    log.info("job accepted", job=job.id)  # links the request's id to the job's
    return accepted


@router.get("")
@demands(Scope.READ)
def list_jobs(
    context: ContextDep,
    caller: CallerDep,
    asked: Annotated[Listing, listing("job")],
    state: State | None = None,
    dataset: Annotated[
        str | None, Query(pattern=ids.pattern("ds"), description="Only those of this dataset.")
    ] = None,
    sweep: Annotated[
        str | None, Query(pattern=ids.pattern("swp"), description="Only those of this sweep.")
    ] = None,
) -> Page[JobAnswer]:
    """Jobs, newest first."""
    with context.database.read() as transaction:
        found = jobs.page(
            transaction,
            tenant=caller.tenant,
            state=state,
            dataset_id=dataset,
            sweep_id=sweep,
            **asked.part,
        )
        model_ids = tuning.models_of(transaction, found)
    answers = [JobAnswer.of(job, model_ids.get(job.id)) for job in found]
    return page_of(answers, [job.id for job in found], asked.limit)


@router.get("/{job_id}", responses=problem_responses(404))
@demands(Scope.READ)
def get_job(context: ContextDep, caller: CallerDep, job_id: str) -> JobAnswer:
    """A job and its progress."""
    with context.database.read() as transaction:
        return _answer(transaction, jobs.get(transaction, job_id, tenant=caller.tenant))


@router.delete("/{job_id}", status_code=204, responses=problem_responses(404, 409))
@demands(Scope.TRAIN)
def delete_job(context: ContextDep, caller: CallerDep, job_id: str) -> Response:
    """Delete a job that has ended, and its history. Its model stays."""
    with context.database.write() as transaction:
        jobs.remove(transaction, job_id, tenant=caller.tenant)
    return Response(status_code=204)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    openapi_extra=documented(CancelRequest, required=False),
    responses=problem_responses(400, 404, 409, 413),
)
@demands(Scope.TRAIN)
async def cancel_job(
    http: Request, context: ContextDep, caller: CallerDep, job_id: str
) -> JobAnswer:
    """Ask a job to stop. A job that was cancelled never succeeds later.

    With `keep_model`, a job that runs keeps the best model that it has so far, as a version of its
    name. It ends without one if it waits for a worker, if it has not completed an epoch, or if its
    worker is lost before the model is stored. A job with `tune` cancels its sweep, or ends it with
    the best of the results so far.
    """
    request = read_json(await body_of(http) or b"{}", CancelRequest)
    return await run_in_threadpool(
        _cancel, context, job_id, tenant=caller.tenant, keep_model=request.keep_model
    )


def _cancel(context: Context, job_id: str, *, tenant: str, keep_model: bool) -> JobAnswer:
    with context.database.write() as transaction:
        job = jobs.get(transaction, job_id, tenant=tenant)
        if tuning.is_tuned(job) and job.state == "running":
            job = tuning.cancel(transaction, job, keep_model=keep_model)
        else:
            job = jobs.cancel(transaction, job_id, tenant=tenant, keep_model=keep_model)
        return _answer(transaction, job)


@router.post("/{job_id}/pause", status_code=202, responses=problem_responses(404, 409))
@demands(Scope.TRAIN)
def pause_job(context: ContextDep, caller: CallerDep, job_id: str) -> JobAnswer:
    """Ask a job to wait as `paused`, without a worker, until it is resumed.

    A job that runs is `running` until it has written a checkpoint, from which it later continues to
    the same bits. The trials of a sweep are paused with their sweep.
    """
    with context.database.write() as transaction:
        return _answer(transaction, jobs.pause(transaction, job_id, tenant=caller.tenant))


@router.post("/{job_id}/resume", status_code=202, responses=problem_responses(404, 409))
@demands(Scope.TRAIN)
def resume_job(context: ContextDep, caller: CallerDep, job_id: str) -> JobAnswer:
    """Queue a paused job again; it continues from its checkpoint. Repeating it changes nothing."""
    with context.database.write() as transaction:
        return _answer(transaction, jobs.resume(transaction, job_id, tenant=caller.tenant))


@router.get("/{job_id}/metrics", responses=problem_responses(404))
@demands(Scope.READ)
def get_metrics(
    context: ContextDep, caller: CallerDep, job_id: str, after_epoch: Number = 0
) -> MetricsAnswer:
    """The metrics of every epoch so far, or of the epochs after `after_epoch`.

    Those of a job with `tune` are those of the winner, once it is chosen.
    """
    with context.database.read() as transaction:
        job = jobs.get(transaction, job_id, tenant=caller.tenant)
        trained_by = tuning.trained_by(transaction, [job]).get(job.id)
        rows = []
        if trained_by is not None:
            rows = jobs.metrics(transaction, trained_by, after_epoch=after_epoch)
    return MetricsAnswer(
        **{name: [row[name] for row in rows] for name in MetricsAnswer.model_fields}
    )


@router.get("/{job_id}/events", response_model=EventPage, responses=RESPONSES)
@demands(Scope.READ)
def get_events(
    context: ContextDep, caller: CallerDep, job_id: str, asked: EventsAskedDep
) -> EventPage | Response:
    """The events of a job.

    With `Accept: text/event-stream` they are a live stream, which resumes after `Last-Event-ID` and
    ends with the terminal event. To resume it there is 204, at which an EventSource stops.
    """
    with context.database.read() as transaction:
        job = jobs.get(transaction, job_id, tenant=caller.tenant)
        return answer_of(transaction, context, job, source=EVENTS, asked=asked, caller=caller)


def _answer(transaction: Connection, job: jobs.Job) -> JobAnswer:
    return JobAnswer.of(job, tuning.models_of(transaction, [job]).get(job.id))
