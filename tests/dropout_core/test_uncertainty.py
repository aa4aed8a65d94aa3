import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.config import MLPConfig
from dropout_core.layers import STOCHASTIC
from dropout_core.masks import keep_probability
from dropout_core.mlp import MLP
from dropout_core.uncertainty import Uncertainty, model_average, monte_carlo, sample_outputs
from tests.dropout_core.statistics import every_mask, tolerance
from tests.dropout_core.tensors import normal, seeded

DROPOUTS: list[dict[str, Any]] = [
    {"p": 0.5},
    {"p": 0.5, "scaling": "classic"},
    {"kind": "gaussian", "p": 0.5},
    {"kind": "batchwise", "p": 0.5},
    {"kind": "batchwise", "p": 0.5, "group_size": 2},
    {"kind": "dropconnect", "p": 0.5},
    {"kind": "dropconnect", "p": 0.5, "masks": "per_batch"},
]
FEATURES = normal(9, 4, dtype=torch.float32)


def build(*, out_features: int = 3, **config: Any) -> MLP:
    config = {"hidden": (8,), "hidden_dropout": 0.5, **config}
    return MLP(MLPConfig(**config), in_features=4, out_features=out_features)


def estimate(model: MLP, *, seed: int = 0, task: str = "multiclass", samples: int = 20) -> Any:
    return monte_carlo(model, FEATURES, task=task, num_samples=samples, seed=seed)


