"""The service's own contestants: what a job that names a preset and nothing else does, in the
library.
"""

from functools import partial

import numpy as np
import polars as pl

from benchmarks.tables.catalogue import Table
from benchmarks.tables.measures import Forecast
from benchmarks.tables.outcomes import Contestant, Predict
from dropout_core.config import ProblemConfig, SplitConfig
from dropout_core.config.presets import Preset, settled
from dropout_core.model.conformal import LevelError
from dropout_core.model.predictor import Predictor
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun

LEVEL = 0.9
IN_ORDER_OF_COST: tuple[Preset, ...] = ("plain", "fast", "default", "best")


def contestants() -> dict[str, Contestant]:
    """Return the presets by name."""
    return {name: partial(_fit, name) for name in IN_ORDER_OF_COST}


def _fit(preset: Preset, table: Table, train: pl.DataFrame, seed: int) -> Predict:
    # The test rows are held out already; a job chooses its validation rows.
    problem = ProblemConfig(target=table.target, split=SplitConfig(test=0.0, seed=seed))
    resolved = resolve_table(train, problem)
    features = resolved.selection.features
    recipe = settled(
        preset,
        task=resolved.task,
        num_rows=len(resolved.split.train),
        num_columns=len(features),
        has_numbers=not {"numeric", "datetime"}.isdisjoint(features.values()),
        training={"seed": seed, "device": "cpu"},
    )
    run = TabularRun(resolved, **recipe._asdict())
    for _ in run.training:
        pass
    if recipe.training.calibrate:
        run.calibrate()
    stopping = recipe.training.early_stopping
    if stopping is not None and stopping.refit:
        again = run.refit()
        for _ in again.training:
            pass
        again.calibrate_as(run)
        run = again
    predictor = Predictor(run.model, run.description)
    return lambda test: _forecast(predictor, test)


def _forecast(predictor: Predictor, test: pl.DataFrame) -> Forecast:
    # As `missing: impute` of a request: a split may leave a column without gaps to train on.
    outputs = predictor.outputs_of(test, refuse_missing=False)
    values = np.array(predictor.values(outputs.numpy()))
    try:
        conformal = predictor.conformal(LEVEL)
    except LevelError:  # it is not calibrated, or on too few rows
        conformal = None
    classes = predictor.description.classes
    if classes is None:
        of_target = None if conformal is None else conformal.intervals(outputs)[:, 0].numpy()
        return Forecast(values, intervals=of_target)
    sets = None if conformal is None else conformal.contains(outputs).numpy()
    return Forecast(values.astype(str), outputs.numpy(), tuple(map(str, classes)), sets=sets)
