import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from dropout_core.model.saved_model import WEIGHTS
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.training.checkpoint import load_checkpoint, save_checkpoint
from store.artifacts.local_folder import LocalArtifacts
from store.job_spec import JobSpec
from tests.support.processes import trainers_with_memory
from tests.support.trainer_process import ANSWER_SECONDS, assignment, training
from tests.support.waiting import wait_until
from tests.support.worker_examples import ENDLESS, EPOCHS, MODEL, WIDEST, Result, table
from worker.messages import Failed, Finished, Progressed, Stopped, Warned


@pytest.fixture
def artifacts(tmp_path: Path) -> LocalArtifacts:
    """Artifacts among which is the table."""
    artifacts = LocalArtifacts(tmp_path / "artifacts")
    table().write_parquet(tmp_path / "table")
    artifacts.put("datasets/1.parquet", tmp_path / "table")
    return artifacts


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with as many threads as the trainer has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def mark(artifacts: LocalArtifacts, key: str, loss: float, folder: Path) -> None:
    """Put a checkpoint in place of one: the same, but for the loss of its first epoch."""
    state = load_checkpoint(artifacts.fetch(key))
    state.values["history"][0]["train_loss"] = loss
    path = save_checkpoint(folder, state)
    artifacts.delete(key)
    artifacts.put(f"{key.rpartition('/')[0]}/{path.name}", path)


def checkpoints(artifacts: LocalArtifacts) -> list[str]:
    return [key for key in artifacts.list("jobs/job_1") if "/checkpoints/" in key]


def test_every_epoch_is_told_and_then_the_model(
    tmp_path: Path, artifacts: LocalArtifacts, uninterrupted: Result
) -> None:
    with training(assignment(tmp_path)) as running:
        assert running.epochs(EPOCHS) == list(range(1, EPOCHS + 1))
        finished = running.next()

    assert isinstance(finished, Finished)
    weights = artifacts.fetch(f"{finished.trained.artifact}/{WEIGHTS}").read_bytes()
    assert finished.reason == "completed"
    assert finished.trained.artifact == "jobs/job_1/1/model"
    assert hashlib.sha256(weights).hexdigest() == uninterrupted.weights_sha256


def test_two_checkpoints_are_kept(tmp_path: Path, artifacts: LocalArtifacts) -> None:
    with training(assignment(tmp_path, epochs=5)) as running:
        running.last()

    assert [key.split("/")[-1].split(".")[0] for key in checkpoints(artifacts)] == [
        "epoch-000004-batch-000000",
        "epoch-000005-batch-000000",
    ]


def test_ordered_to_stop_it_leaves_a_checkpoint_for_the_next(
    tmp_path: Path, artifacts: LocalArtifacts, uninterrupted: Result
) -> None:
    with training(assignment(tmp_path)) as running:
        running.epochs(10)
        running.order("checkpoint_and_stop")
        assert running.last() == Stopped()
        running.process.join(ANSWER_SECONDS)
        assert running.process.exitcode == 0
    with training(assignment(tmp_path, attempt=2)) as running:
        assert running.epochs(EPOCHS) == list(range(1, EPOCHS + 1))
        finished = running.next()

    assert finished.trained.manifest["weights_sha256"] == uninterrupted.weights_sha256


def test_a_trial_waits_at_its_rung_with_its_scores(
    tmp_path: Path, artifacts: LocalArtifacts, uninterrupted: Result
) -> None:
    metrics = ("validation_loss", "accuracy", "num_parameters")
    first = replace(assignment(tmp_path), pause_after=4, metrics=metrics)
    with training(first) as running:
        assert running.epochs(4) == [1, 2, 3, 4]
        reached = running.next()
    assert (reached.epochs, reached.is_finished) == (4, False)
    loss, accuracy, num_parameters = reached.values
    assert loss == uninterrupted.history["validation_loss"][3]
    assert accuracy == uninterrupted.history["validation_score"][3]
    assert num_parameters == 2 * 16 + 16 + 16 * 2 + 2

    lost = replace(first, attempt=2)  # its message was not stored
    with training(lost) as running:
        assert running.epochs(4) == [1, 2, 3, 4]
        assert running.next() == reached
    last = replace(first, attempt=3, pause_after=EPOCHS)
    with training(last) as running:
        assert running.epochs(EPOCHS) == list(range(1, EPOCHS + 1))
        assert running.next().is_finished
    with training(assignment(tmp_path, attempt=4)) as running:
        running.epochs(EPOCHS)
        finished = running.next()
    assert finished.trained.manifest["weights_sha256"] == uninterrupted.weights_sha256


def test_it_goes_on_from_the_newest_checkpoint_that_holds(
    tmp_path: Path, artifacts: LocalArtifacts
) -> None:
    with training(assignment(tmp_path, epochs=5)) as running:
        running.last()
    older, newest = checkpoints(artifacts)
    mark(artifacts, older, 4.0, tmp_path)
    mark(artifacts, newest, 5.0, tmp_path)
    with training(assignment(tmp_path, attempt=2, epochs=6)) as running:
        assert running.next().metrics["train_loss"] == 5.0

    older, newest = checkpoints(artifacts)[:2]
    artifacts.fetch(newest).write_bytes(b"damaged")
    with training(assignment(tmp_path, attempt=3, epochs=6)) as running:
        assert running.next().metrics["train_loss"] == 4.0


