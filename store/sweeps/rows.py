"""The rows of sweeps, of their trials and of the results at rungs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Unpack

from sqlalchemy import Connection, Select, delete, insert, select, update

from store.database.lists import Part, listed
from store.database.tables import database_now, jobs, results, sweeps, trials
from store.errors import IllegalSweepTransition, SweepNotFound
from store.ids import new_id
from store.jobs.rows import TERMINAL, Job
from store.sweep_spec import SweepSpec
from store.sweeps import events

STATES = ("running", "paused", "succeeded", "failed", "cancelled")
ACTIVE = ("queued", "running", "cancelling")  # states of jobs whose next one somebody will see


@dataclass(frozen=True)
class Sweep:
    """A row of the table; see store.database.tables for what the columns mean."""

    id: str
    tenant: str
    dataset_id: str
    name: str | None
    spec: dict[str, Any]
    task: str
    queue: str
    warnings: list[str]
    state: str
    state_reason: str | None
    detail: str | None
    round: int
    is_exhausted: bool
    max_parallel: int | None
    winners: list[int] | None
    importance: dict[str, float] | None
    traceparent: str | None
    num_events: int
    created_at: float
    finished_at: float | None

    @property
    def as_submitted(self) -> SweepSpec:
        """Return the spec, whose job has every value."""
        return SweepSpec.model_validate(
            self.spec | {"job": {"preset": "plain", **self.spec["job"]}}
        )


@dataclass(frozen=True)
class TrialRow:
    """A trial: its number, its bracket and its values by JSON pointer into the job."""

    number: int
    bracket: int
    values: dict[str, Any]


@dataclass(frozen=True)
class RungRow:
    """What one repeat of a trial has reached at a rung; `values` is None if it failed."""

    trial: int
    repeat: int
    rung: int
    epochs: int
    values: list[float] | None
    is_finished: bool
    detail: str | None


def create(
    connection: Connection,
    spec: SweepSpec,
    *,
    tenant: str,
    task: str,
    queue: str,
    warnings: Sequence[str] = (),
    traceparent: str | None = None,
) -> Sweep:
    """Insert a sweep's row and its first event; `decisions.advance` adds its trials.

    `task` is that of the resolved job, `queue` that of its trials.
    """
    query = (
        insert(sweeps)
        .values(
            id=new_id("swp"),
            tenant=tenant,
            dataset_id=spec.job.dataset.id,
            name=spec.name,
            spec=spec.model_dump(mode="json"),
            task=task,
            queue=queue,
            warnings=list(warnings),
            state="running",
            round=0,
            is_exhausted=False,
            max_parallel=spec.max_parallel,
            traceparent=traceparent,
            num_events=1,
            created_at=database_now(),
        )
        .returning(sweeps)
    )
    sweep = Sweep(**connection.execute(query).mappings().one())
    events.append(connection, sweep.id, [(1, "running", {})])
    return sweep


def get(connection: Connection, sweep_id: str, *, tenant: str) -> Sweep:
    """Return the sweep. Raises SweepNotFound, also for another tenant's sweep."""
    query = select(sweeps).where(sweeps.c.id == sweep_id, sweeps.c.tenant == tenant)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise SweepNotFound(sweep_id)
    return Sweep(**row)


def page(
    connection: Connection,
    *,
    tenant: str,
    state: str | None = None,
    dataset_id: str | None = None,
    **part: Unpack[Part],
) -> list[Sweep]:
    """Return a part of the tenant's sweeps, newest first by default."""
    query = listed(sweeps, tenant=tenant, **part)
    if state is not None:
        query = query.where(sweeps.c.state == state)
    if dataset_id is not None:
        query = query.where(sweeps.c.dataset_id == dataset_id)
    return [Sweep(**row) for row in connection.execute(query).mappings()]


def states(connection: Connection, sweep_ids: Collection[str]) -> dict[str, tuple[int, str]]:
    """Return the number of events and the state of each of the sweeps that exist, by id."""
    query = select(sweeps.c.id, sweeps.c.num_events, sweeps.c.state)
    rows = connection.execute(query.where(sweeps.c.id.in_(sweep_ids)))
    return {row.id: (row.num_events, row.state) for row in rows}


def find(connection: Connection, sweep_id: str) -> Sweep | None:
    """Return the sweep, whoever's it is; None if it is deleted."""
    row = connection.execute(select(sweeps).where(sweeps.c.id == sweep_id)).mappings().one_or_none()
    return None if row is None else Sweep(**row)


def undriven(connection: Connection) -> list[str]:
    """Return the running sweeps for which no job is due or runs, or whose end is near.

    That is, whose time is up, or which are to end with the best so far.
    """
    return list(connection.execute(_undriven()).scalars())


@cache  # as it is asked ten times a second
def _undriven() -> Select[str]:
    theirs = (jobs.c.sweep_id == sweeps.c.id) & jobs.c.trial.is_not(None)
    active = select(jobs.c.id).where(theirs, jobs.c.state.in_(ACTIVE)).exists()
    seconds = sweeps.c.spec["budget"]["seconds"].as_float()
    is_late = (database_now() >= sweeps.c.created_at + seconds) & ~sweeps.c.is_exhausted
    is_to_end = sweeps.c.is_exhausted & sweeps.c.winners.is_(None)
    query = select(sweeps.c.id).where(sweeps.c.state == "running", ~active | is_late | is_to_end)
    return query.order_by(sweeps.c.id)


