"""Encode a frame or JSON rows as the inputs of a model. Raises DataError naming the cell.

Shapes: N rows, V value columns, K categorical features, C = V + K columns of the matrix.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dropout_core.config import Config, FeatureType, PreprocessingConfig, added
from dropout_core.data.by_name import naming, numbered
from dropout_core.data.categories import CategoricalFeature, names_as
from dropout_core.data.cells import misses_value, read_dates, read_numbers, refuse_others
from dropout_core.data.features import (
    BooleanFeature,
    DatetimeFeature,
    Feature,
    NumericFeature,
    TextFeature,
    value_names,
    values_of,
)
from dropout_core.data.formats import CellFormat
from dropout_core.data.instances import has_two_orders, instance_frame, text_column
from dropout_core.data.parsing import without_missing
from dropout_core.data.read_options import spell_values, spelt_numbers
from dropout_core.data.reading import FIRST_MISSING_WORDS, Reading
from dropout_core.data.stored_types import frame_as_stored
from dropout_core.errors import DataError

_WRITTEN = (NumericFeature, DatetimeFeature, CategoricalFeature)  # whose text may have a format
_READ = (NumericFeature, BooleanFeature, DatetimeFeature)  # whose cells are read as values


class Encoder(Config):
    """The features as the training rows fitted them, which turn values into numbers.

    - `columns`: all columns of the training rows, including those that are no features.
    - `missing`: the words that stood for a missing value in the table.
    - `incomplete`: features that missed a value in no training row, but elsewhere in the table.
    """

    features: tuple[Feature, ...]
    columns: tuple[str, ...] = ()
    missing: tuple[str, ...] = added(FIRST_MISSING_WORDS)
    incomplete: tuple[str, ...] = added(())

    @classmethod
    def fit(
        cls,
        frame: pl.DataFrame,
        features: Mapping[str, FeatureType],
        config: PreprocessingConfig,
        *,
        reading: Reading | None = None,
        incomplete: Collection[str] = (),
    ) -> Self:
        """Fit the features on the training rows `frame` of a stored table, and on nothing else.

        `reading` says how the text of the table was read, and `incomplete` names the columns that
        miss a value in any row, held out or not. Raises DataError for a column that is not there,
        or has a cell that cannot be of its type.
        """
        reading = reading or Reading()
        with numbered(frame, list(features)) as columns:
            fitted = tuple(
                _fitted(name, type_, column, config, reading)
                for (name, type_), column in zip(
                    features.items(), _stored(columns).get_columns(), strict=True
                )
            )
        complete = (f for f in fitted if isinstance(f, _READ) and not f.may_be_missing)
        return cls(
            features=fitted,
            columns=tuple(frame.columns),
            missing=reading.missing,
            incomplete=tuple(feature.name for feature in complete if feature.name in incomplete),
        )

    def for_text(
        self,
        *,
        missing: tuple[str, ...],
        formats: Mapping[str, CellFormat] | None = None,
    ) -> Self:
        """Return the encoder for text with other words for a missing value, or other formats.

        Features that `formats` does not name keep theirs.
        """
        formats = formats or {}
        return type(self)(
            features=tuple(
                f.model_copy(update={"format": formats[f.name]}) if f.name in formats else f
                for f in self.features
            ),
            columns=self.columns,
            missing=missing,
            incomplete=self.incomplete,
        )

    def encode(self, frame: pl.DataFrame, *, refuse_missing: bool = True) -> NDArray[np.float64]:
        """Return (N, C) float64, C-contiguous: value columns, then codes of categorical features.

        Value columns are numbers, 0 and 1, parts of dates and hashed words, NaN where one is
        missing; a code is 0 for a missing or unseen value, else 1 to the number of categories.
        A column may hold stored values, or text as it is in a file, written as in the table that
        the features were fitted on: empty text and the words `missing` stand for a missing value.
        Other columns are ignored.

        Raises DataError for a column that is not there, and for a cell that cannot be read, is
        infinite or, with `refuse_missing`, missing where no row of the table missed a value
        (categories and text may always be).
        """
        matrix = np.empty((len(frame), self.num_columns))
        with numbered(frame, self._names) as columns:
            self._fill(matrix, _stored(columns))
        self._drop_missing_numbers(matrix)
        if refuse_missing:
            self._refuse_missing(matrix)
        return matrix

    def _fill(self, matrix: NDArray[np.float64], columns: pl.DataFrame) -> None:
        """Write the features' stored columns, in order, to the matrix (N, C)."""
        missing = self.missing
        if spell_values(frozenset(missing)):
            columns = columns.with_columns(
                without_missing(column, missing)
                for feature, column in zip(self.features, columns, strict=True)
                if isinstance(feature, _READ) and column.dtype == pl.String
            )
        numbers = {
            str(index): feature
            for index, feature in enumerate(self.features)
            if isinstance(feature, NumericFeature | BooleanFeature)
        }
        indices = [self._indices[feature.name][0] for feature in numbers.values()]
        read_numbers(columns, numbers, matrix, indices, missing=missing)
        for feature, column in zip(self.features, columns, strict=True):
            indices = self._indices[feature.name]
            match feature:
                case DatetimeFeature():
                    dates = read_dates(
                        column, feature.format, is_lenient=feature.is_lenient, missing=missing
                    )
                    for index, part in zip(indices, feature.values(dates), strict=True):
                        matrix[:, index] = part
                case TextFeature():
                    text = without_missing(names_as(column, "text"), missing)
                    matrix[:, indices[0] : indices[-1] + 1] = feature.values(text)
                case CategoricalFeature():
                    matrix[:, indices[0]] = feature.codes(column, missing=missing)

    def encode_numbers(
        self, numbers: NDArray[np.float64], *, refuse_missing: bool = True
    ) -> NDArray[np.float64]:
        """Encode a table of numbers, NaN for missing, where `is_numeric`: (N, F) -> (N, C).

        Raises DataError as `encode` does.
        """
        with np.errstate(invalid="ignore"):  # a signalling NaN is missing like any other
            matrix = numbers + 0.0  # as `read_numbers` does
        self._drop_missing_numbers(matrix)
        # If the sum of squares is finite, so is every number; if it is not, they may still be.
        if not self._has_booleans and math.isfinite(np.vdot(matrix, matrix)):
            return matrix
        with naming(self._names):
            for index, feature in enumerate(self.features):
                assert isinstance(feature, NumericFeature | BooleanFeature)
                values = matrix[:, index]
                refuse_others(pl.Series(str(index), values), values, feature)
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
            instances, self.features, columns=self.columns, ignored=ignored, missing=self.missing
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
            if isinstance(feature, _READ) and feature.may_be_missing
        )

    @cached_property
    def number_columns(self) -> tuple[str, ...]:
        """Return the features that are numbers, or categories of numbers."""
        return tuple(f.name for f in self.features if values_of(f) == "number")

    @cached_property
    def number_indices(self) -> tuple[int, ...]:
        """Return the value columns that hold numbers and parts of dates: no booleans or words."""
        return tuple(
            index
            for feature in self.features
            if isinstance(feature, NumericFeature | DatetimeFeature)
            for index in self._indices[feature.name]
        )

    @cached_property
    def datetime_columns(self) -> tuple[str, ...]:
        """Return the features that are dates, or categories of dates."""
        return tuple(f.name for f in self.features if values_of(f) == "datetime")

    @cached_property
    def unsettled_dates(self) -> tuple[str, ...]:
        """Return the features of dates whose text has no format: all cells decide together."""
        formats = {f.name: f.format for f in self.features if isinstance(f, _WRITTEN)}
        return tuple(name for name in self.datetime_columns if formats[name] is None)

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

    def _drop_missing_numbers(self, matrix: NDArray[np.float64]) -> None:
        """Write NaN for numbers that are words for a missing value, such as -999."""
        for number in spelt_numbers(frozenset(self.missing)):
            for feature in self.features:
                if isinstance(feature, NumericFeature):
                    values = matrix[:, self._indices[feature.name][0]]
                    values[values == number] = np.nan

    def _refuse_missing(self, matrix: NDArray[np.float64]) -> None:
        has_missing = np.isnan(matrix).any(axis=0)
        for index in np.flatnonzero(has_missing):
            name = next(name for name, indices in self._indices.items() if index in indices)
            if name not in self.may_be_missing and name not in self.incomplete:
                raise DataError(
                    "a value is missing, and no row of the model's table missed one: "
                    "`missing`, set to `impute`, imputes it",
                    row=int(np.isnan(matrix[:, index]).argmax()) + 1,
                    column=name,
                )