def test_ordered_to_finish_it_saves_what_it_has(tmp_path: Path, artifacts: LocalArtifacts) -> None:
    with training(assignment(tmp_path, **ENDLESS)) as running:
        running.epochs(3)
        running.order("finish_now")
        finished = running.last()

    assert isinstance(finished, Finished)
    assert finished.reason == "max_runtime_exceeded"
    assert artifacts.fetch(f"{finished.trained.artifact}/{WEIGHTS}").is_file()


def test_folds_are_scored_after_the_model_and_not_twice(
    tmp_path: Path, artifacts: LocalArtifacts
) -> None:
    folds = {"split": {"folds": 3}, "epochs": 100, "calibrate": True}
    alone, interrupted = tmp_path / "alone", tmp_path
    shutil.copytree(artifacts.fetch("datasets/1.parquet").parents[1], alone / "artifacts")
    with training(assignment(alone, **folds)) as running:
        expected = running.last().trained
    with training(assignment(interrupted, **folds)) as running:
        running.epochs(100)
        wait_until(lambda: "jobs/job_1/1/folds/0" in artifacts.list("jobs/job_1"), ANSWER_SECONDS)
        scored_at = artifacts.fetch("jobs/job_1/1/folds/0").stat().st_mtime_ns
        running.order("checkpoint_and_stop")
        assert running.last() == Stopped()
    with training(assignment(interrupted, attempt=2, **folds)) as running:
        trained = running.last().trained

    assert trained.metrics == expected.metrics
    assert trained.manifest == expected.manifest
    told = trained.metrics["cross_validation"]
    assert sum(fold["num_rows"] for fold in told["folds"]) == 180  # of 200, 20 are for the test
    assert told["mean"]["accuracy"] > 0.5
    assert trained.manifest["calibration"]["num_scores"] == 20  # the validation rows
    assert all(fold["conformal"][0]["level"] == 0.8 for fold in told["folds"])
    assert artifacts.fetch("jobs/job_1/1/folds/0").stat().st_mtime_ns == scored_at
    assert "jobs/job_1/2/folds/0" not in artifacts.list("jobs/job_1")


def test_ordered_to_finish_it_leaves_out_the_folds_that_are_left(
    tmp_path: Path, artifacts: LocalArtifacts
) -> None:
    endless_folds = {"split": {"folds": 20}, "epochs": 200}
    with training(assignment(tmp_path, **endless_folds)) as running:
        running.epochs(200)
        wait_until(lambda: "jobs/job_1/1/folds/0" in artifacts.list("jobs/job_1"), ANSWER_SECONDS)
        running.order("finish_now")
        finished = running.last()

    assert finished.reason == "max_runtime_exceeded"
    assert 1 <= len(finished.trained.metrics["cross_validation"]["folds"]) < 20


REFIT: dict[str, Any] = {"epochs": 100, "early_stopping": {"patience": 100, "refit": True}}


def test_a_refit_survives_a_kill_and_an_order_and_ends_with_the_same_bits(
    tmp_path: Path, artifacts: LocalArtifacts
) -> None:
    alone, interrupted = tmp_path / "alone", tmp_path
    shutil.copytree(artifacts.fetch("datasets/1.parquet").parents[1], alone / "artifacts")
    with training(assignment(alone, **REFIT)) as running:
        steps, epochs, expected = running.everything()
    assert steps == ["reading", "encoding", "scaling", "training", "refitting", "evaluating"]
    assert epochs == list(range(1, 101)), "those of the refit are not among them"

    with training(assignment(interrupted, **REFIT)) as running:
        running.epochs(100)
        assert running.next() == Progressed()
        running.process.kill()
    with training(assignment(interrupted, attempt=2, **REFIT)) as running:
        assert running.epochs(100) == epochs
        assert running.next() == Progressed()
        running.order("checkpoint_and_stop")
        assert running.last() == Stopped()
    with training(assignment(interrupted, attempt=3, **REFIT)) as running:
        trained = running.last().trained
    assert trained.metrics == expected.trained.metrics
    assert trained.manifest == expected.trained.manifest


def test_ordered_to_finish_within_a_refit_it_keeps_the_model_before_it(
    tmp_path: Path, artifacts: LocalArtifacts
) -> None:
    with training(assignment(tmp_path, **REFIT)) as running:
        running.epochs(100)
        assert running.next() == Progressed()
        running.order("finish_now")
        finished = running.last()
    assert finished.reason == "max_runtime_exceeded"
    without = {**REFIT, "early_stopping": {"patience": 100}}
    with training(assignment(tmp_path, attempt=2, **without)) as running:
        once = running.last().trained  # from the checkpoint of the model before the refit
    assert finished.trained.manifest == once.manifest
    assert finished.trained.metrics == once.metrics


