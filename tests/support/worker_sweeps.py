"""Sweeps on the small table, driven and run by workers in this process, and what they come to."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from store import jobs, models, sweeps
from store.access.keys import DEFAULT_TENANT
from store.jobs import Job
from store.sweep_spec import SweepSpec
from store.sweeps import RungRow, Sweep
from tests.support.waiting import wait_until
from tests.support.worker_examples import MODEL, TRAINING, new_dataset
from worker.attempt import Worker
from worker.supervisor import drive, reap, supervise

LR = "/training/optimizer/lr"
RATES = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1)
HALVING = {"name": "successive_halving", "reduction": 3, "min_epochs": 1}


@dataclass(frozen=True)
class Outcome:
    """The part of a sweep that is the same in every run."""

    state: str
    winners: list[int] | None
    weights_sha256: str | None
    results: list[RungRow]
    events: list[tuple[str, dict[str, Any]]]


def new_sweep(
    worker: Worker,
    *,
    rates: tuple[float, ...] = RATES,
    pruner: Any = HALVING,
    split: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    **search: Any,
) -> str:
    """Create a sweep over learning rates, as the API does; return its id."""
    dataset = {"id": new_dataset(worker), "target": "label", "features": ["x", "y"]}
    job = {
        "dataset": {**dataset, "split": split or {}},
        "task": "binary",
        "preset": "plain",
        "model": MODEL,
        "training": {**TRAINING, "epochs": 9, **(training or {})},
    }
    space = {LR: {"choice": list(rates)}}
    values = {"job": job, "space": space, "sampler": "grid", "pruner": pruner, **search}
    spec = SweepSpec.model_validate(values)
    with worker.database.write() as transaction:
        created = sweeps.create(
            transaction, spec, tenant=DEFAULT_TENANT, task="binary", queue="cpu"
        )
    return created.id


def get_sweep(worker: Worker, sweep_id: str) -> Sweep:
    with worker.database.read() as transaction:
        return sweeps.get(transaction, sweep_id, tenant=DEFAULT_TENANT)


def trials_of(worker: Worker, sweep_id: str) -> list[Job]:
    """Return the jobs of the sweep's trials, by number and repeat."""
    with worker.database.read() as transaction:
        return sweeps.jobs_of(transaction, sweep_id)


def due(worker: Worker) -> list[str]:
    with worker.database.read() as transaction:
        return jobs.claimable(transaction, limit=100)


def run_sweep(worker: Worker, sweep_id: str) -> Outcome:
    """Drive the sweep and supervise its trials, one process at a time, until it has ended."""

    def has_ended() -> bool:
        drive(worker)
        reap(worker)
        for job_id in due(worker)[:1]:
            supervise(job_id, worker)
        return get_sweep(worker, sweep_id).finished_at is not None

    wait_until(has_ended, 60)
    return outcome(worker, sweep_id)


def outcome(worker: Worker, sweep_id: str) -> Outcome:
    with worker.database.read() as transaction:
        return outcome_in(transaction, sweep_id)


def outcome_in(transaction: Connection, sweep_id: str) -> Outcome:
    sweep = sweeps.get(transaction, sweep_id, tenant=DEFAULT_TENANT)
    winner = sweeps.winning_jobs(transaction, [sweep_id]).get(sweep_id)
    every = models.page(transaction, limit=100, after=None, tenant=DEFAULT_TENANT)
    weights = [m.manifest["weights_sha256"] for m in every if m.job_id == winner]
    events = sweeps.event_page(transaction, sweep_id, after=0, limit=1000)
    return Outcome(
        sweep.state,
        sweep.winners,
        weights[0] if weights else None,
        sweeps.results_of(transaction, sweep_id),
        [(event.type, event.data) for event in events],
    )
