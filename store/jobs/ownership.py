"""The ownership protocol of jobs: renew, record, finish, reap.

How a job is claimed is in claims.py, what a user asks in requests.py.

The row owns the job. A supervisor holds a Claim, whose attempt number is the fencing token: every
write of a claim says `WHERE attempt = mine`, so a claim whose lease was lost changes nothing.

    queued -> running -> succeeded | failed | cancelled
              running -> cancelling -> cancelled          terminal states never change
    queued | running -> paused -> queued | cancelled      `paused` holds no worker
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    insert,
    select,
    tuple_,
    update,
)

from store import events, models
from store.access import quotas
from store.database.tables import database_now, epochs, jobs, results
from store.errors import LeaseLost
from store.jobs.claims import Claim, lease_expired, owned
from store.jobs.rows import Job, RungResult
from store.jobs.transitions import change, change_all, end, end_cancelled, paused, requeue
from store.models import TrainedModel


@dataclass(frozen=True)
class Asked:
    """What is asked of a job that is worked on: to stop, to keep its model, or to pause."""

    state: str
    keep_model: bool
    pause_requested: bool
    epochs_completed: int


def renew(connection: Connection, claim: Claim, *, lease_seconds: float) -> Asked:
    """Extend the lease, and return what is asked of the job. Raises LeaseLost."""
    asked = renew_all(connection, [claim], lease_seconds=lease_seconds)
    if not asked:
        raise LeaseLost(claim.job_id, claim.attempt)
    return asked[claim]


def renew_all(
    connection: Connection, claims: Sequence[Claim], *, lease_seconds: float
) -> dict[Claim, Asked]:
    """Extend the leases, and return what is asked of the jobs, without claims that are lost."""
    asked = look(connection, claims, lock=True)
    extended = update(jobs).where(jobs.c.id.in_([claim.job_id for claim in asked]))
    connection.execute(extended.values(lease_expires_at=database_now() + lease_seconds))
    return asked


def look(
    connection: Connection, claims: Sequence[Claim], *, lock: bool = False
) -> dict[Claim, Asked]:
    """Return what is asked of the jobs, without claims that are lost."""
    names = ("id", "attempt", "state", "keep_model", "pause_requested", "epochs_completed")
    query = select(*(jobs.c[name] for name in names)).where(
        jobs.c.id.in_([claim.job_id for claim in claims]), jobs.c.state.in_(quotas.RUNNING)
    )
    if lock:
        query = query.order_by(jobs.c.id).with_for_update()
    found = {Claim(row[0], row[1]): Asked(*row[2:]) for row in connection.execute(query)}
    return {claim: found[claim] for claim in claims if claim in found}


def record(connection: Connection, claim: Claim, epoch_metrics: dict[str, Any]) -> None:
    """Store the next epoch; ignore one that is stored already or that follows a cancel request.

    A cancelling job that keeps its model keeps the epochs that led to it. Raises LeaseLost.
    """
    if record_all(connection, [(claim, epoch_metrics)]):
        raise LeaseLost(claim.job_id, claim.attempt)


def record_all(
    connection: Connection, epochs_of: Sequence[tuple[Claim, dict[str, Any]]]
) -> set[Claim]:
    """Do what `record` does for epochs, in the order of each job; return claims that are lost."""
    query = select(
        *(jobs.c[name] for name in ("id", "attempt", "state", "keep_model")),
        *(jobs.c[name] for name in ("epochs_completed", "num_events")),
    ).where(jobs.c.id.in_([claim.job_id for claim, _ in epochs_of]))
    locked = connection.execute(query.order_by(jobs.c.id).with_for_update())
    found = {row.id: row for row in locked}
    stored = {row.id: (row.epochs_completed, row.num_events) for row in found.values()}
    lost, changes, new_events, new_epochs = set(), {}, [], []
    for claim, metrics in epochs_of:
        row = found.get(claim.job_id)
        if row is None or row.attempt != claim.attempt or row.state not in quotas.RUNNING:
            lost.add(claim)
            continue
        is_wanted = row.state == "running" or row.keep_model
        epoch, sequence = (number + 1 for number in stored[row.id])
        if not is_wanted or metrics["epoch"] != epoch:
            continue
        stored[row.id] = epoch, sequence
        changes[row.id] = {"job": row.id, "epoch": epoch, "sequence": sequence}
        event = {"type": "epoch", "data": {"attempt": claim.attempt, **metrics}}
        new_events.append({"job_id": row.id, "sequence": sequence, **event})
        new_epochs.append({"job_id": row.id, **metrics})
    if changes:
        values: dict[str, Any] = {
            "epochs_completed": bindparam("epoch"),
            "num_events": bindparam("sequence"),
        }
        change = update(jobs).where(jobs.c.id == bindparam("job")).values(failures=0, **values)
        connection.execute(change, list(changes.values()))
        events.append_all(connection, new_events)
        connection.execute(insert(epochs).values(recorded_at=database_now()), new_epochs)
    return lost


def began(connection: Connection, claims: Sequence[Claim], step: str) -> set[Claim]:
    """Store the step that trainers began, and return the claims that are lost.

    It is ignored after a cancel request.
    """
    data = {"step": step}
    running = _of(claims) & (jobs.c.state == "running")
    changed = change_all(connection, running, data, event="step", data=data)
    rest = {*claims} - {Claim(job.id, job.attempt) for job in changed}
    return rest - look(connection, list(rest)).keys() if rest else rest


def warn(connection: Connection, claim: Claim, warnings: Sequence[str]) -> None:
    """Add warnings that the job does not have yet; ignore them after a cancel request.

    Raises LeaseLost.
    """
    query = select(jobs.c.warnings).where(owned(claim, "running"))
    known = connection.execute(query).scalar_one_or_none()
    if known is None:
        _require_owner(connection, claim)
        return
    new = [warning for warning in warnings if warning not in known]
    if new:
        values, data = {"warnings": [*known, *new]}, {"warnings": new}
        change(
            connection, claim.job_id, owned(claim, "running"), values, event="warning", data=data
        )


def progressed(connection: Connection, claim: Claim) -> None:
    """Reset the count of failures after stored progress, as a new epoch does. Raises LeaseLost."""
    if change(connection, claim.job_id, owned(claim, "running"), {"failures": 0}) is None:
        _require_owner(connection, claim)


def reached(connection: Connection, claim: Claim, result: RungResult) -> Job:
    """Store what a trial has reached at its rung, and pause it there, until its sweep decides.

    A cancelling job ends cancelled. Raises LeaseLost.
    """
    [job] = reached_all(connection, {claim: result}).values()
    if job is None:
        raise LeaseLost(claim.job_id, claim.attempt)
    return job


def reached_all(
    connection: Connection, found: Mapping[Claim, RungResult]
) -> dict[Claim, Job | None]:
    """Do what `reached` does for many trials; the job of a claim that is lost is None."""
    running = _of(found) & (jobs.c.state == "running") & jobs.c.rung.is_not(None)
    changed = change_all(connection, running, paused("rung") | {"failures": 0}, event="paused")
    ends: dict[Claim, Job | None] = {Claim(job.id, job.attempt): job for job in changed}
    rows = [
        {
            "sweep_id": job.sweep_id,
            "trial": job.trial,
            "repeat": job.repeat,
            "rung": job.rung,
            **vars(found[Claim(job.id, job.attempt)]),
        }
        for job in changed
    ]
    if rows:
        connection.execute(insert(results), rows)
    for claim in found.keys() - ends.keys():
        try:
            ends[claim] = cancelled(connection, claim)
        except LeaseLost:
            ends[claim] = None
    return ends


def succeed(connection: Connection, claim: Claim, *, reason: str, trained: TrainedModel) -> Job:
    """End the job and insert its model. Raises LeaseLost.

    A cancelling job ends cancelled, with the model only if it was asked to keep one.
    """
    job = end(connection, claim.job_id, owned(claim, "running"), "succeeded", reason)
    if job is None:
        job = cancelled(connection, claim)
        if not job.keep_model:
            return job
    models.create(connection, trained, tenant=job.tenant, job_id=job.id, name=job.name)
    return job


def fail(connection: Connection, claim: Claim, *, reason: str, detail: str) -> Job:
    """End the job without a model; a cancelling job ends cancelled. Raises LeaseLost."""
    job = end(connection, claim.job_id, owned(claim, "running"), "failed", reason, detail)
    return job or cancelled(connection, claim)


def cancelled(connection: Connection, claim: Claim) -> Job:
    """End a cancelling job. Raises LeaseLost."""
    cancelling = owned(claim, "cancelling")
    job = end_cancelled(connection, claim.job_id, cancelling)
    if job is None:
        raise LeaseLost(claim.job_id, claim.attempt)
    return job


def release(connection: Connection, claim: Claim) -> Job:
    """Requeue the job without counting a failure: another worker resumes from its checkpoint.

    Raises LeaseLost.
    """
    job = requeue(connection, claim.job_id, owned(claim, "running"), charged=False)
    return job or cancelled(connection, claim)


def retry(
    connection: Connection,
    claim: Claim,
    *,
    reason: str,
    detail: str,
    max_attempts: int,
    backoff_seconds: float,
) -> Job:
    """Requeue a job whose trainer died, or fail it at `max_attempts`. Raises LeaseLost."""
    job = requeue(
        connection,
        claim.job_id,
        owned(claim, "running") & (jobs.c.failures + 1 < max_attempts),
        charged=True,
        detail=detail,
        backoff_seconds=backoff_seconds,
    )
    return job or fail(connection, claim, reason=reason, detail=detail)


def reap(
    connection: Connection, *, lease_seconds: float, max_attempts: int, backoff_seconds: float
) -> list[Job]:
    """Requeue every job whose lease has expired, or end it at `max_attempts`.

    `lease_seconds` is the longest that a lease can last. One that seems to last longer was given
    before the clock was set back, and is shortened: its owner, if it lives, renews it in time.
    """
    longest = database_now() + lease_seconds
    too_long = jobs.c.state.in_(("running", "cancelling")) & (jobs.c.lease_expires_at > longest)
    if early := _locked(connection, too_long):
        shortened = update(jobs).where(jobs.c.id.in_(early))
        connection.execute(shortened.values(lease_expires_at=longest))
    reaped = []
    for job_id in _locked(connection, lease_expired("running", "cancelling")):
        running = lease_expired("running")
        job = (
            end_cancelled(connection, job_id, lease_expired("cancelling"))
            or requeue(
                connection,
                job_id,
                running & (jobs.c.failures + 1 < max_attempts),
                charged=True,
                detail="the worker was lost",
                backoff_seconds=backoff_seconds,
            )
            or end(
                connection,
                job_id,
                running,
                "failed",
                "worker_lost",
                f"the worker was lost {max_attempts} times in a row without progress",
            )
        )
        if job is not None:
            reaped.append(job)
    return reaped


def expire_leases(connection: Connection, *, owner: str) -> None:
    """Expire the leases of an owner that is known to be dead."""
    theirs = (jobs.c.owner == owner) & jobs.c.state.in_(("running", "cancelling"))
    connection.execute(update(jobs).where(theirs).values(lease_expires_at=0))


def _locked(connection: Connection, condition: ColumnElement[bool]) -> list[str]:
    """Lock the jobs in one order, against deadlocks, and return their ids.

    Those that another transaction has locked are left out.
    """
    query = select(jobs.c.id).where(condition).order_by(jobs.c.id)
    return list(connection.execute(query.with_for_update(skip_locked=True)).scalars())


def _of(claims: Collection[Claim]) -> ColumnElement[bool]:
    pairs = [(claim.job_id, claim.attempt) for claim in claims]
    return tuple_(jobs.c.id, jobs.c.attempt).in_(pairs)


def _require_owner(connection: Connection, claim: Claim) -> None:
    is_mine = owned(claim, "running", "cancelling")
    if connection.execute(select(jobs.c.id).where(is_mine)).scalar() is None:
        raise LeaseLost(claim.job_id, claim.attempt)
