"""The service's own contestants: jobs that name a preset and nothing else, by the library."""

import numpy as np
import polars as pl

from benchmarks.tables.catalogue import Table
from benchmarks.tables.measures import Forecast
from benchmarks.tables.outcomes import Contestant, Predict
from dropout_core.config import ProblemConfig, SplitConfig
from dropout_core.config.presets import settled
from dropout_core.model.predictor import Predictor
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun

LEVEL = 0.9


def contestants() -> dict[str, Contestant]:
    """Return the presets by name, in the order of their cost."""
    return {name: _of_preset(name) for name in ("plain", "fast", "default", "best")}


def _of_preset(name: str) -> Contestant:
    def fit(table: Table, train: pl.DataFrame, seed: int) -> Predict:
        # The test rows are held out already; a job chooses its validation rows.
        problem = ProblemConfig(target=table.target, split=SplitConfig(test=0.0, seed=seed))
        resolved = resolve_table(train, problem)
        recipe = settled(
            name,
            task=resolved.task,
            num_rows=len(resolved.frame),
            num_columns=len(resolved.selection.features),
        )
        training = recipe.training.model_copy(update={"seed": seed, "device": "cpu"})
        run = TabularRun(
            resolved, preprocessing=recipe.preprocessing, model=recipe.model, training=training
        )
        for _ in run.training:
            pass
        predictor = Predictor(run.model, run.description)
        return lambda test: _forecast(predictor, test)

    return fit


def _forecast(predictor: Predictor, test: pl.DataFrame) -> Forecast:
    predictions = predictor.predict(test)
    values = np.array(predictions.values)
    if predictions.probabilities is None:
        return Forecast(values)
    assert predictor.description.classes is not None
    classes = tuple(map(str, predictor.description.classes))
    return Forecast(values.astype(str), predictions.probabilities.numpy(), classes)
