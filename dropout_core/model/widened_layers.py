"""Layers with few outputs, computed with more.

The rounding of a matrix product with narrow outputs depends on the row's index. With TILE_COLUMNS
outputs or more it does not; see `predictor`.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.nn.mlp import Linear
from dropout_core.nn.numbers import LinearOfEach

TILE_COLUMNS = 16


def widen_narrow_layers(module: nn.Module) -> None:
    """Replace the layers within that have fewer outputs than TILE_COLUMNS."""
    for name, child in module.named_children():
        if isinstance(child, Linear) and child.out_features < TILE_COLUMNS:
            setattr(module, name, _WidenedLinear(child))
        elif isinstance(child, LinearOfEach) and child.out_features < TILE_COLUMNS:
            setattr(module, name, _WidenedLinearOfEach(child))
        else:
            widen_narrow_layers(child)


class _WidenedLinear(nn.Module):
    """A linear layer that is computed with TILE_COLUMNS outputs, of which the extra are cut off."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        missing = TILE_COLUMNS - linear.out_features
        self._wide = copy.copy(linear)
        self._wide._parameters = dict(linear._parameters)  # the original keeps its own
        for name, parameter in linear.named_parameters(recurse=False):
            if name != "scale_in":  # all others have an entry for each output
                padding = (0, 0, 0, missing) if name == "weight" else (0, missing)
                wide = nn.Parameter(F.pad(parameter, padding), requires_grad=False)
                self._wide.register_parameter(name, wide)

    def forward(self, x: Tensor) -> Tensor:
        return self._wide.forward(x)[..., : self.out_features].contiguous()


class _WidenedLinearOfEach(nn.Module):
    """The same for the linear maps of embedded numbers."""

    def __init__(self, linear: LinearOfEach) -> None:
        super().__init__()
        self.out_features = linear.out_features
        missing = TILE_COLUMNS - linear.out_features
        self.weight = F.pad(linear.weight, (0, 0, 0, missing))
        self.bias = F.pad(linear.bias, (0, missing))

    def forward(self, encoding: Tensor) -> Tensor:
        wide = torch.baddbmm(self.bias[:, :, None], self.weight, encoding)
        return wide[:, : self.out_features]
