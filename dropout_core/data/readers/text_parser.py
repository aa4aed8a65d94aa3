"""Parse the cells of a text file as the types of their columns."""

import re
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from dropout_core.config import FeatureType
from dropout_core.data.read_options import ReadOptions, spell_values, spelt_numbers
from dropout_core.data.readers.cell_counts import count_cells, present
from dropout_core.data.readers.csv_structure import (
    Structure,
    check_structure,
    starts_a_field,
    without_blank_lines,
)
from dropout_core.data.readers.dialect import Dialect
from dropout_core.data.readers.table import COLUMNS_AT_ONCE, scan, write_parts
from dropout_core.data.readers.type_inference import (
    InferredType,
    finite,
    has_warnings,
    infer,
    strict_values,
    strictly,
    typed_values,
    warnings_of,
)
from dropout_core.data.wide_tables import column_ranges
from dropout_core.errors import DataError

_MAX_RETRIES = 3
_SIGNS = ("-",)  # words for a missing value that are values in some columns
_MAX_TOLD = 100  # columns whose warnings show cells, because each takes a pass over the file
_TEXT = InferredType("text")
_LATER = InferredType("text", is_certain=False)
_BAD_COLUMN = re.compile(r"\(column number (\d+)\)")
_PARSED: dict[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}


