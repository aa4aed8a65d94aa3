import math

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dropout_core.config import DropoutConfig, MLPConfig
from dropout_core.layers import Dropout
from dropout_core.mlp import MLP
from tests.dropout_core.statistics import tolerance


def build(seed: int = 0, in_features: int = 5, out_features: int = 2, **config: object) -> MLP:
    return MLP(MLPConfig(**config), in_features=in_features, out_features=out_features, seed=seed)


def inputs(num_rows: int = 8, num_features: int = 5) -> Tensor:
    return torch.randn(num_rows, num_features, generator=Generator().manual_seed(1))


def linears(model: MLP) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        ({"hidden": []}, "Linear"),
        ({"hidden": [], "input_dropout": 0.1}, "Dropout Linear"),
        ({"hidden": [3]}, "Linear ReLU Dropout Linear"),
        ({"hidden": [3], "hidden_dropout": 0}, "Linear ReLU Linear"),
        ({"hidden": [3], "hidden_dropout": {"keep": 1.0}}, "Linear ReLU Linear"),
        (
            {"hidden": [3, 4], "hidden_dropout": [0, 0.5], "activation": "tanh"},
            "Linear Tanh Linear Tanh Dropout Linear",
        ),
        (
            {"hidden": [3], "batch_norm": True, "input_dropout": 0.1, "activation": "gelu"},
            "Dropout Linear BatchNorm1d GELU Dropout Linear",
        ),
    ],
)
def test_the_layers_are_what_the_config_says(config: dict[str, object], layers: str) -> None:
    assert [type(layer).__name__ for layer in build(**config).layers] == layers.split()


def test_widths_probabilities_and_scalings_are_those_of_the_config() -> None:
    model = build(hidden=[3, 4], hidden_dropout=[0.1, {"keep": 0.25, "scaling": "classic"}])
    widths = [(layer.in_features, layer.out_features) for layer in linears(model)]
    assert widths == [(5, 3), (3, 4), (4, 2)]
    dropouts = [layer for layer in model.layers if isinstance(layer, Dropout)]
    kinds = [(layer.p, layer.scaling) for layer in dropouts]
    assert kinds == [(0.1, "inverted"), (0.75, "classic")]


def test_biases_are_zero_and_there_is_none_before_batch_norm() -> None:
    assert all((layer.bias == 0).all() for layer in linears(build()))
    *hidden, last = linears(build(batch_norm=True))
    assert all(layer.bias is None for layer in hidden)
    assert (last.bias == 0).all()


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", F.relu), ("tanh", torch.tanh), ("logistic", torch.sigmoid), ("gelu", F.gelu)],
)
def test_every_activation_computes_its_function(activation: str, function: object) -> None:
    model = build(hidden=[6, 4], activation=activation).eval()
    first, second, last = linears(model)
    assert torch.equal(model(inputs()), last(function(second(function(first(inputs()))))))


def test_without_hidden_layers_the_model_is_linear() -> None:
    model = build(hidden=[])
    (layer,) = linears(model)
    assert torch.equal(model(inputs()), F.linear(inputs(), layer.weight, layer.bias))


@pytest.mark.parametrize(
    ("init", "std", "is_uniform"),
    [
        ("kaiming_uniform", math.sqrt(2 / 500), True),
        ("kaiming_normal", math.sqrt(2 / 500), False),
        ("xavier_uniform", math.sqrt(2 / 900), True),
        ("xavier_normal", math.sqrt(2 / 900), False),
        ("normal", 0.01, False),
    ],
)
def test_inits_have_the_moments_of_their_distribution(
    init: str, std: float, is_uniform: bool
) -> None:
    # The mean of n weights has variance std^2 / n; that of their squares (m4 - std^4) / n, the
    # fourth moment m4 being 9/5 std^4 if uniform and 3 std^4 if normal.
    model = build(init=init, hidden=[], in_features=500, out_features=400)
    weight = linears(model)[0].weight.detach().double()
    kurtosis = 1.8 if is_uniform else 3.0
    assert abs(weight.mean()) < tolerance(std**2, weight.numel())
    spread = abs(weight.square().mean() - std**2)
    assert spread < tolerance((kurtosis - 1) * std**4, weight.numel())
    # A uniform one ends at sqrt(3) std; of 200,000 normal draws some lie beyond.
    assert (weight.abs().max() <= math.sqrt(3) * std * (1 + 1e-6)) == is_uniform


def test_weights_are_a_function_of_the_seed() -> None:
    torch.manual_seed(1)
    first = build(seed=7).state_dict()
    torch.manual_seed(2)
    second = build(seed=7).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["layers.0.weight"], build(seed=8).state_dict()["layers.0.weight"])


def test_initialise_draws_the_same_weights_anew() -> None:
    model, fresh = build(seed=3), build(seed=3)
    nn.init.ones_(model.layers[0].weight)
    nn.init.ones_(model.layers[0].bias)
    model.initialise(3)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 2.0])
def test_no_unit_exceeds_the_max_norm_and_those_within_keep_their_bits(max_norm: float) -> None:
    model = build(hidden=[50, 50], max_norm=max_norm)
    before = [layer.weight.detach().clone() for layer in linears(model)]
    model.constrain()
    for old, layer in zip(before, linears(model), strict=True):
        within = old.norm(dim=1) <= max_norm
        assert (layer.weight.norm(dim=1) <= max_norm * (1 + 1e-6)).all()
        assert torch.equal(layer.weight[within], old[within])
        scaled = old / old.norm(dim=1, keepdim=True) * max_norm
        torch.testing.assert_close(layer.weight[~within], scaled[~within])


def test_without_a_max_norm_nothing_is_constrained() -> None:
    model = build()
    nn.init.constant_(model.layers[0].weight, 1e9)
    model.constrain()
    assert (model.layers[0].weight == 1e9).all()


def test_every_mask_comes_from_the_generator_in_use() -> None:
    model = build(input_dropout=0.5, hidden_dropout=0.5)
    outputs = []
    for seed in (1, 1, 2):
        model.use_generator(Generator().manual_seed(seed))
        before = torch.get_rng_state()
        outputs.append(model(inputs()))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_without_a_generator_masks_come_from_the_global_one() -> None:
    model = build(hidden_dropout=0.5)
    model.use_generator(Generator())
    model.use_generator(None)
    before = torch.get_rng_state()
    model(inputs())
    assert not torch.equal(torch.get_rng_state(), before)


def test_classic_dropout_scales_at_inference_and_not_in_training() -> None:
    classic = build(hidden=[], input_dropout=DropoutConfig(p=0.5, scaling="classic"))
    plain = build(hidden=[])
    torch.testing.assert_close(classic.eval()(inputs()), plain(inputs() * 0.5))
