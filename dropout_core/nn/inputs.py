"""The inputs of a network's first layer: numbers as they are or embedded, and categories.

Shapes: B rows of a batch, V values, K categorical features, W inputs of the first layer.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from dropout_core.config import PreprocessingConfig
from dropout_core.nn.layers import Dropout
from dropout_core.nn.masks import keep_mask
from dropout_core.nn.numbers import embedding_of_numbers

_MAX_AUTOMATIC_DIM = 50


class InputLayer(nn.Module):
    """Embed numbers, pass other values on, and turn the category codes that follow into inputs.

    `numbers` are the column indices of the values that the config's `number_embedding` embeds.
    Code 0 is the unknown category: missing, or not seen when the codes were fitted. Training
    replaces known codes by it at random, with probability `unknown_rate`, so that the weights of
    the unknown category are trained too. Shape: (B, V + K) -> (B, W); codes are integers >= 0. The
    inputs are embedded numbers, other values, one-hot categories and embedded ones, in this order.
    """

    offsets: Tensor
    embedded: Tensor
    passed: Tensor
    generator: Generator | None = None

    def __init__(
        self,
        config: PreprocessingConfig,
        *,
        num_values: int,
        cardinalities: Sequence[int] = (),
        numbers: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.num_values = num_values
        self.cardinalities = tuple(cardinalities)
        self.unknown_rate = config.unknown_rate
        chosen = list(numbers) if config.number_embedding is not None else []
        others = sorted(set(range(num_values)).difference(chosen))
        self.register_buffer("embedded", torch.tensor(chosen, dtype=torch.int64), persistent=False)
        self.register_buffer("passed", torch.tensor(others, dtype=torch.int64), persistent=False)
        self.numbers = (
            embedding_of_numbers(len(chosen), config.number_embedding)
            if config.number_embedding is not None and chosen
            else None
        )
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
        width = 0 if self.numbers is None else len(chosen) * self.numbers.dim
        self.out_features = width + len(others) + sum(widths)

    @property
    def learns(self) -> bool:
        """Whether it has parameters to train."""
        return self.numbers is not None or len(self.embeddings) > 0

    def forward(self, x: Tensor) -> Tensor:
        parts = self._value_parts(x[:, : self.num_values])
        if self.cardinalities:
            parts += self._category_parts(x[:, self.num_values :])
        return torch.cat(parts, dim=1)

    def _value_parts(self, values: Tensor) -> list[Tensor]:
        if self.numbers is None:
            return [values]
        embedded: Tensor = self.numbers(values.index_select(1, self.embedded))
        if len(self.passed) == 0:
            return [embedded]
        return [embedded, values.index_select(1, self.passed)]

    def _category_parts(self, given: Tensor) -> list[Tensor]:
        codes = self._with_unknowns(given).long()
        parts = []
        if self._one_hot:
            parts.append(self._ones(given, codes))
        if self._embedded:
            embedded = [
                embedding(codes[:, k])
                for embedding, k in zip(self.embeddings, self._embedded, strict=True)
            ]
            parts.append(self.dropout(torch.cat(embedded, dim=1)))
        return parts

    def _ones(self, given: Tensor, codes: Tensor) -> Tensor:
        ones = given.new_zeros(given.shape[0], self._num_one_hot)
        return ones.scatter(1, codes[:, self._one_hot] + self.offsets, 1.0)

    def one_hot(self, values: Tensor, codes: Tensor) -> Tensor:
        """Return the inputs where nothing is learned: (B, V) and codes (B, K) -> (B, W).

        Codes that training replaces by the unknown category are already 0.
        """
        return torch.cat([values, self._ones(values, codes.long())], dim=1)

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
