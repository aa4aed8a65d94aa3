"""Weight decay and dropout that change from step to step."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    Coslog4Config,
    FlatCosineConfig,
    MLPConfig,
    PreprocessingConfig,
    SGDConfig,
    TrainingConfig,
)
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.layers import STOCHASTIC
from dropout_core.nn.mlp import MLP
from dropout_core.training.checkpoint import load_checkpoint, save_checkpoint
from dropout_core.training.loop import Training, train
from dropout_core.training.training_data import TrainingData
from tests.support.training_runs import (
    after_each_step,
    blob_data,
    blob_training,
    run_batches,
    same_bits,
    timeless,
)

FLAT = 0.25


def factor(step: int, num_steps: int = 12) -> float:
    """What a schedule that is flat for a quarter of the run multiplies by."""
    share = (step + 0.5) / num_steps
    return 1.0 if share <= FLAT else (1 + math.cos(math.pi * (share - FLAT) / (1 - FLAT))) / 2


def test_the_weight_decay_of_each_step_is_that_of_its_middle() -> None:
    # Without a gradient, AdamW does nothing but shrink the weights.
    features, targets = torch.zeros(8, 1), torch.zeros(8, 1)
    model = MLP(MLPConfig(hidden=()), in_features=1, out_features=1)
    config = TrainingConfig(
        epochs=3,
        batch_size=2,
        optimizer=AdamWConfig(lr=0.5, weight_decay=0.25),
        weight_decay_schedule=FlatCosineConfig(flat=FLAT),
    )
    expected = model.output.weight.item()
    weights: list[float] = []
    training = train(model, TrainingData(features, targets), config, task="regression")
    with after_each_step(lambda: weights.append(model.output.weight.item())):
        list(training)
    for step, weight in enumerate(weights):
        expected *= 1 - 0.5 * 0.25 * factor(step)
        assert weight == pytest.approx(expected, rel=1e-6)
    assert len(weights) == 12


KINDS: list[Any] = [
    {"p": 0.5},
    {"kind": "gaussian", "p": 0.5},
    {"kind": "batchwise", "p": 0.5},
    {"kind": "dropconnect", "p": 0.5},
]


@pytest.mark.parametrize("dropout", KINDS, ids=str)
def test_every_dropout_of_each_step_has_the_probability_of_its_middle(dropout: Any) -> None:
    inputs = InputLayer(
        PreprocessingConfig(max_one_hot=0, embedding_dropout=0.5), num_values=2, cardinalities=[5]
    )
    of_inputs = {"p": 0.5} if dropout.get("kind") == "dropconnect" else dropout
    model = MLP(
        MLPConfig(hidden=(6, 5), input_dropout=of_inputs, hidden_dropout=dropout),
        in_features=3,
        out_features=1,
        inputs=inputs,
    )
    features = torch.cat([torch.randn(8, 2), torch.arange(8)[:, None] % 5], dim=1)
    data = TrainingData(features, torch.randn(8, 1))
    config = TrainingConfig(epochs=3, batch_size=2, dropout_schedule=FlatCosineConfig(flat=FLAT))
    seen: list[list[float]] = []
    stochastic = [module for module in model.modules() if isinstance(module, STOCHASTIC)]
    assert len(stochastic) == 4
    with after_each_step(lambda: seen.append([module.p for module in stochastic])):
        for _ in train(model, data, config, task="regression"):
            assert [module.p for module in stochastic] == [0.5] * 4, "validation, and after it"
    assert seen == [[pytest.approx(0.5 * factor(step))] * 4 for step in range(12)]


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_masks_follow_the_probabilities(activation: str) -> None:
    # Of a single row of ones, an input that is dropped leaves its weights without a gradient.
    config = MLPConfig(hidden=(4,), hidden_dropout=0.0, input_dropout=0.5, activation=activation)
    model = MLP(config, in_features=10_000, out_features=1)
    weight = model.linears[0].weight
    kept: list[float] = []

    def count() -> None:
        assert isinstance(weight.grad, Tensor)
        kept.append(weight.grad.any(dim=0).double().mean().item())

    data = TrainingData(torch.ones(2, 10_000), torch.full((2, 1), 10.0))
    training = train(
        model,
        data,
        TrainingConfig(epochs=3, batch_size=1, dropout_schedule=FlatCosineConfig(flat=FLAT)),
        task="regression",
    )
    with after_each_step(count):
        list(training)
    for step, share in enumerate(kept):
        p = 0.5 * factor(step, 6)
        # Five standard deviations of a mean of 10,000, and the rounding of p to 1 / 65,536.
        assert share == pytest.approx(1 - p, abs=5 * math.sqrt(p / 10_000) + 2**-16)


def annealed(**changes: Any) -> Training:
    """Everything that changes from step to step, with early stopping and a moving average."""
    options = {
        "epochs": 3,
        "optimizer": AdamWConfig(lr=0.05, weight_decay=0.1),
        "scheduler": Coslog4Config(name="coslog4"),
        "weight_decay_schedule": FlatCosineConfig(flat=FLAT),
        "dropout_schedule": FlatCosineConfig(flat=FLAT),
        "layer_rates": "ntk",
        "early_stopping": {"ties": "last", "monitor": "accuracy"},
        **changes,
    }
    return blob_training(blob_data(), model={"hidden": (5, 4), "input_dropout": 0.1}, **options)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": SGDConfig(lr=0.2, weight_decay=0.1), "scheduler": FlatCosineConfig()},
        {"optimizer": AdamConfig(lr=0.05), "layer_rates": "all", "ema_decay": 0.8},
    ],
    ids=str,
)
def test_a_run_interrupted_between_any_two_batches_ends_with_the_same_bits(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    whole = annealed(**changes)
    list(whole)
    for done in range(3 * whole.num_batches + 1):
        first, second = annealed(**changes), annealed(**changes)
        run_batches(first, done)
        second.model.initialise(seed=1)  # every weight has to come from the checkpoint
        second.restore(load_checkpoint(save_checkpoint(tmp_path, first.state())))
        list(second)
        assert timeless(second.history) == timeless(whole.history)
        assert same_bits(second.model, whole.model)


def test_a_model_that_was_interrupted_can_be_trained_again() -> None:
    whole, first = annealed(), annealed()
    list(whole)
    run_batches(first, 10)
    second = Training(first.model, blob_data(), first.config, task="multiclass")
    second.restore(first.state())
    list(second)
    assert same_bits(second.model, whole.model)
