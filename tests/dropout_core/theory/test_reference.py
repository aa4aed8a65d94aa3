import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.nn.functional import dropout
from dropout_core.nn.masks import LEVELS, keep_mask
from dropout_core.theory.reference import dropout_backward, dropout_forward
from tests.support.statistics import tolerance

# Probabilities that the fast masks realise exactly.
exact_probabilities = st.integers(0, LEVELS).map(lambda level: level / LEVELS)


@given(
    p=exact_probabilities,
    shape=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_the_fast_dropout_agrees_with_the_reference_forward_and_backward(
    p: float, shape: tuple[int, ...], seed: int
) -> None:
    values, slopes = np.random.default_rng(seed).normal(size=(2, *shape))
    x = torch.tensor(values, requires_grad=True)
    mask = keep_mask(x, p, generator=torch.Generator().manual_seed(seed)).numpy()
    expected, cache = dropout_forward(values, p, mode="train", mask=mask)

    result = dropout(x, p, generator=torch.Generator().manual_seed(seed))
    result.backward(torch.tensor(slopes))

    np.testing.assert_array_equal(result.detach().numpy(), expected)
    np.testing.assert_array_equal(x.grad.numpy(), dropout_backward(slopes, cache))


@pytest.mark.parametrize("p", [0.1, 0.2, 1 / 3, 0.9])
def test_a_rounded_probability_moves_the_scale_by_less_than_its_rounding(p: float) -> None:
    x = torch.ones(1001, dtype=torch.float64)
    result = dropout(x, p, generator=torch.Generator().manual_seed(0))
    expected, _ = dropout_forward(x.numpy(), p, mode="train", mask=result.numpy() > 0)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1 / LEVELS / (1 - p))


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_backward_is_the_slope_of_forward(p: float) -> None:
    rng = np.random.default_rng(0)
    x, direction, slopes = rng.normal(size=(3, 50))
    _, cache = dropout_forward(x, p, mode="train", seed=1)
    ahead, _ = dropout_forward(x + 1e-4 * direction, p, mode="train", seed=1)
    behind, _ = dropout_forward(x - 1e-4 * direction, p, mode="train", seed=1)
    by_difference = ((ahead - behind) / 2e-4 * slopes).sum()
    np.testing.assert_allclose((dropout_backward(slopes, cache) * direction).sum(), by_difference)


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_test_mode_passes_values_and_gradients_through(p: float) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5))
    result, cache = dropout_forward(x, p, mode="test")
    assert result is x
    assert dropout_backward(x, cache) is x


def test_elements_are_dropped_with_probability_p() -> None:
    result, _ = dropout_forward(np.ones(1 << 20), 0.3, mode="train", seed=0)
    assert abs((result == 0).mean() - 0.3) < tolerance(0.3 * 0.7, 1 << 20)


def test_a_seed_repeats_a_draw() -> None:
    first, second, other = (
        dropout_forward(np.ones(100), 0.5, mode="train", seed=seed)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout_forward(np.ones(3), p, mode="train")
