"""The statistics of the benchmark on tables, against published values and worked examples."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.tables.catalogue import Table, read_tables
from benchmarks.tables.figures import Mean, Results, critical_difference, win
from benchmarks.tables.measures import Forecast, calibration_error, measure
from benchmarks.tables.outcomes import Outcome, Predict, read_outcomes, run
from benchmarks.tables.report import report


def table(name: str, task: str, *, rows: int = 4000, path: Path = Path("none")) -> Table:
    return Table(name, path, "y", task, "judge", rows, 1, "made")


def outcomes(table: str, contestant: str, measure: str, values: Sequence[float]) -> list[Outcome]:
    return [
        Outcome(table, seed, contestant, {measure: value}, seconds=seed + 1.0, threads=2)
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("num_contestants", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (7, 2.949), (10, 3.164)]
)
def test_the_critical_difference_is_that_of_demsar_table_5(num_contestants: int, q: float) -> None:
    num_tables = 14
    expected = q * math.sqrt(num_contestants * (num_contestants + 1) / (6 * num_tables))
    assert critical_difference(num_contestants, num_tables) == pytest.approx(expected, rel=3e-4)


def test_ranks_are_means_over_tables_by_the_measure_of_the_task_and_equals_share_them() -> None:
    results = Results(
        [
            *outcomes("two", "a", "auc", [0.9, 0.8]),
            *outcomes("two", "b", "auc", [0.7, 0.8]),
            *outcomes("two", "c", "auc", [0.8, 0.9]),
            *outcomes("numbers", "a", "rmse", [3.0, 3.0]),
            *outcomes("numbers", "b", "rmse", [1.0, 1.0]),
            *outcomes("numbers", "c", "rmse", [2.0, 2.0]),
        ],
        [table("two", "binary"), table("numbers", "regression")],
    )
    ranking = results.ranking(["a", "b", "c"])
    assert ranking is not None
    assert ranking.ranks == {
        "c": 1.75,
        "b": 2.0,
        "a": 2.25,
    }  # a and c share the first rank of `two`
    assert list(ranking.ranks) == ["c", "b", "a"]
    assert (ranking.num_tables, ranking.num_seeds) == (2, 2)


def test_contestants_are_compared_on_the_tables_and_seeds_that_they_share() -> None:
    results = Results(
        [
            *outcomes("t", "a", "accuracy", [0.5, 0.9]),
            *outcomes("t", "b", "accuracy", [0.6]),
            *outcomes("other", "a", "accuracy", [0.5]),
        ],
        [table("t", "multiclass"), table("other", "multiclass")],
    )
    ranking = results.ranking(["a", "b"])
    assert ranking is not None
    assert (list(ranking.ranks), ranking.num_tables, ranking.num_seeds) == (["b", "a"], 1, 1)
    gain = results.gain("t", "a", "b", "accuracy")
    assert gain is not None
    assert (gain.mean, gain.error) == (pytest.approx(-0.1), math.inf)
    assert results.gain("other", "a", "b", "accuracy") is None


@pytest.mark.parametrize(
    ("gains", "expected"),
    [([0.1, 0.3], 1.0), ([-0.1, -0.3], 0.0), ([0.0, 0.3], 0.5), ([-0.3, 0.0], 0.5), ([0.2], 0.5)],
)
def test_a_gain_within_one_standard_error_is_half_a_win(
    gains: list[float], expected: float
) -> None:
    assert win(Mean.of(gains)) == expected


def test_what_is_worse_beyond_the_error_is_found_with_the_right_sign() -> None:
    results = Results(
        [
            *outcomes("t", "a", "rmse", [2.0, 2.1]),
            *outcomes("t", "b", "rmse", [1.0, 1.2]),
        ],
        [table("t", "regression")],
    )
    assert results.wins("a", "b") == (0.0, 1)
    [(where, by)] = results.worse("a", "b", {"regression": ("rmse", "mae")}).items()
    assert (where, by.mean, by.error) == ("t rmse", pytest.approx(-0.95), pytest.approx(0.05))
    assert results.worse("b", "a", {"regression": ("rmse",)}) == {}
    assert results.relative_errors("b", "a") == [pytest.approx(0.95 / 2.05)]
    assert results.time_ratio("a", "b") == pytest.approx(1)


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    confidence = np.array([0.61, 0.65, 0.92, 1.0])
    is_right = np.array([True, False, True, True])
    # One bin from 9/15 to 10/15, whose half is right, and one from 14/15; .92 is in that before it.
    expected = (abs(1 - 1.26) + abs(1 - 0.92) + 0) / 4
    assert calibration_error(confidence, is_right) == pytest.approx(expected)


def test_classes_without_a_training_row_and_conformal_sets_are_measured() -> None:
    three = table("t", "multiclass")
    vars(three)["classes"] = ["a", "b", "c"]
    forecast = Forecast(
        np.array(["a", "b", "a"]),
        np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]),
        ("a", "b"),
        sets=np.array([[True, False], [True, True], [True, True]]),
    )
    measures = measure(forecast, np.array(["a", "b", "c"]), three)
    assert measures["accuracy"] == pytest.approx(2 / 3)
    assert measures["coverage"] == pytest.approx(2 / 3)
    assert measures["width"] == pytest.approx(5 / 3)
    numbers = Forecast(np.array([1.0, 2.0]), intervals=np.array([[0.0, 1.0], [3.0, 5.0]]))
    measures = measure(numbers, np.array([1.0, 2.0]), table("t", "regression"))
    assert (measures["rmse"], measures["coverage"], measures["width"]) == (0, 0.5, 1.5)


def test_a_run_goes_on_where_it_was_and_a_failure_is_an_outcome(tmp_path: Path) -> None:
    pl.DataFrame({"x": range(40), "y": [float(i) for i in range(40)]}).write_parquet(
        tmp_path / "t.parquet"
    )
    entry = {"target": "y", "task": "regression", "role": "judge", "rows": 40, "columns": 1}
    (tmp_path / "tables.json").write_text(json.dumps({"t": {**entry, "source": "made"}}))
    tables = read_tables(tmp_path)
    fitted: list[int] = []

    def exact(_: Table, train: pl.DataFrame, seed: int) -> Predict:
        fitted.append(seed)
        assert len(train) == 30
        return lambda test: Forecast(test["x"].to_numpy().astype(float))

    def broken(_: Table, train: pl.DataFrame, seed: int) -> Predict:
        raise ValueError("no\nway")

    path = tmp_path / "outcomes.jsonl"
    contestants = {"default": exact, "broken": broken}
    run(contestants, tables, [0], path, threads=2)
    run(contestants, tables, [0, 1], path, threads=2)
    assert fitted == [0, 1]
    found = read_outcomes(path)
    assert [outcome.error for outcome in found if outcome.contestant == "broken"] == [
        "ValueError: no way"
    ] * 2
    results = Results(found, tables)
    assert results.measured("t", "default", "rmse") == {0: 0, 1: 0}
    assert "| t | judge | 40 x 1 | R2 | **1.000** |  |" in report(results, results)
