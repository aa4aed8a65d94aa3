import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.config import TrainingConfig
from dropout_core.training.losses import (
    Loss,
    over_members,
    pinball_loss,
    plain_loss,
    training_loss,
    value_and_gradient,
)
from tests.support.tensors import normal

TARGETS = torch.tensor([0, 2, 2, 0, 2, 1, 2, 2])  # of three classes: 2, 1 and 5 rows
WEIGHTS = (0.5, 3.0, 0.25)

# Sums of 8 rows of 3 classes, written in two ways, differ by less than 8 * 3 roundings of their
# magnitude, which is below 2^6 here.
ROUNDING = 24 * 2.0**-53 * 2**6


def loss_of(targets: Tensor = TARGETS, *, num_outputs: int = 3, **options: Any) -> Loss:
    config = TrainingConfig(**options)
    return training_loss(config, "multiclass", targets=targets, num_outputs=num_outputs)


def outputs(num_rows: int = len(TARGETS), num_classes: int = 3) -> Tensor:
    return normal(num_rows, num_classes)


def close(one: Tensor, other: Tensor) -> bool:
    return bool(((one - other).abs() <= ROUNDING).all())


def log_loss(row: Tensor, target: int) -> Tensor:
    return row.exp().sum().log() - row[target]


def test_the_loss_of_classes_is_the_cross_entropy_of_logits() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    for task in ("binary", "multiclass"):
        assert plain_loss(task)(logits, torch.tensor([0, 0])).item() == pytest.approx(expected)


def test_the_loss_of_labels_is_the_mean_cross_entropy_of_each_logit() -> None:
    logits, targets = torch.tensor([[2.0, -1.0, 0.0]]), torch.tensor([[1, 1, 0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1)) + math.log(2)) / 3
    for dtype in (torch.int64, torch.float32, torch.float64, torch.bool):
        result = plain_loss("multilabel")(logits, targets.to(dtype))
        assert result.item() == pytest.approx(expected)
        assert result.dtype == torch.float32


def test_the_loss_of_a_regression_is_the_mean_squared_error() -> None:
    result = plain_loss("regression")(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [0.0]]))
    assert result.item() == 4.5
    result = plain_loss("regression")(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 0.0]]))
    assert result.item() == 4.5


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_without_options_it_is_the_loss_of_the_task_to_the_bit(task: str) -> None:
    loss = training_loss(TrainingConfig(), task, targets=TARGETS, num_outputs=3)
    assert torch.equal(loss(outputs(), TARGETS), F.cross_entropy(outputs(), TARGETS))


def test_a_regression_has_the_squared_error() -> None:
    values, targets = normal(8, 1), normal(8, 1, seed=1)
    loss = training_loss(TrainingConfig(), "regression", targets=targets, num_outputs=1)
    assert close(loss(values, targets), (values - targets).square().sum() / 8)


def test_a_weight_multiplies_the_loss_of_each_row_of_its_class() -> None:
    loss = loss_of(class_weights=WEIGHTS)(outputs(), TARGETS)
    pairs = zip(outputs(), TARGETS.tolist(), strict=True)
    by_hand = sum(WEIGHTS[target] * log_loss(row, target) for row, target in pairs) / len(TARGETS)
    assert close(loss, by_hand)


def test_balanced_weights_are_rows_by_classes_times_rows_of_the_class() -> None:
    loss = loss_of(class_weights="balanced")(outputs(), TARGETS)
    by_hand = loss_of(class_weights=(8 / (3 * 2), 8 / (3 * 1), 8 / (3 * 5)))(outputs(), TARGETS)
    assert close(loss, by_hand)


def total_weight(loss: Loss, target: int, targets: Tensor = TARGETS) -> float:
    """Of all rows of a class: outputs that say nothing of 3 classes have a loss of log 3 each."""
    of_class = targets[targets == target]
    value = loss(torch.zeros(len(of_class), 3, dtype=torch.float64), of_class)
    return value.item() * len(of_class) / math.log(3)


