from typing import Any

import polars as pl
import pytest
import torch

from dropout_core.config import (
    EarlyStoppingConfig,
    MLPConfig,
    ProblemConfig,
    SplitConfig,
    TrainingConfig,
)
from dropout_core.pipeline.completion import complete, evaluate_as_served
from dropout_core.pipeline.resolved_table import ResolvedTable, resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from tests.support.tables import flowers


@pytest.fixture(scope="module")
def table() -> ResolvedTable:
    split = SplitConfig(validation=0.2, test=0.2)
    return resolve_table(pl.read_csv(flowers()), ProblemConfig(target="label", split=split))


def run_of(table: ResolvedTable, **changes: Any) -> TabularRun:
    known = {"epochs": 4, "batch_size": 16, "device": "cpu", **changes}
    return TabularRun(table, model=MLPConfig(hidden=(4,)), training=TrainingConfig(**known))


def test_a_run_is_trained_to_its_end_and_scored(table: ResolvedTable) -> None:
    run = run_of(table)
    completed = complete(run)
    assert completed.run is run
    assert len(run.training.history) == 4
    assert completed.evaluations == run.evaluate()


def test_a_refit_is_calibrated_as_the_run_before_it(table: ResolvedTable) -> None:
    stopping = EarlyStoppingConfig(patience=9, refit=True)
    run = run_of(table, early_stopping=stopping, calibrate=True)
    completed = complete(run)
    assert completed.run is not run
    assert completed.run.description.calibration == run.description.calibration
    assert completed.evaluations["test"] == completed.run.evaluate()["test"]
    assert completed.evaluations["validation"] == run.evaluate()["validation"]


def test_scoring_leaves_the_number_of_threads_as_it_was(table: ResolvedTable) -> None:
    run = run_of(table)
    list(run.training)
    num_threads = torch.get_num_threads()
    evaluations = evaluate_as_served(run)
    assert (torch.get_num_threads(), list(evaluations)) == (num_threads, ["validation", "test"])
