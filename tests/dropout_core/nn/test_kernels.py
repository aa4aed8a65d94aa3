"""The kernels on a GPU, or else in Triton's interpreter on the CPU:

TRITON_INTERPRET=1 pytest tests/dropout_core/nn/test_kernels.py
"""

import math
import os
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from dropout_core.nn.kernels import bias_activation_dropout, is_available
from dropout_core.nn.masks import keep_probability
from tests.support.statistics import tolerance
from tests.support.tensors import normal

if torch.cuda.is_available():
    pytest.importorskip("triton", reason="the kernels are Triton's, which is not installed")
    DEVICE = torch.device("cuda")
elif os.environ.get("TRITON_INTERPRET") == "1":
    pytest.importorskip("triton", reason="Triton's interpreter is not installed")
    DEVICE = torch.device("cpu")
else:
    pytest.skip("no GPU, and TRITON_INTERPRET is not 1", allow_module_level=True)

FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh, "logistic": torch.sigmoid}
# One program's share is 2,048 elements: less, more, and rows that it does not divide.
SHAPES = [(1, 1), (3, 5), (16, 128), (7, 1000), (1000, 7), (2, 2049), (4097, 1)]
# The spacing of the numbers next to 1. The interpreter rounds towards zero, so it counts in full.
SPACING = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}


def seeded(seed: int = 0) -> Generator:
    return Generator(DEVICE).manual_seed(seed)


