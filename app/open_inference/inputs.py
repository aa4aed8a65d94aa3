"""Read the tensors of a request as a table of the model's features. Cells mean the same as in JSON.

Shapes: N rows, F features.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.http.inference_errors import bad_request
from app.open_inference.tensors import BYTES, DATATYPES, Tensor
from dropout_core.config import FeatureType
from dropout_core.errors import DataError
from dropout_core.model.predictor import Predictor

INPUT = "input"
"""The tensor that holds all features, if each of them is a number."""

Table = NDArray[np.float64] | Mapping[str, NDArray[Any]]
"""All features of each row (N, F), or some of them by name, each (N)."""

_NUMBERS = frozenset(DATATYPES) - {BYTES}
_TAKEN: Mapping[FeatureType, Collection[str]] = {
    "numeric": _NUMBERS,
    "boolean": _NUMBERS,
    "categorical": frozenset(DATATYPES),
    "datetime": (BYTES,),
    "text": (BYTES,),
}


def table_of(predictor: Predictor, inputs: Mapping[str, Tensor]) -> Table:
    """Return the tensors as features. Raises RequestError (400) naming the input that is wrong."""
    if predictor.description.encoder.is_numeric and _is_matrix(predictor, inputs):
        return _matrix(predictor, inputs)
    types = {feature.name: feature.type for feature in predictor.description.encoder.features}
    columns = {name: _column(types, tensor) for name, tensor in inputs.items()}
    if len({len(column) for column in columns.values()}) > 1:
        raise bad_request("the inputs have different numbers of rows")
    return columns


def num_rows(table: Table) -> int:
    return len(table if isinstance(table, np.ndarray) else next(iter(table.values())))


def encoded(
    predictor: Predictor, table: Table, *, refuse_missing: bool
) -> Iterator[NDArray[np.float64]]:
    """Yield the matrix that the predictor takes, in parts of bounded memory.

    Features that the table lacks are missing values. Raises RequestError (400) naming the row and
    the feature that cannot be used.
    """
    for rows in predictor.parts(num_rows(table)):
        try:
            yield _encoded_part(predictor, table, rows, refuse_missing=refuse_missing)
        except DataError as error:
            detail = f"the inputs cannot be used: {error.shifted(rows.start)}"
            raise bad_request(detail) from error


def _encoded_part(
    predictor: Predictor, table: Table, rows: slice, *, refuse_missing: bool
) -> NDArray[np.float64]:
    encoder, features = predictor.description.encoder, predictor.description.features
    if isinstance(table, np.ndarray):
        return encoder.encode_numbers(table[rows], refuse_missing=refuse_missing)
    size = rows.stop - rows.start
    if encoder.is_numeric:
        matrix = np.full((size, len(features)), np.nan)
        for index, name in enumerate(features):
            if name in table:
                matrix[:, index] = table[name][rows]
        return encoder.encode_numbers(matrix, refuse_missing=refuse_missing)
    cells = {name: table[name][rows].tolist() for name in features if name in table}
    values = zip(*cells.values(), strict=True)
    frame = predictor.frame_of([dict(zip(cells, row, strict=True)) for row in values])
    return encoder.encode(frame, refuse_missing=refuse_missing)


def _is_matrix(predictor: Predictor, inputs: Mapping[str, Tensor]) -> bool:
    """Return whether an input has all features; the shape decides if a feature is named `INPUT`."""
    features = predictor.description.features
    tensor = inputs.get(INPUT)
    if tensor is None:
        return False
    return INPUT not in features or tensor.values.shape[1:] == (len(features),)


def _matrix(predictor: Predictor, inputs: Mapping[str, Tensor]) -> NDArray[np.float64]:
    if len(inputs) > 1:
        raise bad_request(f"input {INPUT!r} has all features: send no other input")
    tensor, num_features = inputs[INPUT], len(predictor.description.features)
    if tensor.datatype == BYTES:
        raise bad_request(f"input {INPUT!r}: BYTES are not numbers")
    if tensor.values.shape[1:] != (num_features,):
        shape = list(tensor.values.shape)
        raise bad_request(f"input {INPUT!r}: the shape {shape} is not [-1, {num_features}]")
    return tensor.values.astype(np.float64, copy=False)


def _column(types: Mapping[str, FeatureType], tensor: Tensor) -> NDArray[Any]:
    """Return the values of one feature: (N)."""
    feature_type = types.get(tensor.name)
    if feature_type is None:
        raise bad_request(f"input {tensor.name!r}: the model has no such input")
    if tensor.datatype not in _TAKEN[feature_type]:
        raise bad_request(f"input {tensor.name!r}: {tensor.datatype} cannot be {feature_type}")
    if tensor.values.shape[1:] not in ((), (1,)):
        shape = list(tensor.values.shape)
        raise bad_request(f"input {tensor.name!r}: the shape {shape} is neither [-1] nor [-1, 1]")
    return tensor.values.reshape(-1)
