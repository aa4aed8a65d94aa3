"""Read files into the stored table. Raises DataError and leaves no temporary file."""

import re
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl
from polars.exceptions import PanicException, PolarsError

from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers import arrow, excel, idx, json_records, npz, parquet
from dropout_core.data.readers.csv import read_csv
from dropout_core.data.readers.foreign import refuse_foreign
from dropout_core.data.readers.table import Contents, finish
from dropout_core.data.readers.unpacking import is_zip, unpacked, zip_format
from dropout_core.errors import DataError

Format = Literal["csv", "json", "xlsx", "parquet", "arrow", "npz", "npy", "idx"]

_TITLES: dict[Format, str] = {
    "csv": "CSV",
    "json": "JSON",
    "xlsx": "Excel file",
    "parquet": "Parquet file",
    "arrow": "Arrow file",
    "npz": "NPZ",
    "npy": "array of NumPy",
    "idx": "IDX",
}
_SIGNATURES: dict[bytes, Format] = {
    parquet.SIGNATURE: "parquet",
    arrow.FILE_SIGNATURE: "arrow",
    arrow.STREAM_SIGNATURE: "arrow",
    npz.NPY_SIGNATURE: "npy",
}
_SEPARATOR_LINE = re.compile(
    rb"(?:\xef\xbb\xbf)?\"?sep=([!-/:-@\[-`{-~ \t])\"?\r?\n", re.IGNORECASE
)
_SEPARATOR_BYTES = 16

# How formats are written as CSV, instead of what the options of a text file say of it.
_WRITTEN: dict[str, Any] = {
    "delimiter": ",",
    "quote": '"',
    "encoding": "utf-8",
    "header": True,
    "skip_rows": 0,
    "comment": None,
    "decimal": None,
    "thousands": None,
}
DEFAULT_MAX_BYTES = 1 << 32
DEFAULT_MAX_COLUMNS = 100_000


def detect_format(path: Path) -> Format:
    """Return the format by the file's first bytes, whatever its name. TSV is `csv` with tabs.

    Raises DataError for a format that is known and not read.
    """
    if is_zip(path):
        return cast(Format, zip_format(path))
    with path.open("rb") as file:
        start = file.read(8)
    for signature, format_ in _SIGNATURES.items():
        if start.startswith(signature):
            return format_
    if idx.is_idx(start[:4]):
        return "idx"
    refuse_foreign(path)
    return "json" if json_records.is_json_records(path) else "csv"


def read(
    path: Path,
    *,
    options: ReadOptions | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_columns: int = DEFAULT_MAX_COLUMNS,
) -> pl.DataFrame:
    """Read a trusted file in this process, without limits on time and memory.

    Returns the stored table. `max_bytes` bounds what a compressed file may unpack to. Raises
    DataError.
    """
    # A parser that fails may leave threads that still write.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        table = Path(folder) / "table"
        convert([path], table, options=options, max_bytes=max_bytes, max_columns=max_columns)
        return pl.read_parquet(table, glob=False, memory_map=False)


def convert(
    sources: Sequence[Path],
    target: Path,
    *,
    options: ReadOptions | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_columns: int = DEFAULT_MAX_COLUMNS,
    as_text: bool = False,
    names: Collection[str] = (),
) -> tuple[Format, Contents]:
    """Read one file, or IDX images and labels, and write the stored table to `target`.

    Temporary files are put beside `target`, and removed. With `as_text` the cells of a text file
    stay as they are written, Parquet keeps its dtypes, and no column is left out. A
    first row of text with all of the `names`, if there are any, is a header. Raises DataError.
    """
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=".reading-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        files = [
            unpacked(source, folder / f"unpacked-{index}", max_bytes=max_bytes)
            for index, source in enumerate(sources)
        ]
        formats = [detect_format(file) for file in files]
        if len(files) != 1 and formats != ["idx", "idx"]:
            raise DataError("an upload is one file, or IDX images and their labels")
        is_text = formats[0] in ("csv", "json", "xlsx")
        if not is_text and options is not None and options.types:
            raise DataError(
                "types are for text files; those of other files can be given in a job",
                field="types",
            )
        table = folder / "table"
        limits = {"max_bytes": max_bytes, "max_columns": max_columns}
        try:
            match formats[0]:
                case "csv" | "json" | "xlsx":
                    contents = _read_text(
                        formats[0],
                        files[0],
                        table,
                        folder=folder,
                        options=options or ReadOptions(),
                        max_bytes=max_bytes,
                        max_columns=max_columns,
                        as_text=as_text,
                        names=names,
                    )
                case "idx":
                    contents = idx.read_idx(files, table, max_columns=max_columns)
                case "npz":
                    contents = npz.read_npz(files[0], table, **limits)
                case "npy":
                    contents = npz.read_npy(files[0], table, **limits)
                case "parquet":
                    contents = parquet.read_parquet(files[0], table, keep_dtypes=as_text, **limits)
                case "arrow":
                    contents = arrow.read_arrow(files[0], table, keep_dtypes=as_text, **limits)
            contents = finish(table, contents, keep_empty_columns=as_text)
        except (PolarsError, PanicException) as error:
            # The message of a panic helps only the authors of the parser.
            is_error = isinstance(error, PolarsError) and str(error)
            reason = str(error).splitlines()[0] if is_error else "it is damaged"
            raise DataError(f"not a readable {_TITLES[formats[0]]}: {reason}") from error
        table.replace(target)
        return formats[0], contents


def _read_text(
    format_: Format,
    source: Path,
    target: Path,
    *,
    folder: Path,
    options: ReadOptions,
    max_bytes: int,
    max_columns: int,
    as_text: bool,
    names: Collection[str],
) -> Contents:
    """Read CSV, or what is first written as CSV so that its cells mean the same."""
    warnings: list[str] = []
    if format_ == "csv":
        source, options = _without_separator_line(source, folder, options)
    else:
        given, source = source, folder / "as-csv"
        if format_ == "json":
            json_records.write_csv(given, source, max_bytes=max_bytes, max_columns=max_columns)
        else:
            warnings = excel.write_csv(given, source, max_bytes=max_bytes, max_columns=max_columns)
        options = options.model_copy(update=_WRITTEN)
    contents = read_csv(
        source,
        target,
        folder=folder,
        options=options,
        max_columns=max_columns,
        as_text=as_text,
        names=names,
    )
    if format_ == "csv":
        return contents
    # The options that the file was written with as CSV are none of its own.
    settled = {name: value for name, value in contents.options.items() if name not in _WRITTEN}
    return replace(contents, options=settled, warnings=(*warnings, *contents.warnings))


def _without_separator_line(
    source: Path, folder: Path, options: ReadOptions
) -> tuple[Path, ReadOptions]:
    """Return the file and its options without the line `sep=;`, which Excel writes and obeys."""
    with source.open("rb") as file:
        line = _SEPARATOR_LINE.match(file.read(_SEPARATOR_BYTES))
        if line is None:
            return source, options
        file.seek(line.end())
        rest = folder / "without-separator-line"
        with rest.open("xb") as target:
            shutil.copyfileobj(file, target)
    if options.delimiter is None:
        options = options.model_copy(update={"delimiter": line[1].decode()})
    return rest, options
