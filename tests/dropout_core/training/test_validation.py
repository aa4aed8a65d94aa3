from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropout_core.config import Task
from dropout_core.evaluation.evaluator import score
from dropout_core.training import validation
from dropout_core.training.feasibility import METRICS_OF
from dropout_core.training.validation import (
    monitored_metric,
    outputs_of,
    validate,
    validation_score,
)
from tests.support.tensors import normal


def test_a_network_is_validated_in_batches_with_its_dropout_off() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).double()
    features, targets = normal(validation.BATCH_SIZE + 5, 3), normal(validation.BATCH_SIZE + 5, 2)
    given = outputs_of(network, features)
    loss, score = validate(given, targets, task="regression")
    outputs = network[0](features).detach()
    assert loss == pytest.approx(F.mse_loss(outputs, targets).item(), rel=1e-12)
    assert score == pytest.approx(validation_score(outputs, targets, task="regression"), rel=1e-9)
    assert not network.training


def test_the_score_is_accuracy_or_r2() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
    assert validation_score(logits, torch.tensor([0, 0, 2]), task="multiclass") == pytest.approx(
        2 / 3
    )
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert validation_score(logits, labels, task="multilabel") == pytest.approx(7 / 9)
    values = torch.tensor([[1.0], [2.0], [3.0]])
    assert validation_score(values, values, task="regression") == 1.0
    assert validation_score(torch.full((3, 1), 2.0), values, task="regression") == 0.0


def test_the_score_of_several_targets_is_the_mean_of_theirs() -> None:
    values, targets = normal(20, 3), normal(20, 3, seed=1)
    alone = [validation_score(values[:, [t]], targets[:, [t]], task="regression") for t in range(3)]
    assert validation_score(values, targets, task="regression") == pytest.approx(
        sum(alone) / 3, rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("metric", METRICS_OF["binary"])
def test_a_monitored_metric_is_that_of_an_evaluation(metric: Any, num_classes: int) -> None:
    outputs, targets = normal(40, num_classes).float(), torch.arange(40) % num_classes
    task: Task = "binary" if num_classes == 2 else "multiclass"
    scored = score(outputs.double().softmax(dim=1), targets, task=task, names=range(num_classes))
    found = monitored_metric(outputs, targets, task=task, monitor=metric)
    assert found == pytest.approx(scored.metrics[metric], rel=1e-12)


def test_the_mean_absolute_error_is_that_of_all_targets() -> None:
    outputs, targets = (
        torch.tensor([[1.0, 2.0], [3.0, 8.0]]),
        torch.tensor([[2.0, 2.0], [3.0, 5.0]]),
    )
    assert monitored_metric(outputs, targets, task="regression", monitor="mae") == 1.0


@pytest.mark.parametrize(
    ("levels", "index"), [((0.5,), 0), ((0.1, 0.9), 0), ((0.1, 0.4, 0.6), 1), ((0.2, 0.3), 1)]
)
def test_of_quantiles_the_one_nearest_to_the_median_counts(
    levels: tuple[float, ...], index: int
) -> None:
    sorted_, targets = normal(9, 2 * len(levels)).unflatten(1, (2, -1)).sort().values, normal(9, 2)
    crossing = sorted_.flip(2).flatten(1)
    median = sorted_[..., index]
    found = validate(crossing, targets, task="regression", quantiles=levels)
    assert found == validate(median, targets, task="regression")
    mae = monitored_metric(crossing, targets, task="regression", monitor="mae", quantiles=levels)
    assert mae == pytest.approx((median - targets).abs().mean().item(), rel=1e-12)
