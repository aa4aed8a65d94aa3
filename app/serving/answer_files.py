"""Files to answer with, written a batch of rows at a time."""

from pathlib import Path
from typing import Protocol

import polars as pl

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"

# What a spreadsheet takes for a formula: https://owasp.org/www-community/attacks/CSV_Injection
# The last four are = + - @ of full width.
_FORMULA = r"^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]"
_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"


class AnswerFile(Protocol):
    def append(self, rows: pl.DataFrame) -> None:
        """Add rows; the columns are always the same."""

    def finish(self) -> Path:
        """The whole file."""


class CsvFile:
    """CSV in UTF-8 with a header, in which no cell is a formula to a spreadsheet."""

    def __init__(self, folder: Path, *, delimiter: str = ",") -> None:
        self._path = folder / "answer.csv"
        self._delimiter = delimiter

    def append(self, rows: pl.DataFrame) -> None:
        is_first = not self._path.exists()
        cells = without_formulas(rows)
        # A lone return ends a line to many readers, and polars would not quote it.
        found = cells.select(pl.col(pl.String).str.contains("\r", literal=True).any())
        has_return = any(column.item() for column in found)
        has_return = has_return or any("\r" in name for name in cells.columns)
        with self._path.open("ab") as file:
            cells.write_csv(
                file,
                include_header=is_first,
                separator=self._delimiter,
                quote_style="non_numeric" if has_return else "necessary",
            )

    def finish(self) -> Path:
        return self._path


class ParquetFile:
    """Parquet with the columns' own types."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[Path] = []

    def append(self, rows: pl.DataFrame) -> None:
        part = self._folder / f"answer-{len(self._parts)}.parquet"
        rows.write_parquet(part)
        self._parts.append(part)

    def finish(self) -> Path:
        path = self._folder / "answer.parquet"
        pl.scan_parquet(self._parts, glob=False).sink_parquet(path)
        return path


def without_formulas(rows: pl.DataFrame) -> pl.DataFrame:
    """Text and names that a spreadsheet would compute begin with an apostrophe; numbers stay.

    Empty text becomes null, which is written the same and without quotes.
    """
    any_text = pl.col(pl.String)
    # Few columns need it, and to look at a cell takes less than to change it.
    found = rows.select((_is_formula(any_text) | (any_text == "")).any())
    text = pl.col([column.name for column in found if column.item()])
    cells = rows.with_columns(
        pl.when(_is_formula(text)).then("'" + text).when(text != "").then(text).name.keep()
    )
    names = pl.DataFrame({"name": rows.columns}, schema={"name": pl.String})
    escape = names.select(_is_formula(pl.col("name"))).to_series()
    taken = set(rows.columns)
    cells.columns = [
        unique_name(f"'{name}", taken) if is_formula else name
        for name, is_formula in zip(rows.columns, escape, strict=True)
    ]
    return cells


def unique_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken; it is then."""
    number, unique = 2, name
    while unique in taken:
        unique = f"{name}_{number}"
        number += 1
    taken.add(unique)
    return unique


def _is_formula(text: pl.Expr) -> pl.Expr:
    return text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
