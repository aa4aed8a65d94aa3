import math

import pytest
import torch

from dropout_core.evaluation.metrics import loss, score
from tests.support.tensors import normal


def test_the_loss_of_classes_is_the_cross_entropy_of_logits() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    for task in ("binary", "multiclass"):
        assert loss(logits, torch.tensor([0, 0]), task).item() == pytest.approx(expected)


def test_the_loss_of_labels_is_the_mean_cross_entropy_of_each_logit() -> None:
    logits, targets = torch.tensor([[2.0, -1.0, 0.0]]), torch.tensor([[1, 1, 0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1)) + math.log(2)) / 3
    for dtype in (torch.int64, torch.float32, torch.float64, torch.bool):
        result = loss(logits, targets.to(dtype), "multilabel")
        assert result.item() == pytest.approx(expected)
        assert result.dtype == torch.float32


def test_the_loss_of_a_regression_is_the_mean_squared_error() -> None:
    result = loss(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [0.0]]), "regression")
    assert result.item() == 4.5
    result = loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 0.0]]), "regression")
    assert result.item() == 4.5


def test_the_score_is_accuracy_or_r2() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
    assert score(logits, torch.tensor([0, 0, 2]), "multiclass") == pytest.approx(2 / 3)
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert score(logits, labels, "multilabel") == pytest.approx(7 / 9)
    values = torch.tensor([[1.0], [2.0], [3.0]])
    assert score(values, values, "regression") == 1.0
    assert score(torch.full((3, 1), 2.0), values, "regression") == 0.0


def test_the_score_of_several_targets_is_the_mean_of_theirs() -> None:
    values, targets = normal(20, 3), normal(20, 3, seed=1)
    alone = [score(values[:, [t]], targets[:, [t]], "regression") for t in range(3)]
    assert score(values, targets, "regression") == pytest.approx(
        sum(alone) / 3, rel=1e-12, abs=1e-12
    )
