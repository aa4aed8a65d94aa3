"""What release 0.1 left on disk: models, an interrupted run, a backup, job specs and settings.

`python -m tests.stored.stored_release` makes `release_0_1/` with the sources as they were released;
it refuses where the folder is. What is in the folder is then never changed again. The databases
that the release left are in `tests/store/databases`; see `tests/store/stored_databases.py`.
"""

import json
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from app.main import create_app
from dropout_core.checkpoint import save_checkpoint
from dropout_core.experiment import Experiment
from dropout_core.inference import Predictor
from store import keys
from store.backup import backup
from store.database import Database
from store.keys import DEFAULT_TENANT, Scope
from store.restore import restore
from store.settings import Settings
from store.spec import JobSpec
from tests.app.conftest import TestClient
from tests.dropout_core.training_runs import run_batches
from tests.worker.examples import (
    get_job,
    models_of,
    new_worker,
    run_to_end,
    supervising,
    wait_for_epoch,
)
from worker.supervisor import supervise

FOLDER = Path(__file__).parent / "release_0_1"
RUN_ID = "job_of_release_0_1"
NUM_BATCHES = 15  # of 6 an epoch, before the run is interrupted
NUM_SAMPLES, SAMPLES_SEED = 8, 5

FEATURES = ["size", "town", "kind", "day", "new", "note"]
TYPES = {"note": "text"}
PREPROCESSING = {"max_one_hot": 4, "embedding_dropout": 0.1, "text_buckets": 8}

MODELS: dict[str, dict[str, Any]] = {
    "classification": {
        "dataset": {"id": "ds_1", "target": "label", "features": FEATURES, "types": TYPES},
        "preprocessing": {**PREPROCESSING, "unknown_rate": 0.05},
        "model": {
            "hidden": [16, 8],
            "batch_norm": True,
            "input_dropout": 0.1,
            "hidden_dropout": [{"keep": 0.8, "scaling": "classic"}, {"p": 0.3}],
        },
        "training": {"epochs": 3, "batch_size": 16, "seed": 1, "device": "cpu"},
    },
    "regression": {
        "dataset": {
            "id": "ds_1",
            "target": ["price", "rent"],
            "features": FEATURES,
            "types": TYPES,
            "weight": "weight",
        },
        "preprocessing": {**PREPROCESSING, "scale": "quantile", "impute": "mean"},
        "model": {
            "hidden": [8, 8],
            "activation": "maxout",
            "hidden_dropout": [
                {"kind": "gaussian", "p": 0.2},
                {"kind": "dropconnect", "p": 0.3, "masks": "per_batch"},
            ],
            "init": "kaiming_normal",
        },
        "training": {"epochs": 3, "batch_size": 16, "seed": 2, "device": "cpu"},
    },
}

# The interrupted run has something of everything that a checkpoint holds.
RUN: dict[str, Any] = {
    "dataset": {
        "id": "ds_1",
        "target": "label",
        "features": FEATURES[:5],
        "split": {"kind": "stratified", "validation": 0.2, "test": 0.0, "seed": 3},
    },
    "preprocessing": {"max_one_hot": 4},
    "model": {
        "hidden": [8, 4],
        "activation": "tanh",
        "batch_norm": True,
        "hidden_dropout": 0.2,
        "max_norm": 2.0,
    },
    "training": {
        "epochs": 4,
        "batch_size": 16,
        "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.001},
        "scheduler": {"name": "one_cycle", "max_lr": 0.02},
        "early_stopping": {"patience": 2},
        "class_weights": "balanced",
        "label_smoothing": 0.05,
        "max_grad_norm": 1.0,
        "ema_decay": 0.8,
        "seed": 3,
        "device": "cpu",
    },
}

