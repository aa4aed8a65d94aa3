"""Jobs in each state, made through the functions of `store`."""

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update

from store import datasets, jobs
from store.access import keys
from store.access.keys import DEFAULT_TENANT, Scope
from store.database.tables import jobs as jobs_table
from store.ids import new_id
from store.job_spec import JobSpec
from store.jobs import Claim, Job
from store.models import TrainedModel

TRAINED = TrainedModel(
    manifest={"task": "binary", "format_version": 2, "weights_sha256": "0" * 64},
    metrics={"test": {"accuracy": 0.5}},
    num_parameters=9,
    size_bytes=36,
    artifact="jobs/1/1/model",
)

get_job = partial(jobs.get, tenant=DEFAULT_TENANT)
cancel_job = partial(jobs.cancel, tenant=DEFAULT_TENANT)
remove_job = partial(jobs.remove, tenant=DEFAULT_TENANT)

GONE = -60  # a lease that is over as soon as it is given


def spec(dataset_id: str = "ds_1", **values: Any) -> JobSpec:
    return JobSpec.model_validate(
        {"dataset": {"id": dataset_id, "target": "label"}, "name": "first", **values}
    )


def new_dataset(connection: Connection, *, tenant: str = DEFAULT_TENANT) -> datasets.Dataset:
    return datasets.create(
        connection,
        id=new_id("ds"),
        name="flowers",
        format="csv",
        size_bytes=2**33,
        sha256="0" * 64,
        num_rows=150,
        columns=[{"name": "label", "kind": "category"}],
        options={"delimiter": ";"},
        warnings=["two columns were named 'a'"],
        artifact="datasets/1",
        tenant=tenant,
    )


def new_key(
    connection: Connection, *scopes: Scope, tenant: str = DEFAULT_TENANT, **options: Any
) -> str:
    """Create a key with these scopes, by default all, and return its token."""
    chosen = scopes or (Scope.ADMIN,)
    return keys.create(connection, tenant=tenant, name="test", scopes=chosen, **options)[1]


def new_job(
    connection: Connection,
    dataset_id: str = "ds_1",
    *,
    queue: str = "cpu",
    tenant: str = DEFAULT_TENANT,
) -> Job:
    return jobs.create(connection, spec(dataset_id), queue=queue, tenant=tenant)


def claim(connection: Connection, job_id: str, **options: Any) -> Job | None:
    return jobs.claim(
        connection,
        job_id,
        **{"owner": "me", "lease_seconds": 60, "num_threads": 1, "max_attempts": 3, **options},
    )


def new_claim(connection: Connection, **options: Any) -> Claim:
    """Create a job and claim it; return its first attempt."""
    job = claim(connection, new_job(connection).id, **options)
    assert job is not None
    return Claim(job.id, job.attempt)


def claim_again(connection: Connection, job_id: str) -> Claim:
    """Claim a requeued job without its backoff; return the attempt."""
    connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(run_after=0))
    job = claim(connection, job_id, max_attempts=100)
    assert job is not None
    return Claim(job.id, job.attempt)


def new_stale_claim(connection: Connection) -> Claim:
    """Return an attempt whose job a later attempt runs."""
    stale = new_claim(connection, lease_seconds=GONE)
    assert claim(connection, stale.job_id) is not None
    return stale


def epoch(number: int) -> dict[str, Any]:
    return {
        "epoch": number,
        "train_loss": 1 / number,
        "validation_loss": None,
        "validation_score": None,
        "learning_rate": 0.1,
        "samples_per_second": 1000.0,
    }


def grow_older(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))
