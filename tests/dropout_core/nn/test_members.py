"""Members are networks of their own, computed side by side."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dropout_core.config import MLPConfig
from dropout_core.nn.members import BackboneLinear, MemberAverage, MemberLinear
from dropout_core.nn.mlp import MLP
from tests.support.tensors import normal, seeded

SHARINGS = ["backbone", "nothing"]
PLAIN = {"activation": "tanh", "hidden_dropout": 0.0}


def build(members: int = 3, *, average: str = "values", **config: Any) -> MLP:
    chosen = MLPConfig(**{"hidden": (6, 4), **PLAIN, "members": members, **config})
    return MLP(chosen, in_features=5, out_features=2, average=average, seed=1).double()


def rows(num_rows: int = 7) -> Tensor:
    return normal(num_rows, 5)


def member(model: MLP, number: int) -> MLP:
    """Build one member as a network without members, from its weights."""
    config = model.config.model_copy(update={"members": 1})
    alone = MLP(config, in_features=5, out_features=2).double()
    for one, all_of_them in zip(alone.linears, model.linears, strict=True):
        if isinstance(all_of_them, BackboneLinear):
            scale_in, scale_out = all_of_them.scale_in[number], all_of_them.scale_out[number]
            one.weight.data = scale_out.T * all_of_them.weight * scale_in
        else:
            one.weight.data = all_of_them.weight[number]
        one.bias.data = all_of_them.bias[number, 0]
    for one, all_of_them in zip(alone.hidden, model.hidden, strict=True):
        if config.parametric_activation:
            one.activation.mix.data = all_of_them.activation.mix[number, 0]
    if alone.scaling is not None:
        weight = model.scaling.weight
        alone.scaling.weight.data = weight if weight.dim() == 1 else weight[number, 0]
    return alone


def moved(model: MLP) -> MLP:
    """Draw all parameters anew, so that nothing is one or zero."""
    for index, parameter in enumerate(model.parameters()):
        parameter.data = normal(*parameter.shape, seed=index)
    return model


@pytest.mark.parametrize("hidden", [(), (6, 4)], ids=str)
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_each_member_computes_what_it_would_alone(
    sharing: str, learned: bool, hidden: tuple[int, ...]
) -> None:
    options = {"parametric_activation": learned, "input_scaling": learned, "hidden": hidden}
    model = moved(build(member_sharing=sharing, **options))
    outputs = model.of_members(rows())
    assert outputs.shape == (7, 3, 2)
    for number in range(3):
        torch.testing.assert_close(outputs[:, number], member(model, number)(rows()))
    assert torch.equal(model.train()(rows()), outputs)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_members_begin_as_different_networks(sharing: str) -> None:
    outputs = build(member_sharing=sharing).of_members(rows())
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert (outputs[:, one] != outputs[:, other]).all()


def test_a_backbone_begins_with_random_signs_of_its_inputs_and_ones() -> None:
    first, second, output = build(members=64, member_sharing="backbone").linears
    assert first.scale_in.unique().tolist() == [-1.0, 1.0]
    # 64 x 5 fair signs: five standard deviations of their mean.
    assert first.scale_in.mean().abs() < 5 / (64 * 5) ** 0.5
    assert all((scale == 1).all() for scale in (first.scale_out, second.scale_in, second.scale_out))
    assert isinstance(output, MemberLinear)


def test_one_member_is_the_network_that_it_was() -> None:
    plain, one = build(members=1), build(members=1, member_sharing="nothing")
    assert list(plain.state_dict()) == list(one.state_dict())
    assert torch.equal(plain(rows()), one(rows()))
    assert torch.equal(one.of_members(rows())[:, 0], one(rows()))


def test_the_weights_of_each_member_are_drawn_as_those_of_a_network() -> None:
    sizes = {"hidden": (400,), "init": "kaiming_uniform", "member_sharing": "nothing"}
    weights = build(**sizes).linears[0].weight
    for number in range(3):  # uniform up to sqrt(6 / fan-in), here of 5 inputs
        largest = weights[number].abs().max()
        assert (6 / 5) ** 0.5 * 0.99 < largest < (6 / 5) ** 0.5


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("dropout", [0.5, {"kind": "gaussian", "p": 0.5}], ids=str)
def test_each_member_draws_masks_of_its_own(dropout: Any, sharing: str) -> None:
    model = build(member_sharing=sharing, hidden=(), input_dropout=dropout).train()
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
    model.use_generator(seeded())
    outputs = model(rows(50))
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert (outputs[:, one] != outputs[:, other]).any(dim=1).double().mean() > 0.5


def test_the_norm_of_each_members_units_is_bounded() -> None:
    model = build(member_sharing="nothing", max_norm=0.5)
    before = [linear.weight.detach().clone() for linear in model.linears]
    model.constrain()
    for old, linear in zip(before, model.linears, strict=True):
        norms = linear.weight.norm(dim=-1)
        assert norms.shape == (3, linear.out_features)
        assert (norms <= 0.5 * (1 + 1e-6)).all()
        within = old.norm(dim=-1) <= 0.5
        assert torch.equal(linear.weight[within], old[within])


LOGITS = 5 * normal(4, 6, 3)  # (k, B, C)
AVERAGES = {
    "values": (lambda x: x.mean(dim=0), lambda y: y),
    "probabilities": (lambda x: x.softmax(dim=2).mean(dim=0), lambda y: y.softmax(dim=1)),
    "label_probabilities": (lambda x: x.sigmoid().mean(dim=0), torch.sigmoid),
}


@pytest.mark.parametrize("average", AVERAGES)
def test_an_average_predicts_the_mean_of_what_members_predict(average: str) -> None:
    expected, predicted = AVERAGES[average]
    averaged = MemberAverage(average)(LOGITS)
    torch.testing.assert_close(predicted(averaged), expected(LOGITS))
    single = MemberAverage(average)(LOGITS.float())
    assert single.dtype == torch.float64


@pytest.mark.parametrize("average", AVERAGES)
def test_an_average_is_finite_where_probabilities_are_not_told_from_zero(average: str) -> None:
    logits = torch.tensor([[[3e4, -3e4, 0.0]], [[1e4, -2e4, 1e3]]])
    averaged = MemberAverage(average)(logits)
    assert averaged.isfinite().all()
    assert averaged[0].argsort().tolist() == [1, 2, 0]


@pytest.mark.parametrize("average", AVERAGES)
def test_a_rows_average_depends_on_no_other_row(average: str) -> None:
    outputs = normal(5, 64, 16, dtype=torch.float32)
    together = MemberAverage(average)(outputs)
    parts = [MemberAverage(average)(part) for part in outputs.split(32, dim=1)]
    assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize("average", AVERAGES)
def test_eval_mode_averages_the_outputs_of_the_members(average: str) -> None:
    model = build(average=average).eval()
    expected = MemberAverage(average)(model.of_members(rows()).transpose(0, 1))
    assert torch.equal(model(rows()), expected)
