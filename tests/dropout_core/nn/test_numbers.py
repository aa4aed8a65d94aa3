import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dropout_core.config import PeriodicConfig, PiecewiseLinearConfig
from dropout_core.nn.numbers import (
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    embedding_of_numbers,
    num_parameters_of_each,
)
from tests.support.tensors import normal, seeded

NUM_NUMBERS = 3
PERIODIC = PeriodicConfig(kind="periodic", frequencies=5, sigma=0.7, dim=4)
PIECEWISE = PiecewiseLinearConfig(kind="piecewise_linear", bins=4, dim=2)
# Sums of at most five terms of order 1 in float64.
ROUNDING = 1e-13


def embedded(config: Any) -> Any:
    """An embedding in float64 without a zero among its weights, with bins of its numbers."""
    embedding = embedding_of_numbers(NUM_NUMBERS, config)
    embedding.initialise(seeded())
    embedding = embedding.double()
    for index, parameter in enumerate(embedding.parameters()):
        parameter.data = normal(*parameter.shape, seed=index)
    if isinstance(embedding, PiecewiseLinearEmbedding):
        embedding.fit(torch.tensor([[-1.0, -0.5, 0.0, 0.5, 2.0]] * NUM_NUMBERS).double())
    return embedding


@torch.no_grad()
def by_formula(embedding: Any, number: int, x: float) -> list[float]:
    """The inputs that one number becomes."""
    weight, bias = embedding.linear.weight[number], embedding.linear.bias[number]
    if isinstance(embedding, PeriodicEmbedding):
        angles = 2 * math.pi * embedding.frequencies[number] * x + embedding.phases[number]
        learned = [sum(row * angles.cos()) + b for row, b in zip(weight, bias, strict=True)]
        return [x, *map(float, learned)]
    edges = [-1.0, -0.5, 0.0, 0.5, 2.0]
    bins = itertools.pairwise(edges)
    entries = [min(max((x - low) / (high - low), 0.0), 1.0) for low, high in bins]
    slope = embedding.slope[number]
    return [
        float(sum(row * torch.tensor(entries, dtype=torch.float64)) + b + s * x)
        for row, b, s in zip(weight, bias, slope, strict=True)
    ]


@pytest.mark.parametrize("config", [PERIODIC, PIECEWISE], ids=["periodic", "piecewise"])
@pytest.mark.parametrize("training", [True, False])
def test_each_number_becomes_what_the_formula_says(config: Any, training: bool) -> None:
    embedding = embedded(config).train(training)
    x = 1.5 * normal(7, NUM_NUMBERS)  # some are outside all bins
    expected = [
        [value for number, cell in enumerate(row) for value in by_formula(embedding, number, cell)]
        for row in x.tolist()
    ]
    torch.testing.assert_close(
        embedding(x), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize("config", [PERIODIC, PIECEWISE], ids=["periodic", "piecewise"])
def test_gradients_are_those_of_finite_differences(config: Any) -> None:
    embedding, x = embedded(config).train(), normal(7, NUM_NUMBERS)
    names, parameters = zip(*embedding.named_parameters(), strict=True)

    def outputs(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(embedding, given, (x,))

    assert torch.autograd.gradcheck(outputs, parameters)


@pytest.mark.parametrize("config", [PERIODIC, PIECEWISE], ids=["periodic", "piecewise"])
def test_weights_are_drawn_from_the_stream_and_counted(config: Any) -> None:
    first, second, other = (embedding_of_numbers(NUM_NUMBERS, config) for _ in range(3))
    for embedding, seed in ((first, 1), (second, 1), (other, 2)):
        embedding.initialise(seeded(seed))
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert not torch.equal(first.linear.bias, other.linear.bias)
    count = sum(parameter.numel() for parameter in first.parameters())
    assert count == NUM_NUMBERS * num_parameters_of_each(config)


@torch.no_grad()
def test_periodic_weights_have_the_ranges_of_the_paper() -> None:
    embedding = PeriodicEmbedding(500, PeriodicConfig(kind="periodic"))
    embedding.initialise(seeded())
    # 8,000 draws: a standard deviation is off by 1 / sqrt(16,000), five times that is 4 %.
    assert float(embedding.frequencies.detach().std()) == pytest.approx(0.1, rel=0.04)
    assert math.pi - 0.01 < float(embedding.phases.detach().abs().max()) <= math.pi
    for tensor in (embedding.linear.weight, embedding.linear.bias):
        assert 0.24 < float(tensor.detach().abs().max()) <= 16**-0.5


def test_a_piecewise_linear_embedding_is_linear_at_first() -> None:
    embedding = PiecewiseLinearEmbedding(1, PIECEWISE)
    embedding.initialise(seeded())
    embedding.fit(torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0]]))
    out = embedding(torch.linspace(0, 4, 9)[:, None])
    torch.testing.assert_close(out.diff(dim=0), out.diff(dim=0)[:1].expand(8, -1))


@torch.no_grad()
def test_equal_quantiles_make_one_bin_and_narrow_bins_do_not_explode() -> None:
    embedding = embedded(PIECEWISE)
    embedding.fit(
        torch.tensor([[0, 0, 0, 0, 0], [0, 0, 1e-30, 1, 1], [1, 2, 3, 4, 5]], dtype=torch.float64)
    )
    assert (embedding.lower < 1e30).sum(dim=1).tolist() == [0, 2, 4]
    assert embedding.width.isfinite().all()
    embedding.slope.data.zero_()
    weight, bias = embedding.linear.weight.detach(), embedding.linear.bias.detach()
    bound = float(weight.abs().sum() + bias.abs().sum())
    for x in (-1e30, 0.0, 1e-30, 0.31, 1e30):
        assert embedding(torch.full((1, 3), x).double()).abs().max() <= bound
