"""What a user asks of a job: to cancel it, to pause it, to resume it."""

from sqlalchemy import ColumnElement, Connection, select

from store.database.tables import jobs
from store.errors import IllegalTransition, TrialNeeded
from store.jobs import transitions
from store.jobs.rows import Job, get


def cancel(
    connection: Connection,
    job_id: str,
    *,
    tenant: str,
    keep_model: bool = False,
    reason: str = "cancelled_by_user",
) -> Job:
    """Ask the job to stop; a second call changes nothing.

    With `keep_model`, a job that runs stores the best model that it has so far. It ends without one
    if its worker is lost before that. A job that waits for a worker ends at once, for the reason.
    Raises JobNotFound, and IllegalTransition if the job has ended otherwise.
    """
    theirs = _locked(connection, job_id, tenant=tenant)
    waiting = theirs & jobs.c.state.in_(("queued", "paused"))
    job = transitions.end(connection, job_id, waiting, "cancelled", reason) or transitions.change(
        connection,
        job_id,
        theirs & (jobs.c.state == "running") & jobs.c.owner.is_not(None),
        {"state": "cancelling", "keep_model": keep_model},
        event="cancelling",
        data={"keep_model": True} if keep_model else None,
    )
    if job is None:
        job = get(connection, job_id, tenant=tenant)
        if job.state not in ("cancelling", "cancelled"):
            raise IllegalTransition(job_id, job.state, "cancelled")
    return job


def pause(connection: Connection, job_id: str, *, tenant: str) -> Job:
    """Ask the job to wait, as `paused`, until it is resumed; a second call changes nothing.

    A job that runs writes a checkpoint first. Raises JobNotFound, TrialNeeded for a job of a
    sweep, which can be paused itself, and IllegalTransition if the job stops or has ended.
    """
    theirs = _locked(connection, job_id, tenant=tenant)
    _require_no_sweep(connection, job_id, tenant=tenant)
    asked = {"pause_requested": True}
    job = transitions.pause(
        connection, job_id, theirs & (jobs.c.state == "queued")
    ) or transitions.change(connection, job_id, theirs & (jobs.c.state == "running"), asked)
    if job is None:
        job = get(connection, job_id, tenant=tenant)
        if job.state != "paused":
            raise IllegalTransition(job_id, job.state, "paused")
    return job


def resume(connection: Connection, job_id: str, *, tenant: str) -> Job:
    """Queue a paused job again, or take back a pause that is not yet in force.

    A job that waits or runs stays as it is. Raises JobNotFound, TrialNeeded for a job of a
    sweep, and IllegalTransition if the job stops or has ended.
    """
    theirs = _locked(connection, job_id, tenant=tenant)
    _require_no_sweep(connection, job_id, tenant=tenant)
    running = theirs & (jobs.c.state == "running")
    job = transitions.queue(
        connection, job_id, theirs & (jobs.c.state == "paused")
    ) or transitions.change(connection, job_id, running, {"pause_requested": False})
    if job is None:
        job = get(connection, job_id, tenant=tenant)
        if job.state != "queued":
            raise IllegalTransition(job_id, job.state, "resumed")
    return job


def _require_no_sweep(connection: Connection, job_id: str, *, tenant: str) -> None:
    job = get(connection, job_id, tenant=tenant)
    if job.sweep_id is not None:
        raise TrialNeeded(job_id, job.sweep_id)


def _locked(connection: Connection, job_id: str, *, tenant: str) -> ColumnElement[bool]:
    """Lock the job, which could change its state between two updates; return its condition."""
    theirs = (jobs.c.id == job_id) & (jobs.c.tenant == tenant)
    connection.execute(select(jobs.c.id).where(theirs).with_for_update())
    return theirs
