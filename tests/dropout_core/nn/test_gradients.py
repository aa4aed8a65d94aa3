"""Every variant through a whole network, against finite differences in float64."""

from typing import Any

import pytest
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call

from dropout_core.config import MLPConfig
from dropout_core.nn.activations import ParametricActivation
from dropout_core.nn.mlp import MLP, Linear
from tests.support.tensors import normal, seeded

ACTIVATIONS = ["relu", "tanh", "logistic", "gelu", "selu", "mish", "maxout"]
DROPOUTS: list[dict[str, Any]] = [
    {"p": 0.3},
    {"p": 0.5, "scaling": "classic"},
    {"kind": "gaussian", "p": 0.3},
    {"kind": "batchwise", "p": 0.4},
    {"kind": "batchwise", "p": 0.4, "group_size": 2},
    {"kind": "dropconnect", "p": 0.3},
    {"kind": "dropconnect", "p": 0.5, "masks": "per_batch"},
]


def gradients_agree(**config: Any) -> bool:
    """Those of all inputs and parameters, the same masks being drawn at every call."""
    model = MLP(MLPConfig(hidden=(4, 3), **config), in_features=3, out_features=2).double()
    stream = seeded(1)
    for module in model.modules():
        if isinstance(module, Linear | nn.BatchNorm1d) and module.bias is not None:
            nn.init.normal_(module.bias, generator=stream)  # so that no unit sits on a kink
        if isinstance(module, ParametricActivation):
            nn.init.normal_(module.mix, generator=stream)
    names, parameters = zip(*model.named_parameters(), strict=True)

    def outputs(x: Tensor, *values: Tensor) -> Tensor:
        model.use_generator(seeded(2))
        result: Tensor = functional_call(model, dict(zip(names, values, strict=True)), x)
        return result

    x = normal(5, 3).requires_grad_()
    leaves = (x, *(parameter.detach().requires_grad_() for parameter in parameters))
    return gradcheck(outputs, leaves, fast_mode=True)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_gradients_are_those_of_finite_differences(
    dropout: dict[str, Any], activation: str
) -> None:
    of_the_input = {"p": 0.2} if dropout.get("kind") == "dropconnect" else dropout
    assert gradients_agree(
        activation=activation, input_dropout=of_the_input, hidden_dropout=dropout
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dropout", [d for d in DROPOUTS if d.get("kind") != "batchwise"], ids=str)
def test_gradients_through_batch_norm_are_those_of_finite_differences(
    dropout: dict[str, Any], activation: str
) -> None:
    assert gradients_agree(activation=activation, batch_norm=True, hidden_dropout=dropout)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("after", DROPOUTS[:3] + DROPOUTS[5:], ids=str)
def test_gradients_of_a_variant_after_batchwise_dropout_are_those_of_finite_differences(
    after: dict[str, Any], activation: str
) -> None:
    batchwise = {"kind": "batchwise", "p": 0.4}
    assert gradients_agree(activation=activation, hidden_dropout=[batchwise, after])


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "maxout"])
def test_gradients_of_mixes_and_input_scales_are_those_of_finite_differences(
    activation: str,
) -> None:
    assert gradients_agree(
        activation=activation, parametric_activation=True, input_scaling=True, input_dropout=0.2
    )


@pytest.mark.parametrize("activation", ["tanh", "mish", "maxout"])
@pytest.mark.parametrize("dropout", DROPOUTS[:3], ids=str)
@pytest.mark.parametrize("sharing", ["backbone", "nothing"])
def test_gradients_of_members_are_those_of_finite_differences(
    sharing: str, dropout: dict[str, Any], activation: str
) -> None:
    assert gradients_agree(
        members=3,
        member_sharing=sharing,
        activation=activation,
        parametric_activation=activation != "maxout",
        input_scaling=True,
        input_dropout=dropout,
        hidden_dropout=dropout,
    )
