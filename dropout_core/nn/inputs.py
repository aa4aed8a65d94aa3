"""Categorical features as inputs of a network: one-hot, or learned embeddings.

Shapes: B rows of a batch, V values, K categorical features, W inputs that encode them.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from dropout_core.config import PreprocessingConfig
from dropout_core.nn.layers import Dropout
from dropout_core.nn.masks import keep_mask

_MAX_AUTOMATIC_DIM = 50


class CategoryInputs(nn.Module):
    """Turn the category codes that follow the values into inputs of the first layer.

    Code 0 is the unknown category: missing, or not seen when the codes were fitted. Training
    replaces known codes by it at random, with probability `unknown_rate`, so that the weights of
    the unknown category are trained too. Shape: (B, V + K) -> (B, V + W); codes are integers >= 0.
    """

    offsets: Tensor
    generator: Generator | None = None

    def __init__(
        self, config: PreprocessingConfig, *, num_values: int, cardinalities: Sequence[int]
    ) -> None:
        super().__init__()
        self.num_values = num_values
        self.cardinalities = tuple(cardinalities)
        self.unknown_rate = config.unknown_rate
        widths = category_widths(config, cardinalities)
        pairs = list(enumerate(zip(cardinalities, widths, strict=True)))
        self._one_hot = [k for k, (cardinality, width) in pairs if width == cardinality]
        self._embedded = [k for k, (cardinality, width) in pairs if width != cardinality]
        starts = torch.tensor([0, *(cardinalities[k] for k in self._one_hot)]).cumsum(0)
        self._num_one_hot = int(starts[-1])
        self.register_buffer("offsets", starts[:-1].clone(), persistent=False)
        self.embeddings = nn.ModuleList(
            nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
                torch.empty(cardinalities[k], widths[k]), freeze=False
            )
            for k in self._embedded
        )
        self.dropout = Dropout(config.embedding_dropout)
        self.out_features = num_values + sum(widths)

    @property
    def learns(self) -> bool:
        """Whether it has parameters to train."""
        return len(self.embeddings) > 0

    def forward(self, x: Tensor) -> Tensor:
        values = x[:, : self.num_values]
        codes = self._with_unknowns(x[:, self.num_values :]).long()
        parts = [values]
        if self._one_hot:
            ones = values.new_zeros(x.shape[0], self._num_one_hot)
            parts.append(ones.scatter(1, codes[:, self._one_hot] + self.offsets, 1.0))
        if self._embedded:
            embedded = [
                embedding(codes[:, k])
                for embedding, k in zip(self.embeddings, self._embedded, strict=True)
            ]
            parts.append(self.dropout(torch.cat(embedded, dim=1)))
        return torch.cat(parts, dim=1)

    def _with_unknowns(self, codes: Tensor) -> Tensor:
        """Replace codes at random by 0, the unknown category, while training."""
        if not self.training or self.unknown_rate == 0.0:
            return codes
        mask = keep_mask(codes, self.unknown_rate, generator=self.generator, dtype=codes.dtype)
        return codes * mask

    def extra_repr(self) -> str:
        return f"num_values={self.num_values}, cardinalities={self.cardinalities}"


def category_widths(config: PreprocessingConfig, cardinalities: Sequence[int]) -> list[int]:
    """Return the number of inputs for each categorical feature.

    A cardinality counts the unknown category. A width equal to the cardinality means one-hot:
    embeddings are always narrower.
    """
    return [_width(config, cardinality) for cardinality in cardinalities]


def _width(config: PreprocessingConfig, cardinality: int) -> int:
    if cardinality - 1 <= config.max_one_hot:
        return cardinality
    automatic = min(_MAX_AUTOMATIC_DIM, round(1.6 * cardinality**0.56))
    return min(config.embedding_dim or automatic, cardinality - 1)
