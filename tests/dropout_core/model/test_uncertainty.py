import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.config import MLPConfig, PreprocessingConfig, Task
from dropout_core.model.forward import ForwardPass
from dropout_core.model.saved_model import TabularModel
from dropout_core.model.uncertainty import (
    SubNetworks,
    Uncertainty,
    model_average,
    monte_carlo,
    sample_outputs,
    summarise,
)
from dropout_core.nn.functional import num_kept
from dropout_core.nn.layers import STOCHASTIC
from dropout_core.nn.masks import keep_probability
from dropout_core.nn.mlp import MLP
from tests.support.served_models import make_model
from tests.support.statistics import every_mask, tolerance
from tests.support.tensors import normal, seeded

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


def same_bits(one: Uncertainty, other: Uncertainty, *, rows: Sequence[int] | None = None) -> bool:
    """Whether they are equal to the bit, or `one` is what `other` says of `rows`."""
    chosen = slice(None) if rows is None else list(rows)
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(torch.equal(first, second[chosen]) for first, second in pairs)


def served(**config: Any) -> TabularModel:
    """A model with categories, all of whose products are wide enough for tiles of any rows."""
    model, _ = make_model(
        num_features=6,
        num_classes=16,
        categories=True,
        preprocessing=PreprocessingConfig(embedding_dropout=0.5),
        **{"hidden": (32, 16), **config},
    )
    return model.eval().requires_grad_(False)


def rows_of_codes(num_rows: int) -> Tensor:
    """What a model of `served` takes: six numbers and two codes (N, 8)."""
    codes = [torch.arange(num_rows).double()[:, None] % cardinality for cardinality in (4, 31)]
    return torch.cat([10 + 3 * normal(num_rows, 6), *codes], dim=1)


def in_tiles(
    model: TabularModel, rows: Tensor, *, tile_rows: int, num_samples: int = 6, seed: int = 0
) -> Uncertainty:
    """What a sampled model says of rows when every product has `tile_rows` of them."""
    sub_networks = SubNetworks(model.network)

    def probabilities(number: int) -> Tensor:
        forward = ForwardPass(model, sub_networks.sample(seed=seed, number=number))
        tiles = rows.split(tile_rows)
        padded = [F.pad(tile, (0, 0, 0, tile_rows - len(tile))) for tile in tiles]
        return torch.cat([forward(tile).softmax(dim=1) for tile in padded])[: len(rows)]

    return summarise(map(probabilities, range(num_samples)), task="multiclass")


@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_a_row_has_the_same_bits_in_any_company(dropout: dict[str, Any]) -> None:
    is_batchwise = dropout.get("kind") == "batchwise"
    model = served(
        input_dropout=dropout if is_batchwise else {"p": 0.2},
        hidden_dropout=dropout,
        batch_norm=not is_batchwise,
    )
    assert_same_bits_in_any_company(model)


@pytest.mark.parametrize("sharing", ["backbone", "nothing"])
def test_so_has_a_row_of_members(sharing: str) -> None:
    options = {"members": 3, "member_sharing": sharing, "input_scaling": True}
    assert_same_bits_in_any_company(served(input_dropout=0.2, hidden_dropout=0.5, **options))


def test_each_member_has_a_sub_network_of_its_own() -> None:
    model = build(members=64, hidden=(), input_dropout=0.5, hidden_dropout=0.5)
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
    (noise,) = (m for m in SubNetworks(model).sample(seed=0, number=0) if hasattr(m, "factors"))
    assert noise.factors.shape == (64, 1, 4)
    kept = (noise.factors > 0).double()
    assert len({tuple(mask.flatten().tolist()) for mask in kept}) > 8  # of the 16 there are
    outputs = SubNetworks(model).sample(seed=0, number=0)(FEATURES)
    expected = (FEATURES.double() @ noise.factors.double().mean(dim=0).T) + 1
    torch.testing.assert_close(outputs, expected.expand(-1, 3))


