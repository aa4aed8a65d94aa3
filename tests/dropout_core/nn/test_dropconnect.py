import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from dropout_core.nn import functional
from dropout_core.nn.functional import dropconnect, dropconnect_moments, dropout
from dropout_core.nn.layers import DropConnectLinear
from dropout_core.nn.masks import keep_mask, keep_probability
from tests.support.statistics import every_mask, tolerance
from tests.support.tensors import normal, seeded


@pytest.mark.parametrize("per_example", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_gradients_are_those_of_finite_differences(per_example: bool, bias: bool, p: float) -> None:
    leaves = [normal(5, 3), normal(4, 3, seed=1), *([normal(4, seed=2)] if bias else [])]

    def function(x: Tensor, weight: Tensor, offset: Tensor | None = None) -> Tensor:
        return dropconnect(x, weight, offset, p, per_example=per_example, generator=seeded())

    assert gradcheck(function, [leaf.requires_grad_() for leaf in leaves])


def test_every_example_has_masks_of_its_own() -> None:
    x, weight, bias = normal(6, 5), normal(4, 5, seed=1), normal(4, seed=2)
    stream = seeded()
    weights_BOI = dropout(weight.expand(6, 4, 5), 0.3, generator=stream)
    expected = torch.einsum("boi,bi->bo", weights_BOI, x)
    expected += dropout(bias.expand(6, 4), 0.3, generator=stream)
    torch.testing.assert_close(dropconnect(x, weight, bias, 0.3, generator=seeded()), expected)
    alike = dropconnect(x[:1].expand(6, 5), weight, bias, 0.3, generator=seeded())
    assert len(alike.unique(dim=0)) == 6


def test_a_whole_batch_may_share_one_mask() -> None:
    x, weight, bias = normal(6, 5), normal(4, 5, seed=1), normal(4, seed=2)
    stream = seeded()
    masked = dropout(weight, 0.3, generator=stream), dropout(bias, 0.3, generator=stream)
    shared = dropconnect(x, weight, bias, 0.3, per_example=False, generator=seeded())
    torch.testing.assert_close(shared, F.linear(x, *masked))
    options = {"per_example": False, "generator": seeded()}
    alike = dropconnect(x[:1].expand(6, 5), weight, bias, 0.3, **options)
    torch.testing.assert_close(alike, alike[:1].expand(6, 4))


@pytest.mark.parametrize("per_example", [True, False])
def test_certainty_is_the_plain_layer_or_nothing(per_example: bool) -> None:
    x, weight, bias = normal(6, 5), normal(4, 5, seed=1), normal(4, seed=2)
    whole, nothing = (dropconnect(x, weight, bias, p, per_example=per_example) for p in (0.0, 1.0))
    assert torch.equal(whole, F.linear(x, weight, bias))
    assert torch.equal(nothing, torch.zeros(6, 4, dtype=torch.float64))


def test_the_mean_over_masks_is_the_plain_layer_and_the_variance_that_of_the_moments() -> None:
    x, weight, bias = normal(1, 3), normal(2, 3, seed=1), normal(2, seed=2)
    num_draws = 1 << 17
    mean, variance = dropconnect_moments(x, weight, bias, 0.3)
    draws = dropconnect(x.expand(num_draws, 3), weight, bias, 0.3, generator=seeded())
    torch.testing.assert_close(mean, F.linear(x, weight, bias))
    squares = (draws - mean).square()
    for unit in range(2):
        assert abs(draws[:, unit].mean() - mean[0, unit]) < tolerance(variance[0, unit], num_draws)
        spread = squares[:, unit].mean() - variance[0, unit]
        assert abs(spread) < tolerance(squares[:, unit].var(), num_draws)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("bias", [True, False])
def test_the_moments_are_those_of_the_enumeration_of_all_masks(p: float, bias: bool) -> None:
    x, weight, offset = normal(3, 2), normal(2, 2, seed=1), normal(2, seed=2)
    keep = keep_probability(p)
    masks, likelihood = every_mask(6 if bias else 4, keep)
    outputs = torch.stack(
        [
            F.linear(x, mask[:4].view(2, 2) * weight, mask[4:] * offset if bias else None) / keep
            for mask in masks
        ]
    )
    expected_mean = torch.einsum("m,mbo->bo", likelihood, outputs)
    expected_variance = torch.einsum("m,mbo->bo", likelihood, (outputs - expected_mean) ** 2)
    mean, variance = dropconnect_moments(x, weight, offset if bias else None, p)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(variance, expected_variance)


def test_a_gaussian_with_these_moments_stands_for_many_inputs() -> None:
    # By the inequality of Dvoretzky, Kiefer and Wolfowitz an empirical distribution of n draws is
    # further than e from its own with probability 2 exp(-2 n e^2); by Berry and Esseen that one
    # is within 0.56 sum E|X|^3 / (sum E X^2)^1.5 of the Gaussian. At p = 1/2, |X| is |w x|.
    num_draws, num_inputs = 4000, 1000
    x, weight = normal(1, num_inputs), normal(1, num_inputs, seed=1)
    mean, variance = dropconnect_moments(x, weight, None, 0.5)
    draws = dropconnect(x.expand(num_draws, -1), weight, None, 0.5, generator=seeded())
    ordered = ((draws[:, 0] - mean[0]) / variance[0].sqrt()).sort().values
    cumulative = torch.special.ndtr(ordered)
    steps = torch.arange(num_draws + 1) / num_draws
    distance = max((steps[1:] - cumulative).max(), (cumulative - steps[:-1]).max())
    terms = (x * weight).abs()
    berry_esseen = 0.56 * terms.pow(3).sum() / terms.square().sum().pow(1.5)
    assert distance < math.sqrt(math.log(2e9) / (2 * num_draws)) + berry_esseen


@pytest.mark.parametrize("elements", [1, 20, 41, 60])
def test_the_size_of_a_part_does_not_change_the_result(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results() -> tuple[Tensor, ...]:
        leaves = [normal(7, 5), normal(4, 5, seed=1), normal(4, seed=2)]
        out = dropconnect(*(t.requires_grad_() for t in leaves), 0.3, generator=seeded())
        out.backward(normal(7, 4, seed=3))
        return out.detach(), *(leaf.grad for leaf in leaves)

    at_once = results()
    monkeypatch.setattr(functional, "_DROPCONNECT_ELEMENTS", elements)
    for part, whole in zip(results(), at_once, strict=True):
        torch.testing.assert_close(part, whole)


def test_no_rows_have_no_outputs_and_no_gradients() -> None:
    weight = normal(4, 5).requires_grad_()
    result = dropconnect(normal(0, 5), weight, None, 0.5)
    result.sum().backward()
    assert result.shape == (0, 4)
    assert torch.equal(weight.grad, torch.zeros(4, 5, dtype=torch.float64))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropconnect(normal(6, 5), normal(4, 5), None, p)
    with pytest.raises(ValueError, match="between 0 and 1"):
        DropConnectLinear(5, 4, p)


@pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
def test_moments_need_a_probability_below_1(p: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1, but got"):
        dropconnect_moments(normal(6, 5), normal(4, 5), None, p)


@pytest.mark.parametrize("per_example", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_the_function_in_training_and_plain_in_eval_mode(
    per_example: bool, bias: bool
) -> None:
    layer = DropConnectLinear(5, 4, 0.3, bias=bias, per_example=per_example, generator=seeded())
    x, parameters = normal(6, 5, dtype=torch.float32), (layer.weight, layer.bias)
    expected = dropconnect(x, *parameters, 0.3, per_example=per_example, generator=seeded())
    assert torch.equal(layer(x), expected)
    assert torch.equal(layer.eval()(x), F.linear(x, *parameters))


def test_the_layer_takes_what_batchwise_dropout_left() -> None:
    layer, columns = DropConnectLinear(5, 4, 0.5, generator=seeded()).double(), torch.tensor([1, 4])
    x = normal(6, 5)
    mask_BOI = keep_mask(torch.empty(6, 4, 2), 0.5, generator=seeded())
    weights_BOI = mask_BOI * layer.weight[:, columns] * 2.0
    expected = torch.einsum("boi,bi->bo", weights_BOI, x[:, columns])
    torch.nn.init.zeros_(layer.bias)
    torch.testing.assert_close(layer(x[:, columns], columns), expected)


def test_the_layer_says_what_it_is() -> None:
    assert repr(DropConnectLinear(5, 4, 0.25)) == (
        "DropConnectLinear(in_features=5, out_features=4, bias=True, p=0.25, per_example=True)"
    )
