"""Statistics of all stored jobs. The work is bounded, however many jobs there are."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, union_all

from store import sweeps
from store.database.tables import database_now, jobs
from store.database.tables import sweeps as sweeps_table
from store.jobs import STATES


@dataclass(frozen=True)
class JobTimes:
    """The outcome and the times (Unix seconds) of a started job."""

    state: str
    state_reason: str | None
    attempt: int
    created_at: float
    started_at: float
    finished_at: float | None


def count_by_state(connection: Connection) -> dict[str, int]:
    """Return the number of jobs in each state, including 0. Reads only the index of states."""
    query = select(jobs.c.state, func.count().label("num_jobs")).group_by(jobs.c.state)
    found = {row.state: row.num_jobs for row in connection.execute(query)}
    return {state: found.get(state, 0) for state in STATES}


def count_sweeps_by_state(connection: Connection) -> dict[str, int]:
    """Return the number of sweeps in each state, including 0. Reads only the index of states."""
    state = sweeps_table.c.state
    query = select(state, func.count().label("num_sweeps")).group_by(state)
    found = {row.state: row.num_sweeps for row in connection.execute(query)}
    return {state: found.get(state, 0) for state in sweeps.STATES}


def longest_due_seconds(connection: Connection) -> float:
    """Return the seconds since the first queued job became due; 0 if none is due.

    A job becomes due at its creation or, if it was requeued, at the end of its backoff, so a job
    that trained for days does not count as old. Reads one entry of the index.
    """
    due = select(func.min(jobs.c.run_after)).where(jobs.c.state == "queued").scalar_subquery()
    seconds = connection.execute(select(database_now() - due)).scalar()
    return max(0.0, seconds or 0.0)


def recent_job_times(connection: Connection, *, limit: int) -> list[JobTimes]:
    """Return the started ones among the `limit` jobs of each state that became due last.

    The limit bounds the cost with a hundred thousand jobs. The jobs created last would not do: none
    of them is started yet when the queue is long.
    """
    newest = []
    for state in STATES:
        if state == "queued":
            continue
        due_last = (
            select(*(jobs.c[name] for name in JobTimes.__dataclass_fields__))
            .where(jobs.c.state == state)
            .order_by(jobs.c.run_after.desc())
            .limit(limit)
            .subquery()
        )
        newest.append(select(due_last).where(due_last.c.started_at.is_not(None)))
    return [JobTimes(*row) for row in connection.execute(union_all(*newest))]
