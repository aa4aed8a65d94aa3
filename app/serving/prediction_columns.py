"""Predictions as columns beside those of a file."""

import polars as pl
from torch import Tensor

from app.serving.answer_files import unique_name
from dropout_core.model.predictor import Predictor

MAX_CLASSES = 100
"""With more of them there are no columns of probabilities."""


class PredictionColumns:
    """Under names that are not among those `taken`: the file's own."""

    def __init__(self, predictor: Predictor, *, taken: set[str]) -> None:
        facts = predictor.description
        self._predictor = predictor
        self._targets = facts.targets
        wanted = (
            ["prediction"]
            if len(facts.targets) == 1
            else [f"prediction_{target}" for target in facts.targets]
        )
        self._predictions = [unique_name(name, taken) for name in wanted]
        classes = facts.classes if facts.classes and len(facts.classes) <= MAX_CLASSES else ()
        self._probabilities = [
            unique_name(f"probability_{_text(value)}", taken) for value in classes
        ]

    def of(self, outputs: Tensor) -> list[pl.Series]:
        """What `outputs` (N, C) say: the predictions, and the probabilities of few classes."""
        predictions = self._predictor.predictions(outputs)
        values = predictions.values
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
            for index, name in enumerate(self._probabilities)
        ]
        return columns


def _text(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
