import math

import pytest
import torch
from torch import Generator

from dropout_core.functional import dropout
from dropout_core.layers import Dropout
from dropout_core.masks import keep_probability


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


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
