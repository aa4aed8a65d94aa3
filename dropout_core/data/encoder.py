"""From a frame or JSON rows to the numbers a model starts from. Raises DataError naming the cell.

Shapes: N rows, V value columns, K categorical features, C = V + K columns of the matrix.
"""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dropout_core.config import Config, FeatureType, PreprocessingConfig
from dropout_core.data.categories import CategoricalFeature, names_as
from dropout_core.data.dates import parse_dates
from dropout_core.data.features import (
    DATE_PARTS,
    BooleanFeature,
    DatetimeFeature,
    Feature,
    NumericFeature,
    TextFeature,
    value_names,
)
from dropout_core.data.instances import instance_frame, text_column
from dropout_core.data.parsing import first_unreadable, parse_numbers, shown, without_missing
from dropout_core.data.read_options import MISSING_WORDS, spell_values
from dropout_core.data.stored_types import frame_as_stored
from dropout_core.errors import DataError

__all__ = ["DATE_PARTS", "Encoder"]

_CHUNK_ROWS = 16_384
_READ = ("numeric", "boolean", "datetime")  # features whose cells are read as values


class Encoder(Config):
    """What training rows said about the features, and how values become numbers by it.

    `columns` are all that the rows had, those too that are no features.
    """

    features: tuple[Feature, ...]
    columns: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls, frame: pl.DataFrame, features: Mapping[str, FeatureType], config: PreprocessingConfig
    ) -> Self:
        """Learn from the training rows `frame` of a stored table: nothing else is looked at.

        Raises DataError for a column that is not there, or has a cell that cannot be of its type.
        """
        columns = _columns(frame, features)
        kinds = {name: kind for name, kind in features.items() if kind in ("numeric", "boolean")}
        block = np.empty((len(frame), len(kinds)))
        _read_numbers(columns, kinds, block, range(len(kinds)), missing=MISSING_WORDS)
        gappy = {name: bool(np.isnan(block[:, i]).any()) for i, name in enumerate(kinds)}
        fitted: list[Feature] = []
        for name, kind in features.items():
            match kind:
                case "numeric":
                    fitted.append(NumericFeature(name=name, may_be_missing=gappy[name]))
                case "boolean":
                    fitted.append(BooleanFeature(name=name, may_be_missing=gappy[name]))
                case "datetime":
                    fitted.append(DatetimeFeature.fit(_read_dates(columns[name], MISSING_WORDS)))
                case "text":
                    fitted.append(TextFeature(name=name, num_buckets=config.text_buckets))
                case "categorical":
                    fitted.append(
                        CategoricalFeature.fit(columns[name], max_categories=config.max_categories)
                    )
        return cls(features=tuple(fitted), columns=tuple(frame.columns))

    def encode(
        self,
        frame: pl.DataFrame,
        *,
        refuse_missing: bool = True,
        missing: Collection[str] = MISSING_WORDS,
    ) -> NDArray[np.float64]:
        """(N, C) float64, C-contiguous: value columns, then codes of the categorical features.

        Value columns are numbers, 0 and 1, parts of dates and hashed words, NaN where one is
        missing; a code is 0 for what is missing or unseen, else 1 to the number of categories.
        A column may hold stored values, or text as it is in a file, where `missing` are the words
        for a missing value beside the empty one: a cell means the same. Other columns are ignored.

        Raises DataError for a column that is not there, and for a cell that cannot be read, is
        infinite or, with `refuse_missing`, missing where training saw none missing (categories and
        text may always be).
        """
        columns = _columns(frame, self._types)
        if spell_values(frozenset(missing)):
            columns = columns.with_columns(
                without_missing(columns[feature.name], missing)
                for feature in self.features
                if feature.type in _READ and columns.schema[feature.name] == pl.String
            )
        matrix = np.empty((len(frame), self.num_columns))
        kinds = {n: kind for n, kind in self._types.items() if kind in ("numeric", "boolean")}
        places = [self._places[name][0] for name in kinds]
        _read_numbers(columns, kinds, matrix, places, missing=missing)
        for feature in self.features:
            column, places = columns[feature.name], self._places[feature.name]
            match feature:
                case DatetimeFeature():
                    values = feature.values(_read_dates(column, missing))
                    for place, part in zip(places, values, strict=True):
                        matrix[:, place] = part
                case TextFeature():
                    text = without_missing(names_as(column, "text"), missing)
                    matrix[:, places[0] : places[-1] + 1] = feature.values(text)
                case CategoricalFeature():
                    matrix[:, places[0]] = feature.codes(column)
        if refuse_missing:
            self._refuse_missing(matrix)
        return matrix

    def encode_numbers(
        self, numbers: NDArray[np.float64], *, refuse_missing: bool = True
    ) -> NDArray[np.float64]:
        """`encode` for a table of numbers, NaN for missing, where `is_numeric`: (N, F) -> (N, C).

        Raises DataError as `encode` does.
        """
        with np.errstate(invalid="ignore"):  # a signalling NaN is missing like any other
            matrix = numbers + 0.0  # as `_read_numbers` does
        # Where the sum of squares is finite every number is; where not, they may yet be.
        if not self._has_truth_values and math.isfinite(np.vdot(matrix, matrix)):
            return matrix
        for place, feature in enumerate(self.features):
            values = matrix[:, place]
            _refuse_others(pl.Series(feature.name, values), values, self._types[feature.name])
        if refuse_missing:
            self._refuse_missing(matrix)
        return matrix

    def frame_of(self, instances: Sequence[Any], *, ignored: Collection[str] = ()) -> pl.DataFrame:
        """JSON rows as a frame for `encode`: a column for each feature, in order.

        A row is an array in the order of the features, or of all columns that the training rows
        had, or an object by name, in which an absent name is missing. What is no feature is passed
        over if the training rows had it, or if it is `ignored`. Numbers, strings and booleans mean
        what they mean in a file; null is missing. Raises DataError for a row of another length, a
        name that is not known, and a value that is no scalar or, of a date, no date that can be
        read on its own.
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
        """C, the columns of the matrix."""
        return self.num_values + len(self.cardinalities)

    @property
    def num_values(self) -> int:
        """V, the columns before the codes."""
        return len(self.value_names)

    @cached_property
    def is_numeric(self) -> bool:
        """Whether every feature is a number or a truth value: the columns are the features."""
        return all(isinstance(f, NumericFeature | BooleanFeature) for f in self.features)

    @cached_property
    def value_names(self) -> list[str]:
        """What the value columns hold, such as `age` and `when.month`: V names."""
        return [name for feature in self.features for name in value_names(feature)]

    @cached_property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes, 0 among them, of each categorical feature: K."""
        return tuple(f.cardinality for f in self.features if isinstance(f, CategoricalFeature))

    @cached_property
    def may_be_missing(self) -> tuple[str, ...]:
        """The features whose value was missing somewhere in training; its columns are then NaN."""
        return tuple(
            feature.name
            for feature in self.features
            if isinstance(feature, NumericFeature | BooleanFeature | DatetimeFeature)
            and feature.may_be_missing
        )

    @cached_property
    def datetime_columns(self) -> tuple[str, ...]:
        """The features that are dates, or categories of dates."""
        return tuple(
            feature.name
            for feature in self.features
            if isinstance(feature, DatetimeFeature)
            or (isinstance(feature, CategoricalFeature) and feature.stored_as == "datetime")
        )

    def columns_of(self, name: str) -> list[int]:
        """The columns of the matrix that hold this feature. Raises KeyError if there is none."""
        return self._places[name]

    @cached_property
    def _has_truth_values(self) -> bool:
        return any(isinstance(feature, BooleanFeature) for feature in self.features)

    @cached_property
    def _types(self) -> dict[str, FeatureType]:
        return {feature.name: feature.type for feature in self.features}

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        value, code = 0, self.num_values
        for feature in self.features:
            if isinstance(feature, CategoricalFeature):
                places[feature.name] = [code]
                code += 1
            else:
                width = len(value_names(feature))
                places[feature.name] = list(range(value, value + width))
                value += width
        return places

    def _refuse_missing(self, matrix: NDArray[np.float64]) -> None:
        has_missing = np.isnan(matrix).any(axis=0)
        for place in np.flatnonzero(has_missing):
            name = next(name for name, places in self._places.items() if place in places)
            if name not in self.may_be_missing:
                raise DataError(
                    "a value is missing, and training saw none missing",
                    row=int(np.isnan(matrix[:, place]).argmax()) + 1,
                    column=name,
                )


