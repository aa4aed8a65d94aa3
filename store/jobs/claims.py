"""Claims: the right of a supervisor to write one attempt of a job, and how it is taken."""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, Unpack

from sqlalchemy import ColumnElement, Connection, case, func, select

from store.access import quotas
from store.database.tables import database_now, is_due, jobs
from store.jobs.rows import Job
from store.jobs.transitions import change, change_all

_WORTH_A_PROCESS = 4  # trials; fewer are not divided among workers


@dataclass(frozen=True)
class Claim:
    """The right to write one attempt of one job."""

    job_id: str
    attempt: int


class ClaimOptions(TypedDict):
    """The arguments of `claim` that are the same for all jobs of a worker."""

    owner: str
    lease_seconds: float
    max_attempts: int
    max_running: NotRequired[int | None]


def claim(
    connection: Connection,
    job_id: str,
    *,
    owner: str,
    lease_seconds: float,
    num_threads: int,
    max_attempts: int,
    max_running: int | None = None,
) -> Job | None:
    """Claim the job if it is due, or running with an expired lease and attempts left; else None.

    `num_threads` applies to the first attempt; later ones use the number that it recorded. At most
    `max_running` jobs of a tenant run at a time, and as many trials of a sweep as that allows.
    """
    quotas.lock_sweep_of(connection, job_id)
    if max_running and not quotas.may_run(connection, job_id, max_running=max_running):
        return None
    due = is_due() & quotas.within_parallel_limit()
    lost = lease_expired("running") & (jobs.c.failures + 1 < max_attempts)
    return change(
        connection,
        job_id,
        due | lost,
        {
            **_claimed(owner, lease_seconds, num_threads),
            "failures": case((lost, jobs.c.failures + 1), else_=jobs.c.failures),
        },
        event="running",
    )


def claim_stack(
    connection: Connection,
    job_id: str,
    *,
    max_members: int,
    num_threads: int,
    num_workers: int = 1,
    **options: Unpack[ClaimOptions],
) -> list[Job]:
    """Claim the job and, if it is a trial that can be stacked, its company; [] if it is not due.

    The company are due trials of the same sweep with the same `stack`, up to `max_members` in all,
    none of which has failed more often. `num_workers` at once divide them, so that none is idle.
    Jobs that were lost have a small stack, and then none. The other arguments are those of `claim`.
    """
    first = claim(connection, job_id, num_threads=num_threads, **options)
    if first is None:
        return []
    max_members >>= 2 * first.failures  # so that a job that ends its trainer is soon alone
    limit = min(max_members - 1, quotas.room_beside(connection, first, options.get("max_running")))
    if first.stack is None or first.pause_after is None or limit <= 0:
        return [first]
    same = (jobs.c.sweep_id == first.sweep_id) & (jobs.c.stack == first.stack)
    is_alike = same & jobs.c.pause_after.is_not(None) & (jobs.c.failures <= first.failures)
    # One process has one number of threads, which each member's later attempts keep.
    threads = func.coalesce(jobs.c.num_threads, first.num_threads) == first.num_threads
    if num_workers > 1:
        at_rung = same & (jobs.c.pause_after == first.pause_after) & jobs.c.finished_at.is_(None)
        num_trials = connection.execute(select(func.count()).where(at_rung)).scalar_one()
        limit = min(limit, max(-(-num_trials // num_workers), _WORTH_A_PROCESS) - 1)
    query = select(jobs.c.id).where(is_alike, threads, is_due()).order_by(*quotas.turns())
    # Those that another worker is about to claim are left to it.
    company = connection.execute(query.limit(limit).with_for_update(skip_locked=True)).scalars()
    values = _claimed(options["owner"], options["lease_seconds"], first.num_threads or num_threads)
    condition = jobs.c.id.in_(company.all()) & is_due()
    members = change_all(connection, condition, values, event="running")
    return [first, *sorted(members, key=lambda job: (job.trial, job.repeat))]


def _claimed(owner: str, lease_seconds: float, num_threads: int) -> dict[str, Any]:
    now = database_now()
    return {
        "state": "running",
        "attempt": jobs.c.attempt + 1,
        "owner": owner,
        "lease_expires_at": now + lease_seconds,
        "num_threads": func.coalesce(jobs.c.num_threads, num_threads),
        "started_at": func.coalesce(jobs.c.started_at, now),
    }


def owned(claim: Claim, *states: str) -> ColumnElement[bool]:
    mine = (jobs.c.id == claim.job_id) & (jobs.c.attempt == claim.attempt)
    return mine & jobs.c.state.in_(states)


def lease_expired(*states: str) -> ColumnElement[bool]:
    return jobs.c.state.in_(states) & (jobs.c.lease_expires_at < database_now())
