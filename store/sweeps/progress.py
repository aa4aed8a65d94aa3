"""How far the jobs of sweeps are, read without their specs."""

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, case, func, select

from store.database.tables import jobs

STATES_OF_TRIALS = (
    *("running", "cancelling", "queued", "paused"),
    *("failed", "cancelled", "succeeded", "not_chosen", "pruned"),
)
"""The states of a trial. It is in that of its repeats which comes first here; one that the sweep
has ended is `pruned` or `not_chosen`, and its jobs are cancelled for that reason."""

_BY_SWEEP = ("not_chosen", "pruned")


@dataclass(frozen=True)
class Progress:
    """The number of trials in each state, and the epochs that all of their jobs have completed."""

    trials: dict[str, int] = field(default_factory=dict)
    epochs_completed: int = 0


@dataclass(frozen=True)
class JobOfTrial:
    """The job of one repeat of a trial. `stack` is its key, if it is trained in a stack."""

    id: str
    trial: int
    repeat: int
    state: str
    state_reason: str | None
    detail: str | None
    epochs_completed: int
    stack: str | None


def progress_of(connection: Connection, sweep_ids: Collection[str]) -> dict[str, Progress]:
    """Return the progress of each sweep that has trials, by its id."""
    is_by_sweep = (jobs.c.state == "cancelled") & jobs.c.state_reason.in_(_BY_SWEEP)
    state = case((is_by_sweep, jobs.c.state_reason), else_=jobs.c.state)
    rank = case({name: number for number, name in enumerate(STATES_OF_TRIALS)}, value=state)
    of_trials = (
        select(
            jobs.c.sweep_id,
            func.min(rank).label("rank"),
            func.sum(jobs.c.epochs_completed).label("epochs"),
        )
        .where(jobs.c.sweep_id.in_(sweep_ids), jobs.c.trial.is_not(None))
        .group_by(jobs.c.sweep_id, jobs.c.trial)
        .subquery()
    )
    query = select(
        of_trials.c.sweep_id,
        of_trials.c.rank,
        func.count().label("num_trials"),
        func.sum(of_trials.c.epochs).label("epochs"),
    ).group_by(of_trials.c.sweep_id, of_trials.c.rank)
    found: dict[str, Progress] = {}
    for row in connection.execute(query):
        before = found.get(row.sweep_id, Progress())
        found[row.sweep_id] = Progress(
            before.trials | {STATES_OF_TRIALS[row.rank]: row.num_trials},
            before.epochs_completed + int(row.epochs),
        )
    return found


def state_of(repeats: Collection[JobOfTrial]) -> str:
    """Return the state of a trial whose repeats are these."""
    states = [
        job.state_reason
        if job.state == "cancelled" and job.state_reason in _BY_SWEEP
        else job.state
        for job in repeats
    ]
    return min(states, key=STATES_OF_TRIALS.index)


def jobs_of_trials(connection: Connection, sweep_id: str) -> list[JobOfTrial]:
    """Return the jobs of a sweep's trials, by trial and repeat."""
    columns = [jobs.c[name] for name in JobOfTrial.__dataclass_fields__]
    theirs = (jobs.c.sweep_id == sweep_id) & jobs.c.trial.is_not(None)
    rows = connection.execute(select(*columns).where(theirs).order_by(jobs.c.trial, jobs.c.repeat))
    return [JobOfTrial(*row) for row in rows]
