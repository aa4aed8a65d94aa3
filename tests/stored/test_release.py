"""What the release before left on disk is read by this one, and comes to the same bits.

The bits are promised within a fingerprint. On a machine with another, numbers are compared closely:
what rounds otherwise differs in its last places, and a name or an order that was mixed up does not.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor

from dropout_core.data.columns import Column
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import load_model
from dropout_core.training.checkpoint import load_checkpoint, position
from store import datasets, jobs, models
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.job_spec import JobSpec
from store.operations.restore import restore
from store.settings import PREFIX, Settings
from tests.stored.configs import MODELS
from tests.stored.stored_release import (
    FOLDER,
    NUM_SAMPLES,
    RUN_ID,
    SAMPLES_SEED,
    client_of,
    tabular_run,
)
from tests.support.worker_examples import (
    get_job,
    models_of,
    new_worker,
    run_to_end,
    supervising,
    wait_for_epoch,
)
from worker.attempt import Worker
from worker.messages import job_prefix


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As it was when the bits were stored."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def stored(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def assert_same(actual: Tensor, expected: Tensor, *, bits: bool) -> None:
    tolerance = 0.0 if bits else 1e-5
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def assert_holds(actual: Any, expected: Any, where: str) -> None:
    """Check that all that was there is there unchanged; later releases add fields."""
    if isinstance(expected, dict):
        assert isinstance(actual, dict), where
        for name, value in expected.items():
            assert name in actual, f"{where}/{name}"
            assert_holds(actual[name], value, f"{where}/{name}")
    elif isinstance(expected, list):
        assert isinstance(actual, list), where
        assert len(actual) == len(expected), where
        for index, value in enumerate(expected):
            assert_holds(actual[index], value, f"{where}/{index}")
    else:
        assert actual == expected, where


@pytest.mark.parametrize("name", MODELS)
def test_a_model_predicts_what_it_did(name: str) -> None:
    predictor, expected = Predictor.load(FOLDER / name), stored(f"{name}/predictions.json")
    matrix = predictor.encode(predictor.frame_of(stored("rows.json")))
    sampled = predictor.monte_carlo(matrix, num_samples=NUM_SAMPLES, seed=SAMPLES_SEED)
    for key, actual in (
        ("outputs", predictor.outputs(matrix)),
        ("sampled_mean", sampled.mean),
        ("sampled_deviation", sampled.standard_deviation),
    ):
        values = [[float.fromhex(number) for number in row] for row in expected[key]]
        bits = predictor.fingerprint == expected["fingerprint"]
        assert_same(actual, torch.tensor(values, dtype=torch.float64), bits=bits)


@pytest.mark.parametrize("name", [*MODELS, "run"])
def test_a_manifest_is_written_as_it_was(name: str) -> None:
    assert load_model(FOLDER / name)[1].model_dump(mode="json") == stored(f"{name}/model.json")


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "whole"])
def test_a_run_ends_with_the_weights_that_it_did(resumed: bool, tmp_path: Path) -> None:
    run = tabular_run(
        JobSpec.of_stored(stored("run/spec.json")), pl.read_parquet(FOLDER / "table.parquet")
    )
    if resumed:
        [path] = (FOLDER / "run").glob("epoch-*")
        assert position(path.name) == (2, 3)
        run.training.restore(load_checkpoint(path, run=RUN_ID))
    assert [metrics.epoch for metrics in run.training] == ([3, 4] if resumed else [1, 2, 3, 4])
    model, manifest = load_model(FOLDER / "run")
    bits = run.description.trained_on == manifest.trained_on
    expected, actual = model.state_dict(), run.model.state_dict()
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert_same(actual[name], tensor, bits=bits)
    assert run.save(tmp_path) == manifest or not bits


def test_specs_are_read_and_written_as_they_were() -> None:
    for spec in stored("specs.json"):
        assert JobSpec.model_validate(spec).model_dump(mode="json") == spec


def test_settings_have_the_names_that_they_had(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = stored("settings.json")
    names = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    assert names >= environment.keys()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.as_environment().items() >= environment.items()
    assert settings.lease_seconds == 70
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://broker/1"


@pytest.fixture
def restored(tmp_path: Path) -> Settings:
    """A data directory made from the backup."""
    settings = Settings(data_dir=tmp_path / "data", threads_per_job=1)
    restore(settings, FOLDER / "backup.tar.gz")
    return settings


@pytest.fixture
def worker(restored: Settings) -> Iterator[Worker]:
    with closing(Database(restored.database)) as database:
        yield new_worker(database, restored.data_dir)


def test_a_restored_service_answers_as_it_did(restored: Settings) -> None:
    """Datasets, jobs with their epochs and events, models and names, to the key that it had."""
    told = stored("backup.json")
    with client_of(restored, "dsk_another") as client:
        assert client.get("/v1/jobs").status_code == 401
    with client_of(restored, told["token"]) as client:
        for path, answer in told["answers"].items():
            now = client.get(path).json()
            if path == "/v1/datasets":  # a list has left their columns out since
                now["data"] = [client.get(f"{path}/{one['id']}").json() for one in now["data"]]
            assert_holds(now, answer, path)
        predicted = client.post("/v1/models/homes/predict", json=told["rows"]).json()
    expected = told["predicted"]
    bits = predicted.pop("fingerprint") == expected.pop("fingerprint")
    probabilities = [torch.tensor(answer.pop("probabilities")) for answer in (predicted, expected)]
    assert_same(*probabilities, bits=bits)
    assert predicted == expected


def test_rows_of_a_restored_database_are_written_as_they_were(worker: Worker) -> None:
    with worker.database.read() as transaction:
        [listed] = datasets.page(transaction, tenant=DEFAULT_TENANT, limit=9, after=None)
        dataset = datasets.get(transaction, listed.id, tenant=DEFAULT_TENANT)
        rows = jobs.page(transaction, tenant=DEFAULT_TENANT, limit=9, after=None)
        model = models.resolve(transaction, "homes@production", tenant=DEFAULT_TENANT)
    for column in dataset.columns:
        written = Column.model_validate(column).model_dump(mode="json")
        assert_holds(written, column, column["name"])
    for job in rows:
        assert JobSpec.model_validate(job.spec).model_dump(mode="json") == job.spec
    manifest = load_model(worker.artifacts.fetch(f"{model.artifact}/model.json").parent)[1]
    assert manifest.model_dump(mode="json") == model.manifest


def test_a_job_that_was_handed_back_goes_on_from_its_checkpoint(worker: Worker) -> None:
    expected = stored("backup.json")["handed_back"]
    job_id = expected["id"]
    before = newest_checkpoint(worker, job_id)["history"]
    assert len(before) == get_job(worker, job_id).epochs_completed
    with supervising(job_id, worker):
        wait_for_epoch(worker, job_id, len(before) + 1)
        worker.draining.set()
    after = newest_checkpoint(worker, job_id)["history"]
    assert after[: len(before)] == before, "by their speeds too, so none was trained again"
    assert len(after) > len(before)

    worker.draining.clear()
    assert run_to_end(worker, job_id).state == "succeeded"
    [model] = models_of(worker, job_id)
    assert model.version == 2
    if model.manifest["trained_on"] == expected["manifest"]["trained_on"]:
        assert (model.manifest, model.metrics) == (expected["manifest"], expected["metrics"])
    losses = [told["test"]["metrics"]["log_loss"] for told in (model.metrics, expected["metrics"])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def newest_checkpoint(worker: Worker, job_id: str) -> dict[str, Any]:
    """The values of the checkpoint that a trainer goes on from."""
    keys = worker.artifacts.list(job_prefix(job_id))
    found = [(where, key) for key in keys if (where := position(Path(key).name))]
    return load_checkpoint(worker.artifacts.fetch(max(found)[1]), run=job_id).values
