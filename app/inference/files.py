"""A file of rows, predicted: what comes back is the file with its predictions beside it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from app.http.accept import preferred
from app.http.errors import RequestError, invalid
from app.http.reading import refusing_unusable
from app.http.uploads import Upload
from app.serving.answer_files import CSV, PARQUET, AnswerFile, CsvFile, ParquetFile
from app.serving.prediction_columns import PredictionColumns
from app.serving.rows import TOO_LARGE, first_too_large
from app.serving.table_batches import batches
from dropout_core.data.dates import settle_dates, with_settled_dates
from dropout_core.data.ingest import Limits, ReadOptions, ingest
from dropout_core.errors import DataError
from dropout_core.model.predictor import Predictor


def answer_type(accept: Sequence[str]) -> str:
    """The media type that Accept headers ask for. Raises RequestError (406) if there is none."""
    chosen = preferred(",".join(accept), [CSV, PARQUET])
    if chosen is None:
        detail = f"the answer is {CSV} or {PARQUET}, and neither is accepted"
        raise RequestError(406, "not_acceptable", detail)
    return chosen


def predict(
    predictor: Predictor, upload: Upload, options: ReadOptions, *, limits: Limits, media_type: str
) -> Path:
    """Predict every row of the upload's file; the answer lies in the upload's folder.

    Rows are read, predicted and written in batches, in bounded memory. Raises RequestError (422)
    naming the row and the column that cannot be used.
    """
    path = upload.folder / "table"
    with refusing_unusable():
        facts = ingest(upload.paths, path, options=options, limits=limits, as_text=True)
    table = pl.scan_parquet(path, glob=False)
    answer: AnswerFile = (
        ParquetFile(upload.folder)
        if media_type == PARQUET
        else CsvFile(upload.folder, delimiter=_delimiter(facts.options))
    )
    encoder = predictor.description.encoder
    own_columns = table.collect_schema().names()
    predictions = PredictionColumns(predictor, taken=set(own_columns))
    with refusing_unusable():
        dates = settle_dates(table, encoder.datetime_columns, missing=options.missing_words)
    for start, batch in batches(predictor, table, num_rows=facts.num_rows):
        with _refusing(start):
            rows = with_settled_dates(batch, dates)
            outputs = predictor.outputs_of(rows, missing=options.missing_words)
        index = first_too_large(outputs.numpy())
        if index is not None:
            raise invalid("/file", f"row {start + index + 1}: {TOO_LARGE}")
        answer.append(batch.hstack(predictions.of(outputs)))
    return answer.finish()


def _delimiter(options: dict[str, Any]) -> str:
    """The file's own, unless it may be a part of what a number is written as."""
    delimiter: str = options.get("delimiter", ",")
    return "," if delimiter in "+-." else delimiter


@contextmanager
def _refusing(start: int) -> Iterator[None]:
    """Answer 422 to a row that cannot be used, counted from the beginning of the file."""
    try:
        yield
    except DataError as error:
        raise invalid("/file", str(error.shifted(start))) from error
