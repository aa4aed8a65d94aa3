"""CSV and TSV, as people export them, to the types that are stored."""

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from dropout_core.data.cells import spell_a_value
from dropout_core.data.readers.cells import (
    Kind,
    analyse,
    moment,
    settle,
    strictly,
    text,
    unfit_cells,
    value,
)
from dropout_core.data.readers.dialect import Dialect, detect_dialect, settle_encoding, transcode
from dropout_core.data.readers.options import ReadOptions
from dropout_core.data.readers.shape import (
    Shape,
    StrayQuote,
    check_shape,
    starts_a_field,
    without_blank_lines,
)
from dropout_core.data.readers.table import Contents, scan, unique_names, write
from dropout_core.errors import DataError

_MAX_RETRIES = 3
_TEXT = Kind("text")
_LATER = Kind("text", is_certain=False)
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
    """Write the table of a delimited text file; `folder` is for what lies between.

    The first rows tell what the columns are, and the parser is asked for that, while the whole file
    is checked by `shape`. A column of which a later row is something else is kept as text first,
    and settled by all of its cells. `as_text` keeps every cell as it is written.
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
    }
    return Contents(options=settled, warnings=tuple(warnings))


def _names(dialect: Dialect) -> tuple[list[str], list[str]]:
    if dialect.names is not None:
        return unique_names(dialect.names)
    return [f"column_{index + 1}" for index in range(dialect.num_columns)], []


@dataclass(frozen=True)
class _Text:
    """A text file in UTF-8, parsed as often as it takes. `missing` of None keeps cells as text."""

    source: Path
    dialect: Dialect
    names: Sequence[str]
    missing: tuple[str, ...] | None
    folder: Path

    def write(self, target: Path) -> list[str]:
        """Write its table; return what is odd about it."""
        if self.dialect.is_sampled_whole:
            return self._write_small(target)
        if self.dialect.begins_blank:  # which the parser takes for a row of one cell
            self._shape(())
            return self._without_blank_lines().write(target)
        kinds, has_words = self._sampled_kinds()
        # The parser reads a padded number, and so does not see that it is a word.
        watched_types = ("integer", "number") if self._words_spell_values else ("integer",)
        watched = [index for index, kind in enumerate(kinds) if kind.type in watched_types]
        staged = self.folder / "staged"
        with ThreadPoolExecutor(1) as pool:
            checking = pool.submit(self._shape, watched)
            try:
                kinds = self._parse_as_far_as_sure(staged, kinds, has_words=has_words)
            except PolarsError:
                checking.result()  # whose reason is the better one
                raise
            shape = checking.result()
        if shape.has_blank_lines:
            return self._without_blank_lines().write(target)
        if shape.padded:
            kinds = [_LATER if i in shape.padded else kind for i, kind in enumerate(kinds)]
            self._parse(staged, kinds, has_words=True)
        if self.missing is None or all(kind.is_certain for kind in kinds):
            staged.replace(target)
            return []
        later = [index for index, kind in enumerate(kinds) if not kind.is_certain]
        return self._settle(staged, target, later)

    def has_stray_quotes_alone(self) -> bool:
        """Whether no quote stands where a quoted field would begin."""
        dialect = self.dialect
        with self.source.open("rb") as file:
            return bool(dialect.quote) and not starts_a_field(
                file, delimiter=dialect.delimiter, quote=dialect.quote
            )

    def _write_small(self, target: Path) -> list[str]:
        shape = self._shape(())
        if shape.num_rows == int(self.dialect.header):
            raise DataError(f"the file has {'a header and ' if self.dialect.header else ''}no rows")
        if shape.has_blank_lines:
            return self._without_blank_lines().write(target)
        cells = self._scan([_TEXT] * len(self.names)).collect().lazy()
        kinds = [_TEXT] * len(self.names)
        if self.missing is not None:
            kinds = [settle(found) for found in analyse(cells, range(len(kinds)), self.missing)]
        write(cells.select(self._values(dict(enumerate(kinds)))), target)
        return self._warnings(cells, enumerate(kinds))

    def _settle(self, staged: Path, target: Path, later: Sequence[int]) -> list[str]:
        """Decide what columns are that were parsed as text, and write the table with them."""
        cells = scan(staged)
        found = analyse(cells, later, self.missing or ())
        kinds = {index: settle(findings) for index, findings in zip(later, found, strict=True)}
        if all(kind.type == "text" for kind in kinds.values()):
            staged.replace(target)
            return self._warnings(scan(target), kinds.items())
        write(cells.select(self._values(kinds)), target)
        return self._warnings(cells, kinds.items())

    def _values(self, kinds: dict[int, Kind]) -> list[pl.Expr]:
        return [
            (
                value(index, kinds[index], self.missing)
                if self.missing is not None and index in kinds
                else pl.nth(index)
            ).alias(name)
            for index, name in self._named
        ]

    def _sampled_kinds(self) -> tuple[list[Kind], bool]:
        """What the columns look like, and whether words for missing values may be among numbers.

        A word that is no number is found wherever it is, because the parser cannot read it.
        """
        texts = [_TEXT for _ in self.names]
        if self.missing is None:
            return texts, False
        cells = self._scan(texts, num_rows=self.dialect.num_sampled_rows).collect().lazy()
        kinds = [settle(found) for found in analyse(cells, range(len(texts)), self.missing)]
        parsed = [index for index, kind in enumerate(kinds) if kind.type in _PARSED]
        is_word = pl.nth(parsed).is_in(list(self.missing)).any()
        has_words = bool(parsed) and (
            self._words_spell_values or any(cells.select(is_word).collect().row(0))
        )
        return [kind if kind.is_certain and kind.type != "missing" else _LATER for kind in kinds], (
            has_words
        )

    def _parse_as_far_as_sure(
        self, target: Path, kinds: list[Kind], *, has_words: bool
    ) -> list[Kind]:
        """Parse all rows as these kinds, or text where that fails; what they became."""
        for _ in range(_MAX_RETRIES):
            try:
                self._parse(target, kinds, has_words=has_words)
            except PolarsError as error:
                kinds = _without_the_bad(kinds, error)
            else:
                return kinds
        kinds = [kind if kind.type == "text" else _LATER for kind in kinds]
        self._parse(target, kinds)
        return kinds

    def _parse(self, target: Path, kinds: Sequence[Kind], *, has_words: bool = False) -> None:
        """Parse all rows as these kinds. Raises PolarsError if a cell is of another."""
        cells = self._scan(kinds, has_words=has_words)
        if self.missing is None:
            write(cells.select(pl.nth(index).alias(name) for index, name in self._named), target)
            return
        missing = self.missing
        cells = cells.with_columns(
            text(pl.nth(index), missing)
            for index, kind in enumerate(kinds)
            if kind.type not in _PARSED
        )
        # In a column of their own, because an expression used twice is computed twice.
        cells = cells.with_columns(
            moment(pl.nth(index), kind).alias(f"{index} parsed")
            for index, kind in enumerate(kinds)
            if kind.type == "datetime"
        )
        columns = []
        for index, name in self._named:
            column, kind = pl.nth(index), kinds[index]
            if kind.type == "datetime":
                column = strictly(pl.col(f"{index} parsed"), column)
            elif kind.type == "number":
                column = column.fill_nan(None)
            columns.append(column.alias(name))
        write(cells.select(columns), target)

    @property
    def _words_spell_values(self) -> bool:
        return self.missing is not None and spell_a_value(frozenset(self.missing))

    @property
    def _named(self) -> Iterable[tuple[int, str]]:
        return enumerate(self.names)

    def _scan(
        self, kinds: Sequence[Kind], *, num_rows: int | None = None, has_words: bool = False
    ) -> pl.LazyFrame:
        dialect = self.dialect
        return pl.scan_csv(
            self.source,
            has_header=False,
            skip_lines=dialect.num_header_lines,
            n_rows=num_rows,
            separator=dialect.delimiter,
            quote_char=dialect.quote or None,
            # Names that no pattern of polars could match stand in for those of the header.
            schema={
                str(index): _PARSED.get(kind.type, pl.String()) for index, kind in enumerate(kinds)
            },
            # Comparing every cell with every word takes a third of the parser's time.
            null_values=list(self.missing or ()) if has_words else None,
            empty_string_is_null=self.missing is not None,
            glob=False,
        )

    def _shape(self, watched: Sequence[int]) -> Shape:
        dialect = self.dialect
        with self.source.open("rb") as file:
            return check_shape(
                file,
                delimiter=dialect.delimiter,
                quote=dialect.quote,
                num_columns=dialect.num_columns,
                header=dialect.header,
                watched=watched,
            )

    def _without_blank_lines(self) -> "_Text":
        dialect, target = self.dialect, self.folder / f"lines-{self.source.name}"
        with self.source.open("rb") as source, target.open("wb") as lines:
            without_blank_lines(source, lines, delimiter=dialect.delimiter, quote=dialect.quote)
        return replace(self, source=target, dialect=replace(dialect, begins_blank=False))

    def _warnings(self, cells: pl.LazyFrame, kinds: Iterable[tuple[int, Kind]]) -> list[str]:
        warnings = []
        for index, kind in kinds:
            warning = kind.warning
            if kind.unfit is not None:
                warning = unfit_cells(cells, index, kind, self.missing or ())
            if warning is not None:
                warnings.append(f"column {self.names[index]!r}: {warning}")
        return warnings


def _without_the_bad(kinds: Sequence[Kind], error: PolarsError) -> list[Kind]:
    """Leave the column for later that the parser's error names, or else all dates."""
    bad = _BAD_COLUMN.search(str(error))
    if bad is None:
        return [_LATER if kind.type == "datetime" else kind for kind in kinds]
    return [_LATER if index + 1 == int(bad[1]) else kind for index, kind in enumerate(kinds)]
