"""A small table, jobs on it, workers in this process, and the result of a job to the bit."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from dropout_core.files import sha256_of
from store import datasets, events, jobs, models
from store.access.keys import DEFAULT_TENANT
from store.artifacts.artifact_store import ArtifactStore, open_artifacts
from store.database.engine import Database
from store.ids import new_id
from store.job_spec import JobSpec
from store.jobs import Job
from store.settings import Settings
from tests.support.waiting import wait_until
from worker.attempt import Worker
from worker.supervisor import supervise

EPOCHS = 60
MODEL = {"hidden": [16], "hidden_dropout": 0.2}
WIDEST = {"hidden": [65_536, 65_536]}  # 17 GB of weights
TRAINING = {"epochs": EPOCHS, "batch_size": 32, "seed": 7}

# A training that does not end during a test.
ENDLESS = {**TRAINING, "epochs": 100_000}

# A job that evaluates for long after its only epoch.
LONG_EVALUATION: dict[str, Any] = {
    "model": {"hidden": [256, 256]},
    "num_rows": 20_000,
    "batch_size": 4_000,
    "epochs": 1,
}

# Settings under which a test need not wait.
SWIFT: dict[str, Any] = {
    "threads_per_job": 1,
    "checkpoint_seconds": 0,
    "lease_seconds": 30,
    "renew_seconds": 0.2,
    "fence_seconds": 20,
    "retry_backoff_seconds": 0.01,
    "grace_seconds": 10,
    "finish_seconds": 10,
}

# Leases that a test can wait out; one job a worker, so that the job of a trainer is known.
SHORT_LEASES: dict[str, Any] = {
    **SWIFT,
    "concurrency": 1,
    "lease_seconds": 3,
    "fence_seconds": 2.5,
    "redispatch_seconds": 1,
    "max_attempts": 100,  # a machine too busy to renew in time costs time, and fails no test
}


@dataclass(frozen=True)
class Result:
    """The part of a job's outcome that is the same in every run."""

    weights_sha256: str
    metrics: dict[str, Any]
    history: dict[str, list[Any]]
    epochs_announced: list[int]


def table(num_rows: int = 200) -> pl.DataFrame:
    """Return two features, and a label that follows from both."""
    x, y = np.random.default_rng(0).normal(size=(2, num_rows)).round(4)
    return pl.DataFrame({"x": x, "y": y, "label": np.where(x * y > 0, "same", "other")})


def new_worker(database: Database, data_dir: Path, **settings: Any) -> Worker:
    chosen = Settings(data_dir=data_dir, **{**SWIFT, **settings})
    return Worker(
        settings=chosen,
        database=database,
        artifacts=open_artifacts(chosen),
        owner="tester",
        draining=threading.Event(),
    )


def new_dataset(worker: Worker, *, num_rows: int = 200) -> str:
    dataset_id = new_id("ds")
    path = _write_table(worker, table(num_rows))
    artifact = f"datasets/{dataset_id}.{sha256_of(path)}.parquet"
    worker.artifacts.put(artifact, path)
    with worker.database.write() as transaction:
        datasets.create(
            transaction,
            id=dataset_id,
            name="signs",
            format="csv",
            size_bytes=1,
            sha256="0" * 64,
            num_rows=num_rows,
            columns=[],
            artifact=artifact,
            tenant=DEFAULT_TENANT,
        )
    return dataset_id


def put_table(worker: Worker, artifact: str, frame: pl.DataFrame) -> None:
    worker.artifacts.put(artifact, _write_table(worker, frame))


def _write_table(worker: Worker, frame: pl.DataFrame) -> Path:
    worker.settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = worker.settings.data_dir / "table"
    frame.write_parquet(path)
    return path


