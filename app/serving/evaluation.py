"""A model scored on the rows of a dataset, in bounded memory."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from app.http.errors import RequestError, invalid
from app.serving.rows import TOO_LARGE, first_too_large
from app.serving.table_batches import batches
from dropout_core.data.dates import settle_dates, with_settled_dates
from dropout_core.data.read_options import MISSING_WORDS
from dropout_core.data.targets import existing, labelled
from dropout_core.errors import DataError
from dropout_core.evaluation.evaluator import Evaluation, Evaluator
from dropout_core.model.predictor import Predictor

MAX_SCORES = 2**30  # outputs of all rows; each takes 8 to 40 bytes of the disk


def evaluate(
    predictor: Predictor, table: pl.LazyFrame, *, num_rows: int, scratch: Path
) -> Evaluation:
    """Score the predictor on every row of the stored table with a target.

    Rows are read and predicted in batches; their scores are kept in the folder `scratch`, in a file
    without a name, which is gone with this call. Raises RequestError (422) naming the row that
    cannot be used, and OSError if the disk is full.
    """
    facts = predictor.description
    if num_rows * facts.num_outputs > MAX_SCORES:
        detail = f"{num_rows} rows are too many to score {facts.num_outputs} outputs of each"
        raise invalid("/dataset", detail)
    scratch.mkdir(parents=True, exist_ok=True)
    names = facts.targets if facts.classes is None else facts.classes
    with tempfile.TemporaryFile(dir=scratch) as file, _refusing_misfits():
        evaluator = Evaluator(facts.task, names=names, file=file)
        existing(table.head(0).collect(), facts.targets)
        with_targets = table.drop_nulls(facts.targets)
        dates = settle_dates(with_targets, facts.encoder.datetime_columns, missing=MISSING_WORDS)
        for start, batch in batches(predictor, table, num_rows=num_rows):
            with _naming_rows_of_the_table(batch, start, facts.targets):
                _add(evaluator, predictor, with_settled_dates(batch, dates))
        evaluation = evaluator.evaluation()
    check_scored(evaluation)
    return evaluation


def _add(evaluator: Evaluator, predictor: Predictor, batch: pl.DataFrame) -> None:
    """Score the rows with a target. Raises DataError, which counts these rows alone."""
    facts = predictor.description
    rows, targets = labelled(batch, facts.targets, facts.task, facts.classes)
    outputs = predictor.outputs_of(rows)
    index = first_too_large(outputs.numpy())
    if index is not None:
        raise DataError(TOO_LARGE, row=index + 1)
    evaluator.add(outputs, targets)


@contextmanager
def _naming_rows_of_the_table(
    batch: pl.DataFrame, start: int, targets: Sequence[str]
) -> Iterator[None]:
    """Count an error's row from the table's beginning, rows without a target too."""
    try:
        yield
    except DataError as error:
        if error.row is None:
            raise
        has_target = pl.select(pl.all_horizontal(batch[name].is_not_null() for name in targets))
        index = int(has_target.to_series().arg_true()[error.row - 1])
        raise error.shifted(start + index + 1 - error.row) from error


@contextmanager
def _refusing_misfits() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise misfit(error) from error


def check_scored(evaluation: Evaluation) -> None:
    """Raise RequestError (422) if there is nothing to say."""
    if evaluation.num_rows == 0:
        raise invalid("/dataset", "no row of the dataset has the target")
    if all(value is None for value in evaluation.metrics.values()):
        raise invalid("/dataset", TOO_LARGE)


def misfit(error: DataError) -> RequestError:
    return invalid("/dataset", f"the dataset does not fit the model: {error}")
