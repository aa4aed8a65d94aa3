"""Rates that are measured on a few batches, also of what is too large to measure whole."""

import pytest

from app.sweeps.estimate import Network, measure
from dropout_core.config import MLPConfig, Task, TrainingConfig

SIZES = {"num_rows": 200, "num_validation": 50}


@pytest.mark.parametrize(
    ("task", "out_features", "training"),
    [
        ("binary", 2, {"stacked": True}),
        ("multiclass", 5, {"class_weights": (1.0,) * 5}),
        ("multilabel", 3, {}),
        ("regression", 6, {"quantiles": (0.1, 0.5, 0.9)}),
    ],
)
def test_every_task_has_a_rate(task: Task, out_features: int, training: dict[str, object]) -> None:
    config = TrainingConfig.model_validate(training)
    model = MLPConfig(hidden=(8,), hidden_dropout=0.1)
    rates = measure(Network(model, config, 4, out_features, task, **SIZES))
    assert rates.alone > 0
    assert (rates.stacked is not None) == config.stacked
    assert 0 < rates.seconds(1000) <= 1000 / rates.alone


def test_a_large_network_is_measured_in_parts() -> None:
    """With a batch of a million rows, one step of it would take hours."""
    model = MLPConfig(hidden=(65_536, 65_536), hidden_dropout=0.5)
    training = TrainingConfig(batch_size=1_000_000)
    network = Network(
        model, training, 50_000, 1_000, "multiclass", num_rows=10**7, num_validation=10**6
    )
    assert 0 < measure(network).alone < 100
