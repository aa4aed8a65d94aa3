from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from dropout_core.config import (
    EarlyStoppingConfig,
    MLPConfig,
    ProblemConfig,
    SplitConfig,
    TrainingConfig,
)
from dropout_core.pipeline.completion import evaluate_as_served
from dropout_core.pipeline.resolved_table import ResolvedTable, resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.sweeps.scoring import means_over_folds, needs_evaluation, trial_metrics
from tests.support.tables import flowers

EVERY = ("validation_loss", "validation_score", "num_parameters", "roc_auc", "accuracy")


@pytest.fixture(scope="module")
def table() -> ResolvedTable:
    split = SplitConfig(validation=0.2, test=0.2, folds=2)
    return resolve_table(pl.read_csv(flowers()), ProblemConfig(target="label", split=split))


def run_of(table: ResolvedTable, **changes: Any) -> TabularRun:
    known = {"epochs": 6, "batch_size": 16, "device": "cpu", "calibrate": True, **changes}
    return TabularRun(table, model=MLPConfig(hidden=(4,)), training=TrainingConfig(**known))


def bits(run: TabularRun) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in run.model.state_dict().values()]


def after(run: TabularRun, num_epochs: int) -> Iterator[Any]:
    """Return the training, which has trained so many epochs."""
    training = iter(run.training)
    for _ in range(num_epochs):
        next(training)
    return training


def test_a_run_that_is_scored_in_between_ends_with_the_same_bits(table: ResolvedTable) -> None:
    settings = {"early_stopping": EarlyStoppingConfig(patience=9), "ema_decay": 0.5}
    alone, scored = run_of(table, **settings), run_of(table, **settings)
    list(alone.training)
    for _ in scored.training:
        trial_metrics(scored, EVERY)
    assert bits(scored) == bits(alone)


def test_the_metrics_are_those_of_the_model_that_would_be_kept(table: ResolvedTable) -> None:
    run = run_of(table, early_stopping=EarlyStoppingConfig(patience=9))
    training = after(run, 4)
    found = trial_metrics(run, EVERY)
    losses = [metrics.validation_loss for metrics in run.training.history]
    best = run.training.history[losses.index(min(losses))]
    assert (found["validation_loss"], found["validation_score"]) == (
        best.validation_loss,
        best.validation_score,
    )
    assert found["num_parameters"] == sum(p.numel() for p in run.model.parameters())
    # An early end would keep and calibrate the same model.
    training.close()  # type: ignore[attr-defined]
    run.training.settle()
    served = evaluate_as_served(run)["validation"].metrics
    assert {name: found[name] for name in ("roc_auc", "accuracy")} == {
        name: served[name] for name in ("roc_auc", "accuracy")
    }


def test_what_is_not_asked_for_is_not_computed(table: ResolvedTable) -> None:
    run = run_of(table)
    training = after(run, 1)
    names = ["validation_loss", "cross_validation.accuracy"]
    assert not needs_evaluation(names)
    assert needs_evaluation([*names, "accuracy"])
    found = trial_metrics(run, names, over_folds={"accuracy": 0.5, "f1": 0.1})
    assert found == {
        "validation_loss": run.training.history[0].validation_loss,
        "cross_validation.accuracy": 0.5,
    }
    training.close()  # type: ignore[attr-defined]


def test_means_over_folds_are_of_models_that_never_saw_the_fold(table: ResolvedTable) -> None:
    stopping = EarlyStoppingConfig(patience=3, refit=True)
    run = run_of(table, early_stopping=stopping)
    found = means_over_folds(run)
    scores = []
    for number in range(2):
        fold = run.fold(number)
        list(fold.training)
        refitted = fold.refit()
        list(refitted.training)
        scores.append(evaluate_as_served(fold, refitted)["test"].metrics["log_loss"])
    assert found["log_loss"] == pytest.approx(sum(filter(None, scores)) / 2, rel=1e-12)