def assert_same_bits_in_any_company(model: TabularModel) -> None:
    rows = rows_of_codes(131)
    together = in_tiles(model, rows, tile_rows=32)
    assert (together.standard_deviation > 0).all()
    for tile_rows in (8, 128):
        assert same_bits(in_tiles(model, rows, tile_rows=tile_rows), together)
    for row in (0, 7, 8, 77, 130):
        assert same_bits(in_tiles(model, rows[[row]], tile_rows=8), together, rows=[row])
    company = [5, 130, 5, *range(40, 70), 0]
    assert same_bits(in_tiles(model, rows[company], tile_rows=8), together, rows=company)


@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_a_sample_does_not_depend_on_how_many_there_are(dropout: dict[str, Any]) -> None:
    model = build(hidden_dropout=dropout)
    few = sample_outputs(model, FEATURES, num_samples=3, seed=0)
    many = sample_outputs(model, FEATURES, num_samples=5, seed=0)
    assert torch.equal(many[:3], few)
    assert not torch.equal(many[3], many[4])


@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_a_sub_network_is_what_a_predictor_can_widen(dropout: dict[str, Any]) -> None:
    model = build(hidden_dropout=dropout)
    sub_network = SubNetworks(model).sample(seed=0, number=0)
    products = [module for module in sub_network.modules() if hasattr(module, "weight")]
    shapes = [tuple(product.weight.shape) for product in products]
    assert {type(product) for product in products} == {nn.Linear}
    assert shapes == [tuple(linear.weight.shape) for linear in model.linears]
    assert not any(isinstance(module, STOCHASTIC) for module in sub_network.modules())


def test_a_model_serves_while_it_is_sampled() -> None:
    model = served(input_dropout=0.2, hidden_dropout=0.5, batch_norm=True)
    rows, finished = rows_of_codes(32), threading.Event()
    before, answers = model(rows), []

    def serve() -> None:
        while not finished.is_set():
            answers.append(model(rows))

    first = in_tiles(model, rows, tile_rows=32)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        second = in_tiles(model, rows, tile_rows=32, num_samples=6)
    finally:
        finished.set()
        thread.join()
    assert answers
    assert all(torch.equal(answer, before) for answer in answers)
    assert same_bits(first, second)


def test_batchwise_dropout_leaves_an_exact_number_of_units() -> None:
    dropout = {"kind": "batchwise", "p": 0.4}
    model = build(hidden=(10, 16), hidden_dropout=dropout, activation="tanh")
    for number in range(5):
        sub_network = SubNetworks(model).sample(seed=0, number=number)
        hidden = sub_network[:-1](FEATURES)
        kept = hidden.ne(0)
        assert torch.equal(kept, kept[:1].expand_as(kept))
        assert kept[0].sum() == num_kept(16, 0.4)


def test_of_categories_the_embeddings_alone_are_dropped() -> None:
    network = served(hidden=(), hidden_dropout=()).network
    inputs = network.inputs
    assert inputs is not None
    num_embedded = sum(table.embedding_dim for table in inputs.embeddings)
    codes = torch.cat([normal(9, network.in_features - 2), torch.ones(9, 2)], dim=1).float()
    expected = inputs(codes)
    given = SubNetworks(network).sample(seed=0, number=0)[:2](codes)
    assert torch.equal(given[:, :-num_embedded], expected[:, :-num_embedded])
    factors = given[:, -num_embedded:] / expected[:, -num_embedded:]
    assert torch.equal(factors, factors[:1].expand_as(factors))
    assert set(factors.flatten().tolist()) == {0.0, 2.0}


def test_no_category_becomes_unknown() -> None:
    model, _ = make_model(
        categories=True, preprocessing=PreprocessingConfig(unknown_rate=0.9), hidden_dropout=0.0
    )
    rows = rows_of_codes(9)[:, 1:]
    model.eval()
    for number in range(5):
        sub_network = SubNetworks(model.network).sample(seed=0, number=number)
        assert torch.equal(ForwardPass(model, sub_network)(rows), model(rows))


