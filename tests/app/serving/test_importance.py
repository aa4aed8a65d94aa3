"""Which rows an importance is measured on, and which it refuses."""

from typing import Any

import polars as pl
import pytest
import torch

from app.serving import importance
from app.serving.errors import OutputsNotFinite
from app.serving.importance import Importances
from dropout_core.config import MLPConfig
from dropout_core.model.predictor import Predictor
from tests.support.served_models import tabular_run


@pytest.fixture(scope="module")
def difference() -> Predictor:
    """A model of `a - b`."""
    frame = pl.DataFrame({"a": [1.0, 2.0, 3.0, 4.0] * 4, "b": [2.0, 1.0, 4.0, 3.0] * 4})
    frame = frame.with_columns(y=pl.col("a") - pl.col("b"))
    model = MLPConfig(hidden=(), hidden_dropout=0.0)
    run = tabular_run(frame, target="y", task="regression", model=model)
    (weight,) = (part for name, part in run.model.named_parameters() if "weight" in name)
    weight.data = torch.tensor([[1.0, -1.0]])
    return Predictor(run.model, run.description)


def importances(predictor: Predictor, frame: pl.DataFrame, **request: Any) -> Importances:
    wish = {"metric": None, "num_repeats": 5, "seed": 0, **request}
    return importance.measure(predictor, frame, **wish, split=None, num_parameters=3)


def test_rows_that_are_too_large_once_shuffled_are_refused(difference: Predictor) -> None:
    # Each row's difference is within float32, and those of different rows are not.
    large = pl.Series([2.2e38, -2.2e38] * 8)
    frame = pl.DataFrame({"a": large, "b": large, "y": [0.0, 1.0] * 8})
    with pytest.raises(OutputsNotFinite, match="too large"):
        importances(difference, frame)


def test_rows_are_as_many_as_their_matrix_allows(
    difference: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.DataFrame({"a": range(100), "b": range(100), "y": range(100)})
    assert importances(difference, frame, metric="rmse").num_rows == 100
    monkeypatch.setattr(importance, "MAX_CELLS", 2 * 30)
    assert importances(difference, frame, metric="rmse").num_rows == 30


def test_rows_are_fewer_where_scoring_takes_its_time(
    difference: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.DataFrame({"a": range(200), "b": range(200), "y": range(200)})
    of_a_row = 3 + 50_000 + 1_000  # parameters, what any row takes, and one output
    monkeypatch.setattr(importance, "_MAX_PRODUCTS", 2 * 5 * 150 * of_a_row)
    assert importances(difference, frame, metric="rmse").num_rows == 150