def leaf(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return normal(*shape, dtype=torch.float32, seed=seed).to(DEVICE, dtype).requires_grad_()


def mask_of(rows: int, columns: int, p: float, seed: int = 0) -> Tensor:
    """The mask that is drawn for this shape: the logistic function of zero is no zero."""
    zeros = torch.zeros(rows, columns, device=DEVICE)
    result = bias_activation_dropout(
        zeros, None, p, activation="logistic", generator=seeded(seed), scale=1.0
    )
    return result != 0


def in_steps(
    z: Tensor, bias: Tensor | None, mask: Tensor, *, activation: str, scale: float
) -> Tensor:
    return FUNCTIONS[activation](z if bias is None else z + bias) * mask * scale


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_bias_activation_and_dropout_of_any_size(
    shape: tuple[int, int], activation: str, bias: bool
) -> None:
    together, apart = ([leaf(*shape, seed=1), leaf(shape[1], seed=2)] for _ in range(2))
    if not bias:
        together[1] = apart[1] = None
    result = bias_activation_dropout(*together, 0.3, activation=activation, generator=seeded())
    scale = 1 / keep_probability(0.3)
    expected = in_steps(*apart, mask_of(*shape, 0.3), activation=activation, scale=scale)
    torch.testing.assert_close(result, expected)
    grad = leaf(*shape, seed=3).detach()
    result.backward(grad)
    expected.backward(grad)
    # 1 - y^2 is off by the rounding of y, once on either side; a bias adds up that of its rows.
    atol = 8 * SPACING[torch.float32] * scale * float(grad.abs().max())
    torch.testing.assert_close(together[0].grad, apart[0].grad, rtol=1e-5, atol=atol)
    if bias:
        bound = atol * shape[0]
        torch.testing.assert_close(together[1].grad, apart[1].grad, rtol=1e-5, atol=bound)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_narrow_types_are_off_by_the_rounding_of_the_result_alone(
    activation: str, dtype: torch.dtype
) -> None:
    z, bias = leaf(40, 130, seed=1, dtype=dtype), leaf(130, seed=2)
    wide = [t.detach().float().requires_grad_() for t in (z, bias)]
    result = bias_activation_dropout(z, bias, 0.3, activation=activation, generator=seeded())
    assert result.dtype == dtype
    scale = 1 / keep_probability(0.3)
    expected = in_steps(*wide, mask_of(40, 130, 0.3), activation=activation, scale=scale)
    spacing = SPACING[dtype]
    torch.testing.assert_close(result.float(), expected, rtol=spacing, atol=1e-6)
    grad = leaf(40, 130, seed=3, dtype=dtype).detach()
    result.backward(grad)
    expected.backward(grad.float())
    # The slope is computed from the rounded result: |d(1 - a^2)| <= 2 |da|, and da <= spacing.
    largest = scale * float(grad.abs().max())
    torch.testing.assert_close(
        z.grad.float(), wide[0].grad, rtol=spacing, atol=2 * spacing * largest
    )
    assert bias.grad.dtype == torch.float32


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_gradients_are_those_of_finite_differences(activation: str) -> None:
    # In float32 a central difference over h is off by h^2 / 6 times the third derivative, which is
    # at most 2, and by the rounding of values below 2 over h. ReLU's kink is kept further than h.
    h, scale = 2.0**-7, 1 / keep_probability(0.4)
    z, bias = leaf(6, 11, seed=1), leaf(11, seed=2)
    with torch.no_grad():
        z[(z + bias).abs() < 2 * h] += 1.0

    def value(at: Tensor, offset: Tensor) -> Tensor:
        return bias_activation_dropout(at, offset, 0.4, activation=activation, generator=seeded())

    value(z, bias).sum().backward()
    with torch.no_grad():
        slopes = (value(z + h, bias) - value(z - h, bias)) / (2 * h)
        of_bias = (value(z, bias + h) - value(z, bias - h)) / (2 * h)
    atol = scale * (h**2 / 3 + 8 * SPACING[torch.float32] / h)
    torch.testing.assert_close(z.grad, slopes, rtol=0, atol=atol)
    torch.testing.assert_close(bias.grad, of_bias.sum(dim=0), rtol=0, atol=6 * atol)


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_backward_draws_the_mask_of_forward_again(activation: str) -> None:
    # All pre-activations are zero, where tanh's result is zero, too, and does not tell.
    z = torch.zeros(100, 100, device=DEVICE, requires_grad=True)
    offset = 0.5 if activation == "relu" else 0.0  # where a ReLU has a slope
    bias = torch.full((100,), offset, device=DEVICE)
    result = bias_activation_dropout(
        z, bias, 0.5, activation=activation, generator=seeded(5), scale=1.0
    )
    result.sum().backward()
    assert torch.equal(z.grad != 0, mask_of(100, 100, 0.5, seed=5))


@pytest.mark.parametrize("p", [0.5, 0.3, 0.9, 1e-4])
def test_elements_are_kept_with_the_probability_that_is_promised(p: float) -> None:
    keep, mask = keep_probability(p), mask_of(500, 401, p)
    allowed = tolerance(keep * (1 - keep), mask.numel())
    assert abs(float(mask.double().mean()) - keep) <= allowed


def test_rows_columns_and_neighbours_are_independent() -> None:
    # The product of two independent masks of a half, each less its mean, has the variance 1/16.
    mask = mask_of(400, 500, 0.5).double() - 0.5
    for one, other in [
        (mask[:-1], mask[1:]),
        (mask[:, :-1], mask[:, 1:]),
        (mask.flatten()[:-256], mask.flatten()[256:]),  # the other half of the same word
        (mask.flatten()[:-2048], mask.flatten()[2048:]),  # the next program
    ]:
        products = one * other
        assert abs(float(products.mean())) <= tolerance(1 / 16, products.numel())


def test_the_mean_of_each_of_a_programs_parts_is_the_same() -> None:
    parts = mask_of(100, 2048, 0.3).view(100, 8, 256).double().mean(dim=(0, 2))
    keep = keep_probability(0.3)
    assert ((parts - keep).abs() <= tolerance(keep * (1 - keep), 25_600)).all()


def test_masks_are_a_function_of_the_generator_and_differ_from_call_to_call() -> None:
    z, stream = torch.ones(30, 30, device=DEVICE), seeded(1)
    options: dict[str, Any] = {"activation": "relu"}
    first, second = (
        bias_activation_dropout(z, None, 0.5, generator=stream, **options) for _ in range(2)
    )
    again = bias_activation_dropout(z, None, 0.5, generator=seeded(1), **options)
    assert torch.equal(first, again)
    # Two masks agree in 450 of 900 elements, with a standard deviation of 15.
    assert abs(int((first == second).sum()) - 450) <= 900 * tolerance(0.25, 900)


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_all_or_nothing_is_exact_and_draws_nothing(
    p: float, scale: float | None, activation: str
) -> None:
    z, bias, stream = leaf(20, 30, seed=1), leaf(30, seed=2), seeded()
    before = stream.get_state()
    result = bias_activation_dropout(
        z, bias, p, activation=activation, generator=stream, scale=scale
    )
    assert torch.equal(stream.get_state(), before)
    result.sum().backward()
    if p == 1.0:
        assert not result.any()
        assert not z.grad.any()
        assert not bias.grad.any()
    else:
        torch.testing.assert_close(result, FUNCTIONS[activation](z + bias))
        assert z.grad.any()


def test_survivors_are_multiplied_by_the_scale_that_is_given() -> None:
    z = leaf(20, 30, seed=1)
    result = bias_activation_dropout(z, None, 0.5, activation="tanh", generator=seeded(), scale=3.0)
    mask = mask_of(20, 30, 0.5)
    torch.testing.assert_close(result, 3 * torch.tanh(z) * mask)
    result.sum().backward()
    torch.testing.assert_close(z.grad, 3 * (1 - torch.tanh(z) ** 2) * mask)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")  # of the interpreter
def test_tanh_is_exact_near_zero_and_far_from_it() -> None:
    z = torch.tensor([1e-30, 1e-6, 1e-3, 0.2499, 0.2501, 1.0, 9.0, 50.0, 1e30, math.inf])
    z = torch.cat([z, -z, torch.zeros(1)])[None].to(DEVICE)
    result = bias_activation_dropout(z, None, 0.0, activation="tanh")
    # A GPU's exp(x) is 2^(x log2 e), which is off by half a unit in the last place of its exponent
    # and one or two of its own: 3e-6 for 50. Tanh is a difference, from 1, that is down to a
    # quarter: 2e-6.
    torch.testing.assert_close(result, torch.tanh(z), rtol=4e-6, atol=0)
    flat = bias_activation_dropout(z, None, 0.0, activation="logistic")
    torch.testing.assert_close(flat, torch.sigmoid(z), rtol=6e-6, atol=2.0**-126)


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_what_is_not_a_number_does_not_become_one(activation: str) -> None:
    z = torch.full((3, 4), math.nan, device=DEVICE)
    assert bias_activation_dropout(z, None, 0.0, activation=activation).isnan().all()


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_strides_do_not_matter_and_inputs_are_left_as_they_were(activation: str) -> None:
    options: dict[str, Any] = {"activation": activation}
    z, bias = leaf(50, 60, seed=1), leaf(60, 2, seed=2)
    across, down = z.detach().T.contiguous().T.requires_grad_(), bias[:, 0]
    before = across.detach().clone()
    plain = bias_activation_dropout(z, down, 0.5, generator=seeded(), **options)
    result = bias_activation_dropout(across, down, 0.5, generator=seeded(), **options)
    assert torch.equal(result, plain)
    assert torch.equal(across, before)
    plain.sum().backward()  # a gradient whose strides are zero
    result.backward(torch.ones(60, 50, device=DEVICE).T)
    torch.testing.assert_close(across.grad, z.grad)


def test_no_rows_have_no_outputs() -> None:
    z = torch.zeros(0, 5, device=DEVICE, requires_grad=True)
    result = bias_activation_dropout(z, None, 0.5, activation="relu", generator=seeded())
    result.sum().backward()
    assert result.shape == z.grad.shape == (0, 5)


@pytest.mark.skipif(DEVICE.type == "cpu", reason="the interpreter would take minutes")
def test_elements_beyond_what_32_bits_count_are_dropped_too() -> None:
    # 2^31 + 2^21 elements in bfloat16: 4 GiB each for input and result.
    z = torch.ones(2**21 + 2**11, 2**10, device=DEVICE, dtype=torch.bfloat16)
    result = bias_activation_dropout(z, z[0], 0.5, activation="relu", generator=seeded())
    beyond = result[2**21 :].double()
    assert set(beyond.unique().tolist()) == {0.0, 4.0}
    assert abs(float((beyond != 0).double().mean()) - 0.5) <= tolerance(0.25, beyond.numel())
    assert not torch.equal(beyond, result[: 2**11].double())


@pytest.mark.skipif(DEVICE.type == "cpu", reason="only a GPU has graphs to capture")
def test_a_captured_graph_draws_anew_at_every_replay() -> None:
    z, stream = torch.ones(100, 100, device=DEVICE), seeded()
    options: dict[str, Any] = {"activation": "relu", "generator": stream}
    eager = [bias_activation_dropout(z, None, 0.5, **options) for _ in range(2)]
    stream.manual_seed(0)
    graph = torch.cuda.CUDAGraph()
    if torch.__version__ < "2.14":
        graph.register_generator_state(stream)
    with torch.cuda.graph(graph):
        result = bias_activation_dropout(z, None, 0.5, **options)
    for expected in eager:
        graph.replay()
        assert torch.equal(result, expected)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1, but got"):
        bias_activation_dropout(torch.zeros(2, 3, device=DEVICE), None, p, activation="relu")


def test_what_the_kernels_do_not_compute_is_refused() -> None:
    z = torch.zeros(2, 3, device=DEVICE)
    with pytest.raises(ValueError, match="gelu"):
        bias_activation_dropout(z, None, 0.5, activation="gelu")
    with pytest.raises(TypeError, match="float64"):
        bias_activation_dropout(z.double(), None, 0.5, activation="relu")


def test_the_kernels_are_for_gpus() -> None:
    assert is_available(DEVICE) == (DEVICE.type == "cuda")
    assert not is_available(torch.device("cpu"))