def _columns(frame: pl.DataFrame, names: Mapping[str, FeatureType]) -> pl.DataFrame:
    there = set(frame.columns)
    for name in names:
        if name not in there:
            raise DataError("the data has no such column", column=name)
    frame = frame.select(list(names))
    objects = [column for column in frame if column.dtype == pl.Object]
    if objects:
        frame = frame.with_columns(text_column(c.name, c.to_list()) for c in objects)
    return frame_as_stored(frame)


def _read_numbers(
    columns: pl.DataFrame,
    kinds: Mapping[str, FeatureType],
    matrix: NDArray[np.float64],
    places: Sequence[int],
    *,
    missing: Collection[str],
) -> None:
    """Write the numeric and boolean columns `kinds` to `places` of the matrix, NaN for missing."""
    columns = columns.select(list(kinds))
    values = parse_numbers(columns)
    lost = [a > b for a, b in zip(_null_counts(values), _null_counts(columns), strict=True)]
    for name in itertools.compress(kinds, lost):
        what = "number" if kinds[name] == "numeric" else "truth value"
        _refuse_unreadable(columns[name], values[name], missing, f"is no {what}")
    suspect = np.array([kind == "boolean" for kind in kinds.values()], dtype=bool)
    for start in range(0, len(values), _CHUNK_ROWS):
        # Zero is added so that -0.0 becomes 0.0, as which a file's -0 is stored.
        chunk = values[start : start + _CHUNK_ROWS].to_numpy(order="c") + 0.0
        matrix[start : start + _CHUNK_ROWS, np.asarray(places, dtype=np.intp)] = chunk
        suspect |= np.isinf(chunk).any(axis=0)
    for index in np.flatnonzero(suspect):
        column = columns.to_series(int(index))
        _refuse_others(column, matrix[:, places[int(index)]], kinds[column.name])


def _null_counts(frame: pl.DataFrame) -> tuple[int, ...]:
    return frame.null_count().row(0) if frame.width else ()


def _refuse_others(column: pl.Series, values: NDArray[np.float64], kind: FeatureType) -> None:
    """Raise DataError for a number that is infinite, or a truth value that is not 0 or 1."""
    if kind == "numeric":
        wrong, why = np.isinf(values), "is infinite"
    else:
        wrong, why = ~(np.isnan(values) | (values == 0) | (values == 1)), "is no truth value"
    if wrong.any():
        raise _refusal(column, int(wrong.argmax()), why)


def _read_dates(column: pl.Series, missing: Collection[str]) -> pl.Series:
    values = parse_dates(column)
    _refuse_unreadable(column, values, missing, "is no date")
    return values


def _refuse_unreadable(
    column: pl.Series, values: pl.Series, missing: Collection[str], why: str
) -> None:
    index = first_unreadable(column, values, missing=missing)
    if index is not None:
        raise _refusal(column, index, why)


def _refusal(column: pl.Series, index: int, why: str) -> DataError:
    return DataError(f"{shown(column[index])} {why}", row=index + 1, column=column.name)