def trials_of(connection: Connection, sweep_id: str) -> list[TrialRow]:
    """Return the sweep's trials by number."""
    query = select(trials.c.number, trials.c.bracket, trials.c["values"])
    rows = connection.execute(query.where(trials.c.sweep_id == sweep_id).order_by(trials.c.number))
    return [TrialRow(**row) for row in rows.mappings()]


def results_of(connection: Connection, sweep_id: str) -> list[RungRow]:
    """Return the sweep's results by trial, repeat and rung."""
    columns = [results.c[name] for name in RungRow.__dataclass_fields__]
    order = (results.c.trial, results.c.repeat, results.c.rung)
    rows = connection.execute(
        select(*columns).where(results.c.sweep_id == sweep_id).order_by(*order)
    )
    return [RungRow(**row) for row in rows.mappings()]


def jobs_of(connection: Connection, sweep_id: str) -> list[Job]:
    """Return the jobs of the sweep's trials by trial and repeat."""
    theirs = (jobs.c.sweep_id == sweep_id) & jobs.c.trial.is_not(None)
    query = select(jobs).where(theirs).order_by(jobs.c.trial, jobs.c.repeat)
    return [Job(**row) for row in connection.execute(query).mappings()]


@dataclass(frozen=True)
class TrialState:
    """Where the job of one repeat of a trial stands."""

    job_id: str
    trial: int
    repeat: int
    state: str
    state_reason: str | None
    detail: str | None
    rung: int | None
    pause_after: int | None
    epochs_completed: int


def states_of_trials(connection: Connection, sweep_id: str) -> list[TrialState]:
    """Return where the jobs of the sweep's trials stand, by trial and repeat."""
    names = list(TrialState.__dataclass_fields__)[1:]
    theirs = (jobs.c.sweep_id == sweep_id) & jobs.c.trial.is_not(None)
    query = select(jobs.c.id, *(jobs.c[name] for name in names)).where(theirs)
    rows = connection.execute(query.order_by(jobs.c.trial, jobs.c.repeat))
    return [TrialState(*row) for row in rows]


def seconds_since_creation(connection: Connection, sweep: Sweep) -> float:
    """Return the age of a sweep by the database's clock."""
    return connection.execute(select(database_now())).scalar_one() - sweep.created_at


def winning_jobs(connection: Connection, sweep_ids: Collection[str]) -> dict[str, str]:
    """Return the job that has the model of each sweep's first winner, by the sweep's id."""
    query = select(sweeps.c.id, sweeps.c.winners).where(sweeps.c.id.in_(sweep_ids))
    first = {row.id: row.winners[0] for row in connection.execute(query) if row.winners}
    theirs = jobs.c.sweep_id.in_(first) & (jobs.c.repeat == 0)
    found = connection.execute(select(jobs.c.id, jobs.c.sweep_id, jobs.c.trial).where(theirs))
    return {row.sweep_id: row.id for row in found if row.trial == first[row.sweep_id]}


def remove(connection: Connection, sweep_id: str, *, tenant: str) -> Sweep:
    """Delete a sweep that has ended, with its jobs; their models stay.

    Raises SweepNotFound, and IllegalSweepTransition while the sweep or one of its jobs runs.
    """
    sweep = get(connection, sweep_id, tenant=tenant)
    theirs = jobs.c.sweep_id == sweep_id
    stops = connection.execute(
        select(jobs.c.id).where(theirs, jobs.c.state.not_in(TERMINAL)).limit(1)
    ).scalar()
    if sweep.state not in TERMINAL or stops is not None:
        state = sweep.state if sweep.state not in TERMINAL else "still stopping its trials"
        raise IllegalSweepTransition(sweep_id, state, "deleted")
    connection.execute(delete(jobs).where(theirs))
    connection.execute(delete(sweeps).where(sweeps.c.id == sweep_id))
    return sweep


def change(
    connection: Connection,
    sweep_id: str,
    values: dict[str, Any],
    *,
    states: Collection[str],
    new_events: Sequence[tuple[str, dict[str, Any]]] = (),
    round: int | None = None,  # noqa: A002 - the column's name
) -> Sweep | None:
    """Update the sweep and append events if it is in one of the states; otherwise return None."""
    condition = (sweeps.c.id == sweep_id) & sweeps.c.state.in_(states)
    if round is not None:
        condition &= sweeps.c.round == round
    values = values | {"num_events": sweeps.c.num_events + len(new_events)}
    query = update(sweeps).where(condition).values(**values).returning(sweeps)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    sweep = Sweep(**row)
    first = sweep.num_events - len(new_events) + 1
    numbered = [(first + i, type_, data) for i, (type_, data) in enumerate(new_events)]
    events.append(connection, sweep_id, numbered)
    return sweep