def same_bits(one: Uncertainty, other: Uncertainty) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_an_estimate_is_a_function_of_the_seed_to_the_bit(dropout: dict[str, Any]) -> None:
    model = build(hidden_dropout=dropout)
    torch.manual_seed(1)
    first = estimate(model)
    torch.manual_seed(2)
    assert same_bits(estimate(model), first)
    assert not same_bits(estimate(model, seed=1), first)
    assert (first.standard_deviation > 0).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_the_model_is_left_as_it_was(dropout: dict[str, Any], training: bool) -> None:
    model = build(hidden_dropout=dropout, batch_norm=dropout.get("kind") != "batchwise")
    stream = seeded(5)
    model.use_generator(stream)
    model.train(training)
    model.hidden[0].activation.train(not training)  # each module has a mode of its own
    modes = [module.training for module in model.modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = stream.get_state(), torch.get_rng_state()
    estimate(model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(model.state_dict()[name], weights[name]) for name in weights)
    assert torch.equal(stream.get_state(), states[0])
    assert torch.equal(torch.get_rng_state(), states[1])
    assert all(m.generator is stream for m in model.modules() if isinstance(m, STOCHASTIC))


def test_a_failure_leaves_the_model_as_it_was_too() -> None:
    model, stream = build(), seeded(5)
    model.use_generator(stream)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        sample_outputs(model, torch.ones(2, 7), num_samples=2, seed=0)
    assert all(module.training for module in model.modules())
    assert model.input_dropout.generator is stream


def test_batch_norm_normalises_with_its_frozen_statistics() -> None:
    model = build(batch_norm=True, hidden_dropout=0.0)
    result = estimate(model)
    assert (result.standard_deviation < 1e-12).all()
    torch.testing.assert_close(result.mean, model.eval()(FEATURES).double().softmax(dim=1))


def test_uncertainties_keep_within_their_bounds() -> None:
    result = estimate(build(hidden=(50,), input_dropout=0.5))
    torch.testing.assert_close(result.mean.sum(dim=1), torch.ones(9, dtype=torch.float64))
    assert result.entropy.shape == result.mutual_information.shape == (9,)
    assert (result.entropy <= math.log(3) + 1e-12).all()
    assert (result.mutual_information > 0).all()
    assert (result.mutual_information < result.entropy).all()


def test_without_dropout_there_is_nothing_more_data_could_take_away() -> None:
    result = estimate(build(hidden_dropout=0.0))
    assert (result.standard_deviation < 1e-12).all()
    assert (result.mutual_information >= 0).all()
    assert (result.mutual_information < 1e-12).all()


def test_uncertainties_are_those_computed_by_hand() -> None:
    # One feature, dropped or not: the classes have 1/2 and 1/2, or 3/4 and 1/4.
    model = MLP(MLPConfig(hidden=(), input_dropout=0.5), in_features=1, out_features=2)
    model.output.weight.data = torch.tensor([[math.log(3) / 2], [0.0]])
    samples = 64
    result = monte_carlo(model, torch.ones(1, 1), task="binary", num_samples=samples, seed=0)
    kept = round((result.mean[0, 0].item() - 0.5) * 4 * samples)
    assert 0 < kept < samples
    share = kept / samples
    mean = [0.5 + share / 4, 0.5 - share / 4]
    spread = math.sqrt(share * (1 - share) * samples / (samples - 1)) / 4
    total = entropy(*mean)
    expected = total - share * entropy(0.75, 0.25) - (1 - share) * math.log(2)
    assert result.mean[0].tolist() == pytest.approx(mean, rel=1e-6)
    assert result.standard_deviation[0].tolist() == pytest.approx([spread, spread], rel=1e-6)
    assert result.entropy.item() == pytest.approx(total, rel=1e-6)
    assert result.mutual_information.item() == pytest.approx(expected, rel=1e-5)


def entropy(*probabilities: float) -> float:
    return -sum(p * math.log(p) for p in probabilities)


@pytest.mark.parametrize("p", [0.5, 0.2])
@pytest.mark.parametrize("kind", ["bernoulli", "dropconnect"])
def test_the_mean_converges_to_the_enumeration_of_all_sub_networks(kind: str, p: float) -> None:
    model = build(hidden=(2,), hidden_dropout={"kind": kind, "p": p}, activation="tanh").double()
    layer, x, keep = model.hidden[0], FEATURES[:1].double(), keep_probability(p)
    samples = 1000
    if kind == "bernoulli":
        masks, likelihood = every_mask(2, keep)
        hidden = torch.tanh(layer.linear(x)) * masks / keep
    else:
        masks, likelihood = every_mask(8, keep)  # the biases are zero
        hidden = torch.tanh((masks.view(-1, 2, 4) * layer.linear.weight / keep) @ x[0])
    probabilities = model.output(hidden).softmax(dim=1).detach()
    mean = likelihood @ probabilities
    variance = likelihood @ (probabilities - mean).square()
    arguments = {"num_samples": samples, "seed": 1}
    result = monte_carlo(model, x, task="multiclass", **arguments)
    for index in range(3):
        distance = abs(result.mean[0, index] - mean[index])
        assert distance < tolerance(variance[index].item(), samples)
    assert torch.equal(model_average(model, x, **arguments), result.mean)


def test_a_regression_has_values_and_no_entropy() -> None:
    model = build(out_features=1)
    result = estimate(model, task="regression")
    samples = sample_outputs(model, FEATURES, num_samples=20, seed=0).detach().double()
    torch.testing.assert_close(result.mean, samples.mean(dim=0))
    torch.testing.assert_close(result.standard_deviation, samples.std(dim=0))
    assert (result.entropy, result.mutual_information) == (None, None)


@pytest.mark.parametrize("num_samples", [-1, 0, 1])
def test_a_standard_deviation_needs_two_samples(num_samples: int) -> None:
    with pytest.raises(ValueError, match=f"needs 2 samples, but got {num_samples}"):
        estimate(build(), samples=num_samples)
    assert estimate(build(), samples=2).mean.shape == (9, 3)


def linear_model(x: Tensor, p: float) -> tuple[MLP, Tensor]:
    """A linear model, and the variance of the difference of its two outputs under dropout."""
    model = build(hidden=(), input_dropout=p, out_features=2).double()
    slope = model.output.weight[0] - model.output.weight[1]
    keep = keep_probability(p)
    return model, ((x * slope).square().sum(dim=1) * (1 - keep) / keep).detach()


def test_sampled_outputs_of_a_linear_model_average_to_those_of_weight_scaling() -> None:
    x, samples = FEATURES.double(), 1000
    model, variance = linear_model(x, 0.5)
    outputs = sample_outputs(model, x, num_samples=samples, seed=0).mean(dim=0)
    expected = model.eval()(x)
    for row in range(len(x)):
        distance = (outputs - expected)[row, 0] - (outputs - expected)[row, 1]
        assert abs(distance) < tolerance(variance[row].item(), samples)


def test_model_average_and_weight_scaling_of_a_linear_model_differ_by_their_curvature() -> None:
    # Of two classes the probability is the logistic function of a difference d of variance v. Its
    # curvature is at most 1 / (6 sqrt 3), so the mean of it is within v / (12 sqrt 3) of the value
    # at the mean of d; its slope is at most 1/4, so a sample of it has variance at most v / 16.
    x, samples = FEATURES.double(), 1000
    model, variance = linear_model(x, 0.2)
    averaged = model_average(model, x, num_samples=samples, seed=0)[:, 0]
    scaled = F.softmax(model.eval()(x), dim=1)[:, 0]
    for row in range(len(x)):
        bound = variance[row].item() / (12 * math.sqrt(3))
        chance = tolerance(variance[row].item() / 16, samples)
        assert abs(averaged[row] - scaled[row]) < bound + chance


def test_labels_are_uncertain_one_by_one() -> None:
    model = MLP(MLPConfig(hidden=(8,), hidden_dropout=0.5), in_features=3, out_features=2)
    features = normal(5, 3).float()
    told = monte_carlo(model, features, task="multilabel", num_samples=64, seed=0)
    samples = sample_outputs(model, features, num_samples=64, seed=0).double().sigmoid()
    torch.testing.assert_close(told.mean, samples.mean(dim=0))
    p = told.mean
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).sum(dim=1)
    torch.testing.assert_close(told.entropy, entropy)
    assert (told.mutual_information > 0).all()
