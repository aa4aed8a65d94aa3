"""Many networks computed as one: layers with weights for each member, and the members' average.

Shapes: k members, B rows of a batch, I inputs and O outputs of a layer, C outputs of the network.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.config import Task

Average = Literal["probabilities", "label_probabilities", "values"]
"""What the members' outputs are averaged as: those of classes and of labels are logits."""

AVERAGES: dict[Task, Average] = {
    "binary": "probabilities",
    "multiclass": "probabilities",
    "multilabel": "label_probabilities",
    "regression": "values",
}


class MemberLinear(nn.Module):
    """A linear layer for each member: (k, B, I) -> (k, B, O).

    `weight` is (k, O, I), in each member as in `nn.Linear`, and `bias` (k, 1, O).
    """

    def __init__(self, in_features: int, out_features: int, *, members: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(members, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(members, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        # Adding the bias in a product takes longer: it is copied first.
        return torch.bmm(x, self.weight.mT).add_(self.bias)

    def extra_repr(self) -> str:
        members = len(self.weight)
        return f"{self.in_features}, {self.out_features}, members={members}"


class BackboneLinear(nn.Module):
    """A linear layer whose weights the members share, between scales that are each member's own.

    It is y = s * W (r * x) + b with `weight` W (O, I), `scale_in` r (k, 1, I), `scale_out` s and
    `bias` b (k, 1, O): (k, B, I) -> (k, B, O). Wen, Tran and Ba 2020, section 3.1; Gorishniy et
    al. 2024, section 3.
    """

    def __init__(self, in_features: int, out_features: int, *, members: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.scale_in = nn.Parameter(torch.empty(members, 1, in_features))
        self.scale_out = nn.Parameter(torch.empty(members, 1, out_features))
        self.bias = nn.Parameter(torch.empty(members, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        products = F.linear(x * self.scale_in, self.weight)
        return torch.addcmul(self.bias, products, self.scale_out)

    def extra_repr(self) -> str:
        members = len(self.bias)
        return f"{self.in_features}, {self.out_features}, members={members}"


class ForEachMember(nn.Module):
    """Give every member the same rows, without a copy: (B, I) -> (k, B, I).

    Rows that differ between members already stay as they are.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        return x if x.dim() == 3 else x.expand(self.members, -1, -1)

    def extra_repr(self) -> str:
        return f"members={self.members}"


class MemberAverage(nn.Module):
    """Average the members' outputs: (k, B, C) -> (B, C) float64.

    Classes: the logarithm of the mean probabilities, whose softmax they are. Labels: the logit of
    the mean probability. Values: their mean.
    """

    def __init__(self, average: Average) -> None:
        super().__init__()
        self.average = average

    def forward(self, outputs: Tensor) -> Tensor:
        # Where members contradict each other, float32 has no more digits of a probability than of
        # its logarithm.
        exact = outputs.double()
        match self.average:
            case "values":
                return _mean(exact)
            case "probabilities":
                return _log_mean(exact.log_softmax(dim=-1))
            case "label_probabilities":
                return _log_mean(F.logsigmoid(exact)) - _log_mean(F.logsigmoid(-exact))

    def extra_repr(self) -> str:
        return self.average


def _mean(values: Tensor) -> Tensor:
    """Return the mean over the members, (k, B, C) -> (B, C), summed in their order.

    torch sums a column in an order that depends on the number of columns, and so of rows.
    """
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / len(values)


def _log_mean(logs: Tensor) -> Tensor:
    """Return log(mean(exp(logs))) over the members: (k, B, C) -> (B, C)."""
    largest = logs.amax(dim=0)
    return largest + _mean((logs - largest).exp()).log()