def test_balanced_weights_give_every_class_the_same_total() -> None:
    loss = loss_of(class_weights="balanced")
    totals = [total_weight(loss, target) for target in range(3)]
    assert totals == pytest.approx([len(TARGETS) / 3] * 3, rel=0, abs=ROUNDING)


def test_balanced_weights_of_balanced_classes_change_nothing() -> None:
    targets = torch.arange(9) % 3
    loss = loss_of(targets, class_weights="balanced")(outputs(9), targets)
    assert close(loss, plain_loss("multiclass")(outputs(9), targets))


@pytest.mark.parametrize("missing", range(3))
def test_a_class_without_rows_leaves_the_others_their_balance(missing: int) -> None:
    targets = TARGETS[missing != TARGETS]
    loss = loss_of(targets, class_weights="balanced")
    totals = [total_weight(loss, target, targets) for target in range(3) if target != missing]
    assert totals == pytest.approx([len(targets) / 3] * 2, rel=0, abs=ROUNDING)
    assert math.isfinite(loss(outputs(1), torch.tensor([missing])))


def test_a_class_of_no_weight_adds_nothing() -> None:
    loss = loss_of(class_weights=(1.0, 0.0, 1.0))
    values = outputs().requires_grad_()
    loss(values, TARGETS).backward()
    assert not values.grad[TARGETS == 1].any()
    assert values.grad[TARGETS != 1].all()


@pytest.mark.parametrize("smoothing", [1e-3, 0.1, 0.9])
def test_smoothing_is_cross_entropy_with_a_target_mixed_with_all_classes(smoothing: float) -> None:
    loss = loss_of(label_smoothing=smoothing)(outputs(), TARGETS)
    mixed = (1 - smoothing) * F.one_hot(TARGETS, 3).double() + smoothing / 3
    log_probabilities = outputs() - outputs().exp().sum(dim=1, keepdim=True).log()
    assert close(loss, -(mixed * log_probabilities).sum() / len(TARGETS))


OPTIONS = [
    {"class_weights": WEIGHTS},
    {"class_weights": "balanced"},
    {"label_smoothing": 0.1},
    {"class_weights": WEIGHTS, "label_smoothing": 0.1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_a_row_adds_does_not_depend_on_the_rows_beside_it(options: dict[str, Any]) -> None:
    loss = loss_of(**options)
    alone = [loss(outputs()[[index]], TARGETS[[index]]) for index in range(len(TARGETS))]
    assert close(loss(outputs(), TARGETS) * len(TARGETS), sum(alone))
    for others in (TARGETS.roll(3), torch.zeros_like(TARGETS)):
        slopes = []
        for beside in (TARGETS, torch.cat([TARGETS[:1], others[1:]])):
            values = outputs().requires_grad_()
            loss(values, beside).backward()
            slopes.append(values.grad[0])
        assert torch.equal(*slopes)


@pytest.mark.parametrize("options", [{}, *OPTIONS], ids=str)
def test_a_value_and_its_gradient_are_those_of_autograd(options: dict[str, Any]) -> None:
    loss, leaf, given = loss_of(**options), outputs().requires_grad_(), outputs()
    expected = loss(leaf, TARGETS)
    expected.backward()
    value, gradient = value_and_gradient(loss, given, TARGETS)
    assert close(value, expected)
    assert close(gradient, leaf.grad)
    assert not value.requires_grad
    assert torch.equal(given, outputs())


def test_the_gradient_of_a_squared_error_is_that_of_autograd() -> None:
    values, targets = normal(8, 1), normal(8, 1, seed=1)
    loss = training_loss(TrainingConfig(), "regression", targets=targets, num_outputs=1)
    value, gradient = value_and_gradient(loss, values, targets)
    assert close(value, (values - targets).square().mean())
    assert close(gradient, (values - targets) / 4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_loss_has_the_dtype_of_its_outputs(options: dict[str, Any]) -> None:
    assert loss_of(**options)(outputs().float(), TARGETS).dtype == torch.float32


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_two_classes_are_weighed_and_smoothed_too(options: dict[str, Any]) -> None:
    if "class_weights" in options and options["class_weights"] != "balanced":
        options = {**options, "class_weights": WEIGHTS[:2]}
    targets = torch.tensor([0, 1, 0, 0])
    config = TrainingConfig(**options)
    loss = training_loss(config, "binary", targets=targets, num_outputs=2)
    value = loss(outputs(4, 2), targets)
    assert close(value, loss_of(targets, num_outputs=2, **options)(outputs(4, 2), targets))
    assert not close(value, plain_loss("binary")(outputs(4, 2), targets))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 1.0, 1.0, 1.0)])
