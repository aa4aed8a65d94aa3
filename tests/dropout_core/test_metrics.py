import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.metrics import evaluate_classification, evaluate_regression, loss, score


def test_the_loss_of_classes_is_the_cross_entropy_of_logits() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    for task in ("binary", "multiclass"):
        assert loss(logits, torch.tensor([0, 0]), task).item() == pytest.approx(expected)


def test_the_loss_of_a_regression_is_the_mean_squared_error() -> None:
    result = loss(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [0.0]]), "regression")
    assert result.item() == 4.5


def test_the_score_is_accuracy_or_r2() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
    assert score(logits, torch.tensor([0, 0, 2]), "multiclass") == pytest.approx(2 / 3)
    values = torch.tensor([[1.0], [2.0], [3.0]])
    assert score(values, values, "regression") == 1.0
    assert score(torch.full((3, 1), 2.0), values, "regression") == 0.0


def test_a_classification_is_evaluated_as_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
    evaluation = evaluate_classification(probabilities.double(), torch.tensor([0, 1, 1]))
    assert evaluation.num_rows == 3
    assert evaluation.metrics["accuracy"] == pytest.approx(2 / 3)
    expected = -(math.log(0.7) + math.log(0.8) + math.log(0.3)) / 3
    assert evaluation.metrics["log_loss"] == pytest.approx(expected)
    assert evaluation.confusion_matrix == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
@settings(deadline=None)
def test_a_confusion_matrix_counts_true_against_predicted(pairs: list[tuple[int, int]]) -> None:
    true, predicted = (torch.tensor(column) for column in zip(*pairs, strict=True))
    matrix = evaluate_classification(torch.eye(4)[predicted], true).confusion_matrix
    assert matrix == [[pairs.count((t, p)) for p in range(4)] for t in range(4)]


def test_a_probability_of_zero_has_a_finite_log_loss() -> None:
    evaluation = evaluate_classification(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert evaluation.metrics["log_loss"] == pytest.approx(87.3, abs=0.1)


def test_a_regression_is_evaluated_as_by_hand() -> None:
    values, targets = torch.tensor([[1.0, 2.0, 6.0], [1.0, 4.0, 4.0]], dtype=torch.float64)
    evaluation = evaluate_regression(values, targets)
    assert evaluation.num_rows == 3
    assert evaluation.confusion_matrix is None
    assert evaluation.metrics == pytest.approx(
        {"rmse": math.sqrt(8 / 3), "mae": 4 / 3, "r2": 1 - 8 / 6}
    )


def test_targets_that_do_not_vary_have_an_r2_of_zero() -> None:
    constant = torch.ones(3)
    assert evaluate_regression(constant, constant).metrics["r2"] == 0.0
    assert evaluate_regression(constant + 1, constant).metrics["r2"] == 0.0


def test_an_evaluation_is_plain_values_for_json() -> None:
    evaluation = evaluate_regression(torch.ones(2), torch.ones(2))
    assert evaluation.to_dict() == {
        "num_rows": 2,
        "metrics": {"rmse": 0.0, "mae": 0.0, "r2": 0.0},
        "confusion_matrix": None,
    }
