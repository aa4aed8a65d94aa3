"""Encode a frame or JSON rows as the inputs of a model. Raises DataError naming the cell.

Shapes: N rows, V value columns, K categorical features, C = V + K columns of the matrix.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dropout_core.config import Config, FeatureType, PreprocessingConfig
from dropout_core.data.by_name import naming, numbered
from dropout_core.data.categories import CategoricalFeature, names_as
from dropout_core.data.dates import parse_dates
from dropout_core.data.features import (
    BooleanFeature,
    DatetimeFeature,
    Feature,
    NumericFeature,
    TextFeature,
    value_names,
)
from dropout_core.data.instances import has_two_orders, instance_frame, text_column
from dropout_core.data.parsing import parse_numbers, refusal, refuse_unreadable, without_missing
from dropout_core.data.read_options import MISSING_WORDS, spell_values
from dropout_core.data.stored_types import frame_as_stored
from dropout_core.errors import DataError

_CHUNK_CELLS = 1 << 20  # enough to outweigh the cost of a chunk
_READ = ("numeric", "boolean", "datetime")  # features whose cells are read as values


class Encoder(Config):
    """The features as the training rows fitted them, which turn values into numbers.

    `columns` are all columns of the training rows, including those that are no features.
    """

    features: tuple[Feature, ...]
    columns: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls, frame: pl.DataFrame, features: Mapping[str, FeatureType], config: PreprocessingConfig
    ) -> Self:
        """Fit the features on the training rows `frame` of a stored table, and on nothing else.

        Raises DataError for a column that is not there, or has a cell that cannot be of its type.
        """
        fitted: list[Feature] = []
        with numbered(frame, list(features)) as given:
            for column, (name, type_) in zip(_stored(given), features.items(), strict=True):
                match type_:
                    case "numeric":
                        missing = _misses(column, type_)
                        fitted.append(NumericFeature(name=name, may_be_missing=missing))
                    case "boolean":
                        missing = _misses(column, type_)
                        fitted.append(BooleanFeature(name=name, may_be_missing=missing))
                    case "datetime":
                        dates = _read_dates(column, MISSING_WORDS)
                        fitted.append(DatetimeFeature.fit(name, dates))
                    case "text":
                        fitted.append(TextFeature(name=name, num_buckets=config.text_buckets))
                    case "categorical":
                        most = config.max_categories
                        fitted.append(CategoricalFeature.fit(name, column, max_categories=most))
        return cls(features=tuple(fitted), columns=tuple(frame.columns))

    def encode(
        self,
        frame: pl.DataFrame,
        *,
        refuse_missing: bool = True,
        missing: Collection[str] = MISSING_WORDS,
    ) -> NDArray[np.float64]:
        """Return (N, C) float64, C-contiguous: value columns, then codes of categorical features.

        Value columns are numbers, 0 and 1, parts of dates and hashed words, NaN where one is
        missing; a code is 0 for a missing or unseen value, else 1 to the number of categories.
        A column may hold stored values, or text as it is in a file, where empty text and the words
        `missing` stand for a missing value. Other columns are ignored.

        Raises DataError for a column that is not there, and for a cell that cannot be read, is
        infinite or, with `refuse_missing`, missing where training saw none missing (categories and
        text may always be).
        """
        matrix = np.empty((len(frame), self.num_columns))
        with numbered(frame, self._names) as columns:
            self._fill(matrix, _stored(columns), missing)
        if refuse_missing:
            self._refuse_missing(matrix)
        return matrix

    def _fill(
        self, matrix: NDArray[np.float64], columns: pl.DataFrame, missing: Collection[str]
    ) -> None:
        """Write the features' stored columns, in order, to the matrix (N, C)."""
        if spell_values(frozenset(missing)):
            columns = columns.with_columns(
                without_missing(column, missing)
                for feature, column in zip(self.features, columns, strict=True)
                if feature.type in _READ and column.dtype == pl.String
            )
        types = _numbers_among(feature.type for feature in self.features)
        indices = [self._indices[self._names[int(number)]][0] for number in types]
        _read_numbers(columns, types, matrix, indices, missing=missing)
        for feature, column in zip(self.features, columns, strict=True):
            indices = self._indices[feature.name]
            match feature:
                case DatetimeFeature():
                    values = feature.values(_read_dates(column, missing))
                    for index, part in zip(indices, values, strict=True):
                        matrix[:, index] = part
                case TextFeature():
                    text = without_missing(names_as(column, "text"), missing)
                    matrix[:, indices[0] : indices[-1] + 1] = feature.values(text)
                case CategoricalFeature():
                    matrix[:, indices[0]] = feature.codes(column)

    def encode_numbers(
        self, numbers: NDArray[np.float64], *, refuse_missing: bool = True
    ) -> NDArray[np.float64]:
        """Encode a table of numbers, NaN for missing, where `is_numeric`: (N, F) -> (N, C).

        Raises DataError as `encode` does.
        """
        with np.errstate(invalid="ignore"):  # a signalling NaN is missing like any other
            matrix = numbers + 0.0  # as `_read_numbers` does
        # If the sum of squares is finite, so is every number; if it is not, they may still be.
        if not self._has_booleans and math.isfinite(np.vdot(matrix, matrix)):
            return matrix
        with naming(self._names):
            for index, feature in enumerate(self.features):
                values = matrix[:, index]
                _refuse_others(pl.Series(str(index), values), values, feature.type)
        if refuse_missing:
            self._refuse_missing(matrix)
        return matrix

    def frame_of(self, instances: Sequence[Any], *, ignored: Collection[str] = ()) -> pl.DataFrame:
        """Return JSON rows as a frame for `encode`: a column for each feature, in order.

        A row is an array in the order of the features or of all training columns, or an object by
        name, in which an absent name is missing. Training columns that are no features, and columns
        that are `ignored`, are skipped. Numbers, strings and booleans mean what they mean in a
        file; null is missing. Raises DataError for a row of another length, an array where
        `has_two_orders`, an unknown name, a value that is no scalar, and a date that cannot be read
        on its own.
        """
        return instance_frame(
            instances,
            self._types,
            datetimes=self.datetime_columns,
            columns=self.columns,
            ignored=ignored,
        )

    @property
    def num_columns(self) -> int:
        """Return C, the number of columns of the matrix."""
        return self.num_values + len(self.cardinalities)

    @property
    def num_values(self) -> int:
        """Return V, the number of columns before the codes."""
        return len(self.value_names)

    @cached_property
    def is_numeric(self) -> bool:
        """Return whether every feature is a number or a boolean: the columns are the features."""
        return all(isinstance(f, NumericFeature | BooleanFeature) for f in self.features)

    @cached_property
    def has_two_orders(self) -> bool:
        """Return whether an array could be in the order of the features, or of the columns."""
        return has_two_orders(self._names, self.columns)

    @cached_property
    def value_names(self) -> list[str]:
        """Return the V names of the value columns, such as `age` and `when.month`."""
        return [name for feature in self.features for name in value_names(feature)]

    @cached_property
    def cardinalities(self) -> tuple[int, ...]:
        """Return the number of codes, including 0, of each categorical feature: K."""
        return tuple(f.cardinality for f in self.features if isinstance(f, CategoricalFeature))

    @cached_property
    def may_be_missing(self) -> tuple[str, ...]:
        """Return the features that missed a value in training; a missing value is then NaN."""
        return tuple(
            feature.name
            for feature in self.features
            if isinstance(feature, NumericFeature | BooleanFeature | DatetimeFeature)
            and feature.may_be_missing
        )

    @cached_property
    def datetime_columns(self) -> tuple[str, ...]:
        """Return the features that are dates, or categories of dates."""
        return tuple(
            feature.name
            for feature in self.features
            if isinstance(feature, DatetimeFeature)
            or (isinstance(feature, CategoricalFeature) and feature.stored_as == "datetime")
        )

    def columns_of(self, name: str) -> list[int]:
        """Return the columns of the matrix that hold this feature. Raises KeyError."""
        return self._indices[name]

    @cached_property
    def _has_booleans(self) -> bool:
        return any(isinstance(feature, BooleanFeature) for feature in self.features)

    @cached_property
    def _names(self) -> list[str]:
        return [feature.name for feature in self.features]

    @cached_property
    def _types(self) -> dict[str, FeatureType]:
        return {feature.name: feature.type for feature in self.features}

    @cached_property
    def _indices(self) -> dict[str, list[int]]:
        indices: dict[str, list[int]] = {}
        value, code = 0, self.num_values
        for feature in self.features:
            if isinstance(feature, CategoricalFeature):
                indices[feature.name] = [code]
                code += 1
            else:
                width = len(value_names(feature))
                indices[feature.name] = list(range(value, value + width))
                value += width
        return indices

    def _refuse_missing(self, matrix: NDArray[np.float64]) -> None:
        has_missing = np.isnan(matrix).any(axis=0)
        for index in np.flatnonzero(has_missing):
            name = next(name for name, indices in self._indices.items() if index in indices)
            if name not in self.may_be_missing:
                raise DataError(
                    "a value is missing, and training saw none missing",
                    row=int(np.isnan(matrix[:, index]).argmax()) + 1,
                    column=name,
                )