@dataclass(frozen=True)
class TextParser:
    """A text file in UTF-8, parsed until every type fits; `as_text` keeps all as text."""

    source: Path
    dialect: Dialect
    names: Sequence[str]
    options: ReadOptions
    _: KW_ONLY
    as_text: bool
    folder: Path

    def write(self, target: Path) -> tuple[list[InferredType], list[str]]:
        """Write its table; return the types of its columns, and warnings."""
        if self.dialect.begins_blank:  # which the parser takes for a row of one cell
            self._structure(())
            return self._without_blank_lines().write(target)
        types, has_words = self._sampled_types()
        # The parser reads a padded number, even if it is one of the words for a missing value.
        watched_types = {"integer", "number"} if self._words_spell_values else {"integer"}
        watched = [i for i, t in enumerate(types) if t.is_parsed and t.type in watched_types]
        staged = self.folder / "staged"
        with ThreadPoolExecutor(1) as pool:
            checking = pool.submit(self._structure, watched)
            try:
                types = self._parse_as_far_as_sure(staged, types, has_words=has_words)
            except PolarsError:
                checking.result()  # raises a clearer error, if it finds one
                raise
            structure = checking.result()
        if structure.has_blank_lines:
            return self._without_blank_lines().write(target)
        if structure.padded:
            types = [
                _LATER if i in structure.padded else inferred for i, inferred in enumerate(types)
            ]
            self._parse(staged, types, has_words=True)
        if self.as_text or all(inferred.is_certain for inferred in types):
            staged.replace(target)
            return types, []
        return self._settle(staged, target, types)

    def has_stray_quotes_alone(self) -> bool:
        """Return whether no quote stands where a quoted field would begin."""
        dialect = self.dialect
        with self.source.open("rb") as file:
            return bool(dialect.quote) and not starts_a_field(
                file, delimiter=dialect.delimiter, quote=dialect.quote
            )

    def _settle(
        self, staged: Path, target: Path, types: list[InferredType]
    ) -> tuple[list[InferredType], list[str]]:
        """Infer the types that are not certain from all cells, and write the table."""
        cells, missing = scan(staged), self.options.missing_words
        later = [index for index, inferred in enumerate(types) if not inferred.is_certain]
        types = self._inferred(cells, types, later, self.options)
        known = {
            name: found.pop()
            for name in ("decimal", "day_first")
            if len(found := {getattr(inferred, name) for inferred in types} - {None}) == 1
        }
        # What one column tells decides for the others, where both readings fit.
        ambiguous = [index for index in later if types[index].is_ambiguous]
        types = self._inferred(cells, types, ambiguous, self.options.model_copy(update=known))
        told = [index for index in later if has_warnings(types[index])]
        warnings = [
            f"column {self.names[index]!r}: {warning}"
            for index in told[:_MAX_TOLD]
            for warning in warnings_of(cells, index, self.names[index], types[index], missing)
        ]
        if len(told) > _MAX_TOLD:
            warnings.append(f"{len(told) - _MAX_TOLD} more columns may be read otherwise")
        settled = (self._settled(cells, part, types, frozenset(later)) for part in self._parts)
        write_parts(settled, target)
        return types, warnings

    def _inferred(
        self,
        cells: pl.LazyFrame,
        types: list[InferredType],
        columns: Sequence[int],
        options: ReadOptions,
    ) -> list[InferredType]:
        """Return the types, those of these columns inferred from the cells."""
        declared = self._declared
        types = list(types)
        for index, counts in zip(
            columns, count_cells(cells, columns, options, declared), strict=True
        ):
            try:
                types[index] = infer(counts, declared.get(index))
            except DataError as error:
                raise DataError(
                    error.message, column=self.names[index], field=error.field
                ) from error
        return types

    @cached_property
    def _declared(self) -> dict[int, FeatureType]:
        """Return the types that the options give, by column. Raises DataError."""
        indices = {name: index for index, name in enumerate(self.names)}
        for name in self.options.types:
            if name not in indices:
                raise DataError("there is no such column", column=name, field="types")
        return {indices[name]: type_ for name, type_ in self.options.types.items()}

    def _settled(
        self,
        cells: pl.LazyFrame,
        part: range,
        types: Sequence[InferredType],
        later: Collection[int],
    ) -> pl.LazyFrame:
        words = self.options.missing_words
        return cells.select(
            self._known(typed_values(pl.nth(index), types[index], words), types[index]).alias(
                self.names[index]
            )
            if index in later
            else pl.nth(index)
            for index in part
        )

    @property
    def _parts(self) -> Iterator[range]:
        return column_ranges(len(self.names), COLUMNS_AT_ONCE)

    def _sampled_types(self) -> tuple[list[InferredType], bool]:
        """Return the types that the first rows suggest, and whether to look for missing words.

        The parser fails at a word that is not a number, so words in later rows are found too.
        """
        texts = [_TEXT for _ in self.names]
        if self.as_text:
            return texts, False
        later = [_LATER for _ in self.names]
        declared = self._declared
        if self.dialect.is_sampled_whole:  # so that all cells decide at once
            return later, False
        cells = self._scan(texts, num_rows=self.dialect.num_sampled_rows).collect().lazy()
        types = self._inferred(
            cells,
            later,
            [index for index in range(len(later)) if index not in declared],
            self.options,
        )
        parsed = [index for index, inferred in enumerate(types) if inferred.is_parsed]
        has_signs = dict.fromkeys(parsed, False)
        if parsed:
            is_sign = pl.nth(parsed).is_in(list(_SIGNS)).any()
            has_signs = dict(zip(parsed, cells.select(is_sign).collect().row(0), strict=True))
        is_word = pl.nth(parsed).is_in(self._parsed_words).any()
        has_words = bool(parsed) and (
            self._words_spell_values or any(cells.select(is_word).collect().row(0))
        )
        sure = [
            inferred
            if inferred.is_certain and inferred.type != "missing" and not has_signs.get(index)
            else _LATER
            for index, inferred in enumerate(types)
        ]
        return sure, has_words

    def _parse_as_far_as_sure(
        self, target: Path, types: list[InferredType], *, has_words: bool
    ) -> list[InferredType]:
        """Parse all rows as these types, or as text where that fails; return the types used."""
        for _ in range(_MAX_RETRIES):
            try:
                self._parse(target, types, has_words=has_words)
            except PolarsError as error:
                types = _without_the_bad(types, error)
            else:
                return types
        types = [inferred if inferred.type == "text" else _LATER for inferred in types]
        self._parse(target, types)
        return types

    def _parse(
        self, target: Path, types: Sequence[InferredType], *, has_words: bool = False
    ) -> None:
        """Parse all rows as these types. Raises PolarsError if a cell does not fit."""
        cells = self._scan(types, has_words=has_words)
        write_parts((self._parsed(cells, part, types) for part in self._parts), target)

    def _parsed(
        self, cells: pl.LazyFrame, part: range, types: Sequence[InferredType]
    ) -> pl.LazyFrame:
        cells = cells.select(pl.nth(part))  # numbers stay their names
        if not self.as_text:
            cells = cells.with_columns(
                present(pl.col(f"{index}"), types[index].missing(self.options.missing_words))
                for index in part
                if not types[index].is_parsed and types[index] != _LATER
            )
        # In columns of their own, because polars computes an expression used twice twice.
        cells = cells.with_columns(
            strict_values(pl.col(f"{index}"), types[index]).alias(f"{index} parsed")
            for index in part
            if types[index].is_converted
        )
        columns = []
        for index in part:
            column = pl.col(f"{index}")
            if types[index].is_converted:
                column = strictly(pl.col(f"{index} parsed"), column)
            elif types[index].type == "number":
                column = finite(column)
            columns.append(self._known(column, types[index]).alias(self.names[index]))
        return cells.select(columns)

    def _known(self, values: pl.Expr, inferred: InferredType) -> pl.Expr:
        """Return the values, null for a number that is a word for a missing value."""
        numbers = () if self.as_text else spelt_numbers(frozenset(self.options.missing_words))
        if not numbers or inferred.type not in ("integer", "number"):
            return values
        return pl.when(~values.cast(pl.Float64).is_in(list(numbers))).then(values)

    @property
    def _words_spell_values(self) -> bool:
        return not self.as_text and spell_values(frozenset(self.options.missing_words))

    @property
    def _parsed_words(self) -> list[str]:
        """Return the words that the parser may take for missing in every column."""
        return [word for word in self.options.missing_words if word not in _SIGNS]

    def _scan(
        self, types: Sequence[InferredType], *, num_rows: int | None = None, has_words: bool = False
    ) -> pl.LazyFrame:
        dialect = self.dialect
        return pl.scan_csv(
            self.source,
            has_header=False,
            skip_lines=dialect.num_header_lines,
            n_rows=num_rows,
            separator=dialect.delimiter,
            quote_char=dialect.quote or None,
            # Numbers instead of the header's names, which polars may take for patterns.
            schema={
                str(index): _PARSED[inferred.type] if inferred.is_parsed else pl.String()
                for index, inferred in enumerate(types)
            },
            # Comparing every cell with every word takes a third of the parser's time.
            null_values=self._parsed_words if has_words else None,
            empty_string_is_null=not self.as_text,
            glob=False,
        )

    def _structure(self, watched: Sequence[int]) -> Structure:
        dialect = self.dialect
        with self.source.open("rb") as file:
            structure = check_structure(
                file,
                delimiter=dialect.delimiter,
                quote=dialect.quote,
                num_columns=dialect.num_columns,
                header=dialect.header,
                watched=watched,
            )
        if structure.num_rows == int(dialect.header):
            raise DataError(f"the file has {'a header and ' if dialect.header else ''}no rows")
        return structure

    def _without_blank_lines(self) -> "TextParser":
        dialect, target = self.dialect, self.folder / f"lines-{self.source.name}"
        with self.source.open("rb") as source, target.open("wb") as lines:
            without_blank_lines(source, lines, delimiter=dialect.delimiter, quote=dialect.quote)
        return replace(self, source=target, dialect=replace(dialect, begins_blank=False))


def _without_the_bad(types: Sequence[InferredType], error: PolarsError) -> list[InferredType]:
    """Parse the column that the error names as text, or all dates and numbers if it names none."""
    bad = _BAD_COLUMN.search(str(error))
    return [
        _LATER
        if (inferred.type in ("datetime", "number") if bad is None else index + 1 == int(bad[1]))
        else inferred
        for index, inferred in enumerate(types)
    ]
