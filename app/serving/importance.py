"""How much a model depends on each feature, measured on the rows of a dataset."""

from dataclasses import dataclass
from functools import partial

import polars as pl
import torch
from torch import Tensor

from app.serving.errors import (
    NothingHeldOut,
    OutputsNotFinite,
    TooManyRepeats,
    UndefinedMetric,
    UnknownMetric,
)
from app.serving.evaluation import naming_rows, raising_misfits, require_scored
from dropout_core.config import SplitConfig
from dropout_core.config.metrics import HIGHER_IS_BETTER, default_metric, metric_names
from dropout_core.data.dates import settle_dates, with_settled_dates
from dropout_core.data.labels import target_columns
from dropout_core.data.splits import split_rows
from dropout_core.data.targets import mark_missing
from dropout_core.evaluation import evaluator
from dropout_core.evaluation.importance import Importance, permutation_importance
from dropout_core.model.predictor import MAX_CELLS, Predictor

MAX_ROWS = 10_000
MIN_ROWS = 100

# Time is limited in multiplications, of which a core does about 10 billion a second.
_MAX_PRODUCTS = 3e11
_PRODUCTS_OF_A_ROW = 50_000  # in the time that a row takes beside its multiplications
_PRODUCTS_OF_AN_OUTPUT = 1_000  # in the time that scoring an output takes


@dataclass(frozen=True)
class Importances:
    """Importances, and `baseline`, the metric with nothing shuffled."""

    metric: str
    baseline: float
    num_rows: int
    features: list[Importance]


def measure(
    predictor: Predictor,
    frame: pl.DataFrame,
    *,
    metric: str | None,
    num_repeats: int,
    seed: int,
    split: SplitConfig | None,
    num_parameters: int,
    refuse_missing: bool = True,
) -> Importances:
    """Measure permutation importance on rows of `frame`, evenly spaced if there are too many.

    With a `split`, only on the rows that it holds out, in which nothing missing is refused: the job
    scored them too. Without a `metric`, in the task's default.
    Raises InvalidMetric, TooManyRepeats and UnusableDataset.
    """
    description = predictor.description
    metric = metric or default_metric(description.task)
    known = metric_names(description.task, has_quantiles=description.quantiles is not None)
    if metric not in known:
        raise UnknownMetric(metric, known=known)
    limit = _max_rows(predictor, num_repeats=num_repeats, num_parameters=num_parameters)
    with raising_misfits():
        matrix, targets = _matrix_and_targets(
            predictor, frame, split=split, limit=limit, refuse_missing=refuse_missing
        )
    score = partial(
        evaluator.score,
        targets=targets,
        task=description.task,
        names=description.output_names,
        quantiles=description.quantiles,
    )
    evaluation = score(predictor.outputs(matrix))
    require_scored(evaluation)
    baseline = evaluation.metrics[metric]
    if baseline is None:
        raise UndefinedMetric(metric)
    try:
        features = permutation_importance(
            predictor.outputs,
            matrix,
            groups={name: description.encoder.columns_of(name) for name in description.features},
            score=lambda outputs: score(outputs).metrics[metric],
            baseline=baseline,
            higher_is_better=HIGHER_IS_BETTER[metric],
            num_repeats=num_repeats,
            seed=seed,
        )
    except ValueError as error:  # a row's outputs are finite, those of a shuffled row may not be
        raise OutputsNotFinite from error
    return Importances(metric, baseline, len(matrix), features)


def _max_rows(predictor: Predictor, *, num_repeats: int, num_parameters: int) -> int:
    description = predictor.description
    num_passes = len(description.features) * num_repeats
    scoring = _PRODUCTS_OF_AN_OUTPUT * description.num_outputs
    limit = int(_MAX_PRODUCTS / (num_passes * (num_parameters + _PRODUCTS_OF_A_ROW + scoring)))
    if limit < MIN_ROWS:
        raise TooManyRepeats(num_repeats, num_features=len(description.features))
    return min(limit, MAX_ROWS, max(1, MAX_CELLS // description.encoder.num_columns))


def _matrix_and_targets(
    predictor: Predictor,
    frame: pl.DataFrame,
    *,
    split: SplitConfig | None,
    limit: int,
    refuse_missing: bool,
) -> tuple[Tensor, Tensor]:
    """Return encoded rows and their targets. Raises DataError and NothingHeldOut."""
    description = predictor.description
    encoder = description.encoder
    dates = settle_dates(frame.lazy(), encoder.unsettled_dates, missing=encoder.missing)
    names = target_columns(frame.columns, description.targets, description.label_column)
    marked = mark_missing(
        with_settled_dates(frame, dates).lazy(),
        names,
        description.classes,
        reading=description.reading,
    ).collect()
    with naming_rows(marked, names):
        rows, targets = description.labelled(marked)
    chosen = torch.arange(len(rows))
    if split is not None:
        is_class = description.task in ("binary", "multiclass")
        target = targets if is_class else None
        parts = split_rows(rows, split, target=target)
        chosen = parts.test if len(parts.test) else parts.validation
        if len(chosen) == 0:
            raise NothingHeldOut
    num_rows = min(len(chosen), limit)
    chosen = chosen[torch.arange(num_rows) * len(chosen) // max(1, num_rows)]
    refuse_missing = refuse_missing and split is None
    with naming_rows(marked, names, chosen=chosen):
        matrix = encoder.encode(rows[chosen.numpy()], refuse_missing=refuse_missing)
    return torch.from_numpy(matrix), targets[chosen]
