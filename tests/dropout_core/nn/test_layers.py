import math

import pytest
import torch
from torch import Tensor

from dropout_core.nn.functional import dropout, gaussian_dropout, maxout
from dropout_core.nn.layers import Dropout, GaussianDropout, Maxout
from dropout_core.nn.masks import keep_probability
from tests.support.tensors import normal, seeded


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("scaling", "scale"), [("inverted", None), ("classic", 1.0)])
def test_training_is_the_pure_function(p: float, scaling: str, scale: float | None) -> None:
    x = torch.randn(7, 11, generator=seeded(9))
    layer = Dropout(p, scaling=scaling, generator=seeded())
    assert torch.equal(layer(x), dropout(x, p, generator=seeded(), scale=scale))


def test_inverted_scaling_is_the_identity_in_eval_mode() -> None:
    x = torch.ones(3)
    assert Dropout(0.3).eval()(x) is x


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_classic_scaling_multiplies_by_what_is_really_kept_in_eval_mode(p: float) -> None:
    x = torch.ones(3, dtype=torch.float64)
    assert torch.equal(Dropout(p, scaling="classic").eval()(x), x * keep_probability(p))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_probability_outside_0_to_1_is_refused_at_once(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(p)


def test_inplace_writes_over_its_input() -> None:
    x = torch.ones(100)
    assert Dropout(0.5, inplace=True)(x) is x
    assert (x == 0).any()


def test_the_generator_may_be_replaced() -> None:
    layer, x = Dropout(0.5, generator=seeded(1)), torch.ones(100)
    first = layer(x)
    layer.generator = seeded(1)
    assert torch.equal(layer(x), first)


def test_it_says_what_it_is() -> None:
    assert repr(Dropout(0.25)) == "Dropout(p=0.25, scaling=inverted, inplace=False)"


@pytest.mark.parametrize("scaling", ["inverted", "classic"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_finite_differences(scaling: str, training: bool) -> None:
    layers = [
        Dropout(0.3, scaling=scaling).train(training),
        GaussianDropout(0.3).train(training),
        Maxout(2).train(training),
    ]

    def function(x: Tensor) -> Tensor:
        stream = seeded()
        for layer in layers:
            layer.generator = stream
            x = layer(x)
        return x

    assert torch.autograd.gradcheck(function, normal(5, 6).requires_grad_())


def test_gaussian_dropout_is_its_function_in_training_and_the_identity_in_eval_mode() -> None:
    x, layer = normal(7, 11), GaussianDropout(0.3, generator=seeded())
    assert torch.equal(layer(x), gaussian_dropout(x, 0.3, generator=seeded()))
    assert layer.eval()(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
def test_gaussian_dropout_refuses_at_once_what_its_function_refuses(p: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1, but got"):
        GaussianDropout(p)


@pytest.mark.parametrize("training", [True, False])
def test_maxout_is_its_function_in_every_mode(training: bool) -> None:
    assert torch.equal(Maxout(3).train(training)(normal(7, 12)), maxout(normal(7, 12), 3))


def test_the_variants_say_what_they_are() -> None:
    assert repr(GaussianDropout(0.25)) == "GaussianDropout(p=0.25)"
    assert repr(Maxout(3)) == "Maxout(num_pieces=3)"
