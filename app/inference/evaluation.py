"""A model scored on the rows of a dataset."""

import polars as pl

from app.errors import RequestError, invalid
from app.inference.rows import TOO_LARGE
from dropout_core.data.errors import DataError
from dropout_core.inference import Predictor
from dropout_core.metrics import Evaluation


def evaluate(predictor: Predictor, frame: pl.DataFrame) -> Evaluation:
    """Score the predictor on every row with a target. Raises RequestError (422) if none fits."""
    try:
        evaluation = predictor.evaluate(frame)
    except DataError as error:
        raise misfit(error) from error
    check_scored(evaluation)
    return evaluation


def check_scored(evaluation: Evaluation) -> None:
    """Raise RequestError (422) if there is nothing to say."""
    if evaluation.num_rows == 0:
        raise invalid("/dataset", "no row of the dataset has the target")
    if all(value is None for value in evaluation.metrics.values()):
        raise invalid("/dataset", TOO_LARGE)


def misfit(error: DataError) -> RequestError:
    return invalid("/dataset", f"the dataset does not fit the model: {error}")