def test_a_wrong_number_of_weights_names_both_numbers(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=f"{len(weights)} weights for 3 classes"):
        loss_of(class_weights=weights)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_regression_has_no_classes_to_weigh_or_smooth(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no classes"):
        training_loss(TrainingConfig(**options), "regression", targets=normal(8, 1), num_outputs=1)


def test_a_regression_may_have_the_absolute_error() -> None:
    values, targets = normal(8, 2), normal(8, 2, seed=1)
    config = TrainingConfig(loss="absolute")
    loss = training_loss(config, "regression", targets=targets, num_outputs=2)
    assert close(loss(values, targets), (values - targets).abs().sum() / 16)
    assert plain_loss("regression")(values, targets) == F.mse_loss(values, targets)


QUANTILES = (0.1, 0.5, 0.75)


def pinball(output: float, target: float, level: float) -> float:
    return level * (target - output) if target >= output else (1 - level) * (output - target)


def test_quantiles_have_the_pinball_loss_target_by_target() -> None:
    outputs, targets, weights = normal(8, 6), normal(8, 2, seed=1), normal(8, seed=2).square()
    by_row = [
        sum(
            pinball(outputs[row, 3 * target + index].item(), targets[row, target].item(), level)
            for target in range(2)
            for index, level in enumerate(QUANTILES)
        )
        / 6
        for row in range(8)
    ]
    config = TrainingConfig(quantiles=QUANTILES)
    plain, weighted = (
        training_loss(config, "regression", targets=targets, num_outputs=6, weighted=weighted)
        for weighted in (False, True)
    )
    assert plain(outputs, targets).item() == pytest.approx(sum(by_row) / 8, rel=1e-12)
    of_rows = torch.tensor(by_row, dtype=torch.float64)
    expected = ((of_rows * weights).sum() / 8).item()
    assert weighted(outputs, targets, weights).item() == pytest.approx(expected, rel=1e-12)
    _, gradient = value_and_gradient(plain, outputs, targets)
    above = outputs.unflatten(1, (2, 3)) > targets[..., None]
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    torch.testing.assert_close(gradient, (above.double() - levels).flatten(1) / 48)


@pytest.mark.parametrize("level", QUANTILES)
def test_the_pinball_loss_is_least_at_the_quantile(level: float) -> None:
    # The quantile of p of the numbers 0 to 100 is 100 p, which is one of them here.
    targets, levels = torch.arange(101.0)[:, None], torch.tensor([level])
    losses = [
        pinball_loss(torch.full((101, 1), float(value)), targets, levels=levels).item()
        for value in range(101)
    ]
    assert losses.index(min(losses)) == round(100 * level)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_the_loss_of_members_is_the_mean_of_their_losses(task: str, weighted: bool) -> None:
    of_members = normal(8, 4, 3)  # (B, k, C)
    targets = TARGETS if task == "multiclass" else (normal(8, 3, seed=1) > 0).double()
    weights = (normal(8, seed=2).square(),) if weighted else ()
    loss = training_loss(TrainingConfig(), task, targets=targets, num_outputs=3, weighted=weighted)
    expected = torch.stack([loss(of_members[:, j], targets, *weights) for j in range(4)]).mean()
    assert close(over_members(loss)(of_members, targets, *weights), expected)
