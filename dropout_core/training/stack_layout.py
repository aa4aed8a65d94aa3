"""Where the parameters of a stack's networks are: a row of numbers for each network.

Shapes: n networks, P numbers of a row, I inputs and O outputs of a layer.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from dropout_core.nn.mlp import MLP

_ALIGNMENT = 64  # bytes: no network's numbers are computed in other vectors than another's


class Part(NamedTuple):
    """The place of a parameter in a row."""

    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        return self.start + torch.Size(self.shape).numel()


class Layout:
    """The weights of all layers in their order, and then the biases, each of them aligned."""

    def __init__(self, widths: Sequence[int], dtype: torch.dtype) -> None:
        self.widths = tuple(widths)
        self.dtype = dtype
        pairs = list(itertools.pairwise(self.widths))
        step = _ALIGNMENT // dtype.itemsize
        self.parts: list[Part] = []
        self.size = 0
        for shape in [(out, into) for into, out in pairs] + [(out,) for _, out in pairs]:
            self.parts.append(Part(self.size, shape))
            self.size = -(-self.parts[-1].stop // step) * step

    @classmethod
    def of(cls, model: MLP) -> "Layout":
        """Return the layout of a network of linear layers."""
        linears = model.linears
        widths = [linears[0].in_features, *(linear.out_features for linear in linears)]
        return cls(widths, linears[0].weight.dtype)

    @property
    def num_layers(self) -> int:
        return len(self.widths) - 1

    def empty(self, num_networks: int) -> Tensor:
        """Return zeros for so many networks: (n, P)."""
        return torch.zeros(num_networks, self.size, dtype=self.dtype)

    def split(self, rows: Tensor) -> list[Tensor]:
        """Return the weights (n, O, I) and the biases (n, O) within rows (n, P), or those of one.

        They follow each other as in `parameters`.
        """
        return [
            rows[..., part.start : part.stop].view(*rows.shape[:-1], *part.shape)
            for part in self.parts
        ]

    @staticmethod
    def parameters(model: MLP) -> list[torch.nn.Parameter]:
        """Return the parameters of a network in the order of the parts."""
        linears = cast(list[torch.nn.Linear], model.linears)
        parameters = [linear.weight for linear in linears] + [linear.bias for linear in linears]
        return cast(list[torch.nn.Parameter], parameters)
