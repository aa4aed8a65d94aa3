"""The rows of a table as all contestants get them: numbers that a network takes as they are.

Words are one-hot, gaps become the column's median with an input that says so, and all numbers, also
those to predict, are standardised. All of it is fitted on the training rows, and done before any
clock starts.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.tables.catalogue import Table

TARGET, PART = "target", "part"

Array = npt.NDArray[Any]


class Prepared(NamedTuple):
    """Training and validation rows, in the same order in both of its forms.

    - `frame`: the columns x0, x1, ..., `target`, and `part`, which is train or validation.
    - `batch_size`: what all contestants train with.
    - `arrays`: the parts of `torch_loop.Rows`, by name.
    """

    table: Table
    seed: int
    batch_size: int
    frame: pl.DataFrame
    arrays: dict[str, Array]

    def write_arrays(self, folder: Path) -> Path:
        path = folder / f"{self.table.name}-{self.seed}.npz"
        np.savez(path, **self.arrays)
        return path


def prepare(table: Table, seed: int, *, batch_size: int) -> Prepared:
    """Return the rows of a table; the seed chooses the quarter that is validated on."""
    parts = table.split(seed)
    (features, targets), (held_out, held_out_targets) = (
        (_inputs(part, parts[0], table.target), _targets(part, parts[0], table)) for part in parts
    )
    arrays = {
        "features": features,
        "targets": targets,
        "validation_features": held_out,
        "validation_targets": held_out_targets,
    }
    inputs = pl.DataFrame(
        np.concatenate([features, held_out]), schema=[f"x{i}" for i in range(features.shape[1])]
    )
    target = np.concatenate([targets, held_out_targets])
    words = ["train"] * len(features) + ["validation"] * len(held_out)
    frame = inputs.with_columns(
        pl.Series(TARGET, target[:, 0] if table.is_regression else target), pl.Series(PART, words)
    )
    return Prepared(table, seed, batch_size, frame, arrays)


def _inputs(rows: pl.DataFrame, train: pl.DataFrame, target: str) -> Array:
    columns = [
        column
        for name in train.drop(target).columns
        for column in _columns(rows[name], fitted_on=train[name])
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _columns(rows: pl.Series, *, fitted_on: pl.Series) -> Iterator[Array]:
    """Yield the inputs that a column becomes."""
    if rows.dtype == pl.String:
        for word in sorted(fitted_on.drop_nulls().unique()):
            yield (rows == word).fill_null(False).to_numpy().astype(float)
        return
    median = fitted_on.median()
    yield _standardised(rows.fill_null(median), fitted_on.fill_null(median))
    if fitted_on.null_count():
        yield rows.is_null().to_numpy().astype(float)


def _standardised(numbers: pl.Series, fitted_on: pl.Series) -> Array:
    values, known = numbers.cast(pl.Float64).to_numpy(), fitted_on.cast(pl.Float64).to_numpy()
    return (values - known.mean()) / (known.std() or 1.0)


def _targets(rows: pl.DataFrame, train: pl.DataFrame, table: Table) -> Array:
    if table.is_regression:
        numbers = _standardised(rows[table.target], train[table.target])
        return numbers[:, np.newaxis].astype(np.float32)
    return np.searchsorted(table.classes, rows[table.target].to_list()).astype(np.int64)
