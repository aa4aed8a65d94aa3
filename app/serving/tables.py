"""Tables, predicted a batch of rows at a time and in bounded memory: from one file to another.

Shapes: N rows, C outputs.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from torch import Tensor

from app.serving.errors import FEATURES_TOO_LARGE
from app.serving.instances import first_not_finite
from dropout_core.data.by_name import exactly
from dropout_core.data.dates import parse_dates, settle_dates, with_settled_dates
from dropout_core.data.encoder import Encoder
from dropout_core.data.formats import CellFormat, DateFormat
from dropout_core.data.ingest import Limits, ingest
from dropout_core.data.parsing import without_missing
from dropout_core.data.read_options import ReadOptions
from dropout_core.data.stored_types import unstorable
from dropout_core.errors import DataError
from dropout_core.model.conformal import Conformal
from dropout_core.model.predictor import MAX_CELLS, Predictor

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"

MAX_CLASSES = 100  # with more classes, probabilities get no columns
MAX_BATCH_ROWS = 65_536
_MAX_BATCH_BYTES = 64 * 2**20  # of text

# Each batch costs time: without a minimum of rows, wide tables would have too many batches.
_WIDE_BATCH_ROWS = 1_000
_MAX_WIDE_BATCH_CELLS = 10_000_000

# What a spreadsheet takes for a formula: https://owasp.org/www-community/attacks/CSV_Injection
# The last four are the full-width forms of = + - @.
_FORMULA = r"^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]"
_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"


def predict_file(
    predictor: Predictor,
    paths: Sequence[Path],
    folder: Path,
    *,
    options: ReadOptions,
    limits: Limits,
    media_type: str,
    refuse_missing: bool = True,
    with_inputs: bool = True,
    conformal: Conformal | None = None,
    owner: str = "",
) -> Path:
    """Predict every row of an uploaded file; return a file in `folder` with the predictions added.

    `paths` are the files of the upload, `media_type` is CSV or PARQUET. The file is read as the
    table was that the model learned from, except where the options say otherwise. Without
    `with_inputs` the answer has the predictions alone. Raises DataError naming the row and the
    column that cannot be used, or the option that the file was read with.
    """
    path = folder / "table"
    read = ingest(
        paths,
        path,
        options=options,
        limits=limits,
        as_text=True,
        names=predictor.description.features,
        owner=owner,
    )
    table = pl.scan_parquet(path, glob=False)
    answer = (
        ParquetFile(folder)
        if media_type == PARQUET
        else CsvFile(folder, delimiter=_delimiter(read.options))
    )
    if with_inputs and media_type == CSV:
        _refuse_other_types(table)
    encoder = _encoder_for(predictor, table, options)
    taken = set(table.collect_schema().names()) if with_inputs else set()
    predictions = PredictionColumns(predictor, taken=taken, conformal=conformal)
    dates = settle_dates(table, encoder.unsettled_dates, missing=encoder.missing)
    for start, batch in batches(predictor, table, num_rows=read.num_rows):
        try:
            rows = with_settled_dates(batch, dates)
            outputs = predictor.outputs_of(rows, encoder=encoder, refuse_missing=refuse_missing)
        except DataError as error:
            raise error.shifted(start) from error
        index = first_not_finite(outputs.numpy())
        if index is not None:
            raise DataError(FEATURES_TOO_LARGE, row=start + index + 1)
        columns = predictions.of(outputs)
        answer.append(batch.hstack(columns) if with_inputs else pl.DataFrame(columns))
    return answer.finish()


def _refuse_other_types(table: pl.LazyFrame) -> None:
    """Raise DataError for a column that CSV cannot hold."""
    for name in unstorable(table):
        raise DataError(
            f"CSV cannot hold values of type {table.collect_schema()[name]}: accept Parquet, or "
            "ask for the answer without the file's columns by inputs=false",
            column=name,
        )


def _encoder_for(predictor: Predictor, table: pl.LazyFrame, options: ReadOptions) -> Encoder:
    """Return the model's encoder, for text that is written as the options say."""
    encoder = predictor.description.encoder
    missing = options.missing_words
    if options.default_missing:  # the usual words are those of the model
        missing = (*encoder.missing, *(word.strip() for word in options.missing))
    formats: dict[str, CellFormat] = {}
    if options.number_format is not None:
        formats |= dict.fromkeys(encoder.number_columns, options.number_format)
    if options.day_first is not None:
        order = DateFormat(pattern="day first" if options.day_first else "month first")
        formats |= dict.fromkeys(encoder.datetime_columns, order)
    if options.date_format is not None:
        given = DateFormat(pattern=options.date_format)
        texts = (c for c in encoder.datetime_columns if table.collect_schema().get(c) == pl.String)
        formats |= dict.fromkeys((c for c in texts if _all_fit(table, c, given, missing)), given)
    return encoder.for_text(missing=missing, formats=formats)


def _all_fit(table: pl.LazyFrame, name: str, format_: DateFormat, missing: Collection[str]) -> bool:
    """Return whether all dates of a column are written in the format."""
    cells = table.select(cell=exactly(name).unique()).collect().to_series()
    cells = without_missing(cells, missing).drop_nulls()
    return parse_dates(cells, format_).null_count() == 0


