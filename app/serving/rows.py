"""Rows out of JSON, as the numbers that a model starts from."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.http.errors import RequestError, escaped, invalid
from app.inference.schemas import MAX_ROWS, PredictRequest
from app.serving.number_json import instance_numbers
from dropout_core.errors import DataError
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import Description

TOO_LARGE = "the features are too large to compute with"


def numbers_of(body: bytes, predictor: Predictor) -> NDArray[np.float64] | None:
    """The rows of a body that holds nothing but numbers, as `encode` gives them: (N, V).

    None for what has to be looked at cell by cell; see `encode`.
    """
    encoder = predictor.description.encoder
    numbers = instance_numbers(body) if encoder.is_numeric else None
    if numbers is None or not _has_shape(numbers, predictor):
        return None
    try:
        return encoder.encode_numbers(numbers)
    except DataError:
        return None


def encode(predictor: Predictor, request: PredictRequest) -> Iterator[NDArray[np.float64]]:
    """Arrays in the order of the features or columns, or objects by column name, part by part.

    Shape of a part: (N, V + K). Raises RequestError (422) naming the row and the cell that cannot
    be used.
    """
    facts = predictor.description
    try:
        frame = predictor.frame_of(request.instances)
    except DataError as error:
        raise _refused(error, request.instances, facts) from error
    for part in predictor.parts(len(frame)):
        try:
            yield facts.encoder.encode(frame[part], refuse_missing=request.missing == "refuse")
        except DataError as error:
            raise _refused(error.shifted(part.start), request.instances, facts) from error


def check_finite(outputs: NDArray[np.float64]) -> None:
    """Raise RequestError (422) naming the first row whose outputs are not: (N, C)."""
    index = first_too_large(outputs)
    if index is not None:
        raise invalid(f"/instances/{index}", TOO_LARGE)


def first_too_large(outputs: NDArray[np.float64]) -> int | None:
    """The first row whose outputs are not finite: (N, C) -> its index, None if all are."""
    if math.isfinite(np.vdot(outputs, outputs)):  # if not, their squares may yet be too large
        return None
    finite = np.isfinite(outputs).all(axis=1)
    return None if finite.all() else int(finite.argmin())


def _has_shape(numbers: NDArray[np.float64], predictor: Predictor) -> bool:
    num_rows, num_features = numbers.shape
    return bool(num_rows <= MAX_ROWS and num_features == len(predictor.description.features))


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
