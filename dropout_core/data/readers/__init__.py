"""Read files into the stored table. Raises DataError and leaves no temporary file."""

import gzip
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl
from polars.exceptions import PanicException, PolarsError

from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers import idx, npz, parquet
from dropout_core.data.readers.csv import read_csv
from dropout_core.data.readers.table import Contents, finish
from dropout_core.errors import DataError

Format = Literal["csv", "parquet", "npz", "idx"]

_TITLES: dict[Format, str] = {"csv": "CSV", "parquet": "Parquet file", "npz": "NPZ", "idx": "IDX"}
_GZIP_SIGNATURE = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20
DEFAULT_MAX_BYTES = 1 << 32
DEFAULT_MAX_COLUMNS = 100_000


def detect_format(path: Path) -> Format:
    """Return the format by the file's first bytes, whatever its name. TSV is `csv` with tabs."""
    with path.open("rb") as file:
        signature = file.read(4)
    if signature in npz.SIGNATURES:
        return "npz"
    if signature == parquet.SIGNATURE:
        return "parquet"
    return "idx" if idx.is_idx(signature) else "csv"


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
) -> tuple[Format, Contents]:
    """Read one file, or IDX images and labels, and write the stored table to `target`.

    Temporary files are put beside `target`, and removed. With `as_text` the cells of a text file
    stay as they are written, Parquet keeps its dtypes, and no column is left out. Raises DataError.
    """
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=".reading-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        files = [
            _unpacked(source, folder / f"unpacked-{index}", max_bytes=max_bytes)
            for index, source in enumerate(sources)
        ]
        formats = [detect_format(file) for file in files]
        if len(files) != 1 and formats != ["idx", "idx"]:
            raise DataError("an upload is one file, or IDX images and their labels")
        table = folder / "table"
        limits = {"max_bytes": max_bytes, "max_columns": max_columns}
        try:
            match formats[0]:
                case "csv":
                    contents = read_csv(
                        files[0],
                        table,
                        folder=folder,
                        options=options or ReadOptions(),
                        max_columns=max_columns,
                        as_text=as_text,
                    )
                case "idx":
                    contents = idx.read_idx(files, table, max_columns=max_columns)
                case "npz":
                    contents = npz.read_npz(files[0], table, **limits)
                case "parquet":
                    contents = parquet.read_parquet(files[0], table, keep_dtypes=as_text, **limits)
            contents = finish(table, contents, keep_empty_columns=as_text)
        except (PolarsError, PanicException) as error:
            # The message of a panic helps only the authors of the parser.
            is_error = isinstance(error, PolarsError) and str(error)
            reason = str(error).splitlines()[0] if is_error else "it is damaged"
            raise DataError(f"not a readable {_TITLES[formats[0]]}: {reason}") from error
        table.replace(target)
        return formats[0], contents


def _unpacked(source: Path, target: Path, *, max_bytes: int) -> Path:
    """Return the file itself or, if it is a gzip file, `target` with its content.

    Raises DataError if either is empty, or the content is damaged or more than `max_bytes`.
    """
    if source.stat().st_size == 0:
        raise DataError("the file is empty")
    if not _is_gzip(source):
        return source
    size_bytes = 0
    try:
        with gzip.open(source) as content, target.open("xb") as file:
            while chunk := content.read(_CHUNK_BYTES):
                size_bytes += len(chunk)
                if size_bytes > max_bytes:
                    raise DataError(f"the file unpacks to more than the {max_bytes} bytes allowed")
                file.write(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"not a readable gzip file: {error}") from error
    if _is_gzip(target):
        raise DataError("the file is a gzip file in a gzip file")
    if size_bytes == 0:
        raise DataError("the file is empty")
    return target


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_GZIP_SIGNATURE)) == _GZIP_SIGNATURE
