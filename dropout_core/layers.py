"""Dropout as nn.Module: thin wrappers over `functional`."""

from typing import Literal

from torch import Generator, Tensor, nn

from dropout_core import functional
from dropout_core.masks import keep_probability


class Dropout(nn.Module):
    """Dropout of single elements while training; see `functional.dropout`.

    `inverted` scaling is the identity in eval mode; `classic` multiplies by the keep probability
    there and leaves the survivors of training unscaled.

    `generator` may be replaced at any time; None draws from torch's default generator.
    Shape: (*) -> (*).
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
        self.p = functional.check_probability(p)
        self.scaling = scaling
        self.inplace = inplace
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            scale = 1.0 if self.scaling == "classic" else None
            return functional.dropout(
                x, self.p, generator=self.generator, inplace=self.inplace, scale=scale
            )
        return x * keep_probability(self.p) if self.scaling == "classic" else x

    def extra_repr(self) -> str:
        return f"p={self.p}, scaling={self.scaling}, inplace={self.inplace}"