# Between them they give every field another value than its default, and use every optimizer,
# scheduler, split, dropout and task.
SPECS: list[dict[str, Any]] = [
    {
        "name": "everything",
        "dataset": {
            "id": "ds_1",
            "target": "label",
            "features": ["size", "kind"],
            "types": {"size": "numeric", "kind": "categorical"},
            "weight": "weight",
            "split": {
                "kind": "grouped",
                "column": "town",
                "validation": 0.2,
                "test": 0.3,
                "folds": 4,
                "seed": 9,
            },
        },
        "task": "multiclass",
        "preprocessing": {
            "scale": "quantile",
            "impute": "mean",
            "max_one_hot": 3,
            "max_categories": 50,
            "embedding_dim": 5,
            "embedding_dropout": 0.1,
            "unknown_rate": 0.02,
            "text_buckets": 32,
        },
        "model": {
            "hidden": [12, 10, 8],
            "activation": "maxout",
            "maxout_pieces": 3,
            "input_dropout": {"keep": 0.9, "scaling": "classic"},
            "hidden_dropout": [
                0.25,
                {"kind": "gaussian", "p": 0.2},
                {"kind": "dropconnect", "p": 0.5, "masks": "per_example"},
            ],
            "batch_norm": True,
            "max_norm": 3.5,
            "init": "kaiming_uniform",
        },
        "training": {
            "epochs": 7,
            "batch_size": 64,
            "optimizer": {
                "name": "adamw",
                "lr": 0.002,
                "betas": [0.8, 0.99],
                "eps": 1e-7,
                "weight_decay": 0.02,
            },
            "scheduler": {"name": "step", "step_size": 2, "gamma": 0.5},
            "early_stopping": {"patience": 3, "min_delta": 0.001},
            "class_weights": [1.0, 2.5, 0.5],
            "label_smoothing": 0.1,
            "max_grad_norm": 5.0,
            "ema_decay": 0.99,
            "max_runtime_seconds": 3600.0,
            "seed": 11,
            "device": "cuda",
        },
        "metadata": {"team": "garden", "note": "\N{SNOWMAN}"},
    },
    {
        "dataset": {
            "id": "ds_2",
            "target": ["new", "dear"],
            "types": {"new": "boolean", "day": "datetime", "note": "text"},
            "split": {"kind": "time", "column": "day"},
        },
        "task": "multilabel",
        "model": {
            "hidden": [8],
            "activation": "gelu",
            "input_dropout": {"kind": "batchwise", "p": 0.1, "group_size": 8},
            "hidden_dropout": {"kind": "batchwise", "keep": 0.5, "group_size": 8},
            "init": "normal",
        },
        "training": {
            "optimizer": {
                "name": "sgd",
                "lr": 0.05,
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 0.001,
            },
            "scheduler": {"name": "cosine", "min_lr": 0.0001},
        },
    },
    {
        "dataset": {
            "id": "ds_3",
            "target": "price",
            "split": {"kind": "column", "column": "part"},
        },
        "task": "regression",
        "model": {"activation": "logistic", "init": "xavier_normal"},
        "training": {
            "optimizer": {
                "name": "adam",
                "lr": 0.01,
                "betas": [0.7, 0.9],
                "eps": 1e-6,
                "weight_decay": 0.1,
            },
            "scheduler": {"name": "linear", "start_factor": 0.5, "end_factor": 0.1},
            "precision": "bfloat16",
            "device": "cpu",
        },
    },
    {
        "dataset": {"id": "ds_4", "target": "label", "split": {"kind": "stratified"}},
        "task": "binary",
        "training": {
            "scheduler": {"name": "one_cycle", "max_lr": 0.1, "warmup": 0.2},
            "class_weights": "balanced",
        },
    },
]

SETTINGS = Settings(
    data_dir=Path("/srv/dropout"),
    database_url="postgresql://dropout@db/dropout",
    artifact_url="s3://bucket/prefix",
    artifact_cache_bytes=1001,
    redis_url="redis://broker/1",
    max_upload_bytes=1002,
    max_request_bytes=1003,
    max_columns=1004,
    read_memory_bytes=1005,
    read_seconds=6,
    max_training_bytes=1007,
    max_parameters=1008,
    max_epochs=1009,
    max_batch_size=1010,
    max_runtime_seconds=11,
    max_loaded_model_bytes=1012,
    tenant_queued_jobs=13,
    tenant_running_jobs=14,
    tenant_datasets=15,
    tenant_dataset_bytes=1016,
    tenant_requests_per_second=17,
    tenant_request_burst=18,
    concurrency=19,
    threads_per_job=20,
    auto_device_queue="gpu",
    lease_seconds=70,
    renew_seconds=21,
    fence_seconds=60,
    max_attempts=22,
    retry_backoff_seconds=23,
    redispatch_seconds=24,
    checkpoint_seconds=25,
    grace_seconds=26,
    finish_seconds=27,
    sweep_seconds=28,
    keep_events_days=29,
    access_log=False,
    worker_metrics_port=3000,
    worker_metrics_host="127.0.0.2",
)


