"""The optimizer's options for each kind of parameter."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    Coslog4Config,
    MLPConfig,
    Optimizer,
    PreprocessingConfig,
    SGDConfig,
    TrainingConfig,
)
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.mlp import MLP
from dropout_core.training.layer_rates import parameter_groups
from dropout_core.training.loop import Training
from dropout_core.training.optimizers import build_optimizer
from tests.support.training_runs import blob_data

SIZES = {"in_features": 4, "out_features": 3}
OPTIMIZERS = [
    SGDConfig(lr=0.2, momentum=0.9, weight_decay=0.05),
    AdamConfig(lr=0.02, eps=1e-2, weight_decay=0.1),
    AdamWConfig(lr=0.02, eps=1e-2, weight_decay=0.5),
]


@pytest.fixture
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def options_by_name(model: MLP, config: TrainingConfig) -> dict[str, dict[str, Any]]:
    """The options of each parameter that are not the config's own."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, config)
    return {
        names[id(parameter)]: {key: value for key, value in group.items() if key != "params"}
        for group in groups
        for parameter in group["params"]
    }


def ntk(optimizer: Optimizer, **options: Any) -> TrainingConfig:
    return TrainingConfig(optimizer=optimizer, layer_rates="ntk", **options)


def test_without_rates_of_layers_there_is_one_group() -> None:
    model = MLP(MLPConfig(hidden=(8,)), **SIZES)
    (group,) = parameter_groups(model, TrainingConfig())
    assert group == {"params": list(model.parameters())}


def test_each_kind_of_parameter_has_its_rate() -> None:
    inputs = InputLayer(
        PreprocessingConfig(max_one_hot=0, embedding_dim=3), num_values=6, cardinalities=[20]
    )
    config = MLPConfig(hidden=(16, 25), batch_norm=True)
    model = MLP(config, in_features=7, out_features=2, inputs=inputs)
    options = options_by_name(model, ntk(AdamWConfig(lr=0.4, weight_decay=0.02, eps=1e-8)))

    def weights(fan_in: int) -> dict[str, Any]:
        root = math.sqrt(fan_in)
        return {"lr": 0.4 / root, "eps": 1e-8 * root, "weight_decay": 0.02 * root}

    bias = {"lr": pytest.approx(0.04), "weight_decay": 0.0}
    assert options.keys() == dict(model.named_parameters()).keys()
    assert options["inputs.embeddings.0.weight"] == {"lr": 0.4}
    assert options["hidden.0.linear.weight"] == pytest.approx(weights(9))
    assert options["hidden.1.linear.weight"] == pytest.approx(weights(16))
    assert options["output.weight"] == pytest.approx(weights(25))
    of_units = ("output.bias", "hidden.0.norm.weight", "hidden.0.norm.bias")
    assert [options[name] for name in of_units] == [bias] * 3


def test_parameters_with_equal_options_share_a_group() -> None:
    model = MLP(MLPConfig(hidden=(16, 16, 16)), **SIZES)
    groups = parameter_groups(model, ntk(AdamWConfig()))
    assert [len(group["params"]) for group in groups] == [1, 4, 3]


def reparametrised(model: MLP, config: TrainingConfig, batches: list[Tensor]) -> list[Tensor]:
    """Train weights V, of which the network uses V / sqrt(fan-in), and return what it uses."""
    data = blob_data()
    roots = [math.sqrt(linear.in_features) for linear in model.linears]
    pairs = zip(model.linears, roots, strict=True)
    learned = [nn.Parameter(linear.weight.detach() * root) for linear, root in pairs]
    biases = [nn.Parameter(linear.bias.detach().clone()) for linear in model.linears]
    rate = config.optimizer.lr
    groups = [{"params": learned}, {"params": biases, "lr": rate / 10, "weight_decay": 0.0}]
    optimizer = build_optimizer(groups, config.optimizer)
    for rows in batches:
        x = data.train_features[rows]
        for index, (v, bias, root) in enumerate(zip(learned, biases, roots, strict=True)):
            x = F.linear(torch.tanh(x) if index else x, v / root, bias)
        optimizer.zero_grad()
        F.cross_entropy(x, data.train_targets[rows]).backward()
        optimizer.step()
    return [(v / root).detach() for v, root in zip(learned, roots, strict=True)]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_weights_learn_as_they_do_in_the_tangent_parametrisation(optimizer: Optimizer) -> None:
    model = MLP(MLPConfig(hidden=(8, 6), activation="tanh", hidden_dropout=0.0), **SIZES)
    config = ntk(optimizer, epochs=12, batch_size=60)  # all rows in a batch: their order is no part
    expected = reparametrised(model, config, [torch.arange(60)] * 12)
    before = [linear.weight.detach().clone() for linear in model.linears]
    list(Training(model, blob_data(num_validation=0), config, task="multiclass"))
    # A step is off by less than 50 roundings of sums below 100, which momentum and Adam's division
    # by eps magnify by less than 1000 over the twelve steps.
    off = 12 * 50 * 100 * 1000 * 2.0**-53
    for linear, wanted, start in zip(model.linears, expected, before, strict=True):
        torch.testing.assert_close(linear.weight.detach(), wanted, rtol=0, atol=off)
        assert (wanted - start).abs().max() > 1e-2


def test_the_rate_that_is_reported_is_the_configs() -> None:
    for layer_rates in ("all", "ntk"):
        config = TrainingConfig(
            epochs=2,
            batch_size=30,
            optimizer=AdamWConfig(lr=0.04),
            scheduler=Coslog4Config(name="coslog4"),
            layer_rates=layer_rates,
        )
        model = MLP(MLPConfig(hidden=(8,)), **SIZES)
        training = Training(model, blob_data(), config, task="multiclass")
        rates = [metrics.learning_rate for metrics in training]
        factors = [(1 - math.cos(2 * math.pi * math.log2(1 + 15 * t))) / 2 for t in (3 / 8, 7 / 8)]
        assert rates == pytest.approx([0.04 * factor for factor in factors])
