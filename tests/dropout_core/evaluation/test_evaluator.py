import io
import json
import math
import tempfile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch import Tensor

from dropout_core.config.metrics import HIGHER_IS_BETTER, default_metric, metric_names
from dropout_core.evaluation.evaluator import MAX_LISTED, Evaluation, Evaluator, score
from dropout_core.training.validation import validation_score
from tests.support.tensors import normal

EXACT = {"rel": 1e-12, "abs": 1e-12}
TASKS = ("binary", "multiclass", "multilabel", "regression")


def uniform(*shape: int, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=stream, dtype=torch.float64)


def evaluate_classification(probabilities: Tensor, targets: Tensor, *, classes: Any) -> Evaluation:
    return score(probabilities, targets, task="multiclass", names=classes)


def evaluate_multilabel(probabilities: Tensor, targets: Tensor, *, labels: Any) -> Evaluation:
    return score(probabilities, targets, task="multilabel", names=labels)


def evaluate_regression(values: Tensor, targets: Tensor, *, names: Any) -> Evaluation:
    return score(values, targets, task="regression", names=names)


@st.composite
def classifications(draw: st.DrawFn, *, num_classes: int) -> tuple[Tensor, Tensor]:
    """Probabilities with many ties and zeros, and targets of which each class has a row."""
    num_rows = draw(st.integers(num_classes, 12))
    weights = st.lists(st.integers(0, 3), min_size=num_classes, max_size=num_classes).filter(any)
    rows = draw(st.lists(weights, min_size=num_rows, max_size=num_rows))
    classes = st.integers(0, num_classes - 1)
    others = st.lists(classes, min_size=num_rows - num_classes, max_size=num_rows - num_classes)
    targets = draw(st.permutations([*range(num_classes), *draw(others)]))
    weights_NC = torch.tensor(rows, dtype=torch.float64)
    return weights_NC / weights_NC.sum(dim=1, keepdim=True), torch.tensor(targets)