def _stored(columns: pl.DataFrame) -> pl.DataFrame:
    objects = [column for column in columns if column.dtype == pl.Object]
    return frame_as_stored(columns.with_columns(text_column(c.name, c.to_list()) for c in objects))


def _fitted(
    name: str, type_: FeatureType, column: pl.Series, config: PreprocessingConfig, reading: Reading
) -> Feature:
    """Return the feature as the training rows of its column fit it."""
    number, date = reading.number_format(name), reading.date_format(name)
    missing, is_lenient = reading.missing, name in reading.lenient
    match type_:
        case "numeric":
            numeric = NumericFeature(
                name=name, may_be_missing=False, format=number, is_lenient=is_lenient
            )
            may_be_missing = misses_value(column, numeric, missing=missing)
            return numeric.model_copy(update={"may_be_missing": may_be_missing})
        case "boolean":
            boolean = BooleanFeature(name=name, may_be_missing=False, is_lenient=is_lenient)
            may_be_missing = misses_value(column, boolean, missing=missing)
            return boolean.model_copy(update={"may_be_missing": may_be_missing})
        case "datetime":
            dates = read_dates(column, date, is_lenient=is_lenient, missing=missing)
            return DatetimeFeature.fit(name, dates, format_=date, is_lenient=is_lenient)
        case "text":
            return TextFeature(name=name, num_buckets=config.text_buckets)
        case "categorical":
            return CategoricalFeature.fit(
                name,
                column,
                max_categories=config.max_categories,
                min_frequency=config.min_frequency,
                reading=reading,
            )
