"""Jobs submitted with `tune`: each stands for a sweep, and ends as it does."""

from collections.abc import AsyncIterator, Sequence

import structlog
from fastapi import Request
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from app.context import CallerDep, Context, ContextDep
from app.http.errors import RequestError, invalid
from app.http.idempotency import once
from app.http.security import Caller
from app.jobs.schemas import JobAnswer, ValidationAnswer
from app.sweeps import service
from app.sweeps.plan import validation_of
from app.sweeps.service import OF_TUNED_JOB, ResolvedSweep
from store import jobs, models, sweeps
from store.access.idempotency import Answer
from store.job_spec import JobSpec
from store.jobs import Job
from store.operations import tracing
from store.sweep_spec import SweepSpec

log = structlog.get_logger()


async def slot_to_tune(
    request: Request, context: ContextDep, caller: CallerDep
) -> AsyncIterator[None]:
    """Hold a slot for slow requests if the body may have `tune`, until the answer begins."""
    if b'"tune"' not in await request.body():
        yield
        return
    async with context.slots.hold(caller.tenant):
        yield


def submit(
    context: Context, spec: JobSpec, *, caller: Caller, validate_only: bool, key: str | None
) -> JSONResponse:
    """Create the sweep and the job that stands for it, or tell what they would be."""
    if validate_only:
        resolved = _resolve(context, spec, caller)
        answer = ValidationAnswer.of(resolved.base)
        tune = validation_of(resolved, context.settings)
        checked = answer.model_copy(update={"tune": tune, "warnings": tune.warnings})
        return JSONResponse(checked.model_dump(mode="json"))
    with once(
        context.database,
        key,
        tenant=caller.tenant,
        operation="POST /v1/jobs",
        request=spec.as_asked,
    ) as reservation:
        if reservation.replay is not None:
            return reservation.replay
        resolved = _resolve(context, spec, caller)
        traceparent = tracing.traceparent()
        with context.database.write() as transaction:
            sweep = service.create(
                transaction,
                resolved,
                context.settings,
                tenant=caller.tenant,
                traceparent=traceparent,
            )
            created = jobs.create(
                transaction,
                resolved.base.spec.model_copy(update={"tune": spec.tune}),
                tenant=caller.tenant,
                queue=resolved.base.queue,
                warnings=resolved.warnings,
                traceparent=traceparent,
                tuned_by=sweep.id,
            )
            job = JobAnswer.of(created)
            location = {"Location": f"/v1/jobs/{job.id}"}
            accepted = reservation.complete(
                transaction, Answer(202, location, job.model_dump(mode="json"))
            )
    log.info("job accepted", job=job.id, sweep=sweep.id)
    return accepted


def cancel(transaction: Connection, job: Job, *, keep_model: bool) -> Job:
    """Cancel the job's sweep, or end it with the best so far, and return the job."""
    assert job.sweep_id is not None
    end = sweeps.exhaust if keep_model else sweeps.cancel
    end(transaction, job.sweep_id, tenant=job.tenant)
    return jobs.get(transaction, job.id, tenant=job.tenant)


def is_tuned(job: Job) -> bool:
    """Return whether the job stands for a sweep."""
    return job.sweep_id is not None and job.trial is None


def trained_by(transaction: Connection, found: Sequence[Job]) -> dict[str, str]:
    """Return the job that trains the model of each job: itself, or the winner of its sweep.

    A job whose sweep has no winner yet is left out.
    """
    of_sweeps = {job.id: job.sweep_id for job in found if job.sweep_id and is_tuned(job)}
    winners = sweeps.winning_jobs(transaction, set(of_sweeps.values())) if of_sweeps else {}
    trained = {job.id: job.id for job in found if job.id not in of_sweeps}
    return trained | {
        job_id: winners[sweep_id] for job_id, sweep_id in of_sweeps.items() if sweep_id in winners
    }


def models_of(transaction: Connection, found: Sequence[Job]) -> dict[str, str]:
    """Return the id of each job's model, by the job's id, for those that have one."""
    trained = trained_by(transaction, found)
    of_jobs = models.of_jobs(transaction, list(trained.values()))
    return {job_id: of_jobs[by] for job_id, by in trained.items() if by in of_jobs}


def _resolve(context: Context, spec: JobSpec, caller: Caller) -> ResolvedSweep:
    assert spec.tune is not None
    sweep = SweepSpec.of_job(spec.model_copy(update={"tune": None}), spec.tune)
    try:
        return service.resolve(
            context.database,
            sweep,
            context.settings,
            artifacts=context.artifacts,
            tenant=caller.tenant,
            places=OF_TUNED_JOB,
        )
    except RequestError as error:
        if error.code == "dataset_not_found":  # as for a job without `tune`
            raise invalid("/dataset/id", error.detail) from error
        raise
