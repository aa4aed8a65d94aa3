"""Rows that an export has to answer as the service does.

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

_NUM_ROWS = 32  # of those like the training's, and of those with holes
_HOLE_RATE = 0.3
_FAR = 1e4  # standard deviations
_BEYOND = 1e300  # any float32


@dataclass(frozen=True)
class Examples:
    """`matrix` (N, V + K) is what the encoder makes of the rows.

    `cells` are by feature what it was made of: (N, 1) of text for categories, (N, columns) of
    float64 for all others.
    """

    matrix: Tensor
    cells: dict[str, NDArray[Any]]


def example_rows(encoder: Encoder, preprocessing: Preprocessing) -> Examples:
    """Rows like those of training; rows with holes and unknown categories; and some far off."""
    stream = Generator().manual_seed(0)
    values = _values(preprocessing, stream)
    matrix = np.empty((len(values), encoder.num_columns))
    matrix[:, : encoder.num_values] = values
    _make_holes(matrix, encoder, stream)
    cells: dict[str, NDArray[Any]] = {}
    for feature in encoder.features:
        places = encoder.columns_of(feature.name)
        if isinstance(feature, CategoricalFeature):
            words = _words(feature, len(matrix), stream)
            matrix[:, places[0]] = feature.codes(words)
            cells[feature.name] = words.to_numpy().astype(object)[:, None]
        else:
            cells[feature.name] = matrix[:, places]
    return Examples(torch.from_numpy(matrix), cells)


def _values(preprocessing: Preprocessing, stream: Generator) -> NDArray[np.float64]:
    num_values = preprocessing.num_values
    usual = torch.randn(2 * _NUM_ROWS, num_values, generator=stream, dtype=torch.float64)
    both_ways = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).expand(-1, num_values)
    unscaled = preprocessing.scale.unscale(torch.cat([usual, _FAR * both_ways]))
    rows: NDArray[np.float64] = torch.cat([unscaled, _BEYOND * both_ways]).numpy()
    return rows


def _make_holes(matrix: NDArray[np.float64], encoder: Encoder, stream: Generator) -> None:
    with_holes = matrix[_NUM_ROWS : 2 * _NUM_ROWS]
    for name in encoder.may_be_missing:
        rows = torch.rand(_NUM_ROWS, generator=stream) < _HOLE_RATE
        with_holes[np.ix_(rows.numpy(), np.array(encoder.columns_of(name)))] = np.nan


def _words(feature: CategoricalFeature, num_rows: int, stream: Generator) -> pl.Series:
    """Categories, and at the first rows with holes one that training never saw."""
    unknown = "?" * (1 + max(map(len, feature.categories), default=0))  # longer than each of them
    known = [*feature.categories, unknown]
    codes = torch.randint(len(known), (num_rows,), generator=stream)
    codes[_NUM_ROWS] = len(known) - 1
    return pl.Series(feature.name, [known[code] for code in codes.tolist()], dtype=pl.String)
