"""What the jobs on record say as a whole. The work is bounded, however many there are."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, literal, select, union_all

from store.database.tables import database_now, jobs
from store.jobs import STATES


@dataclass(frozen=True)
class Life:
    """Of a job that has been started: how it ended, if it has, and its times in Unix seconds."""

    state: str
    state_reason: str | None
    attempt: int
    created_at: float
    started_at: float
    finished_at: float | None


def count_by_state(connection: Connection) -> dict[str, int]:
    """How many jobs are in each state, of all states. Reads the index of states and no job."""
    query = select(jobs.c.state, func.count().label("num_jobs")).group_by(jobs.c.state)
    found = {row.state: row.num_jobs for row in connection.execute(query)}
    return {state: found.get(state, 0) for state in STATES}


def longest_due_seconds(connection: Connection) -> float:
    """How long the queued job that is due for longest has been due; 0 if none is.

    A job is due from its creation, or, if it was put back, from the end of its backoff: the first
    entry of the index tells, and a job that trained for days is not as old as that.
    """
    due = select(func.min(jobs.c.run_after)).where(jobs.c.state == "queued").scalar_subquery()
    seconds = connection.execute(select(database_now() - due)).scalar()
    return max(0.0, seconds or 0.0)


def recent_lives(connection: Connection, *, limit: int) -> list[Life]:
    """Up to `limit` jobs of each state, of those that were due last and were started.

    Not all of them, so that it costs the same with a hundred thousand; and not those created last,
    of which none would be started yet when the queue is long.
    """
    newest = []
    for state in STATES:
        if state == "queued":
            continue
        due_last = (
            select(
                literal(state).label("state"),
                jobs.c.state_reason,
                jobs.c.attempt,
                jobs.c.created_at,
                jobs.c.started_at,
                jobs.c.finished_at,
            )
            .where(jobs.c.state == state)
            .order_by(jobs.c.run_after.desc())
            .limit(limit)
            .subquery()
        )
        newest.append(select(due_last).where(due_last.c.started_at.is_not(None)))
    return [Life(*row) for row in connection.execute(union_all(*newest))]