def batches(
    predictor: Predictor, table: pl.LazyFrame, *, num_rows: int
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the table's `num_rows` rows in batches, each with the number of rows before it."""
    size = batch_rows(predictor, table, num_rows=num_rows)
    for start in range(0, num_rows, size):
        yield start, table.slice(start, size).collect()


def batch_rows(predictor: Predictor, table: pl.LazyFrame, *, num_rows: int) -> int:
    """Return how many of the table's `num_rows` rows to hold, with their outputs, at a time."""
    schema = table.collect_schema()
    num_columns = len(schema) + predictor.description.num_outputs
    wide_rows = min(_WIDE_BATCH_ROWS, _MAX_WIDE_BATCH_CELLS // num_columns)
    by_cells = max(MAX_CELLS // num_columns, wide_rows)
    by_bytes = _MAX_BATCH_BYTES * num_rows // max(1, _text_bytes(table))
    return max(1, min(MAX_BATCH_ROWS, by_cells, by_bytes))


def _text_bytes(table: pl.LazyFrame) -> int:
    of_columns = pl.col(pl.String).str.len_bytes().cast(pl.Int64).sum()
    return sum(column.item() for column in table.select(of_columns).collect(engine="streaming"))


def _delimiter(options: dict[str, Any]) -> str:
    """Return the file's own delimiter, or a comma where numbers may contain that character."""
    delimiter: str = options.get("delimiter", ",")
    return "," if delimiter in "+-." else delimiter


class PredictionColumns:
    """Predictions as columns, whose names differ from those of the file, which are `taken`.

    There are the probabilities of a few classes, or quantiles. `conformal` adds the sets as JSON,
    or the ends of the intervals of each target.
    """

    def __init__(
        self, predictor: Predictor, *, taken: set[str], conformal: Conformal | None = None
    ) -> None:
        description = predictor.description
        targets, classes = description.targets, description.classes
        self._predictor = predictor
        self._targets = targets
        wanted = (
            ["prediction"] if len(targets) == 1 else [f"prediction_{target}" for target in targets]
        )
        self._predictions = [unique_name(name, taken) for name in wanted]
        self._probabilities = [
            unique_name(f"probability_{_text(value)}", taken)
            for value in (classes if classes and len(classes) <= MAX_CLASSES else ())
        ]
        endings = [""] if len(targets) == 1 else [f"_{target}" for target in targets]
        self._quantiles = [
            unique_name(f"quantile_{level}{ending}", taken)
            for ending in endings
            for level in description.quantiles or ()
        ]
        self._conformal = conformal
        wanted = ["set"]
        if classes is None:
            wanted = [f"{end}{ending}" for ending in endings for end in ("lower", "upper")]
        self._bounds = [unique_name(name, taken) for name in wanted] if conformal else []

    def of(self, outputs: Tensor) -> list[pl.Series]:
        """Return the predictions of `outputs` (N, C), and all else that has columns."""
        values = self._predictor.predictions(outputs).values
        by_target = (
            [values]
            if len(self._targets) == 1 and self._predictor.description.task != "multilabel"
            else [[row[target] for row in values] for target in self._targets]
        )
        columns = [
            pl.Series(name, column)
            for name, column in zip(self._predictions, by_target, strict=True)
        ]
        columns += [
            pl.Series(name, outputs[:, index].numpy())
            for index, name in enumerate(self._probabilities or self._quantiles)
        ]
        if self._conformal is not None:
            columns += self._of_conformal(outputs, self._conformal)
        return columns

    def _of_conformal(self, outputs: Tensor, conformal: Conformal) -> list[pl.Series]:
        if self._predictor.description.task == "regression":
            ends = conformal.intervals(outputs).flatten(1)
            return [pl.Series(name, ends[:, i].numpy()) for i, name in enumerate(self._bounds)]
        sets = self._predictor.members(conformal.contains(outputs))
        texts = [orjson.dumps(members).decode() for members in sets]
        return [pl.Series(name, texts, dtype=pl.String) for name in self._bounds]


def _text(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class CsvFile:
    """CSV in UTF-8 with a header, without cells that a spreadsheet takes for formulas."""

    def __init__(self, folder: Path, *, delimiter: str = ",") -> None:
        self._path = folder / "answer.csv"
        self._delimiter = delimiter

    def append(self, rows: pl.DataFrame) -> None:
        """Add rows, which have the same columns in every call."""
        is_first = not self._path.exists()
        cells = without_formulas(rows)
        # Many readers end a line at a lone carriage return, which polars does not quote.
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
        """Return the path of the whole file."""
        return self._path


class ParquetFile:
    """Parquet with the columns' own types, written in parts like CsvFile."""

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
    """Put an apostrophe before text and names that a spreadsheet would compute; numbers stay.

    Empty text becomes null: both are empty cells, but only null is written without quotes.
    """
    any_text = pl.col(pl.String)
    # Few columns need it, and looking at cells is quicker than changing them.
    found = rows.select((_is_formula(any_text) | (any_text == "")).any())
    text = exactly(*(column.name for column in found if column.item())).as_expr()
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
    """Return the name, with a number behind it if it is taken, and add it to `taken`."""
    number, unique = 2, name
    while unique in taken:
        unique = f"{name}_{number}"
        number += 1
    taken.add(unique)
    return unique


def _is_formula(text: pl.Expr) -> pl.Expr:
    return text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
