import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from dropout_core.config import MLPConfig
from dropout_core.nn.functional import keep_units, maxout, num_kept, submatrix_linear
from dropout_core.nn.layers import BatchwiseDropout
from dropout_core.nn.mlp import MLP
from tests.support.statistics import tolerance
from tests.support.tensors import normal, seeded

ROWS, COLUMNS = torch.tensor([0, 2, 5]), torch.tensor([1, 3])


@pytest.mark.parametrize(
    ("num_units", "p", "kept"),
    [(10, 0.0, 10), (10, 0.3, 7), (10, 0.5, 5), (10, 0.99, 1), (1, 0.9, 1), (3, 0.2, 2)],
)
def test_an_exact_number_of_units_is_kept(num_units: int, p: float, kept: int) -> None:
    assert num_kept(num_units, p) == kept
    units = keep_units(num_units, p, generator=seeded())
    assert units.dtype == torch.int64
    assert units.tolist() == sorted(set(units.tolist()))
    assert len(units) == kept
    assert 0 <= units.min() <= units.max() < num_units


def test_every_set_of_units_is_kept_alike() -> None:
    stream, num_draws = seeded(), 20_000
    draws = torch.stack([keep_units(5, 0.6, generator=stream) for _ in range(num_draws)])
    for units in itertools.combinations(range(5), 2):
        share = (draws == torch.tensor(units)).all(dim=1).double().mean()
        assert abs(share - 0.1) < tolerance(0.1 * 0.9, num_draws)


@pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
def test_a_probability_that_leaves_nothing_is_refused(p: float) -> None:
    for refused in (lambda: num_kept(5, p), lambda: keep_units(5, p), lambda: BatchwiseDropout(p)):
        with pytest.raises(ValueError, match="at least 0 and below 1, but got"):
            refused()


