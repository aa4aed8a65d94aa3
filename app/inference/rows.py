"""Rows out of JSON, predicted."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from app.errors import RequestError, escaped, invalid
from dropout_core.data.errors import DataError
from dropout_core.inference import Predictions, Predictor
from dropout_core.tabular import Description

TOO_LARGE = "the features are too large to compute with"


def predict(predictor: Predictor, instances: Sequence[Any]) -> Predictions:
    """Predict arrays in the order of the features or columns, or objects by column name.

    Raises RequestError (422) naming the row and the cell that cannot be used.
    """
    try:
        outputs = predictor.outputs_of(predictor.frame_of(instances))
    except DataError as error:
        raise _refused(error, instances, predictor.description) from error
    index = first_too_large(outputs)
    if index is not None:
        raise invalid(f"/instances/{index}", TOO_LARGE)
    return predictor.predictions(outputs)


def first_too_large(outputs: Tensor) -> int | None:
    """The first row whose outputs are not finite: (N, C) -> its index, None if all are."""
    finite = outputs.isfinite().all(dim=1)
    return None if finite.all() else int(finite.int().argmin())


def _refused(error: DataError, instances: Sequence[Any], facts: Description) -> RequestError:
    if error.row is None:
        return invalid("/instances", str(error))
    row = instances[error.row - 1]
    pointer = f"/instances/{error.row - 1}"
    if error.column is None:
        return invalid(pointer, str(error))
    cell: str | int = error.column
    if isinstance(row, list):
        names = facts.features if len(row) == len(facts.features) else facts.encoder.columns
        cell = names.index(error.column)
    return invalid(f"{pointer}/{escaped(cell)}", str(error))
