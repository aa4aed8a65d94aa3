"""What release 0.1 left on disk: models, an interrupted run, a backup, job specs and settings.

`python -m tests.stored.stored_release` makes `release_0_1/` with the sources as they were released;
it refuses where the folder is. What is in the folder is then never changed again. The databases
that the release left are in `tests/store/databases`; see `tests/support/stored_databases.py`.
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
from dropout_core.data.reading import FIRST_MISSING_WORDS, Reading
from dropout_core.model.predictor import Predictor
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.training.checkpoint import save_checkpoint
from store.access import keys
from store.access.keys import DEFAULT_TENANT, Scope
from store.database.engine import Database
from store.job_spec import JobSpec
from store.operations.backup import backup
from store.operations.restore import restore
from store.settings import Settings
from tests.stored.configs import FEATURES, MODELS, RUN, SETTINGS, SPECS
from tests.support.in_process import TestClient
from tests.support.training_runs import run_batches
from tests.support.worker_examples import (
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


def tabular_run(spec: JobSpec, frame: pl.DataFrame) -> TabularRun:
    """What a trainer makes of a job."""
    return TabularRun(
        resolve_table(frame, spec.problem, reading=Reading(missing=FIRST_MISSING_WORDS)),
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
        trained = tabular_run(JobSpec.model_validate(spec), frame)
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
    interrupted = tabular_run(spec, frame)
    run_batches(interrupted.training, NUM_BATCHES)
    save_checkpoint(folder, interrupted.training.state(), run=RUN_ID)
    write_json(folder / "spec.json", spec.model_dump(mode="json"))
    whole = tabular_run(spec, frame)
    losses = [metrics.validation_loss or 0.0 for metrics in whole.training]
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
            training = {"epochs": 3, "batch_size": 16, "seed": 4, "device": "cpu"}
            job = {
                "name": "homes",
                "dataset": {"id": dataset["id"], "target": "label", "features": FEATURES[:5]},
                "preprocessing": {"max_one_hot": 4},
                "model": {"hidden": [8], "activation": "tanh", "hidden_dropout": 0.1},
                "training": training,
                "metadata": {"team": "garden"},
            }
            succeeded = _post(client, "/v1/jobs", json=job)["id"]
            supervise(succeeded, worker)
            alias = client.put("/v1/names/homes/aliases/production", json={"version": 1})
            assert alias.status_code == 200, alias.text
            slow = {"epochs": 60, "batch_size": 2, "optimizer": {"name": "adam", "lr": 0.0003}}
            job["training"] = training | slow
            handed_back = _post(client, "/v1/jobs", json=job)["id"]
            with supervising(handed_back, worker):
                wait_for_epoch(worker, handed_back, 3)
                worker.draining.set()
            assert get_job(worker, handed_back).state == "queued"
            _post(client, "/v1/jobs", json=job | {"name": "waiting"})
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