@st.composite
def multilabels(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two labels with ties, each of them with rows that have it and rows that do not."""
    num_rows = draw(st.integers(2, 12))
    eighths = st.lists(st.integers(0, 8), min_size=num_rows, max_size=num_rows)
    rest = st.lists(st.integers(0, 1), min_size=num_rows - 2, max_size=num_rows - 2)
    probabilities = torch.tensor([draw(eighths), draw(eighths)]).T.double() / 8
    targets = [draw(st.permutations([0, 1, *draw(rest)])) for _ in range(2)]
    return probabilities, torch.tensor(targets).T


# Classes


def of_classes_by_sklearn(probabilities: Tensor, targets: Tensor) -> dict[str, float]:
    """All but the calibration error, which scikit-learn does not have."""
    p, true, predicted = probabilities.numpy(), targets.numpy(), probabilities.argmax(1).numpy()
    every = list(range(p.shape[1]))
    binary = len(every) == 2
    indicator = true if binary else np.eye(len(every))[true]
    ranked = p[:, 1] if binary else p
    average: dict[str, Any] = {"average": "binary" if binary else "macro"}
    return {
        "accuracy": sklearn.accuracy_score(true, predicted),
        "balanced_accuracy": sklearn.balanced_accuracy_score(true, predicted),
        "f1": sklearn.f1_score(true, predicted, zero_division=np.nan, **average),
        "roc_auc": sklearn.roc_auc_score(true, ranked, multi_class="ovr"),
        "average_precision": sklearn.average_precision_score(indicator, ranked),
        "log_loss": sklearn.log_loss(true, p, labels=every),
        "brier": sklearn.brier_score_loss(true, p, labels=every),
    }


def assert_classes_agree(probabilities: Tensor, targets: Tensor) -> None:
    num_classes = probabilities.shape[1]
    evaluation = evaluate_classification(probabilities, targets, classes=range(num_classes))
    result = dict(evaluation.metrics)
    assert result.pop("expected_calibration_error") is not None
    assert result == pytest.approx(of_classes_by_sklearn(probabilities, targets), **EXACT)
    assert evaluation.per_class is not None
    predicted = probabilities.argmax(dim=1)
    by_class = sklearn.precision_recall_fscore_support(
        targets, predicted, labels=range(num_classes), zero_division=np.nan
    )
    for index, entry in enumerate(evaluation.per_class):
        keys = ("precision", "recall", "f1", "num_rows")
        for key, expected in zip(keys, (values[index] for values in by_class), strict=True):
            ours = math.nan if entry[key] is None else entry[key]
            assert ours == pytest.approx(expected, nan_ok=True, **EXACT)
        one, scores = (targets == index).numpy(), probabilities[:, index].numpy()
        assert entry["class"] == index
        assert entry["roc_auc"] == pytest.approx(sklearn.roc_auc_score(one, scores), **EXACT)
        expected = sklearn.average_precision_score(one, scores)
        assert entry["average_precision"] == pytest.approx(expected, **EXACT)


@given(classifications(num_classes=2))
@settings(deadline=None, max_examples=40)
def test_two_classes_agree_with_scikit_learn(rows: tuple[Tensor, Tensor]) -> None:
    assert_classes_agree(*rows)


@given(classifications(num_classes=3))
@settings(deadline=None, max_examples=30)
def test_three_classes_agree_with_scikit_learn(rows: tuple[Tensor, Tensor]) -> None:
    assert_classes_agree(*rows)


@pytest.mark.parametrize("num_classes", [2, 7])
@pytest.mark.parametrize("sharpness", [0.1, 30.0])
def test_many_rows_agree_with_scikit_learn(num_classes: int, sharpness: float) -> None:
    logits = normal(3000, num_classes)
    targets = (logits + normal(3000, num_classes, seed=1)).argmax(dim=1)
    assert_classes_agree((sharpness * logits).softmax(dim=1), targets)


def test_a_classification_is_evaluated_as_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
    evaluation = evaluate_classification(
        probabilities.double(), torch.tensor([0, 1, 1]), classes=("a", "b", "c")
    )
    assert evaluation.num_rows == 3
    assert evaluation.metrics["accuracy"] == pytest.approx(2 / 3)
    assert evaluation.metrics["balanced_accuracy"] == pytest.approx(3 / 4)
    expected = -(math.log(0.7) + math.log(0.8) + math.log(0.3)) / 3
    assert evaluation.metrics["log_loss"] == pytest.approx(expected)
    assert evaluation.confusion_matrix == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert evaluation.per_class is not None
    assert evaluation.per_class[0] == {
        "class": "a",
        "num_rows": 1,
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "roc_auc": 1.0,
        "average_precision": 1.0,
    }


def test_a_class_without_rows_is_left_out_of_means() -> None:
    probabilities = uniform(30, 3)
    probabilities[:, 2] = 0
    probabilities /= probabilities.sum(dim=1, keepdim=True)
    targets = torch.arange(30) % 2
    three = evaluate_classification(probabilities, targets, classes="abc")
    two = evaluate_classification(probabilities[:, :2], targets, classes="ab")
    assert three.per_class is not None
    assert two.per_class is not None
    assert three.per_class[:2] == two.per_class
    assert three.per_class[2] == {"class": "c", "num_rows": 0} | dict.fromkeys(
        ("precision", "recall", "f1", "roc_auc", "average_precision")
    )
    for key in ("f1", "roc_auc", "average_precision"):
        assert three.metrics[key] == sum(entry[key] for entry in two.per_class) / 2


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
@settings(deadline=None, max_examples=30)
def test_a_confusion_matrix_counts_true_against_predicted(pairs: list[tuple[int, int]]) -> None:
    true, predicted = (torch.tensor(column) for column in zip(*pairs, strict=True))
    matrix = evaluate_classification(torch.eye(4)[predicted], true, classes=range(4))
    assert matrix.confusion_matrix == [[pairs.count((t, p)) for p in range(4)] for t in range(4)]


def test_a_probability_of_zero_has_a_finite_log_loss() -> None:
    evaluation = evaluate_classification(
        torch.tensor([[1.0, 0.0]]), torch.tensor([1]), classes=(0, 1)
    )
    assert evaluation.metrics["log_loss"] == pytest.approx(52 * math.log(2))


@pytest.mark.parametrize("num_rows", [1, 5])
def test_one_class_alone_has_no_roc_auc(num_rows: int) -> None:
    probabilities = torch.tensor([[0.25, 0.75]] * num_rows, dtype=torch.float64)
    ones = torch.ones(num_rows, dtype=torch.int64)
    assert evaluate_classification(probabilities, ones, classes=(0, 1)).metrics == {
        "accuracy": 1.0,
        "balanced_accuracy": 1.0,
        "f1": 1.0,
        "roc_auc": None,
        "average_precision": 1.0,
        "log_loss": pytest.approx(-math.log(0.75)),
        "brier": 0.0625,
        "expected_calibration_error": 0.25,
    }
    metrics = evaluate_classification(probabilities.flip(1), ones - 1, classes=(0, 1)).metrics
    assert [metrics[key] for key in ("f1", "roc_auc", "average_precision")] == [None] * 3


def test_many_classes_are_scored_and_not_listed() -> None:
    num_classes = MAX_LISTED + 1
    probabilities, targets = uniform(num_classes, num_classes), torch.arange(num_classes)
    evaluation = evaluate_classification(probabilities, targets, classes=range(num_classes))
    assert (evaluation.confusion_matrix, evaluation.per_class) == (None, None)
    assert None not in evaluation.metrics.values()
    fewer = evaluate_classification(
        probabilities[:, :-1], targets.clamp_max(MAX_LISTED - 1), classes=range(MAX_LISTED)
    )
    assert fewer.confusion_matrix is not None
    assert fewer.per_class is not None
    assert len(fewer.confusion_matrix) == len(fewer.per_class) == MAX_LISTED


# Calibration


def test_reliability_agrees_with_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    probabilities = (2 * normal(2000, 3)).softmax(dim=1)
    targets = (normal(2000, 3, seed=1) + probabilities).argmax(dim=1)
    evaluation = evaluate_classification(probabilities, targets, classes=range(3))
    confidence, predicted = probabilities.max(dim=1)
    accuracies, means = calibration_curve(predicted == targets, confidence, n_bins=10)
    bins = evaluation.reliability
    assert bins is not None
    assert [b["accuracy"] for b in bins] == pytest.approx(accuracies.tolist(), **EXACT)
    assert [b["mean_confidence"] for b in bins] == pytest.approx(means.tolist(), **EXACT)
    expected = sum(
        b["num_rows"] * abs(gap) for b, gap in zip(bins, accuracies - means, strict=True)
    )
    error = evaluation.metrics["expected_calibration_error"]
    assert error == pytest.approx(expected / 2000, **EXACT)


def test_a_bin_holds_its_upper_edge_and_empty_ones_are_left_out() -> None:
    probabilities = torch.tensor([[0.6, 0.4], [0.61, 0.39], [0.0, 1.0]], dtype=torch.float64)
    bins = evaluate_classification(
        probabilities, torch.tensor([0, 1, 1]), classes=(0, 1)
    ).reliability
    keys = ("lower", "upper", "num_rows", "mean_confidence", "accuracy")
    rows = [(0.5, 0.6, 1, 0.6, 1.0), (0.6, 0.7, 1, 0.61, 0.0), (0.9, 1.0, 1, 1.0, 1.0)]
    assert bins == [dict(zip(keys, row, strict=True)) for row in rows]


def test_every_decision_about_a_label_is_in_a_bin() -> None:
    probabilities, targets = torch.tensor([[0.9, 0.2]]), torch.tensor([[1, 1]])
    bins = evaluate_multilabel(probabilities, targets, labels=("a", "b")).reliability
    assert bins is not None
    assert [(b["lower"], b["num_rows"], b["accuracy"]) for b in bins] == [
        (0.7, 1, 0.0),
        (0.8, 1, 1.0),
    ]


# Labels


def of_labels_by_sklearn(probabilities: Tensor, targets: Tensor) -> dict[str, float]:
    p, true, predicted = probabilities.numpy(), targets.numpy(), (probabilities > 0.5).numpy()
    columns = list(zip(true.T, p.T, strict=True))
    return {
        "accuracy": 1 - sklearn.hamming_loss(true, predicted),
        "subset_accuracy": sklearn.accuracy_score(true, predicted),
        "f1": sklearn.f1_score(true, predicted, average="macro", zero_division=np.nan),
        "roc_auc": sklearn.roc_auc_score(true, p, average="macro"),
        "average_precision": sklearn.average_precision_score(true, p, average="macro"),
        "log_loss": np.mean([sklearn.log_loss(t, c, labels=[0, 1]) for t, c in columns]),
        "brier": np.mean([sklearn.brier_score_loss(t, c) for t, c in columns]),
    }


@given(multilabels())
@settings(deadline=None, max_examples=30)
def test_labels_agree_with_scikit_learn(rows: tuple[Tensor, Tensor]) -> None:
    evaluation = evaluate_multilabel(*rows, labels=("a", "b"))
    result = dict(evaluation.metrics)
    assert result.pop("expected_calibration_error") is not None
    assert result == pytest.approx(of_labels_by_sklearn(*rows), **EXACT)
    assert evaluation.confusion_matrix is None


def test_a_label_has_the_scores_of_a_class() -> None:
    probabilities = uniform(50, 3)
    targets = (uniform(50, 3, seed=1) < probabilities).double()
    evaluation = evaluate_multilabel(probabilities, targets, labels="abc")
    assert evaluation.per_class is not None
    for index, (label, entry) in enumerate(zip("abc", evaluation.per_class, strict=True)):
        of_label = torch.stack([1 - probabilities[:, index], probabilities[:, index]], dim=1)
        of_class = evaluate_classification(of_label, targets[:, index].long(), classes=(0, 1))
        assert of_class.per_class is not None
        assert entry == of_class.per_class[1] | {"class": label}


def test_a_label_that_no_row_has_is_left_out_of_means() -> None:
    probabilities, targets = uniform(20, 2) / 2, torch.tensor([[0, 0], [1, 0]]).repeat(10, 1)
    both = evaluate_multilabel(probabilities, targets, labels="ab").metrics
    one = evaluate_multilabel(probabilities[:, :1], targets[:, :1], labels="a").metrics
    for key in ("f1", "roc_auc", "average_precision"):
        assert both[key] == one[key]


# Values


@given(st.integers(2, 20), st.integers(1, 4), st.integers(0, 2**32), st.sampled_from([1e-6, 1e9]))
@settings(deadline=None, max_examples=30)
def test_a_regression_agrees_with_scikit_learn(
    num_rows: int, num_targets: int, seed: int, scale: float
) -> None:
    targets = scale * (normal(num_rows, num_targets, seed=seed) + 2)
    values = targets + scale * normal(num_rows, num_targets, seed=seed + 1)
    names = [f"y{index}" for index in range(num_targets)]
    evaluation = evaluate_regression(values, targets, names=names)
    functions = {
        "rmse": sklearn.root_mean_squared_error,
        "mae": sklearn.mean_absolute_error,
        "r2": sklearn.r2_score,
    }
    for key, function in functions.items():
        of_targets = function(targets, values, multioutput="raw_values")
        expected = function(targets, values)
        # A mean of the targets' R2 may come near zero, while its terms round like themselves.
        rounding = {"rel": 1e-12, "abs": 1e-12 * float(np.abs(of_targets).max())}
        assert evaluation.metrics[key] == pytest.approx(expected, **rounding)
        if num_targets > 1:
            assert evaluation.per_target is not None
            ours = [entry[key] for entry in evaluation.per_target]
            assert ours == pytest.approx(of_targets.tolist(), **rounding)


def test_a_regression_is_evaluated_as_by_hand() -> None:
    values, targets = torch.tensor([[1.0, 2.0, 6.0], [1.0, 4.0, 4.0]], dtype=torch.float64)
    evaluation = evaluate_regression(values[:, None], targets[:, None], names=["y"])
    assert evaluation.num_rows == 3
    assert evaluation.confusion_matrix is None
    assert evaluation.per_target is None
    assert evaluation.metrics == pytest.approx(
        {"rmse": math.sqrt(8 / 3), "mae": 4 / 3, "r2": 1 - 8 / 6}
    )


@pytest.mark.parametrize("constant", [1.0, 0.1, 1e17])
def test_targets_that_do_not_vary_have_an_r2_of_one_or_zero(constant: float) -> None:
    # The mean of three times 0.1 is not 0.1.
    targets = torch.full((3, 1), constant, dtype=torch.float64)
    for values, expected in ((targets, 1.0), (2 * targets, 0.0)):
        assert evaluate_regression(values, targets, names=["y"]).metrics["r2"] == expected
        assert validation_score(values, targets, task="regression") == expected


def test_targets_too_close_to_have_a_variance_in_float64_do_not_vary() -> None:
    targets = torch.tensor([[0.0], [1e-200]], dtype=torch.float64)
    assert evaluate_regression(targets + 1, targets, names=["y"]).metrics["r2"] == 0.0


def test_one_row_has_no_r2() -> None:
    evaluation = evaluate_regression(torch.ones(1, 2), torch.zeros(1, 2), names=["a", "b"])
    assert evaluation.metrics == {"rmse": 1.0, "mae": 1.0, "r2": None}
    assert evaluation.per_target is not None
    assert [entry["r2"] for entry in evaluation.per_target] == [None, None]


def test_an_error_too_large_to_square_is_undefined() -> None:
    values = torch.tensor([[1e200], [0.0]], dtype=torch.float64)
    metrics = evaluate_regression(values, torch.tensor([[0.0], [1.0]]), names=["y"]).metrics
    assert metrics == {"rmse": None, "mae": pytest.approx(5e199), "r2": None}


# Every task


def evaluated(task: str, outputs: Tensor) -> Any:
    rows = torch.arange(len(outputs))
    if task == "regression":
        return evaluate_regression(outputs, rows[:, None].expand_as(outputs), names="ab")
    if task == "multilabel":
        return evaluate_multilabel(outputs, (rows[:, None] % 2).expand_as(outputs), labels="ab")
    return evaluate_classification(outputs, rows % 2, classes=range(outputs.shape[1]))


@pytest.mark.parametrize("task", TASKS)
def test_the_metrics_of_a_task_are_those_named_and_point_somewhere(task: str) -> None:
    evaluation = evaluated(task, uniform(10, 2))
    assert set(evaluation.metrics) == set(metric_names(task))
    assert None not in evaluation.metrics.values()
    assert set(metric_names(task)) <= set(HIGHER_IS_BETTER)
    assert default_metric(task) in evaluation.metrics


@pytest.mark.parametrize("task", TASKS)
def test_a_metric_of_better_outputs_is_better(task: str) -> None:
    right = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 3, dtype=torch.float64).flip(0)
    if task == "multilabel":
        right = torch.tensor([[0.0, 0.0], [1.0, 1.0]] * 3, dtype=torch.float64)
    if task == "regression":
        right = torch.arange(6, dtype=torch.float64)[:, None].expand(6, 2)
    better, worse = evaluated(task, right).metrics, evaluated(task, right.roll(1, dims=0)).metrics
    for name in metric_names(task):
        assert (better[name] > worse[name]) == HIGHER_IS_BETTER[name]
        assert better[name] != worse[name]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("outputs", [[], [math.nan], [0.5, math.inf]])
def test_without_rows_or_with_an_output_that_is_not_finite_nothing_is_defined(
    task: str, outputs: list[float]
) -> None:
    column = torch.tensor(outputs, dtype=torch.float64)
    evaluation = evaluated(task, torch.stack([column, column], dim=1))
    rest = ("confusion_matrix", "per_class", "per_target", "reliability")
    assert evaluation.to_dict() == {
        "num_rows": len(outputs),
        "metrics": dict.fromkeys(metric_names(task)),
    } | dict.fromkeys(rest)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sizes", [[1] * 40, [7, 0, 20, 13]])
def test_an_evaluation_has_the_same_bits_in_whatever_batches_the_rows_came(
    task: str, sizes: list[int]
) -> None:
    num_outputs = 3 if task == "multiclass" else 2
    outputs = normal(40, num_outputs).softmax(dim=1)
    targets = normal(40, num_outputs, seed=1)
    if task == "multilabel":
        targets = (targets > 0).double()
    elif task != "regression":
        targets = targets.argmax(dim=1)
    names = range(num_outputs)
    with tempfile.TemporaryFile() as file:
        evaluator = Evaluator(task, names=names, file=file)
        for batch in zip(outputs.split(sizes), targets.split(sizes), strict=True):
            evaluator.add(*batch)
        evaluation = evaluator.evaluation()
    assert evaluation == score(outputs, targets, task=task, names=names)
    assert None not in evaluation.metrics.values()


@pytest.mark.parametrize("task", TASKS)
def test_one_batch_with_an_output_that_is_not_finite_leaves_nothing_defined(task: str) -> None:
    evaluator = Evaluator(task, names="ab", file=io.BytesIO())
    for value in (0.5, math.nan, 0.5):
        outputs = torch.full((2, 2), value)
        several = task in ("multilabel", "regression")
        evaluator.add(outputs, torch.zeros(2, 2) if several else torch.zeros(2).long())
    assert evaluator.evaluation() == Evaluation(6, dict.fromkeys(metric_names(task)))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("num_rows", [1, 4])
def test_an_evaluation_is_plain_values_for_json(task: str, num_rows: int) -> None:
    values = evaluated(task, uniform(num_rows, 2)).to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values


@pytest.mark.parametrize("task", TASKS)
def test_outputs_in_float32_are_scored_in_float64(task: str) -> None:
    outputs = uniform(30, 2).float()
    assert evaluated(task, outputs) == evaluated(task, outputs.double())


def test_quantiles_are_scored_by_the_pinball_loss_and_their_medians() -> None:
    levels = (0.1, 0.5, 0.9)
    outputs, targets = normal(30, 6), normal(30, 2, seed=1)
    outputs = outputs.view(30, 2, 3).sort(dim=2).values.flatten(1)
    found = score(outputs, targets, task="regression", names="ab", quantiles=levels)
    medians = score(outputs[:, 1::3], targets, task="regression", names="ab")
    assert {name: found.metrics[name] for name in medians.metrics} == medians.metrics
    assert set(found.metrics) == set(metric_names("regression", has_quantiles=True))
    losses = [
        sklearn.mean_pinball_loss(targets[:, t], outputs[:, 3 * t + q], alpha=level)
        for t in range(2)
        for q, level in enumerate(levels)
    ]
    assert found.metrics["pinball_loss"] == pytest.approx(sum(losses) / 6)
    of_targets = [part["pinball_loss"] for part in found.per_target]
    assert of_targets == [pytest.approx(sum(losses[:3]) / 3), pytest.approx(sum(losses[3:]) / 3)]
    nothing = score(outputs[:0], targets[:0], task="regression", names="ab", quantiles=levels)
    assert nothing.metrics == dict.fromkeys(found.metrics)
    with pytest.raises(ValueError, match="6 outputs for 1 names"):
        score(outputs, targets, task="regression", names="a", quantiles=levels)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="2 outputs for 3 names"):
        evaluate_classification(uniform(4, 2), torch.zeros(4).long(), classes="abc")
    with pytest.raises(ValueError, match=r"shape \(4,\), but \(4, 1\) is due"):
        evaluate_regression(uniform(4, 1), uniform(4), names=["y"])
    with pytest.raises(ValueError, match=r"shape \(5,\), but \(4,\) is due"):
        evaluate_classification(uniform(4, 2), torch.zeros(5).long(), classes="ab")


@pytest.mark.parametrize("task", ["binary", "multilabel", "regression"])
def test_the_score_is_the_default_metric_of_an_evaluation(task: str) -> None:
    outputs, targets = normal(30, 2), normal(30, 2, seed=1)
    if task == "binary":
        targets = targets.argmax(dim=1)
        evaluation = evaluate_classification(outputs.softmax(dim=1), targets, classes=(0, 1))
    elif task == "multilabel":
        targets = (targets > 0).double()
        evaluation = evaluate_multilabel(outputs.sigmoid(), targets, labels=("a", "b"))
    else:
        evaluation = evaluate_regression(outputs, targets, names=("a", "b"))
    expected = evaluation.metrics[default_metric(task)]
    assert validation_score(outputs, targets, task=task) == pytest.approx(expected, **EXACT)
