import math

import pytest
import torch
from torch import Generator, Tensor

from dropout_core.functional import check_probability, dropout
from dropout_core.masks import keep_mask, keep_probability
from tests.dropout_core.statistics import tolerance

SHAPES = [(), (0,), (2, 0, 3), (1,), (3,), (5, 7), (2, 3, 4, 5)]


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(99), dtype=dtype)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, math.inf, -math.inf])
def test_a_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1, but got"):
        dropout(torch.ones(3), p)
    with pytest.raises(ValueError, match="between 0 and 1"):
        check_probability(p)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_survivors_are_scaled_and_the_rest_is_zero(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = normal(*shape, dtype=dtype)
    result = dropout(x, 0.3, generator=seeded())
    mask = keep_mask(x, 0.3, generator=seeded())
    assert result.dtype == dtype
    assert torch.equal(result, torch.where(mask, x * (1 / keep_probability(0.3)), 0))


def test_the_expectation_is_the_input() -> None:
    # An element of value x becomes x/q with probability q and else 0: variance x^2 (1 - q)/q.
    num_draws, kept = 1 << 20, keep_probability(0.2)
    result = dropout(torch.full((num_draws,), 3.0, dtype=torch.float64), 0.2, generator=seeded())
    assert abs(result.mean() - 3.0) < tolerance(9.0 * (1 - kept) / kept, num_draws)


def test_the_classic_scale_leaves_survivors_alone() -> None:
    x = normal(1000)
    result = dropout(x, 0.3, generator=seeded(), scale=1.0)
    assert torch.equal(result, x * keep_mask(x, 0.3, generator=seeded()))


def test_zero_returns_the_input_itself() -> None:
    x = normal(5)
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.0, scale=1.0, inplace=True) is x


@pytest.mark.parametrize(("p", "slope"), [(0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("scale", [None, 1.0])
def test_certainty_has_its_own_values_and_gradients(
    p: float, slope: float, scale: float | None
) -> None:
    x = normal(5, 3).requires_grad_()
    result = dropout(x, p, scale=scale)
    result.sum().backward()
    assert torch.equal(result, x * slope)
    assert torch.equal(x.grad, torch.full_like(x, slope))


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("scale", [None, 1.0])
def test_gradients_are_those_of_finite_differences(p: float, scale: float | None) -> None:
    x = normal(5, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: dropout(x, p, generator=seeded(), scale=scale), x)


def test_gradients_of_the_inplace_variant_are_those_of_finite_differences() -> None:
    def of_a_copy(x: Tensor) -> Tensor:
        return dropout(x * 1.0, 0.4, generator=seeded(), inplace=True)

    assert torch.autograd.gradcheck(of_a_copy, normal(5, 7).requires_grad_())


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)])
def test_empty_tensors_have_empty_gradients(shape: tuple[int, ...]) -> None:
    x = normal(*shape).requires_grad_()
    dropout(x, 0.5).sum().backward()
    assert x.grad is not None
    assert x.grad.shape == shape


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_the_inplace_variant_gives_the_same_values_in_the_same_memory(p: float) -> None:
    x = normal(5, 7)
    expected = dropout(x, p, generator=seeded())
    result = dropout(x, p, generator=seeded(), inplace=True)
    assert result.data_ptr() == x.data_ptr()
    assert torch.equal(x, expected)


def test_the_inplace_variant_marks_its_input_as_changed() -> None:
    x = normal(9).requires_grad_()
    y = x.exp()  # whose gradient needs y as it was
    dropout(y, 0.5, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_inplace_variant_refuses_a_leaf_that_requires_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        dropout(normal(9).requires_grad_(), 0.5, inplace=True)


def test_a_view_with_strides_is_masked_as_its_copy_is() -> None:
    x = normal(6, 5).T
    masked = dropout(x, 0.5, generator=seeded())
    assert torch.equal(masked, dropout(x.contiguous(), 0.5, generator=seeded()))


def test_the_same_seed_draws_the_same_and_leaves_the_global_generator_alone() -> None:
    x, before = torch.ones(1000), torch.get_rng_state()
    assert torch.equal(dropout(x, 0.5, generator=seeded(1)), dropout(x, 0.5, generator=seeded(1)))
    assert not torch.equal(
        dropout(x, 0.5, generator=seeded(1)), dropout(x, 0.5, generator=seeded(2))
    )
    assert torch.equal(torch.get_rng_state(), before)
