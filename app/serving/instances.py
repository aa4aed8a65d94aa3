"""Encode rows of JSON as the numbers that a model takes.

Shapes: N rows, F features, V values, K codes of categories, C outputs.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import simdjson
from numpy.typing import NDArray

from app.serving.errors import FEATURES_TOO_LARGE, InvalidInstance, TooManyRows
from app.serving.json_views import is_array, is_object, plain
from dropout_core.errors import DataError
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import Description

MAX_ROWS = 100_000  # in a request
_LARGE_BYTES = 1024**2
_PART_VALUES = 200_000  # encoded at a time
_MORE_VALUES = 100  # than a row may have; one of them is named in the error

_parsers = threading.local()


def require_row_count(num_rows: int, *, tensor: str | None = None) -> None:
    """Raise TooManyRows for more than MAX_ROWS, naming the tensor that has them."""
    if num_rows > MAX_ROWS:
        raise TooManyRows(num_rows, limit=MAX_ROWS, tensor=tensor)


def numbers_of(body: bytes, predictor: Predictor) -> NDArray[np.float64] | None:
    """Return the rows of a body that has nothing but numbers, as `encode` does: (N, V).

    None for every other body, also one with errors: `encode` takes them cell by cell.
    """
    encoder = predictor.description.encoder
    is_plain = encoder.is_numeric and not encoder.has_two_orders
    numbers = instance_numbers(body) if is_plain else None
    num_features = len(predictor.description.features)
    if numbers is None or numbers.shape[1] != num_features:
        return None
    try:
        return encoder.encode_numbers(numbers)
    except DataError:
        return None


def instance_numbers(body: bytes) -> NDArray[np.float64] | None:
    """Return the rows of `{"instances": [[...], ...]}` if all cells are numbers: (N, F).

    simdjson writes them straight into an array, without a Python object for each. They are rounded
    to the nearest float64, as Python rounds. None for every other body, also for invalid JSON: the
    general parser then raises the error.
    """
    try:
        document = _parser(len(body)).parse(body)
        if not isinstance(document, simdjson.Object) or len(document) != 1:
            return None
        rows = document["instances"]
        if not isinstance(rows, simdjson.Array):
            return None
        num_rows = len(rows)
        # `as_buffer` flattens nested arrays: there must be one bracket a row, and one around them.
        if not 0 < num_rows <= MAX_ROWS or body.count(b"[") != num_rows + 1:
            return None
        numbers = np.frombuffer(rows.as_buffer(of_type="d"))
        num_columns = len(numbers) // num_rows
        for row in rows:
            if not isinstance(row, simdjson.Array) or len(row) != num_columns:
                return None
        return numbers.reshape(num_rows, num_columns)
    except (ValueError, TypeError, KeyError, RuntimeError):  # the last for a huge integer
        return None


def encode(
    predictor: Predictor, rows: Any, *, refuse_missing: bool
) -> Iterator[NDArray[np.float64]]:
    """Yield an array of rows, or the parser's view of one, in parts: (N, V + K).

    A row is an array in the order of the features or columns, or an object by column name. Raises
    InvalidInstance naming the row and the cell that cannot be used.
    """
    description = predictor.description
    start = 0
    part_rows = next(predictor.parts(len(rows))).stop
    max_values = len(description.encoder.columns) + _MORE_VALUES
    for part in _parts(rows, part_rows, max_values=max_values):
        try:
            yield description.encoder.encode(
                predictor.frame_of(part), refuse_missing=refuse_missing
            )
        except DataError as error:
            raise _invalid(error, part, description, start=start) from error
        start += len(part)


def _parts(rows: Any, part_rows: int, *, max_values: int) -> Iterator[list[Any]]:
    """Yield rows as Python's values, a bounded number of rows and of values at a time."""
    part: list[Any] = []
    num_values = 0
    for index, row in enumerate(rows):
        size = len(row) if is_object(row) or is_array(row) else 1
        if size > max_values:
            detail = f"the row has {size} values, and the model knows fewer columns"
            raise InvalidInstance(detail, index=index)
        if len(part) == part_rows or (part and num_values + size > _PART_VALUES):
            yield part
            part, num_values = [], 0
        part.append(plain(row))
        num_values += size
    yield part


def require_finite(outputs: NDArray[np.float64]) -> None:
    """Raise InvalidInstance naming the first row whose outputs are not finite: (N, C)."""
    index = first_not_finite(outputs)
    if index is not None:
        raise InvalidInstance(FEATURES_TOO_LARGE, index=index)


def first_not_finite(outputs: NDArray[np.float64]) -> int | None:
    """Return the index of the first row whose outputs are not finite: (N, C), None if all are."""
    if math.isfinite(np.vdot(outputs, outputs)):  # if not, their squares may yet be too large
        return None
    finite = np.isfinite(outputs).all(axis=1)
    return None if finite.all() else int(finite.argmin())


def _parser(size_bytes: int) -> simdjson.Parser:
    """Return this thread's parser, which keeps its memory; a large body gets one of its own."""
    if size_bytes > _LARGE_BYTES:
        return simdjson.Parser()
    if not hasattr(_parsers, "parser"):
        _parsers.parser = simdjson.Parser()
    parser: simdjson.Parser = _parsers.parser
    return parser


def _invalid(
    error: DataError, part: Sequence[Any], description: Description, *, start: int
) -> InvalidInstance:
    """Return the error of a part of the rows, which begins with the row `start`."""
    if error.row is None:
        return InvalidInstance(str(error))
    row = part[error.row - 1]
    cell: str | int | None = error.column
    if error.column is not None and isinstance(row, list):
        is_of_features = len(row) == len(description.features)
        names = description.features if is_of_features else description.encoder.columns
        cell = names.index(error.column)
    return InvalidInstance(str(error.shifted(start)), index=start + error.row - 1, cell=cell)
