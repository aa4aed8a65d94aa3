"""Stage 2: the rows of one split as numbers.

Shapes: N rows of a part, V value columns, K categorical features, C labels or regression targets.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dropout_core.config import PreprocessingConfig
from dropout_core.data.by_name import exactly
from dropout_core.data.encoder import Encoder
from dropout_core.data.splits import Split
from dropout_core.errors import DataError
from dropout_core.pipeline.resolved_table import ResolvedTable


@dataclass(frozen=True)
class EncodedRows:
    """One part of a split.

    - `matrix`: (N, V + K) float64 as `Encoder.encode` returns it, NaN where a value is missing.
    - `targets`: (N) int64 class indices, or (N, C) float64 in the targets' own units.
    """

    matrix: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class EncodedSplit:
    """The parts of a split as numbers, by an encoder that was fitted on the training rows alone.

    `weights` are those of the training rows: (N) float32 with mean 1, or None. So are
    `validation_weights`, which are None also if all of them are 0.
    """

    table: ResolvedTable
    preprocessing: PreprocessingConfig
    encoder: Encoder
    train: EncodedRows
    validation: EncodedRows
    test: EncodedRows
    weights: Tensor | None
    validation_weights: Tensor | None


def encode_split(
    table: ResolvedTable, split: Split, preprocessing: PreprocessingConfig
) -> EncodedSplit:
    """Fit an encoder on the training rows whose weight is not 0, and encode all parts with it.

    Raises DataError for a cell that cannot be of its feature's type, and if the weights of all
    training rows are 0.
    """
    columns = table.frame.drop(exactly(*table.selection.targets))
    weights = None if table.weights is None else _relative(table.weights[split.train])
    counted = split.train if weights is None else split.train[weights > 0]
    encoder = Encoder.fit(
        columns[counted.numpy()],
        table.selection.features,
        preprocessing,
        reading=table.reading,
        incomplete=table.incomplete,
    )
    # Held-out rows may miss values that no training row misses: they are imputed too.
    matrix = torch.from_numpy(encoder.encode(table.frame, refuse_missing=False))
    train, validation, test = (
        EncodedRows(matrix[rows], table.targets[rows])
        for rows in (split.train, split.validation, split.test)
    )
    validation_weights = None if table.weights is None else table.weights[split.validation]
    if validation_weights is not None:
        validation_weights = _relative(validation_weights) if validation_weights.any() else None
    return EncodedSplit(
        table, preprocessing, encoder, train, validation, test, weights, validation_weights
    )


def _relative(weights: Tensor) -> Tensor:
    """Return weights with mean 1: (N) float64 -> (N) float32."""
    largest = weights.max()
    if not largest > 0:
        raise DataError("the weights of all training rows are 0", field="weight")
    finite = weights / largest  # their sum is then finite too
    return (finite / finite.mean()).float()
