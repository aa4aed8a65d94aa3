"""A model scored on the rows of a dataset, in bounded memory."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from torch import Tensor

from app.serving.errors import (
    FEATURES_TOO_LARGE,
    DatasetMisfit,
    NoTarget,
    OutputsNotFinite,
    TooManyScores,
)
from app.serving.instances import first_not_finite
from app.serving.tables import batches
from dropout_core.data.by_name import exactly
from dropout_core.data.dates import settle_dates, with_settled_dates
from dropout_core.data.labels import target_columns
from dropout_core.data.targets import mark_missing
from dropout_core.errors import DataError
from dropout_core.evaluation.coverage import reported
from dropout_core.evaluation.evaluator import Evaluation, Evaluator
from dropout_core.model.predictor import Predictor

MAX_SCORES = 2**30  # outputs of all rows; each takes 8 to 40 bytes of the disk


def evaluate(
    predictor: Predictor,
    table: pl.LazyFrame,
    *,
    num_rows: int,
    scratch: Path,
    refuse_missing: bool = True,
) -> Evaluation:
    """Score the predictor on every row of the stored table with a target.

    Rows are read and predicted in batches; their scores are kept in the folder `scratch`, in a
    temporary file without a name. Raises UnusableDataset, which names the row that cannot be used,
    and OSError if the disk is full.
    """
    description = predictor.description
    if num_rows * description.num_outputs > MAX_SCORES:
        raise TooManyScores(num_rows, num_outputs=description.num_outputs)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file, raising_misfits():
        evaluator = Evaluator(
            description.task,
            names=description.output_names,
            file=file,
            quantiles=description.quantiles,
            conformal=reported(predictor),
        )
        targets = target_columns(
            table.collect_schema().names(), description.targets, description.label_column
        )
        table = mark_missing(table, targets, description.classes, reading=description.reading)
        with_targets = table.drop_nulls(exactly(*targets))
        encoder = description.encoder
        dates = settle_dates(with_targets, encoder.unsettled_dates, missing=encoder.missing)
        for start, batch in batches(predictor, table, num_rows=num_rows):
            with naming_rows(batch, targets, start=start):
                rows = with_settled_dates(batch, dates)
                _add(evaluator, predictor, rows, refuse_missing=refuse_missing)
        evaluation = evaluator.evaluation()
    require_scored(evaluation)
    return evaluation


def _add(
    evaluator: Evaluator, predictor: Predictor, batch: pl.DataFrame, *, refuse_missing: bool
) -> None:
    """Score the rows with a target. Raises DataError, whose row counts only those rows."""
    rows, targets = predictor.description.labelled(batch)
    outputs = predictor.outputs_of(rows, refuse_missing=refuse_missing)
    index = first_not_finite(outputs.numpy())
    if index is not None:
        raise DataError(FEATURES_TOO_LARGE, row=index + 1)
    evaluator.add(outputs, targets)


@contextmanager
def naming_rows(
    frame: pl.DataFrame, targets: Sequence[str], *, start: int = 0, chosen: Tensor | None = None
) -> Iterator[None]:
    """Make an error's row count from the table's first row, including rows without a target.

    `frame` has the table's rows from `start` on. The block counts those with a target or, of these,
    the `chosen` ones.
    """
    try:
        yield
    except DataError as error:
        if error.row is None:
            raise
        place = error.row - 1 if chosen is None else int(chosen[error.row - 1])
        has_target = frame.select(pl.all_horizontal(exactly(*targets).is_not_null()))
        index = int(has_target.to_series().arg_true()[place])
        raise error.shifted(start + index + 1 - error.row) from error


@contextmanager
def raising_misfits() -> Iterator[None]:
    """Raise DatasetMisfit for a DataError of the block."""
    try:
        yield
    except DataError as error:
        raise DatasetMisfit(error) from error


def require_scored(evaluation: Evaluation) -> None:
    """Raise NoTarget if no row was scored, OutputsNotFinite if no metric is defined."""
    if evaluation.num_rows == 0:
        raise NoTarget
    if all(value is None for value in evaluation.metrics.values()):
        raise OutputsNotFinite
