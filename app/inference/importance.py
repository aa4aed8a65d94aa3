"""How much each feature is to a model, on rows that it was not trained on."""

from dataclasses import dataclass
from functools import partial

import polars as pl
import torch
from sqlalchemy import Connection
from torch import Tensor

from app.context import Context
from app.datasets.service import load
from app.http.errors import Flaw, RequestError, invalid
from app.inference.schemas import ImportanceRequest
from app.serving.evaluation import check_scored, misfit
from app.serving.rows import TOO_LARGE
from dropout_core.config import SplitConfig
from dropout_core.data.splits import split_rows
from dropout_core.data.targets import labelled
from dropout_core.errors import DataError
from dropout_core.evaluation import evaluator
from dropout_core.evaluation.importance import Importance, permutation_importance
from dropout_core.evaluation.metrics import HIGHER_IS_BETTER, default_metric, metric_names
from dropout_core.model.predictor import MAX_CELLS, Predictor
from store import datasets, jobs
from store.datasets import Dataset
from store.errors import DatasetNotFound, JobNotFound
from store.job_spec import JobSpec
from store.models import Model

MAX_ROWS = 10_000
MIN_ROWS = 100

# What bounds the work: multiplications, of which a core does some 10 billion a second.
_MAX_PRODUCTS = 3e11
_PRODUCTS_OF_A_ROW = 50_000  # what a row takes beside its products
_PRODUCTS_OF_AN_OUTPUT = 1_000  # what its score takes


@dataclass(frozen=True)
class Rows:
    """Where rows come from; of those of a job only what `split` holds out."""

    dataset: Dataset
    split: SplitConfig | None


@dataclass(frozen=True)
class Importances:
    """`baseline` is the metric of the model with every feature as it is."""

    metric: str
    baseline: float
    num_rows: int
    features: list[Importance]


def find_rows(transaction: Connection, model: Model, dataset_id: str | None) -> Rows:
    """The dataset asked for, or what the model's own job held out.

    Raises RequestError: 422 if there is no such dataset, 409 if the job or its dataset is gone.
    """
    if dataset_id is not None:
        try:
            return Rows(datasets.get(transaction, dataset_id, tenant=model.tenant), None)
        except DatasetNotFound as error:
            raise invalid("/dataset", str(error)) from error
    try:
        spec = JobSpec.model_validate(jobs.get(transaction, model.job_id, tenant=model.tenant).spec)
        return Rows(
            datasets.get(transaction, spec.dataset.id, tenant=model.tenant), spec.dataset.split
        )
    except (JobNotFound, DatasetNotFound) as error:
        raise _held_out_rows_gone(error) from error


def load_rows(context: Context, predictor: Predictor, rows: Rows) -> pl.DataFrame:
    """The columns that are needed. Raises RequestError as `find_rows` does if they are gone."""
    facts = predictor.description
    needed = {*facts.features, *facts.targets}
    if rows.split is not None and rows.split.column is not None:
        needed.add(rows.split.column)
    try:
        return load(context, rows.dataset, columns=needed)
    except DatasetNotFound as error:
        if rows.split is not None:
            raise _held_out_rows_gone(error) from error
        raise invalid("/dataset", str(error)) from error


def _held_out_rows_gone(error: JobNotFound | DatasetNotFound) -> RequestError:
    detail = f"the rows that were held out are not known any more ({error}): name a dataset"
    flaw = Flaw(pointer="/dataset", detail=detail)
    return RequestError(409, "held_out_rows_gone", detail, [flaw])


def measure(
    predictor: Predictor,
    frame: pl.DataFrame,
    request: ImportanceRequest,
    *,
    split: SplitConfig | None,
    num_parameters: int,
) -> Importances:
    """Permutation importance on rows of `frame`, evenly spaced ones where there are many.

    Raises RequestError (422).
    """
    facts = predictor.description
    metric = request.metric or default_metric(facts.task)
    if metric not in metric_names(facts.task):
        names = ", ".join(metric_names(facts.task))
        raise invalid("/metric", f"{metric!r} is no metric of this model: {names}")
    limit = _max_rows(predictor, num_repeats=request.num_repeats, num_parameters=num_parameters)
    try:
        matrix, targets = _matrix_and_targets(predictor, frame, split=split, limit=limit)
    except DataError as error:
        raise misfit(error) from error
    score = partial(evaluator.score, targets=targets, task=facts.task, names=facts.output_names)
    evaluation = score(predictor.outputs(matrix))
    check_scored(evaluation)
    baseline = evaluation.metrics[metric]
    if baseline is None:
        raise invalid("/metric", f"{metric} is undefined for these rows")
    try:
        features = permutation_importance(
            predictor.outputs,
            matrix,
            groups={name: facts.encoder.columns_of(name) for name in facts.features},
            score=lambda outputs: score(outputs).metrics[metric],
            baseline=baseline,
            higher_is_better=HIGHER_IS_BETTER[metric],
            num_repeats=request.num_repeats,
            seed=request.seed,
        )
    except ValueError as error:  # values that are finite together may not be with those of others
        raise invalid("/dataset", TOO_LARGE) from error
    return Importances(metric, baseline, len(matrix), features)


def _max_rows(predictor: Predictor, *, num_repeats: int, num_parameters: int) -> int:
    facts = predictor.description
    num_passes = len(facts.features) * num_repeats
    of_a_row = num_parameters + _PRODUCTS_OF_A_ROW + _PRODUCTS_OF_AN_OUTPUT * facts.num_outputs
    limit = int(_MAX_PRODUCTS / (num_passes * of_a_row))
    if limit < MIN_ROWS:
        raise invalid(
            "/num_repeats",
            f"to shuffle {len(facts.features)} features {num_repeats} times is "
            "too much for a model of this size",
        )
    return min(limit, MAX_ROWS, max(1, MAX_CELLS // facts.encoder.num_columns))


def _matrix_and_targets(
    predictor: Predictor, frame: pl.DataFrame, *, split: SplitConfig | None, limit: int
) -> tuple[Tensor, Tensor]:
    """Encoded rows and their targets. Raises DataError."""
    facts = predictor.description
    rows, targets = labelled(frame, facts.targets, facts.task, facts.classes)
    chosen = torch.arange(len(rows))
    if split is not None:
        is_class = facts.task in ("binary", "multiclass")
        target = targets if is_class else None
        parts = split_rows(rows, split, target=target, classes=facts.classes)
        chosen = parts.test if len(parts.test) else parts.validation
        if len(chosen) == 0:
            raise invalid("/dataset", "the model's job held no rows out: name a dataset")
    num_rows = min(len(chosen), limit)
    chosen = chosen[torch.arange(num_rows) * len(chosen) // max(1, num_rows)]
    # What a job held out may lack values that training never lacks: as in its own evaluation.
    matrix = facts.encoder.encode(rows[chosen.numpy()], refuse_missing=split is None)
    return torch.from_numpy(matrix), targets[chosen]