def test_a_sampled_regression_is_in_the_units_of_its_targets() -> None:
    # The targets of `make_model` are about 100, and a network's outputs about 0.
    model, _ = make_model(num_classes=None, hidden_dropout=0.5)
    network = SubNetworks(model.eval().network).sample(seed=0, number=0)
    outputs = ForwardPass(model, network)(10 + 3 * normal(9, 5))
    assert (outputs > 20).all()


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
    model, stream = build(input_dropout=0.5), seeded(5)
    model.use_generator(stream)
    for num_columns in (1, 7):
        with pytest.raises(RuntimeError, match=f"expanded size of the tensor .{num_columns}. must"):
            sample_outputs(model, torch.ones(2, num_columns), num_samples=2, seed=0)
    assert all(module.training for module in model.modules())
    assert model.input_dropout.generator is stream


def test_batch_norm_normalises_with_its_frozen_statistics() -> None:
    model = build(batch_norm=True, hidden_dropout=0.0)
    result = estimate(model)
    assert torch.equal(result.mean, model.eval()(FEATURES).double().softmax(dim=1))


def test_uncertainties_keep_within_their_bounds() -> None:
    result = estimate(build(hidden=(50,), input_dropout=0.5))
    torch.testing.assert_close(result.mean.sum(dim=1), torch.ones(9, dtype=torch.float64))
    assert result.entropy.shape == result.mutual_information.shape == (9,)
    assert (result.entropy <= math.log(3) + 1e-12).all()
    assert (result.mutual_information > 0).all()
    assert (result.mutual_information < result.entropy).all()


def test_without_dropout_there_is_nothing_more_data_could_take_away() -> None:
    model = build(hidden_dropout=0.0, batch_norm=True)
    result = estimate(model)
    assert torch.equal(result.mean, model.eval()(FEATURES).double().softmax(dim=1))
    assert (result.standard_deviation == 0).all()
    assert (result.mutual_information == 0).all()


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
    with pytest.raises(ValueError, match="a standard deviation needs 2 samples"):
        estimate(build(), samples=num_samples)
    assert estimate(build(), samples=2).mean.shape == (9, 3)


LINEAR = [
    {"p": 0.5},
    {"p": 0.5, "scaling": "classic"},
    {"kind": "gaussian", "p": 0.5},
    {"kind": "batchwise", "p": 0.5},
]


def linear_model(x: Tensor, dropout: dict[str, Any]) -> tuple[MLP, Tensor]:
    """A linear model, and the variance of the difference of its two outputs under dropout."""
    model = build(hidden=(), input_dropout=dropout, out_features=2).double()
    terms = (x * (model.output.weight[0] - model.output.weight[1])).detach()
    keep, num_terms = keep_probability(dropout["p"]), x.shape[1]
    squares = terms.square().sum(dim=1) * keep * (1 - keep)
    if dropout.get("kind") == "batchwise":
        # The mean of n terms drawn without replacement (Cochran 1977, theorem 2.2), and the sum.
        n = num_kept(num_terms, dropout["p"])
        return model, terms.var(dim=1) / n * (1 - n / num_terms) * num_terms**2
    return model, squares if dropout.get("scaling") == "classic" else squares / keep**2


@pytest.mark.parametrize("dropout", LINEAR, ids=str)
def test_sampled_outputs_of_a_linear_model_average_to_those_of_weight_scaling(
    dropout: dict[str, Any],
) -> None:
    x, samples = FEATURES.double(), 1000
    model, variance = linear_model(x, dropout)
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
    model, variance = linear_model(x, {"p": 0.2})
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


@pytest.mark.parametrize("num_outputs", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("task", ["regression", "multilabel", "multiclass"])
def test_a_summary_of_a_row_has_the_same_bits_in_any_company(task: Task, num_outputs: int) -> None:
    # Sums over samples that torch makes at once would not.
    samples = normal(50, 20, num_outputs)
    if task != "regression":
        samples = samples.softmax(dim=2)
    together = summarise(samples, task=task)
    values = [value for value in vars(together).values() if value is not None]
    for first, last in [(0, 1), (19, 20), (3, 8), (1, 20)]:
        part = vars(summarise(samples[:, first:last].contiguous(), task=task)).values()
        for value, expected in zip([v for v in part if v is not None], values, strict=True):
            assert torch.equal(value, expected[first:last])
    torch.testing.assert_close(together.mean, samples.mean(dim=0))
    torch.testing.assert_close(together.standard_deviation, samples.std(dim=0))