def _stored(columns: pl.DataFrame) -> pl.DataFrame:
    objects = [column for column in columns if column.dtype == pl.Object]
    return frame_as_stored(columns.with_columns(text_column(c.name, c.to_list()) for c in objects))


def _numbers_among(types: Iterable[FeatureType]) -> dict[str, FeatureType]:
    """Return the types of numeric and boolean columns, by the columns' numbers."""
    numbers = {str(index): type_ for index, type_ in enumerate(types)}
    return {number: type_ for number, type_ in numbers.items() if type_ in ("numeric", "boolean")}


def _misses(column: pl.Series, type_: FeatureType) -> bool:
    """Return whether a numeric or boolean column misses a value. Raises DataError as `encode`."""
    if column.dtype.is_integer() and type_ == "numeric":
        return column.null_count() > 0
    values = np.empty((len(column), 1))
    _read_numbers(column.to_frame(), {column.name: type_}, values, [0], missing=MISSING_WORDS)
    return bool(np.isnan(values).any())


def _read_numbers(
    columns: pl.DataFrame,
    types: Mapping[str, FeatureType],
    matrix: NDArray[np.float64],
    indices: Sequence[int],
    *,
    missing: Collection[str],
) -> None:
    """Write the numeric and boolean columns `types` to `indices` of the matrix, NaN for missing."""
    columns = columns.select(list(types))
    values = parse_numbers(columns)
    lost = [a > b for a, b in zip(_null_counts(values), _null_counts(columns), strict=True)]
    for name in itertools.compress(types, lost):
        what = "number" if types[name] == "numeric" else "truth value"
        refuse_unreadable(columns[name], values[name], missing, f"is no {what}")
    where: slice | Sequence[int] = indices
    if list(indices) == list(range(matrix.shape[1])):
        where = slice(None)  # much quicker than a list of all columns
    num_rows = max(1, _CHUNK_CELLS // max(1, len(indices)))
    for start in range(0, len(values), num_rows):
        # Adding zero turns -0.0 into 0.0, because the stored -0 of a file is 0.
        chunk = values[start : start + num_rows].to_numpy(order="c") + 0.0
        matrix[start : start + num_rows, where] = chunk
    is_infinite = values.select(pl.all().is_infinite().any()).row(0) if values.width else ()
    for index, type_ in enumerate(types.values()):
        if is_infinite[index] or type_ == "boolean":
            _refuse_others(columns.to_series(index), matrix[:, indices[index]], type_)


def _null_counts(frame: pl.DataFrame) -> tuple[int, ...]:
    return frame.null_count().row(0) if frame.width else ()


def _refuse_others(column: pl.Series, values: NDArray[np.float64], type_: FeatureType) -> None:
    """Raise DataError for a number that is infinite, or a truth value that is not 0 or 1."""
    if type_ == "numeric":
        wrong, why = np.isinf(values), "is infinite"
    else:
        wrong, why = ~(np.isnan(values) | (values == 0) | (values == 1)), "is no truth value"
    if wrong.any():
        raise refusal(column, int(wrong.argmax()), why)


def _read_dates(column: pl.Series, missing: Collection[str]) -> pl.Series:
    values = parse_dates(column)
    refuse_unreadable(column, values, missing, "is no date")
    return values
