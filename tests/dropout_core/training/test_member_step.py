"""The step written by hand is that of autograd, in float64 and with the same masks."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dropout_core.config import MLPConfig, PreprocessingConfig, TrainingConfig
from dropout_core.nn.inputs import CategoryInputs
from dropout_core.nn.mlp import MLP
from dropout_core.training.fused_step import gradients_of
from dropout_core.training.losses import Loss, over_members, training_loss
from dropout_core.training.member_step import MemberStep
from tests.support.tensors import normal, seeded

IN_FEATURES, NUM_CLASSES, NUM_ROWS = 5, 3, 9
CARDINALITIES = (3, 8, 11)  # of categories that are one-hot, embedded and embedded

# As in test_fused_step: products of at most 9 terms, forward and back through at most 4 layers, and
# sums of 3 members, stay below 10^4 in magnitude.
ROUNDING = 8 * 9 * 2.0**-53 * 1e4


def network(*, categories: bool = False, **config: Any) -> MLP:
    """In float64, with all parameters drawn anew and a generator at its start."""
    inputs = None
    if categories:
        chosen = PreprocessingConfig(
            max_one_hot=4, embedding_dim=3, unknown_rate=0.4, embedding_dropout=0.5
        )
        inputs = CategoryInputs(chosen, num_values=2, cardinalities=CARDINALITIES)
    model = MLP(
        MLPConfig(**{"members": 3, **config}),
        in_features=IN_FEATURES,
        out_features=NUM_CLASSES,
        inputs=inputs,
        average="probabilities",
    ).double()
    for index, parameter in enumerate(model.parameters()):
        parameter.data = normal(*parameter.shape, seed=index)
    model.use_generator(seeded())
    return model


def rows(*, categories: bool = False) -> tuple[Tensor, Tensor]:
    x, targets = normal(NUM_ROWS, IN_FEATURES, seed=50), torch.arange(NUM_ROWS) % NUM_CLASSES
    for column, size in zip((2, 3, 4), CARDINALITIES if categories else (), strict=False):
        x[:, column] = torch.randint(size, (NUM_ROWS,), generator=seeded(column))
    return x, targets


def loss_of(*, weighted: bool = False, **options: Any) -> Loss:
    _, targets = rows()
    config = TrainingConfig(**options)
    return training_loss(
        config, "multiclass", targets=targets, num_outputs=NUM_CLASSES, weighted=weighted
    )


def assert_same_step(
    config: dict[str, Any], loss: Loss | None = None, *weights: Tensor, categories: bool = False
) -> None:
    by_hand, by_autograd = (network(categories=categories, **config) for _ in range(2))
    chosen, data = loss or loss_of(), rows(categories=categories)
    step = gradients_of(by_hand, chosen)
    assert isinstance(step, MemberStep)
    x = data[0].clone()
    for _ in range(2):  # and nothing is left over from a step before
        value = step(*data, *weights)
        by_autograd.train().zero_grad()
        expected = over_members(chosen)(by_autograd(data[0]), data[1], *weights)
        expected.backward()
        torch.testing.assert_close(value, expected.detach(), rtol=0, atol=ROUNDING)
        pairs = zip(by_hand.named_parameters(), by_autograd.parameters(), strict=True)
        for (name, one), other in pairs:
            assert one.grad.shape == one.shape, name
            torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=ROUNDING, msg=name)
    states = [model.input_dropout.generator.get_state() for model in (by_hand, by_autograd)]
    assert torch.equal(*states)
    assert torch.equal(data[0], x)


@pytest.mark.parametrize("sharing", ["backbone", "nothing"])
@pytest.mark.parametrize("parametric", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "gelu", "selu", "mish"])
def test_every_activation_has_the_gradients_of_autograd(
    activation: str, p: float, parametric: bool, sharing: str
) -> None:
    assert_same_step(
        {
            "hidden": (6, 5),
            "activation": activation,
            "parametric_activation": parametric,
            "hidden_dropout": p,
            "member_sharing": sharing,
        }
    )


@pytest.mark.parametrize("sharing", ["backbone", "nothing"])
@pytest.mark.parametrize(
    "config",
    [
        {"hidden": ()},
        {"hidden": (), "input_dropout": 0.3, "input_scaling": True},
        {"input_dropout": 0.3},
        {"input_dropout": {"p": 0.3, "scaling": "classic"}, "input_scaling": True},
        {"hidden_dropout": [{"p": 0.3, "scaling": "classic"}, 1.0], "input_dropout": 1.0},
        {"input_scaling": True, "activation": "selu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("categories", [False, True])
def test_so_has_what_comes_before_the_layers(
    categories: bool, config: dict[str, Any], sharing: str
) -> None:
    with_defaults = {"hidden": (6, 5), "hidden_dropout": 0.3, "member_sharing": sharing}
    assert_same_step(with_defaults | config, categories=categories)


@pytest.mark.parametrize(
    "options",
    [{"class_weights": (0.5, 2.0, 0.0)}, {"label_smoothing": 0.2}, {"class_weights": "balanced"}],
    ids=str,
)
def test_so_has_every_loss(options: dict[str, Any]) -> None:
    config = {"hidden": (6,), "hidden_dropout": 0.3}
    assert_same_step(config, loss_of(**options))
    weights = normal(NUM_ROWS).square()
    assert_same_step(config, loss_of(weighted=True, **options), weights)


@pytest.mark.parametrize(
    "config",
    [
        {"members": 1},
        {"activation": "maxout"},
        {"hidden_dropout": {"kind": "gaussian", "p": 0.3}},
        {"input_dropout": {"kind": "gaussian", "p": 0.3}},
    ],
    ids=str,
)
def test_other_networks_are_left_to_autograd(config: dict[str, Any]) -> None:
    model = network(hidden=(6,), **config)
    assert not MemberStep.fits(model)
    with pytest.raises(ValueError, match="need autograd"):
        MemberStep(model, loss_of())


def test_a_parameter_that_is_not_trained_is_left_to_autograd() -> None:
    model = network(hidden=(6,))
    model.output.bias.requires_grad_(False)
    assert not MemberStep.fits(model)