def table(num_rows: int = 120) -> pl.DataFrame:
    """Columns of every type, with holes, and targets that follow from them."""
    random = np.random.default_rng(0)
    size = random.gamma(3, 30, num_rows).round(2)
    town = random.integers(0, 12, num_rows)
    kind = random.integers(0, 3, num_rows)
    day = random.integers(0, 700, num_rows)
    new = random.random(num_rows) < 0.4
    price = (size + 10 * town + 30 * new + day / 50).round(3)
    first = datetime(2023, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "size": [None if i % 9 == 4 else float(s) for i, s in enumerate(size)],
            "town": [f"town {number:02}" for number in town],
            "kind": [("flat", "house", None)[number] for number in kind],
            "day": [first + timedelta(days=int(d), seconds=int(d) * 97) for d in day],
            "new": new,
            "note": [
                f"near the {'park' if n else 'river'}, {s:.0f} steps"
                for n, s in zip(new, size, strict=True)
            ],
            "label": np.where(price > 170, "dear", np.where(price > 110, "fair", "cheap")),
            "price": price,
            "rent": (0.004 * price + 1).round(4),
            "weight": 1.0 + town % 3,
        }
    )


def experiment(spec: JobSpec, frame: pl.DataFrame) -> Experiment:
    """What a trainer makes of a job."""
    return Experiment(
        frame,
        target=spec.dataset.target,
        features=spec.dataset.features,
        types=spec.dataset.types,
        task=None if spec.task == "auto" else spec.task,
        split=spec.dataset.split,
        weight=spec.dataset.weight,
        preprocessing=spec.preprocessing,
        model=spec.model,
        training=spec.training,
    )


def write_json(path: Path, values: Any) -> None:
    path.write_text(f"{json.dumps(values, indent=1)}\n")


def hexadecimal(values: torch.Tensor) -> list[list[str]]:
    """(N, C) float64 -> each number's bits."""
    return [[number.hex() for number in row] for row in values.tolist()]


def _store_models(frame: pl.DataFrame) -> None:
    """Each with the bits of what it predicts."""
    rows = [
        {**row, "day": row["day"].isoformat()} for row in frame.select(FEATURES).head(12).to_dicts()
    ]
    rows.append({**rows[0], "town": "a town that nobody knows", "size": None})
    write_json(FOLDER / "rows.json", rows)
    for name, spec in MODELS.items():
        trained = experiment(JobSpec.model_validate(spec), frame)
        list(trained.training)
        trained.save(FOLDER / name)
        predictor = Predictor.load(FOLDER / name)
        matrix = predictor.encode(predictor.frame_of(rows))
        sampled = predictor.monte_carlo(matrix, num_samples=NUM_SAMPLES, seed=SAMPLES_SEED)
        predictions = {
            "fingerprint": predictor.fingerprint,
            "outputs": hexadecimal(predictor.outputs(matrix)),
            "sampled_mean": hexadecimal(sampled.mean),
            "sampled_deviation": hexadecimal(sampled.standard_deviation),
        }
        write_json(FOLDER / name / "predictions.json", predictions)


def _store_run(frame: pl.DataFrame) -> None:
    """The checkpoint of a run in the middle of an epoch, and the model that it ends with."""
    folder = FOLDER / "run"
    spec = JobSpec.model_validate(RUN)
    interrupted = experiment(spec, frame)
    run_batches(interrupted.training, NUM_BATCHES)
    save_checkpoint(folder, interrupted.training.state(), run=RUN_ID)
    write_json(folder / "spec.json", spec.model_dump(mode="json"))
    whole = experiment(spec, frame)
    losses = [metrics.validation_loss for metrics in whole.training]
    assert min(losses) == losses[-1], "the weights that count are to be of after the checkpoint"
    whole.save(folder)


