"""Read CSV and TSV files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from dropout_core.data.dates import date_values
from dropout_core.data.read_options import ReadOptions, spell_values
from dropout_core.data.readers.csv_structure import (
    StrayQuote,
    Structure,
    check_structure,
    starts_a_field,
    without_blank_lines,
)
from dropout_core.data.readers.dialect import Dialect, detect_dialect, settle_encoding, transcode
from dropout_core.data.readers.table import (
    Contents,
    scan,
    unique_names,
    unnamed_index,
    write_parts,
)
from dropout_core.data.readers.type_inference import (
    InferredType,
    count_cells,
    infer,
    strictly,
    text_values,
    typed_values,
    unfit_cells,
)
from dropout_core.data.wide_tables import column_ranges
from dropout_core.errors import DataError

_MAX_RETRIES = 3
_COLUMNS_AT_ONCE = 2_000  # each takes some 20 KB of memory while it is parsed
_TEXT = InferredType("text")
_LATER = InferredType("text", is_certain=False)
_BAD_COLUMN = re.compile(r"\(column number (\d+)\)")
_PARSED: dict[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}


def read_csv(
    source: Path,
    target: Path,
    *,
    folder: Path,
    options: ReadOptions,
    max_columns: int,
    as_text: bool,
) -> Contents:
    """Write the stored table of a delimited text file; put temporary files into `folder`.

    The first rows suggest the types of the columns. The parser reads the file as these types, while
    `csv_structure` checks the whole file. Where a later row is of another type, the column is
    parsed as text, and all of its cells decide. `as_text` keeps every cell as it is written.
    """
    encoding = settle_encoding(source, options.encoding)
    if encoding != "utf-8":
        transcode(source, folder / "utf-8", encoding=encoding)
        source = folder / "utf-8"
    dialect = detect_dialect(source, options)
    if dialect.num_columns > max_columns:
        raise DataError(f"{dialect.num_columns} columns, {max_columns} are allowed")
    names, warnings = _names(dialect)
    missing = None if as_text else options.missing_words
    text = _Text(source, dialect, names, missing, folder)
    try:
        warnings += text.write(target)
    except StrayQuote:
        if options.quote is not None or not text.has_stray_quotes_alone():
            raise
        dialect = replace(dialect, quote="")
        warnings += _Text(source, dialect, names, missing, folder).write(target)
    settled = {
        "delimiter": dialect.delimiter,
        "quote": dialect.quote,
        "encoding": encoding,
        "header": dialect.header,
        "missing": list(options.missing_words),
    }
    index = unnamed_index(dialect.names or (), names)
    return Contents(options=settled, warnings=tuple(warnings), index=index)


def _names(dialect: Dialect) -> tuple[list[str], list[str]]:
    if dialect.names is not None:
        return unique_names(dialect.names)
    return [f"column_{index + 1}" for index in range(dialect.num_columns)], []


@dataclass(frozen=True)
class _Text:
    """A text file in UTF-8, parsed until every type fits. None for `missing` keeps all as text."""

    source: Path
    dialect: Dialect
    names: Sequence[str]
    missing: tuple[str, ...] | None
    folder: Path

    def write(self, target: Path) -> list[str]:
        """Write its table; return warnings."""
        if self.dialect.begins_blank:  # which the parser takes for a row of one cell
            self._structure(())
            return self._without_blank_lines().write(target)
        types, has_words = self._sampled_types()
        # The parser reads a padded number, even if it is one of the words for a missing value.
        watched_types = ("integer", "number") if self._words_spell_values else ("integer",)
        watched = [index for index, inferred in enumerate(types) if inferred.type in watched_types]
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
        if self.missing is None or all(inferred.is_certain for inferred in types):
            staged.replace(target)
            return []
        later = [index for index, inferred in enumerate(types) if not inferred.is_certain]
        return self._settle(staged, target, later)

    def has_stray_quotes_alone(self) -> bool:
        """Return whether no quote stands where a quoted field would begin."""
        dialect = self.dialect
        with self.source.open("rb") as file:
            return bool(dialect.quote) and not starts_a_field(
                file, delimiter=dialect.delimiter, quote=dialect.quote
            )

    def _settle(self, staged: Path, target: Path, later: Sequence[int]) -> list[str]:
        """Infer the types of the columns `later` from all of their cells, and write the table."""
        cells, missing = scan(staged), self.missing or ()
        found = count_cells(cells, later, missing)
        types = {index: infer(counts) for index, counts in zip(later, found, strict=True)}
        warnings = self._warnings(cells, types)
        if all(inferred.type == "text" for inferred in types.values()):
            staged.replace(target)
            return warnings
        write_parts((self._settled(cells, part, types) for part in self._parts), target)
        return warnings

    def _settled(
        self, cells: pl.LazyFrame, part: range, types: Mapping[int, InferredType]
    ) -> pl.LazyFrame:
        return cells.select(
            typed_values(index, types[index], self.missing or ()).alias(self.names[index])
            if index in types
            else pl.nth(index)
            for index in part
        )

    @property
    def _parts(self) -> Iterator[range]:
        return column_ranges(len(self.names), _COLUMNS_AT_ONCE)

    def _sampled_types(self) -> tuple[list[InferredType], bool]:
        """Return the types that the first rows suggest, and whether to look for missing words.

        The parser fails at a word that is not a number, so words in later rows are found too.
        """
        texts = [_TEXT for _ in self.names]
        if self.missing is None:
            return texts, False
        if self.dialect.is_sampled_whole:  # so that all cells decide at once
            return [_LATER for _ in self.names], False
        cells = self._scan(texts, num_rows=self.dialect.num_sampled_rows).collect().lazy()
        types = list(map(infer, count_cells(cells, range(len(texts)), self.missing)))
        parsed = [index for index, inferred in enumerate(types) if inferred.type in _PARSED]
        is_word = pl.nth(parsed).is_in(list(self.missing)).any()
        has_words = bool(parsed) and (
            self._words_spell_values or any(cells.select(is_word).collect().row(0))
        )
        sure = [
            inferred if inferred.is_certain and inferred.type != "missing" else _LATER
            for inferred in types
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
        if self.missing is not None:
            cells = cells.with_columns(
                text_values(pl.col(str(index)), self.missing)
                for index in part
                if types[index].type not in _PARSED
            )
        # In columns of their own, because polars computes an expression used twice twice.
        cells = cells.with_columns(
            date_values(pl.col(str(index)), types[index].forms).alias(f"{index} parsed")
            for index in part
            if types[index].type == "datetime"
        )
        columns = []
        for index in part:
            column = pl.col(str(index))
            if types[index].type == "datetime":
                column = strictly(pl.col(f"{index} parsed"), column)
            elif types[index].type == "number":
                column = column.fill_nan(None)
            columns.append(column.alias(self.names[index]))
        return cells.select(columns)

    @property
    def _words_spell_values(self) -> bool:
        return self.missing is not None and spell_values(frozenset(self.missing))

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
                str(index): _PARSED.get(inferred.type, pl.String())
                for index, inferred in enumerate(types)
            },
            # Comparing every cell with every word takes a third of the parser's time.
            null_values=list(self.missing or ()) if has_words else None,
            empty_string_is_null=self.missing is not None,
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

    def _without_blank_lines(self) -> "_Text":
        dialect, target = self.dialect, self.folder / f"lines-{self.source.name}"
        with self.source.open("rb") as source, target.open("wb") as lines:
            without_blank_lines(source, lines, delimiter=dialect.delimiter, quote=dialect.quote)
        return replace(self, source=target, dialect=replace(dialect, begins_blank=False))

    def _warnings(self, cells: pl.LazyFrame, types: Mapping[int, InferredType]) -> list[str]:
        warnings = []
        for index, inferred in types.items():
            warning = inferred.warning
            if inferred.unfit is not None:
                warning = unfit_cells(cells, index, inferred, self.missing or ())
            if warning is not None:
                warnings.append(f"column {self.names[index]!r}: {warning}")
        return warnings


def _without_the_bad(types: Sequence[InferredType], error: PolarsError) -> list[InferredType]:
    """Parse the column that the error names as text, or all dates if it names none."""
    bad = _BAD_COLUMN.search(str(error))
    if bad is None:
        return [_LATER if inferred.type == "datetime" else inferred for inferred in types]
    return [
        _LATER if index + 1 == int(bad[1]) else inferred for index, inferred in enumerate(types)
    ]
