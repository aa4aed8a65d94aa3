import math

import pytest
import torch
from torch import Tensor

from dropout_core.nn.functional import (
    activate_and_drop_,
    activate_and_drop_backward,
    dropout,
    gaussian_dropout,
    max_norm_,
    maxout,
)
from dropout_core.nn.masks import keep_mask, keep_probability
from tests.support.statistics import tolerance
from tests.support.tensors import normal, seeded

SHAPES = [(), (0,), (2, 0, 3), (1,), (3,), (5, 7), (2, 3, 4, 5)]


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, math.inf, -math.inf])
def test_a_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1, but got"):
        dropout(torch.ones(3), p)


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


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_gaussian_noise_has_mean_one_the_variance_of_bernoulli_dropout_and_zeroes_nothing(
    p: float,
) -> None:
    # The squared deviation of a normal of variance v has variance 2 v^2.
    num_draws, variance = 1 << 20, p / (1 - p)
    noise = gaussian_dropout(torch.ones(num_draws).double(), p, generator=seeded())
    assert abs(noise.mean() - 1) < tolerance(variance, num_draws)
    spread = (noise - 1).square().mean() - variance
    assert abs(spread) < tolerance(2 * variance**2, num_draws)
    assert (noise != 0).all()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_gaussian_and_bernoulli_dropout_have_the_same_first_two_moments(p: float) -> None:
    num_draws, x = 1 << 20, torch.full((1 << 20,), 3.0, dtype=torch.float64)
    gaussian = gaussian_dropout(x, p, generator=seeded(1))
    bernoulli = dropout(x, p, generator=seeded(2))
    for power in (1, 2):
        one, other = gaussian**power, bernoulli**power
        assert abs(one.mean() - other.mean()) < tolerance(one.var() + other.var(), num_draws)


def test_gaussian_dropout_multiplies_what_it_is_given() -> None:
    x = normal(5, 7)
    noise = gaussian_dropout(torch.ones_like(x), 0.3, generator=seeded())
    assert torch.equal(gaussian_dropout(x, 0.3, generator=seeded()), x * noise)
    assert gaussian_dropout(x, 0.0) is x


def test_gradients_of_gaussian_dropout_are_those_of_finite_differences() -> None:
    def function(x: Tensor) -> Tensor:
        return gaussian_dropout(x, 0.4, generator=seeded())

    assert torch.autograd.gradcheck(function, normal(5, 7).requires_grad_())


@pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
def test_gaussian_dropout_needs_a_probability_below_1(p: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1, but got"):
        gaussian_dropout(torch.ones(3), p)


@pytest.mark.parametrize("num_pieces", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (0,)])
def test_maxout_is_the_largest_of_consecutive_inputs(
    shape: tuple[int, ...], num_pieces: int
) -> None:
    x = normal(*shape, 6)
    result = maxout(x, num_pieces)
    assert result.shape == (*shape, 6 // num_pieces)
    for unit in range(6 // num_pieces):
        pieces = [x[..., unit * num_pieces + piece] for piece in range(num_pieces)]
        assert torch.equal(result[..., unit], torch.stack(pieces).amax(dim=0))


def test_maxout_takes_a_view_with_strides() -> None:
    assert torch.equal(maxout(normal(6, 4).T, 2), maxout(normal(6, 4).T.contiguous(), 2))


def test_gradients_of_maxout_are_those_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(lambda x: maxout(x, 3), normal(5, 6).requires_grad_())


def test_maxout_refuses_inputs_that_are_no_multiple_of_its_pieces() -> None:
    with pytest.raises(ValueError, match="7 inputs are not a multiple of 3 pieces"):
        maxout(normal(5, 7), 3)


def test_max_norm_scales_long_rows_down_in_place_and_leaves_short_ones() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0], [0.0, -8.0]], requires_grad=True)
    result = max_norm_(weight, 2.0)
    expected = torch.tensor([[1.2, 1.6], [0.6, 0.8], [0.0, 0.0], [0.0, -2.0]])
    torch.testing.assert_close(weight.detach(), expected)
    assert result.data_ptr() == weight.data_ptr()


ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "logistic": torch.sigmoid}


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_and_unscaled_dropout_replace_their_input(name: str, p: float) -> None:
    x = normal(5, 7)
    mask = activate_and_drop_(x, name, p, generator=seeded())
    kept = keep_mask(x, p, generator=seeded(), dtype=x.dtype)
    assert torch.equal(x, ACTIVATIONS[name](normal(5, 7)) * kept)
    assert mask is None if p == 0.0 else torch.equal(mask, kept)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_their_gradient_is_that_of_autograd(name: str, p: float) -> None:
    x, grad = normal(5, 7).requires_grad_(), normal(5, 7, seed=1)
    result = dropout(ACTIVATIONS[name](x), p, generator=seeded(), scale=1.0)
    (expected,) = torch.autograd.grad(result, x, grad)
    dropped = normal(5, 7)
    mask = activate_and_drop_(dropped, name, p, generator=seeded())
    before = dropped.clone(), grad.clone()
    assert torch.equal(activate_and_drop_backward(grad, dropped, mask, name), expected)
    assert torch.equal(dropped, before[0])
    assert torch.equal(grad, before[1])


def test_a_unit_at_rest_has_no_slope() -> None:
    grad = torch.ones(2)
    zeros = torch.zeros(2)
    assert torch.equal(activate_and_drop_backward(grad, zeros, None, "relu"), zeros)
