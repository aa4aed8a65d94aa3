"""What early stopping watches; `test_loop` tests when it ends a run, and with which weights."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.config import (
    AdamConfig,
    EarlyStoppingConfig,
    MLPConfig,
    TrainingConfig,
)
from dropout_core.nn.mlp import MLP
from dropout_core.training.early_stopping import EarlyStopping
from dropout_core.training.feasibility import METRICS_OF, InfeasibleError
from dropout_core.training.loop import Training
from dropout_core.training.training_data import TrainingData
from dropout_core.training.validation import monitored_metric
from tests.support.training_runs import blob_data, blob_training


def rare_class_data() -> TrainingData:
    """A class of one row in twelve, hard to tell from the other."""
    stream = torch.Generator().manual_seed(5)
    targets = (torch.arange(480) % 12 == 0).long()
    features = torch.randn(480, 2, generator=stream) + 1.2 * targets[:, None]
    return TrainingData(features[:360], targets[:360], features[360:], targets[360:])


def binary_training(data: TrainingData, monitor: Any, **config: Any) -> Training:
    network = MLP(MLPConfig(hidden=(8,), hidden_dropout=0.0), in_features=2, out_features=2, seed=0)
    stopping = EarlyStoppingConfig(monitor=monitor)
    training = TrainingConfig(epochs=30, batch_size=60, early_stopping=stopping, **config)
    return Training(network, data, training, task="binary")


def test_early_stopping_watches_the_loss_that_class_weights_shape() -> None:
    data = rare_class_data()
    plain, weighted = (
        binary_training(data, monitor, class_weights="balanced", optimizer=AdamConfig(lr=0.01))
        for monitor in ("validation_loss", None)
    )
    assert len(list(plain)) < len(list(weighted))
    watched = [metrics.monitored for metrics in weighted.history]
    assert watched[0] > watched[-1]  # type: ignore[operator]
    targets, counts = data.validation_targets, torch.bincount(data.train_targets)
    assert targets is not None
    with torch.no_grad():
        outputs = weighted.model.eval()(data.validation_features)
    of_rows = F.cross_entropy(outputs, targets, reduction="none") * (360 / (2 * counts))[targets]
    assert float(of_rows.mean()) == pytest.approx(min(watched), rel=1e-5)  # type: ignore[type-var]


def test_without_weights_the_loss_that_is_watched_is_the_validation_loss() -> None:
    for monitor in (None, "loss", "validation_loss"):
        training = blob_training(epochs=3, early_stopping=EarlyStoppingConfig(monitor=monitor))
        assert all(metrics.monitored == metrics.validation_loss for metrics in training)
    assert all(metrics.monitored is None for metrics in blob_training(epochs=2))


def test_rows_that_weigh_nothing_are_not_watched() -> None:
    data = blob_data()
    assert data.validation_targets is not None
    weights = torch.tensor([0.0, 2.0] * 15)
    wrong = data.validation_targets.clone()
    wrong[::2] = (wrong[::2] + 1) % 3

    def watched(targets: Tensor) -> list[float | None]:
        of_rows = replace(data, validation_targets=targets, validation_weights=weights)
        stopping = EarlyStoppingConfig()
        return [m.monitored for m in blob_training(of_rows, epochs=3, early_stopping=stopping)]

    assert watched(wrong) == watched(data.validation_targets)


@pytest.mark.parametrize("monitor", METRICS_OF["multiclass"])
def test_of_a_metric_more_is_better(monitor: Any) -> None:
    stopping = EarlyStoppingConfig(patience=3, monitor=monitor)
    training = blob_training(epochs=40, optimizer=AdamConfig(lr=0.003), early_stopping=stopping)
    watched: list[Any] = [metrics.monitored for metrics in training]
    best = watched.index(max(watched))
    assert training.stopped_early
    assert len(watched) == best + 1 + 3
    outputs = training.model.eval()(training.data.validation_features).detach()
    assert training.data.validation_targets is not None
    found = monitored_metric(
        outputs, training.data.validation_targets, task="multiclass", monitor=monitor
    )
    assert found == max(watched)


def test_a_metric_that_the_validation_rows_leave_undefined_is_refused() -> None:
    data = rare_class_data()
    without = replace(data, validation_targets=torch.zeros(120, dtype=torch.int64))
    with pytest.raises(InfeasibleError, match=r"roc_auc is undefined .*: watch `validation_loss`"):
        binary_training(without, "roc_auc")
    assert binary_training(data, "roc_auc").history == []


@pytest.mark.parametrize(("fall", "is_over"), [(0.1, False), (0.04, True)])
def test_small_improvements_add_up(fall: float, is_over: bool) -> None:
    stopping = EarlyStopping(
        EarlyStoppingConfig(patience=3, min_delta=0.15), task="binary", loss=F.cross_entropy
    )
    for epoch in range(4):
        assert stopping.watch(1.0 - fall * epoch), "the best so far"
    assert stopping.is_over == is_over
    again = EarlyStopping(
        EarlyStoppingConfig(patience=3, min_delta=0.15), task="binary", loss=F.cross_entropy
    )
    again.restore(stopping.state())
    assert again.state() == stopping.state()


@pytest.mark.parametrize(("ties", "kept"), [("first", [0, 1]), ("last", [0, 1, 2, 5])])
def test_of_equal_best_epochs_the_first_or_the_last_is_kept(ties: Any, kept: list[int]) -> None:
    config = EarlyStoppingConfig(patience=4, monitor="accuracy", ties=ties)
    stopping = EarlyStopping(config, task="binary", loss=F.cross_entropy)
    values = [0.5, 0.75, 0.75, 0.25, None, 0.75]
    assert [epoch for epoch, value in enumerate(values) if stopping.watch(value)] == kept
    assert stopping.is_over, "a tie is no improvement, so it does not prolong the run"


def test_an_undefined_value_ties_with_nothing() -> None:
    config = EarlyStoppingConfig(monitor="roc_auc", ties="last")
    assert not EarlyStopping(config, task="binary", loss=F.cross_entropy).watch(None)


def test_of_an_error_less_is_better() -> None:
    config = EarlyStoppingConfig(patience=2, monitor="mae")
    stopping = EarlyStopping(config, task="regression", loss=F.mse_loss)
    assert [stopping.watch(value) for value in (0.9, 0.5, 0.6, 0.7)] == [True, True, False, False]
    assert stopping.is_over


def kept_epochs(losses: list[float], **options: Any) -> tuple[list[int], bool]:
    """Watch losses of 40 rows in ten parts, which change between epochs by a spread of 0.3."""
    stopping = EarlyStopping(
        EarlyStoppingConfig(monitor="mae", **options), task="regression", loss=F.mse_loss
    )
    kept = []
    for epoch, loss in enumerate(losses, 1):
        spread = 0.3 * torch.tensor([1.0, -1.0] * 20) * (-1) ** epoch
        hard = torch.tensor([0.0, 0.0, 5.0, 5.0, 0.0] * 8)  # the same parts in each epoch
        outputs = (loss + spread + hard)[:, None]
        value = stopping.value(outputs, torch.zeros(40, 1), weights=None, plain_loss=0.0)
        if stopping.watch(value):
            kept.append(epoch)
    return kept, stopping.is_over


def test_a_tolerance_keeps_the_last_epoch_that_is_not_clearly_worse_than_the_best() -> None:
    # Odd epochs differ from even ones by 0.6 up or down in each part, whose mean has a standard
    # error of 0.6 / sqrt(9) = 0.2; two odd epochs differ in their mean alone, which is no chance.
    losses = [3.0, 2.0, 2.1, 2.05, 2.9, 1.95, 2.1, 2.0]
    assert kept_epochs(losses, tolerance=1.0) == ([1, 2, 3, 6, 7], False)
    assert kept_epochs(losses, tolerance=0.1) == ([1, 2, 6], False)
    assert kept_epochs(losses) == ([1, 2, 6], False)


def test_with_a_tolerance_the_patience_counts_epochs_that_are_clearly_worse() -> None:
    losses = [2.0, 2.1, 2.4, 2.1, 2.5]
    assert kept_epochs(losses, tolerance=1.0, patience=2) == ([1, 2, 4], False)
    assert kept_epochs([*losses, 2.9], tolerance=1.0, patience=2)[1]
    assert kept_epochs(losses, patience=2)[1]


def test_a_part_whose_loss_is_infinite_says_nothing() -> None:
    config = EarlyStoppingConfig(monitor="validation_loss", tolerance=1.0)
    stopping = EarlyStopping(config, task="regression", loss=F.mse_loss)
    outputs = torch.ones(40, 1)
    outputs[0] = 3e19  # its square is 9e38, beyond float32
    for plain_loss in (2.0, 1.0, 1.5):
        value = stopping.value(outputs, torch.zeros(40, 1), weights=None, plain_loss=plain_loss)
        stopping.watch(value)
    assert stopping.state()["best_parts"] == [None, *[1.0] * 9]


def test_what_early_stopping_tolerates_is_restored() -> None:
    config = EarlyStoppingConfig(monitor="mae", tolerance=1.0)
    first, again = (EarlyStopping(config, task="regression", loss=F.mse_loss) for _ in range(2))
    outputs = torch.randn(40, 1, generator=torch.Generator().manual_seed(0))
    first.watch(first.value(outputs, torch.zeros(40, 1), weights=None, plain_loss=0.0))
    again.restore(json.loads(json.dumps(first.state())))
    worse = 1.1 * outputs.flip(0)
    kept = [
        stopping.watch(stopping.value(worse, torch.zeros(40, 1), weights=None, plain_loss=0.0))
        for stopping in (first, again)
    ]
    assert kept[0] == kept[1]
    assert again.state() == first.state()
