"""Sweeps and trials, made through the functions of `store`."""

from typing import Any

from sqlalchemy import Connection

from store import jobs, sweeps
from store.access.keys import DEFAULT_TENANT
from store.jobs import Claim, Job, RungResult
from store.sweep_spec import SweepSpec
from store.sweeps import Changes, NewTrial, Sweep, TrialJob, TrialRow
from tests.support.store_examples import claim, spec

LR = "/training/optimizer/lr"


def new_sweep(
    connection: Connection,
    dataset_id: str = "ds_1",
    *,
    tenant: str = DEFAULT_TENANT,
    **search: Any,
) -> Sweep:
    values = {"space": {LR: {"choice": [0.1, 0.2]}}, "sampler": "grid"} | search
    submitted = SweepSpec.model_validate(
        {"name": "first", "job": spec(dataset_id).model_dump(), **values}
    )
    return sweeps.create(connection, submitted, tenant=tenant, task="binary", queue="cpu")


def new_trials(count: int = 2, *, repeats: int = 1, stack: str | None = None) -> Changes:
    return Changes(
        new_trials=[
            NewTrial(
                TrialRow(number, 0, {LR: number / 10}),
                [TrialJob(number, repeat, spec(), stack, 0, 2) for repeat in range(repeats)],
            )
            for number in range(count)
        ],
        events=[("trials", {"first": 0, "last": count - 1})],
    )


def begun(connection: Connection, count: int = 2, **options: Any) -> Sweep:
    """Create a sweep with trials."""
    search = options.pop("search", {})
    sweep = sweeps.advance(
        connection, new_sweep(connection, **search), new_trials(count, **options)
    )
    assert sweep is not None
    return sweep


def reach(connection: Connection, job: Job, *values: float, finished: bool = False) -> Job:
    """Claim a trial's job and let it reach its rung."""
    claimed = claim(connection, job.id)
    assert claimed is not None
    return jobs.reached(
        connection, Claim(job.id, claimed.attempt), RungResult(2, list(values) or None, finished)
    )