def put_left_over(artifacts: ArtifactStore, scratch: Path) -> None:
    """Put a checkpoint of a deleted job, a day old."""
    scratch.mkdir(parents=True, exist_ok=True)
    source = scratch / "checkpoint"
    source.touch()
    key = f"jobs/{new_id('job')}/1/checkpoints/1"
    artifacts.put(key, source)
    then = time.time() - 24 * 3600
    os.utime(artifacts.fetch(key), (then, then))


def new_job(
    worker: Worker,
    *,
    model: Any = MODEL,
    split: dict[str, Any] | None = None,
    num_rows: int = 200,
    queue: str = "cpu",
    **training: Any,
) -> str:
    """Create a job on a new dataset, as the API does; return its id."""
    dataset = {"id": new_dataset(worker, num_rows=num_rows), "split": split or {}}
    values = {
        "dataset": {**dataset, "target": "label", "features": ["x", "y"]},
        "task": "binary",
        "model": model,
        "training": {**TRAINING, **training},
    }
    with worker.database.write() as transaction:
        return jobs.create(
            transaction, JobSpec.model_validate(values), queue=queue, tenant=DEFAULT_TENANT
        ).id


def get_job(worker: Worker, job_id: str) -> Job:
    with worker.database.read() as transaction:
        return jobs.get(transaction, job_id, tenant=DEFAULT_TENANT)


def event_types(worker: Worker, job_id: str) -> list[str]:
    """Return the types of the job's events, without its trainer's steps and epochs."""
    with worker.database.read() as transaction:
        happened = events.page(transaction, job_id, after=0, limit=1_000_000)
    return [event.type for event in happened if event.type not in ("step", "epoch")]


def models_of(worker: Worker, job_id: str) -> list[models.Model]:
    with worker.database.read() as transaction:
        every = models.page(transaction, limit=100, after=None, tenant=DEFAULT_TENANT)
    return [model for model in every if model.job_id == job_id]


def artifacts_of(worker: Worker, job_id: str) -> list[str]:
    return worker.artifacts.list(f"jobs/{job_id}")


def wait_for_epoch(worker: Worker, job_id: str, epoch: int) -> None:
    wait_until(lambda: get_job(worker, job_id).epochs_completed >= epoch, 60)


@contextmanager
def supervising(job_id: str, worker: Worker) -> Iterator[Future[bool]]:
    """Supervise a job in a thread; wait for it at the end of the block."""
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(supervise, job_id, worker)
        try:
            yield attempt
            attempt.result(60)
        except BaseException:
            worker.draining.set()
            raise


def run_to_end(worker: Worker, job_id: str) -> Job:
    """Supervise the job, for as many attempts as it takes, until it is over."""

    def is_over() -> bool:
        supervise(job_id, worker)
        return get_job(worker, job_id).state in jobs.TERMINAL

    wait_until(is_over, 60)
    return get_job(worker, job_id)


def result(worker: Worker, job_id: str) -> Result:
    [model] = models_of(worker, job_id)
    with worker.database.read() as transaction:
        rows = jobs.metrics(transaction, job_id, after_epoch=0)
        happened = events.page(transaction, job_id, after=0, limit=1_000_000)
    return Result(
        weights_sha256=model.manifest["weights_sha256"],
        metrics=model.metrics,
        history=repeatable({name: [row[name] for row in rows] for name in rows[0]}),
        epochs_announced=[event.data["epoch"] for event in happened if event.type == "epoch"],
    )


def repeatable(history: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the columns that do not depend on time."""
    names = ("epoch", "train_loss", "validation_loss", "validation_score", "learning_rate")
    return {name: history[name] for name in names}


def run_uninterrupted(data_dir: Path, **training: Any) -> Result:
    """Run the job of `new_job` undisturbed and return its result."""
    database = Database(f"sqlite:///{data_dir / 'dropout.db'}")
    database.migrate()
    worker = new_worker(database, data_dir)
    job_id = new_job(worker, **training)
    supervise(job_id, worker)
    database.close()
    return result(worker, job_id)