def test_folds_are_refitted_too(
    tmp_path: Path, artifacts: LocalArtifacts, one_thread: None
) -> None:
    options = {"epochs": 3, "early_stopping": {"refit": True}, "split": {"folds": 2}}
    options |= {"calibrate": True}
    given = assignment(tmp_path, **options)
    with training(given) as running:
        metrics = running.last().trained.metrics

    spec = JobSpec.of_stored(given.spec)
    frame = resolve_table(table(), spec.problem)
    run = TabularRun(frame, model=spec.model, training=spec.training)
    scores = []
    for each in (run, run.fold(0), run.fold(1)):
        list(each.training)
        each.calibrate()
        refit = each.refit()
        list(refit.training)
        refit.calibrate_as(each)
        scores.append(refit.evaluate()["test"].to_dict())
    assert [metrics["test"], *metrics["cross_validation"]["folds"]] == scores
    assert metrics["validation"] == run.evaluate()["validation"].to_dict()


def test_a_refit_that_diverges_leaves_the_model_as_it_is(
    tmp_path: Path, artifacts: LocalArtifacts
) -> None:
    # A validation row, of the model and of the second fold, is so far out that a step towards it
    # overshoots, ever further.
    x = [1e6 if row == 50 else float(row % 7) / 7 for row in range(100)]
    wide = pl.DataFrame({"x": x, "when": [row / 100 for row in range(100)]})
    wide.with_columns(label=pl.col("x") / 1e6, y=pl.col("x")).write_parquet(tmp_path / "table")
    artifacts.put("datasets/1.parquet", tmp_path / "table")
    given = assignment(
        tmp_path,
        model={"hidden": []},
        split={"kind": "time", "column": "when", "validation": 0.5, "folds": 2},
        epochs=20,
        batch_size=4,
        optimizer={"name": "sgd", "lr": 0.01},
        early_stopping={"patience": 20, "refit": True},
    )
    spec = {**given.spec, "task": "regression", "preprocessing": {"scale": "none"}}
    with training(replace(given, spec=spec)) as running:
        for _ in range(20):
            running.next()
        while isinstance(warned := running.next(), Progressed):
            pass
        finished = running.last()
    assert isinstance(warned, Warned)
    assert warned.warnings[0].startswith("the model is not refitted: the loss became ")
    assert finished.reason == "completed"
    metrics = finished.trained.metrics
    assert metrics["validation"]["num_rows"] == 50
    assert all(fold["metrics"]["rmse"] < 1 for fold in metrics["cross_validation"]["folds"])


def test_memory_that_there_is_not_may_be_there_another_time(
    tmp_path: Path, artifacts: LocalArtifacts
) -> None:
    with trainers_with_memory(2**33), training(assignment(tmp_path, model=WIDEST)) as running:
        failed = running.last()

    assert isinstance(failed, Failed)
    assert (failed.reason, failed.retryable) == ("out_of_memory", True)


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"optimizer": {"name": "sgd", "lr": 1e39}}, "invalid_data", "1e+39 is more than 3.4e+38"),
        ({"optimizer": {"name": "sgd", "lr": 1e30}}, "diverged", "the loss became nan in epoch 1"),
        ({"early_stopping": {}, "split": {"validation": 0.0}}, "invalid_data", "validation rows"),
        ({"unheard_of": 1}, "internal_error", "ValidationError: 1 validation error for JobSpec"),
    ],
    ids=["range", "diverged", "infeasible", "unforeseen"],
)
def test_what_fails_again_with_the_same_data_is_not_tried_again(
    tmp_path: Path, artifacts: LocalArtifacts, changes: Any, reason: str, detail: str
) -> None:
    unheard_of = changes.pop("unheard_of", None)
    given = assignment(tmp_path, **changes)
    if unheard_of is not None:
        given = replace(given, spec={**given.spec, "unheard_of": unheard_of})
    with training(given) as running:
        failed = running.last()
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.retryable) == (reason, False)
    assert detail in failed.detail


def test_a_class_without_training_rows_is_told(tmp_path: Path, artifacts: LocalArtifacts) -> None:
    split = {"kind": "time", "column": "x", "validation": 0.1, "test": 0.85}
    table().sort("label").with_columns(x=pl.int_range(pl.len()).cast(pl.Float64)).write_parquet(
        tmp_path / "table"
    )
    artifacts.put("datasets/1.parquet", tmp_path / "table")
    with training(assignment(tmp_path, split=split)) as running:
        message = running.next()
    assert isinstance(message, Warned)
    assert message.warnings[0].startswith("no training row has the class ")


@pytest.mark.parametrize("model", [MODEL, {"hidden": [2048] * 3}], ids=["between", "within"])
def test_it_ends_when_its_supervisor_does(
    tmp_path: Path, artifacts: LocalArtifacts, model: Any
) -> None:
    with training(assignment(tmp_path, model=model, **{**ENDLESS, "batch_size": 1})) as running:
        if model is MODEL:
            running.epochs(1)
        running.pipe.close()
        running.process.join(10)
        assert running.process.exitcode is not None
