"""Rows as people hold them -> features as the model takes them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from app.errors import invalid
from dropout_core.data import prepare
from dropout_core.data.errors import DataError
from dropout_core.inference import Predictions, Predictor
from dropout_core.metrics import Evaluation

_TOO_LARGE = "the features are too large to compute with"


def feature_rows(instances: Sequence[Any], features: Sequence[str]) -> Tensor:
    """(N, F) float64 from arrays, or from objects by column name in any order.

    Raises RequestError (422) naming the row and the cell that cannot be used.
    """
    rows = [_row(instance, features, f"/instances/{i}") for i, instance in enumerate(instances)]
    return torch.tensor(rows, dtype=torch.float64)


def _row(instance: Any, features: Sequence[str], pointer: str) -> list[float]:
    if isinstance(instance, list):
        if len(instance) != len(features):
            raise invalid(
                pointer, f"{len(instance)} features given, the model takes {len(features)}"
            )
        return [_number(value, f"{pointer}/{index}") for index, value in enumerate(instance)]
    if not isinstance(instance, dict):
        raise invalid(pointer, "a row is an array of numbers, or an object by column name")
    if unknown := [name for name in instance if name not in set(features)]:
        raise invalid(_cell(pointer, unknown[0]), f"the model has no feature {unknown[0]!r}")
    if missing := [name for name in features if name not in instance]:
        raise invalid(_cell(pointer, missing[0]), f"the feature {missing[0]!r} is missing")
    return [_number(instance[name], _cell(pointer, name)) for name in features]


def _number(value: Any, pointer: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise invalid(pointer, "a feature has to be a finite number")
    return number


def _cell(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def predict(predictor: Predictor, features: Tensor) -> Predictions:
    """Raises RequestError (422) naming a row whose features are too large to compute with."""
    predictions = predictor.predict(features)
    outputs = predictions.probabilities
    if outputs is None:
        outputs = torch.tensor(predictions.values)[:, None]
    finite = outputs.isfinite().all(dim=1)
    if not finite.all():
        raise invalid(f"/instances/{int(finite.int().argmin())}", _TOO_LARGE)
    return predictions


def evaluate(predictor: Predictor, frame: Any) -> Evaluation:
    """Score the predictor on every row of a frame. Raises RequestError (422) if it does not fit."""
    facts = predictor.description
    try:
        features = prepare.feature_tensor(frame, facts.features)
        targets = (
            prepare.value_tensor(frame, facts.target)
            if facts.classes is None
            else prepare.class_tensor(frame, facts.target, facts.classes)
        )
    except DataError as error:
        raise invalid("/dataset", f"the dataset does not fit the model: {error}") from error
    evaluation = predictor.evaluate(features, targets)
    if not all(map(math.isfinite, evaluation.metrics.values())):
        raise invalid("/dataset", _TOO_LARGE)
    return evaluation
