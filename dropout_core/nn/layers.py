"""The variants of dropout as nn.Module: thin wrappers over `functional`.

Each draws from its `generator`, which may be replaced at any time; None means torch's default one.
"""

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from dropout_core.nn import functional
from dropout_core.nn.masks import check_probability, keep_probability, survivor_scale


class Dropout(nn.Module):
    """Dropout of single elements while training; see `functional.dropout`.

    `inverted` scaling is the identity in eval mode; `classic` multiplies by the keep probability
    there and leaves the survivors of training unscaled. Shape: (*) -> (*).
    """

    def __init__(
        self,
        p: float = 0.5,
        *,
        scaling: Literal["inverted", "classic"] = "inverted",
        inplace: bool = False,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.p = check_probability(p)
        self.scaling = scaling
        self.inplace = inplace
        self.generator = generator

    @property
    def survivor_scale(self) -> float:
        """What training multiplies survivors by."""
        return 1.0 if self.scaling == "classic" else survivor_scale(self.p)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            scale = self.survivor_scale
            return functional.dropout(
                x, self.p, generator=self.generator, inplace=self.inplace, scale=scale
            )
        return x * keep_probability(self.p) if self.scaling == "classic" else x

    def extra_repr(self) -> str:
        return f"p={self.p}, scaling={self.scaling}, inplace={self.inplace}"


class _PartialDropout(nn.Module):
    """The base of dropouts that keep something. Raises ValueError unless 0 <= p < 1."""

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        super().__init__()
        self.p = check_probability(p, below_one=True)
        self.generator = generator

    def extra_repr(self) -> str:
        return f"p={self.p}"


class GaussianDropout(_PartialDropout):
    """Multiplicative Gaussian noise while training; see `functional.gaussian_dropout`.

    Shape: (*) -> (*).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return functional.gaussian_dropout(x, self.p, generator=self.generator)
        return x


class BatchwiseDropout(_PartialDropout):
    """Dropout of an exact number of whole units, the same for all rows of the input.

    `forward` zeroes columns: (B, H) -> (B, H). `keep` returns the units that are left, for a
    network that multiplies submatrices; see `functional.submatrix_linear`.
    """

    def keep(self, num_units: int, device: torch.device) -> tuple[Tensor, float]:
        """Draw the units to keep; return them and the scale that makes up for the others."""
        kept = functional.keep_units(num_units, self.p, generator=self.generator, device=device)
        return kept, num_units / len(kept)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        kept, scale = self.keep(x.shape[1], x.device)
        return torch.zeros_like(x).index_copy(1, kept, x.index_select(1, kept) * scale)


class DropConnectLinear(nn.Linear):
    """A linear layer whose weights are dropped while training; see `functional.dropconnect`.

    In eval mode it uses the mean weights. Shape: (B, in_features) -> (B, out_features). While
    training, `columns` are the inputs that x holds, if batchwise dropout left only some of them.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: float = 0.5,
        *,
        bias: bool = True,
        per_example: bool = True,
        generator: Generator | None = None,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias, device=device)
        self.p = check_probability(p)
        self.per_example = per_example
        self.generator = generator

    def forward(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        if not self.training:
            return super().forward(x)
        return functional.dropconnect(
            x,
            self.weight if columns is None else self.weight.index_select(1, columns),
            self.bias,
            self.p,
            per_example=self.per_example,
            generator=self.generator,
        )

    def sample(self, generator: Generator) -> nn.Linear:
        """Return a plain layer whose weights are dropped by one draw, the same for all rows.

        `generator` is on the CPU, on whatever device the weights are.
        """
        sampled = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        for name, parameter in self.named_parameters():
            ones = torch.ones(parameter.shape, dtype=parameter.dtype)
            factors = functional.dropout(ones, self.p, generator=generator)
            weights = parameter.detach() * factors.to(parameter.device)
            sampled.register_parameter(name, nn.Parameter(weights, requires_grad=False))
        return sampled

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}, per_example={self.per_example}"


class Maxout(nn.Module):
    """The maximum over each unit's pieces; see `functional.maxout`.

    Shape: (*, H * num_pieces) -> (*, H).
    """

    def __init__(self, num_pieces: int = 2) -> None:
        super().__init__()
        self.num_pieces = num_pieces

    def forward(self, x: Tensor) -> Tensor:
        return functional.maxout(x, self.num_pieces)

    def extra_repr(self) -> str:
        return f"num_pieces={self.num_pieces}"


class InputScaling(nn.Module):
    """Multiply each input by a learned factor, 1 at first: (B, I) -> (B, I).

    With k `members` each has its own factors: (B, I) -> (k, B, I). Holzmueller et al. 2024,
    section 3.
    """

    def __init__(self, in_features: int, *, members: int = 1) -> None:
        super().__init__()
        shape = (in_features,) if members == 1 else (members, 1, in_features)
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight

    def extra_repr(self) -> str:
        return f"{self.weight.shape[-1]}"


STOCHASTIC = (Dropout, GaussianDropout, BatchwiseDropout, DropConnectLinear)
"""The modules that draw from a generator."""
