"""Apply a decision about a sweep: all of it in one transaction, and only in the round it is of.

Whoever decides reads the sweep, its trials, results and jobs, and asks
`dropout_core.sweeps.decide`, which always says the same of the same rows. If another process has
applied its decision in between, the sweep is in another round, and nothing is changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, tuple_, update

from store import events as job_events
from store.database.tables import database_now, jobs, results, trials
from store.job_spec import JobSpec
from store.jobs import transitions
from store.jobs.rows import RungResult, new_row
from store.sweeps.requests import end_tuned
from store.sweeps.rows import Sweep, TrialRow, change


@dataclass(frozen=True)
class TrialJob:
    """The job of one repeat of a new trial. `stack` is its key, if it can be stacked."""

    trial: int
    repeat: int
    spec: JobSpec
    stack: str | None
    rung: int
    pause_after: int


@dataclass(frozen=True)
class NewTrial:
    """A new trial, and the jobs of its repeats."""

    row: TrialRow
    jobs: Sequence[TrialJob]


@dataclass(frozen=True)
class Changes:
    """What a decision changes.

    - `new_trials`: they are queued.
    - `failed`: results of repeats whose job has ended, by trial, repeat and rung. They replace
      what the repeats had at a rung that is not decided.
    - `promoted`: the rung that a repeat trains for next and its epochs, by trial and repeat. Its
      job, which is paused at the rung before, is queued.
    - `stopped`: why a trial is over, by trial: `pruned` or `not_chosen`.
    - `winners`: once they are decided. The job of their first repeat is queued to be completed, and
      the others are over as `not_chosen`. If it runs, it is completed once it is paused: give them
      again then.
    - `is_exhausted`: the time is up.
    - `events`: types and data, such as of rungs that are full.
    - `end`: the state, its reason and a detail, if the sweep is over.
    """

    new_trials: Sequence[NewTrial] = ()
    failed: Mapping[tuple[int, int, int], RungResult] = field(default_factory=dict)
    promoted: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    stopped: Mapping[int, str] = field(default_factory=dict)
    winners: Sequence[int] | None = None
    importance: Mapping[str, float] | None = None
    is_exhausted: bool = False
    events: Sequence[tuple[str, dict[str, Any]]] = ()
    end: tuple[str, str, str | None] | None = None


def advance(connection: Connection, sweep: Sweep, changes: Changes) -> Sweep | None:
    """Apply the changes to a sweep that was read as `sweep`; None if it has changed since."""
    values: dict[str, Any] = {"round": sweep.round + 1}
    new_events = list(changes.events)
    if changes.is_exhausted:
        values["is_exhausted"] = True
    if changes.winners is not None:
        values["winners"] = list(changes.winners)
    if changes.importance is not None:
        values["importance"] = dict(changes.importance)
    if changes.end is not None:
        state, reason, detail = changes.end
        values |= {"state": state, "state_reason": reason, "detail": detail}
        values["finished_at"] = database_now()
        new_events.append((state, {"reason": reason} | ({"detail": detail} if detail else {})))
    changed = change(
        connection,
        sweep.id,
        values,
        states=("running",),
        new_events=new_events,
        round=sweep.round,
    )
    if changed is None:
        return None
    _insert_failures(connection, sweep, changes)
    _insert_trials(connection, sweep, changes.new_trials)
    for rung, epochs in sorted(set(changes.promoted.values())):
        repeats = [repeat for repeat, to in changes.promoted.items() if to == (rung, epochs)]
        theirs = (jobs.c.sweep_id == sweep.id) & tuple_(jobs.c.trial, jobs.c.repeat).in_(repeats)
        at_rung = theirs & (jobs.c.state == "paused") & (jobs.c.rung < rung)
        data = {"rung": rung, "epochs": epochs}
        transitions.queue_all(connection, at_rung, {"rung": rung, "pause_after": epochs}, data=data)
    for reason in sorted(set(changes.stopped.values())):
        numbers = [number for number, why in changes.stopped.items() if why == reason]
        transitions.stop_all(connection, _of(sweep, *numbers), reason=reason)
    if changes.winners:
        _complete(connection, sweep, changes.winners)
    if changes.end is not None:
        end_tuned(connection, changed)
    return changed


def _of(sweep: Sweep, *numbers: int) -> ColumnElement[bool]:
    return (jobs.c.sweep_id == sweep.id) & jobs.c.trial.in_(numbers)


def _complete(connection: Connection, sweep: Sweep, winners: Sequence[int]) -> None:
    theirs = _of(sweep, *winners)
    first = theirs & (jobs.c.repeat == 0) & jobs.c.rung.is_not(None)
    to_the_end = {"rung": None, "pause_after": None}
    queued = first & (jobs.c.state == "queued")
    connection.execute(update(jobs).where(queued).values(to_the_end))
    transitions.queue_all(connection, first & (jobs.c.state == "paused"), to_the_end)
    transitions.stop_all(connection, theirs & (jobs.c.repeat > 0), reason="not_chosen")


def _insert_failures(connection: Connection, sweep: Sweep, changes: Changes) -> None:
    rows = [
        {"sweep_id": sweep.id, "trial": trial, "repeat": repeat, "rung": rung, **vars(result)}
        for (trial, repeat, rung), result in changes.failed.items()
    ]
    if rows:
        keys = tuple_(results.c.trial, results.c.repeat, results.c.rung).in_(changes.failed)
        connection.execute(delete(results).where(results.c.sweep_id == sweep.id, keys))
        connection.execute(insert(results), rows)


def _insert_trials(connection: Connection, sweep: Sweep, new: Sequence[NewTrial]) -> None:
    if not new:
        return
    rows = [{"sweep_id": sweep.id, **vars(trial.row)} for trial in new]
    connection.execute(insert(trials), rows)
    new_jobs = [_row(sweep, job) for trial in new for job in trial.jobs]
    now = {"run_after": database_now(), "created_at": database_now()}
    connection.execute(insert(jobs).values(**now), new_jobs)
    queued = [
        {"job_id": row["id"], "sequence": 1, "type": "queued", "data": {}} for row in new_jobs
    ]
    job_events.append_all(connection, queued)


def _row(sweep: Sweep, job: TrialJob) -> dict[str, Any]:
    row = new_row(job.spec, tenant=sweep.tenant, queue=sweep.queue, traceparent=sweep.traceparent)
    del row["run_after"], row["created_at"]  # expressions, which many rows cannot have at once
    of_trial = {name: getattr(job, name) for name in ("trial", "repeat", "stack", "rung")}
    return {**row, **of_trial, "pause_after": job.pause_after, "sweep_id": sweep.id}
