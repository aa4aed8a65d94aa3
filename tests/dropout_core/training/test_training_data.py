from dataclasses import replace
from typing import Any

import polars as pl
import pytest
import torch
from torch import nn

from dropout_core.config import MLPConfig, ProblemConfig, Task, TrainingConfig
from dropout_core.nn.mlp import MLP
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.training.loop import train
from dropout_core.training.lr_finder import find_learning_rate
from dropout_core.training.training_data import TrainingData

X = torch.zeros(6, 3)
CLASSES = torch.tensor([0, 1, 0, 1, 0, 1])
DATA = TrainingData(X, CLASSES)


def network(out_features: int = 2) -> MLP:
    return MLP(MLPConfig(hidden=(4,)), in_features=3, out_features=out_features)


MISFITS: list[tuple[Any, Any, Task, str]] = [
    (MLPConfig(), DATA, "binary", "model has to be of type MLP, not MLPConfig: build one with MLP"),
    (nn.Linear(3, 2), DATA, "binary", "model has to be of type MLP, not Linear"),
    (network(), (X, CLASSES), "binary", "data has to be of type TrainingData, not tuple: give"),
    (network(1), DATA, "binary", "needs an MLP with out_features=2, one output for each class"),
    (
        network(),
        replace(DATA, train_features=X.double()),
        "binary",
        "has to be torch.float32 as the MLP is",
    ),
    (network(), replace(DATA, train_features=X[:, :2]), "binary", r"the MLP takes \(rows, in_fea"),
    (network(), replace(DATA, train_features=X.numpy()), "binary", "convert it with torch.as_tens"),
    (network(), replace(DATA, train_targets=CLASSES.float()), "binary", "has to be int64"),
    (network(), replace(DATA, train_targets=CLASSES.int()), "binary", "call .long()"),
    (network(), replace(DATA, train_targets=CLASSES[:5]), "binary", "train_targets has 5 rows"),
    (network(), replace(DATA, train_targets=CLASSES + 1), "multiclass", "classes from 1 to 2"),
    (network(), replace(DATA, train_targets=CLASSES[:, None]), "binary", r"\(rows,\) is needed"),
    (network(1), replace(DATA, train_targets=X[:, 0]), "regression", r"the MLP gives \(rows, out_"),
    (network(), DATA, "multilabel", "train_targets has to be torch.float32"),
    (network(), replace(DATA, train_weights=X), "binary", "train_weights has the shape"),
    (network(), replace(DATA, validation_features=X), "binary", "validation_targets, or neither"),
    (
        network(),
        replace(DATA, validation_features=X, validation_targets=CLASSES + 1),
        "multiclass",
        "validation_targets has classes",
    ),
]


@pytest.mark.parametrize(("model", "data", "task", "message"), MISFITS)
def test_an_argument_that_does_not_fit_is_named(
    model: Any, data: Any, task: Task, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        train(model, data, TrainingConfig(), task=task)
    with pytest.raises((TypeError, ValueError), match=message):
        find_learning_rate(model, data, TrainingConfig(), task=task)


@pytest.mark.parametrize("num_outputs", [2, 3, 5])
def test_each_target_has_an_output_for_each_of_its_quantiles(num_outputs: int) -> None:
    data = TrainingData(X, X[:, :2])  # two targets, and so four outputs
    config = TrainingConfig(quantiles=[0.25, 0.75])
    with pytest.raises(ValueError, match=r"out_features=\d\), 2 quantiles of each target"):
        train(network(num_outputs), data, config, task="regression")
    assert train(network(4), data, config, task="regression").history == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resolve_table({"y": [1]}, ProblemConfig(target="y")), "polars.from_pandas"),  # type: ignore[arg-type]
        (lambda: resolve_table(pl.DataFrame({"y": [1]}), "y"), "give ProblemConfig"),  # type: ignore[arg-type]
        (lambda: TabularRun(pl.DataFrame({"y": [1]})), "pass the frame through resolve_table"),  # type: ignore[arg-type]
    ],
)
def test_a_table_of_another_type_is_named(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
