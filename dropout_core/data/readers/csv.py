"""Read CSV and TSV files."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers.csv_structure import StrayQuote
from dropout_core.data.readers.dialect import (
    Dialect,
    detect_dialect,
    drop_lines,
    settle_encoding,
    transcode,
)
from dropout_core.data.readers.table import Contents, unique_names, unnamed_index
from dropout_core.data.readers.text_parser import TextParser
from dropout_core.data.readers.type_inference import told_formats
from dropout_core.errors import DataError


def read_csv(
    source: Path,
    target: Path,
    *,
    folder: Path,
    options: ReadOptions,
    max_columns: int,
    as_text: bool,
    names: Collection[str],
) -> Contents:
    """Write the stored table of a delimited text file; put temporary files into `folder`.

    The first rows suggest the types of the columns. The parser reads the file as these types, while
    `csv_structure` checks the whole file. Where a later row is of another type, the column is
    parsed as text, and all of its cells decide. `as_text` keeps every cell as it is written. A
    first row with all of the `names`, if there are any, is a header.
    """
    encoding = settle_encoding(source, options.encoding)
    if encoding != "utf-8":
        transcode(source, folder / "utf-8", encoding=encoding)
        source = folder / "utf-8"
    if options.skip_rows or options.comment is not None:
        drop_lines(source, folder / "lines", options)
        source = folder / "lines"
    dialect = detect_dialect(source, options, names)
    if dialect.num_columns > max_columns:
        raise DataError(f"{dialect.num_columns} columns, {max_columns} are allowed")
    columns, warnings = _names(dialect)
    if dialect.warning is not None:
        warnings.append(dialect.warning)
    text = TextParser(source, dialect, columns, options, as_text=as_text, folder=folder)
    try:
        types, found = text.write(target)
    except StrayQuote:
        if options.quote is not None or not text.has_stray_quotes_alone():
            raise
        dialect = replace(dialect, quote="")
        types, found = replace(text, dialect=dialect).write(target)
    warnings += found
    settled = {
        "delimiter": dialect.delimiter,
        "quote": dialect.quote,
        "encoding": encoding,
        "header": dialect.header,
        "missing": list(options.missing_words),
        "lenient": [
            n for n, t in zip(columns, types, strict=True) if t.num_unfit and t.type != "text"
        ],
    }
    formats = dict(zip(columns, told_formats(types, options), strict=True))
    return Contents(
        options=settled,
        warnings=tuple(warnings),
        formats={name: format_ for name, format_ in formats.items() if format_ is not None},
        index=unnamed_index(dialect.names or (), columns),
    )


def _names(dialect: Dialect) -> tuple[list[str], list[str]]:
    if dialect.names is not None:
        return unique_names(dialect.names)
    return [f"column_{index + 1}" for index in range(dialect.num_columns)], []
