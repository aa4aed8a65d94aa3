"""Embeddings of numbers: each number becomes several learned inputs of the first layer.

All numbers are embedded at once, by one product of a matrix for each number. The rows are its last
dimension, because a product with few columns is slow.

Shapes: B rows of a batch, V numbers, E entries of a number's encoding, D inputs that it becomes, Q
quantiles.
"""

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from dropout_core.config import NumberEmbedding, PeriodicConfig, PiecewiseLinearConfig

_TURN = 2.0 * math.pi
_UNUSED = torch.finfo(torch.float32).max  # the lower end of bins that no number reaches


class LinearOfEach(nn.Module):
    """A linear map for each number: (V, E, B) -> (V, D, B)."""

    def __init__(self, num_numbers: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(num_numbers, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(num_numbers, out_features))

    def forward(self, encoding: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, :, None], self.weight, encoding)


class PeriodicEmbedding(nn.Module):
    """Embed each number x as x and a linear map of cos(2 pi w x + b): (B, V) -> (B, V * D).

    The frequencies w, the phases b and the linear map are learned, each number has its own.
    Holzmueller et al. 2024, section 3 (PBLD).
    """

    def __init__(self, num_numbers: int, config: PeriodicConfig) -> None:
        super().__init__()
        self.num_numbers, self.dim, self.num_entries = num_numbers, config.dim, config.frequencies
        self._sigma = config.sigma
        self.frequencies = nn.Parameter(torch.empty(num_numbers, config.frequencies))
        self.phases = nn.Parameter(torch.empty(num_numbers, config.frequencies))
        self.linear = LinearOfEach(num_numbers, config.frequencies, config.dim - 1)

    def initialise(self, stream: Generator) -> None:
        """Draw w from N(0, sigma^2), b from [-pi, pi], and the map from +-1 / sqrt(E)."""
        bound = self.num_entries**-0.5
        nn.init.normal_(self.frequencies, std=self._sigma, generator=stream)
        nn.init.uniform_(self.phases, -math.pi, math.pi, generator=stream)
        nn.init.uniform_(self.linear.weight, -bound, bound, generator=stream)
        nn.init.uniform_(self.linear.bias, -bound, bound, generator=stream)

    def forward(self, x: Tensor) -> Tensor:
        x_VB = x.t().contiguous()
        if self.training:
            learned = _Periodic.apply(  # type: ignore[no-untyped-call]
                x_VB, self.frequencies, self.phases, self.linear.weight, self.linear.bias
            )
        else:
            learned = self.linear(_angles(x_VB, self.frequencies, self.phases).cos())
        return torch.cat([x_VB[:, None], learned], dim=1).flatten(0, 1).t()

    def extra_repr(self) -> str:
        return f"num_numbers={self.num_numbers}, frequencies={self.num_entries}, dim={self.dim}"


def _angles(x: Tensor, frequencies: Tensor, phases: Tensor) -> Tensor:
    """Return 2 pi w x + b: (V, B), w and b (V, E) -> (V, E, B)."""
    return (_TURN * frequencies)[:, :, None] * x[:, None] + phases[:, :, None]


class _Periodic(torch.autograd.Function):
    """The learned part of the periodic embedding: (V, B) -> (V, D - 1, B).

    Its backward is written by hand, which takes less than half of the time of autograd's. The
    numbers themselves get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, frequencies: Tensor, phases: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        angles = _angles(x, frequencies, phases)
        cosines = angles.cos()
        ctx.save_for_backward(x, angles, cosines, weight)
        return torch.baddbmm(bias[:, :, None], weight, cosines)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, angles, cosines, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_weight = torch.bmm(grad, cosines.transpose(1, 2))
        grad_angles = torch.bmm(weight.transpose(1, 2), grad).mul_(angles.sin()).neg_()
        grad_phases = grad_angles.sum(dim=2)
        grad_frequencies = grad_angles.mul_(x[:, None]).sum(dim=2).mul_(_TURN)
        return None, grad_frequencies, grad_phases, grad_weight, grad.sum(dim=2)


class PiecewiseLinearEmbedding(nn.Module):
    """Embed each number by its position in each of its bins: (B, V) -> (B, V * D).

    A bin's entry in the encoding is 0 for numbers below the bin, 1 for numbers above it, and grows
    linearly within it. The embedding is a linear map of the encoding and of the number itself; the
    part of the encoding starts at 0. Gorishniy et al. 2022, section 3.2, and 2024 (TabM). Unlike
    there, entries stay between 0 and 1 outside all bins: a narrow bin would make them huge.
    """

    lower: Tensor
    width: Tensor

    def __init__(self, num_numbers: int, config: PiecewiseLinearConfig) -> None:
        super().__init__()
        self.num_numbers, self.dim, self.num_entries = num_numbers, config.dim, config.bins
        self.register_buffer("lower", torch.full((num_numbers, config.bins), _UNUSED))
        self.register_buffer("width", torch.ones(num_numbers, config.bins))
        self.slope = nn.Parameter(torch.empty(num_numbers, config.dim))
        self.linear = LinearOfEach(num_numbers, config.bins, config.dim)

    def initialise(self, stream: Generator) -> None:
        """Draw slopes and biases from +-1 / sqrt(D); the map of the encoding starts at 0."""
        bound = self.dim**-0.5
        nn.init.uniform_(self.slope, -bound, bound, generator=stream)
        nn.init.uniform_(self.linear.bias, -bound, bound, generator=stream)
        nn.init.zeros_(self.linear.weight)

    def fit(self, quantiles: Tensor) -> None:
        """Put the bins between the distinct ones of each number's ascending quantiles: (V, Q).

        Bins that a number does not need begin above all numbers: their entry is always 0. They are
        finite, so that the moving average of a training run stays as they are.
        """
        self.lower.fill_(_UNUSED)
        self.width.fill_(1.0)
        for number, row in enumerate(quantiles):
            edges = row.unique()
            self.lower[number, : len(edges) - 1] = edges[:-1]
            self.width[number, : len(edges) - 1] = edges.diff()

    def forward(self, x: Tensor) -> Tensor:
        x_VB = x.t().contiguous()
        position = (x_VB[:, None] - self.lower[:, :, None]).div_(self.width[:, :, None])
        learned = self.linear(position.clamp_(0.0, 1.0))
        return torch.addcmul(learned, self.slope[:, :, None], x_VB[:, None]).flatten(0, 1).t()

    def extra_repr(self) -> str:
        return f"num_numbers={self.num_numbers}, bins={self.num_entries}, dim={self.dim}"


NUMBER_EMBEDDINGS = (PeriodicEmbedding, PiecewiseLinearEmbedding)


def embedding_of_numbers(
    num_numbers: int, config: NumberEmbedding
) -> PeriodicEmbedding | PiecewiseLinearEmbedding:
    """Build the embedding that `config` describes, with neither weights nor bins yet."""
    if isinstance(config, PeriodicConfig):
        return PeriodicEmbedding(num_numbers, config)
    return PiecewiseLinearEmbedding(num_numbers, config)


def num_entries(config: NumberEmbedding) -> int:
    """Return the number of entries of a number's encoding, E."""
    return config.frequencies if isinstance(config, PeriodicConfig) else config.bins


def num_parameters_of_each(config: NumberEmbedding) -> int:
    """Return the number of parameters of one number's embedding."""
    if isinstance(config, PeriodicConfig):
        return 2 * config.frequencies + (config.dim - 1) * (config.frequencies + 1)
    return config.dim * (config.bins + 2)
