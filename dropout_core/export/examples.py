"""Example rows for the check of an export.

Shapes: N rows, V values, K codes of categories.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from dropout_core.data.categories import CategoricalFeature
from dropout_core.data.encoder import Encoder
from dropout_core.model.preprocessing import Preprocessing

_NUM_ROWS = 32  # of usual rows, and as many of rows with missing values
_MISSING_RATE = 0.3
_FAR = 1e4  # standard deviations
_BEYOND = 1e300  # above the range of float32


@dataclass(frozen=True)
class Examples:
    """Example rows: `matrix` (N, V + K) as encoded, and `cells` before the encoding, by feature.

    Cells have shape (N, 1) and text for categories, (N, columns) and float64 for other features.
    """

    matrix: Tensor
    cells: dict[str, NDArray[Any]]


def example_rows(encoder: Encoder, preprocessing: Preprocessing) -> Examples:
    """Return usual rows, rows with missing values and unknown categories, and extreme rows."""
    stream = Generator().manual_seed(0)
    values = _values(preprocessing, stream)
    matrix = np.empty((len(values), encoder.num_columns))
    matrix[:, : encoder.num_values] = values
    _set_missing(matrix, encoder, stream)
    cells: dict[str, NDArray[Any]] = {}
    for feature in encoder.features:
        columns = encoder.columns_of(feature.name)
        if isinstance(feature, CategoricalFeature):
            categories = _categories(feature, len(matrix), stream)
            matrix[:, columns[0]] = feature.codes(categories)
            cells[feature.name] = categories.to_numpy().astype(object)[:, None]
        else:
            cells[feature.name] = matrix[:, columns]
    return Examples(torch.from_numpy(matrix), cells)


def _values(preprocessing: Preprocessing, stream: Generator) -> NDArray[np.float64]:
    num_values = preprocessing.num_values
    usual = torch.randn(2 * _NUM_ROWS, num_values, generator=stream, dtype=torch.float64)
    both_ways = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).expand(-1, num_values)
    unscaled = preprocessing.scale.unscale(torch.cat([usual, _FAR * both_ways]))
    rows: NDArray[np.float64] = torch.cat([unscaled, _BEYOND * both_ways]).numpy()
    return rows


def _set_missing(matrix: NDArray[np.float64], encoder: Encoder, stream: Generator) -> None:
    with_missing = matrix[_NUM_ROWS : 2 * _NUM_ROWS]
    for name in encoder.may_be_missing:
        rows = torch.rand(_NUM_ROWS, generator=stream) < _MISSING_RATE
        with_missing[np.ix_(rows.numpy(), np.array(encoder.columns_of(name)))] = np.nan


def _categories(feature: CategoricalFeature, num_rows: int, stream: Generator) -> pl.Series:
    """Return categories, with an unknown one in the first row that has missing values."""
    unknown = "?" * (1 + max(map(len, feature.categories), default=0))  # longer than each of them
    known = [*feature.categories, unknown]
    codes = torch.randint(len(known), (num_rows,), generator=stream)
    codes[_NUM_ROWS] = len(known) - 1
    return pl.Series([known[code] for code in codes.tolist()], dtype=pl.String)