def _store_backup(frame: pl.DataFrame, folder: Path) -> None:
    """A data directory's backup, the key to it, and what the service answers once it is restored.

    It has a job that succeeded, whose model is in production, one that was handed back in the
    middle of its training, and one that waits.
    """
    settings = Settings(data_dir=folder / "data", threads_per_job=1)
    settings.data_dir.mkdir()
    with closing(Database(settings.database)) as database:
        database.migrate()
        with database.write() as transaction:
            token = keys.create(
                transaction, tenant=DEFAULT_TENANT, name="garden", scopes=[Scope.ADMIN]
            )[1]
        worker = new_worker(database, settings.data_dir)
        with client_of(settings, token) as client:
            content = frame.with_columns(pl.col("day").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
            file = ("homes.csv", content.write_csv().encode())
            dataset = _post(client, "/v1/datasets", files={"file": file})
            job = {
                "name": "homes",
                "dataset": {"id": dataset["id"], "target": "label", "features": FEATURES[:5]},
                "preprocessing": {"max_one_hot": 4},
                "model": {"hidden": [8], "activation": "tanh", "hidden_dropout": 0.1},
                "training": {"epochs": 3, "batch_size": 16, "seed": 4, "device": "cpu"},
                "metadata": {"team": "garden"},
            }
            succeeded = _post(client, "/v1/jobs", json=job)["id"]
            supervise(succeeded, worker)
            alias = client.put("/v1/names/homes/aliases/production", json={"version": 1})
            assert alias.status_code == 200, alias.text
            slow = {"epochs": 60, "batch_size": 2, "optimizer": {"name": "adam", "lr": 0.0003}}
            handed_back = _post(
                client, "/v1/jobs", json={**job, "training": {**job["training"], **slow}}
            )["id"]
            with supervising(handed_back, worker):
                wait_for_epoch(worker, handed_back, 3)
                worker.draining.set()
            assert get_job(worker, handed_back).state == "queued"
            _post(client, "/v1/jobs", json={**job, "name": "waiting"})
        backup(settings, worker.artifacts, FOLDER / "backup.tar.gz")

    restored = Settings(data_dir=folder / "restored", threads_per_job=1)
    restore(restored, FOLDER / "backup.tar.gz")
    jobs = [f"/v1/jobs/{job}" for job in (succeeded, handed_back)]
    paths = ["/v1/datasets", "/v1/jobs", "/v1/models", "/v1/models/homes", "/v1/names/homes"]
    paths += [f"{job}/{part}" for job in jobs for part in ("metrics", "events")]
    rows = {"instances": json.loads((FOLDER / "rows.json").read_text())}
    for row in rows["instances"]:
        del row["note"]
    with client_of(restored, token) as client:
        answers = {path: client.get(path).json() for path in paths}
        predicted = _post(client, "/v1/models/homes/predict", json=rows)
    with closing(Database(restored.database)) as database:
        worker = new_worker(database, restored.data_dir)
        assert run_to_end(worker, handed_back).state == "succeeded"
        [model] = models_of(worker, handed_back)
    told = {
        "token": token,
        "answers": answers,
        "rows": rows,
        "predicted": predicted,
        "handed_back": {"id": handed_back, "manifest": model.manifest, "metrics": model.metrics},
    }
    write_json(FOLDER / "backup.json", told)


def client_of(settings: Settings, token: str) -> TestClient:
    """Calls the API on a data directory with that key."""
    return TestClient(create_app(settings), headers={"Authorization": f"Bearer {token}"})


def _post(client: TestClient, path: str, **request: Any) -> Any:
    answer = client.post(path, **request)
    assert answer.is_success, answer.text
    return answer.json()


def main() -> None:
    torch.set_num_threads(1)
    FOLDER.mkdir()
    frame = table()
    frame.write_parquet(FOLDER / "table.parquet")
    _store_models(frame)
    _store_run(frame)
    specs = [JobSpec.model_validate(spec).model_dump(mode="json") for spec in SPECS]
    write_json(FOLDER / "specs.json", specs)
    write_json(FOLDER / "settings.json", SETTINGS.as_environment())
    with tempfile.TemporaryDirectory() as folder:
        _store_backup(frame, Path(folder))


if __name__ == "__main__":
    main()