@pytest.mark.parametrize("rows", [None, ROWS], ids=["all rows", "some rows"])
@pytest.mark.parametrize("columns", [None, COLUMNS], ids=["all columns", "some columns"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_submatrix_is_the_whole_layer_with_the_rest_at_zero(
    rows: Tensor | None, columns: Tensor | None, bias: bool
) -> None:
    chosen_rows = torch.arange(6) if rows is None else rows
    chosen_columns = torch.arange(4) if columns is None else columns
    column_mask = torch.zeros(4, dtype=torch.float64).index_fill(0, chosen_columns, 1.0)
    parts, wholes = (
        [normal(5, 4), normal(6, 4, seed=1), *([normal(6, seed=2)] if bias else [])]
        for _ in range(2)
    )
    for leaf in parts + wholes:
        leaf.requires_grad_()

    x, weight, *offset = parts
    part = submatrix_linear(
        x[:, chosen_columns], weight, *(offset or [None]), rows=rows, columns=columns
    )
    x, weight, *offset = wholes
    whole = F.linear(x * column_mask, weight, *offset)[:, chosen_rows]
    torch.testing.assert_close(part, whole)
    grad = normal(5, len(chosen_rows), seed=3)
    part.backward(grad)
    whole.backward(grad)
    for one, other in zip(parts, wholes, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    multiplied = torch.zeros(6, 4, dtype=torch.bool)
    multiplied[chosen_rows[:, None], chosen_columns] = True
    assert (parts[1].grad[~multiplied] == 0).all()
    assert (parts[1].grad[multiplied] != 0).all()


def test_gradients_of_a_submatrix_are_those_of_finite_differences() -> None:
    leaves = [normal(5, 2), normal(6, 4, seed=1), normal(6, seed=2)]
    assert gradcheck(
        lambda *tensors: submatrix_linear(*tensors, rows=ROWS, columns=COLUMNS),
        [leaf.requires_grad_() for leaf in leaves],
    )


def test_the_layer_zeroes_columns_and_scales_the_rest() -> None:
    x = normal(6, 10)
    kept = keep_units(10, 0.3, generator=seeded())
    expected = torch.zeros_like(x)
    expected[:, kept] = x[:, kept] * (10 / 7)
    assert torch.equal(BatchwiseDropout(0.3, generator=seeded())(x), expected)


def test_gradients_of_the_layer_are_those_of_finite_differences() -> None:
    def function(x: Tensor) -> Tensor:
        return BatchwiseDropout(0.3, generator=seeded())(x)

    assert gradcheck(function, normal(3, 10).requires_grad_())


def test_the_layer_is_the_identity_at_p_zero_and_in_eval_mode() -> None:
    x = normal(6, 10)
    assert BatchwiseDropout(0.0)(x) is x
    assert BatchwiseDropout(0.3).eval()(x) is x


def test_the_layer_says_what_it_is() -> None:
    assert repr(BatchwiseDropout(0.25)) == "BatchwiseDropout(p=0.25)"


def build(**config: Any) -> MLP:
    model = MLP(MLPConfig(hidden=(6, 4), **config), in_features=5, out_features=2).double()
    for index, layer in enumerate(model.hidden):
        layer.linear.bias.data = normal(*layer.linear.bias.shape, seed=index)
    return model


def dense(model: MLP, x: Tensor, dropouts: list[float], function: Any) -> Tensor:
    """The network with nothing left out and the same units at zero, one group at a time."""
    stream, groups = seeded(), []

    def masked(x: Tensor, p: float) -> Tensor:
        kept = keep_units(x.shape[1], p, generator=stream)
        mask = torch.zeros(x.shape[1], dtype=torch.float64).index_fill(0, kept, 1.0)
        return x * mask * (x.shape[1] / len(kept))

    for group in torch.split(x, model.config.group_size or len(x)):
        group = masked(group, dropouts[0])
        for layer, p in zip(model.hidden, dropouts[1:], strict=True):
            group = masked(function(layer.linear(group)), p)
        groups.append(model.output(group))
    return torch.cat(groups)


@pytest.mark.parametrize("group_size", [None, 1, 3, 8, 100])
@pytest.mark.parametrize(
    ("activation", "function"), [("tanh", torch.tanh), ("maxout", lambda x: maxout(x, 3))]
)
def test_a_network_is_the_dense_one_with_the_same_units_at_zero(
    group_size: int | None, activation: str, function: Any
) -> None:
    dropouts = [0.4, 0.5, 0.25]
    first, *rest = [
        {"kind": "batchwise", "p": p} | ({"group_size": group_size} if group_size else {})
        for p in dropouts
    ]
    model = build(input_dropout=first, hidden_dropout=rest, activation=activation, maxout_pieces=3)
    model.use_generator(seeded())
    x, grad = normal(8, 5), normal(8, 2, seed=7)
    result, expected = model(x), dense(model, x, dropouts, function)
    torch.testing.assert_close(result, expected)
    parameters = list(model.parameters())
    gradients = [torch.autograd.grad(out, parameters, grad) for out in (result, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_the_weights_of_units_left_out_have_no_gradient_at_all() -> None:
    model = build(hidden_dropout=[{"kind": "batchwise", "p": 0.5}, 0.0], activation="tanh")
    model.use_generator(seeded())
    kept = keep_units(6, 0.5, generator=seeded())
    model(normal(8, 5)).sum().backward()
    first, second = (layer.linear.weight.grad for layer in model.hidden)
    left_out = torch.ones(6, dtype=torch.bool).index_fill(0, kept, value=False)
    assert (first[left_out] == 0).all()
    assert (second[:, left_out] == 0).all()
    assert (first[kept] != 0).all()
    assert (second[:, kept] != 0).all()


@pytest.mark.parametrize(("group_size", "num_masks"), [(None, 1), (4, 3), (1, 12), (12, 1)])
def test_every_group_has_masks_of_its_own(group_size: int | None, num_masks: int) -> None:
    dropout = {"kind": "batchwise", "p": 0.5} | ({"group_size": group_size} if group_size else {})
    config = MLPConfig(hidden=(40,), hidden_dropout=dropout)
    model = MLP(config, in_features=5, out_features=3)
    model.use_generator(seeded())
    alike = model(normal(1, 5, dtype=torch.float32).expand(12, 5))
    for group in torch.split(alike, group_size or 12):
        torch.testing.assert_close(group, group[:1].expand_as(group))
    assert len({round(row[0].item(), 4) for row in alike}) == num_masks


@pytest.mark.parametrize("group_size", [None, 2])
def test_a_network_without_anything_dropped_is_the_plain_one(group_size: int | None) -> None:
    sized = {"group_size": group_size} if group_size else {}
    plain, x = build(hidden_dropout=0.0), normal(8, 5)
    nothing = build(hidden_dropout={"kind": "batchwise", "p": 0.0, **sized})
    evaluated = build(hidden_dropout={"kind": "batchwise", "p": 0.5, **sized}).eval()
    torch.testing.assert_close(nothing(x), plain(x))
    assert torch.equal(evaluated(x), plain.eval()(x))


def test_dropconnect_after_batchwise_dropout_still_drops_weights() -> None:
    model = build(
        hidden_dropout=[{"kind": "batchwise", "p": 0.5}, {"kind": "dropconnect", "p": 0.5}]
    )
    model.use_generator(seeded())
    alike = model(normal(1, 5).expand(8, 5))
    # Batchwise dropout alone is the same for every row, but for rounding.
    assert (alike - alike[0]).abs().max() > 1e-3
