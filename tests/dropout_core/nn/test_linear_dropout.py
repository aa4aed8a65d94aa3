from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.nn.functional import dropout, linear_dropout
from dropout_core.nn.masks import keep_mask, survivor_scale
from tests.support.tensors import normal, seeded

FUNCTIONS = {"relu": F.relu, "tanh": torch.tanh, "logistic": torch.sigmoid}
BFLOAT16_ROUNDOFF = 2.0**-8


def leaves(*, bias: bool = True) -> list[Tensor | None]:
    x, weight, offset = normal(7, 5, seed=1), normal(6, 5, seed=2), normal(6, seed=3)
    return [t.requires_grad_() for t in (x, weight)] + [offset.requires_grad_() if bias else None]


def in_steps(
    x: Tensor, weight: Tensor, bias: Tensor | None, p: float, activation: str, **options: Any
) -> Tensor:
    return dropout(FUNCTIONS[activation](F.linear(x, weight, bias)), p, **options)


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_linear_activation_and_dropout_with_the_same_mask(
    activation: str, p: float, scale: float | None, bias: bool
) -> None:
    together, apart = leaves(bias=bias), leaves(bias=bias)
    options = {"activation": activation, "scale": scale}
    result = linear_dropout(*together, p, generator=seeded(), **options)
    expected = in_steps(*apart, p, generator=seeded(), **options)
    torch.testing.assert_close(result, expected)
    result.backward(normal(7, 6, seed=4))
    expected.backward(normal(7, 6, seed=4))
    for one, other in zip(together, apart, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_finite_differences(
    activation: str, p: float, scale: float | None, bias: bool
) -> None:
    given = leaves(bias=bias)

    def function(*tensors: Tensor) -> Tensor:
        arguments = (*tensors, *given[len(tensors) :])
        options = {"activation": activation, "scale": scale}
        return linear_dropout(*arguments, p, generator=seeded(), **options)

    assert torch.autograd.gradcheck(function, [t for t in given if t is not None], fast_mode=True)


@pytest.mark.parametrize("wanted", range(3))
def test_only_the_gradients_that_are_wanted_are_computed(wanted: int) -> None:
    tensors = [t.detach().requires_grad_(index == wanted) for index, t in enumerate(leaves())]
    linear_dropout(*tensors, 0.5, generator=seeded()).sum().backward()
    assert [t.grad is not None for t in tensors] == [index == wanted for index in range(3)]
    apart = leaves()
    in_steps(*apart, 0.5, "relu", generator=seeded()).sum().backward()
    torch.testing.assert_close(tensors[wanted].grad, apart[wanted].grad)


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_inputs_and_incoming_gradients_are_left_as_they_were(activation: str) -> None:
    tensors, grad = leaves(), normal(7, 6, seed=4)
    result = linear_dropout(*tensors, 0.5, activation=activation, generator=seeded())
    before, slopes = result.detach().clone(), grad.clone()
    result.backward(grad)
    assert torch.equal(grad, slopes)
    assert torch.equal(result, before)
    assert all(torch.equal(*pair) for pair in zip(tensors, leaves(), strict=True))


def test_no_rows_have_no_outputs() -> None:
    assert linear_dropout(normal(0, 5), normal(6, 5), normal(6), 0.5).shape == (0, 6)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1, but got"):
        linear_dropout(normal(7, 5), normal(6, 5), None, p)


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_bfloat16_is_off_by_its_rounding_alone(activation: str, bias: bool) -> None:
    # Both factors of a product are rounded, and so is the sum, each to a relative error of u: in
    # all less than 3.1 u of the sum of magnitudes. No activation here has a slope above 1.
    x, weight = normal(40, 300, dtype=torch.float32), normal(30, 300, dtype=torch.float32, seed=2)
    tensors = (x, weight, normal(30, dtype=torch.float32) if bias else None)
    options = {"activation": activation, "generator": seeded()}
    rounded = linear_dropout(*tensors, 0.5, **options, bfloat16=True)
    exact = linear_dropout(*tensors, 0.5, **options | {"generator": seeded()})
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    bound = 3.1 * BFLOAT16_ROUNDOFF * F.linear(x.abs(), weight.abs()) * survivor_scale(0.5)
    assert ((rounded - exact).abs() <= bound).all()


def test_gradients_of_bfloat16_are_off_by_its_rounding_alone() -> None:
    # All is positive, so no ReLU is at rest and the slopes are the mask alone.
    x, weight, bias, grad = (
        normal(*shape, dtype=torch.float32, seed=seed).abs()
        for seed, shape in enumerate([(40, 50), (30, 50), (30,), (40, 30)])
    )
    for tensor in (x, weight, bias):
        tensor.requires_grad_()
    linear_dropout(x, weight, bias, 0.5, generator=seeded(), bfloat16=True).backward(grad)
    mask = keep_mask(grad, 0.5, generator=seeded())
    slopes = grad * mask * survivor_scale(0.5)
    torch.testing.assert_close(bias.grad, slopes.sum(dim=0))
    for leaf, exact in ((x, slopes @ weight), (weight, slopes.T @ x)):
        assert leaf.grad.dtype == torch.float32
        assert ((leaf.grad - exact).abs() <= 3.1 * BFLOAT16_ROUNDOFF * exact).all()


def test_an_activation_that_is_not_fused_is_refused() -> None:
    x, weight = torch.zeros(2, 3), torch.zeros(4, 3)
    with pytest.raises(ValueError, match="gelu"):
        linear_dropout(x, weight, None, 0.5, activation="gelu")
