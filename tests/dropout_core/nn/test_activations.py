import pytest
import torch
from torch.nn import functional as F

from dropout_core.nn.activations import mish
from tests.support.tensors import normal


def test_mish_is_that_of_torch_up_to_the_rounding_of_its_argument() -> None:
    x = torch.cat([10 * normal(10_000), torch.linspace(-120, 120, 10_001, dtype=torch.float64)])
    # x - 2 x r rounds each of three times by half a unit of at most |x|, and r by a few units.
    bound = 8 * 2.0**-53 * x.abs()
    assert ((mish(x) - F.mish(x)).abs() <= bound).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mish_and_its_slope_are_finite_where_the_exponential_is_not(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max / 4
    x = torch.tensor([-largest, -1e4, -0.0, 0.0, 1e4, largest], dtype=dtype, requires_grad=True)
    y = mish(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 0.0, 0.0, 0.0, 1e4, largest]
    assert x.grad.tolist() == pytest.approx([0.0, 0.0, 0.6, 0.6, 1.0, 1.0], abs=1e-6)


def test_the_slope_of_mish_is_that_of_torch() -> None:
    ours = (6 * normal(10_000)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    mish(ours).sum().backward()
    F.mish(theirs).sum().backward()
    # A square root of r (1 - r), of which r is off by few units, and products with |x| < 40.
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=40 * 16 * 2.0**-53)


def test_without_gradients_mish_has_the_same_bits() -> None:
    x = normal(1_000, dtype=torch.float32)
    assert torch.equal(mish(x), mish(x.clone().requires_grad_()).detach())
