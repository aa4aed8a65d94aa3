from typing import Any

import polars as pl
import pytest

from dropout_core.data.errors import DataError
from dropout_core.data.schema import MAX_CLASSES, Column, describe, select

FRAME = pl.DataFrame(
    {
        "whole": [1, 2, 2, 4],
        "real": [0.5, -1.5, 0.5, 2.5],
        "flag": [True, False, True, True],
        "word": ["a", "b", None, "a"],
        "gappy": [1, None, None, 3],
        "nothing": pl.Series([None] * 4, dtype=pl.Float64),
    }
)


def test_columns_are_described_as_they_are() -> None:
    assert [column.model_dump(exclude_defaults=True) for column in describe(FRAME)] == [
        {
            "name": "whole",
            "type": "numeric",
            "integral": True,
            "num_missing": 0,
            "num_distinct": 3,
            "minimum": 1.0,
            "maximum": 4.0,
            "mean": 2.25,
        },
        {
            "name": "real",
            "type": "numeric",
            "integral": False,
            "num_missing": 0,
            "num_distinct": 3,
            "minimum": -1.5,
            "maximum": 2.5,
            "mean": 0.5,
        },
        {
            "name": "flag",
            "type": "boolean",
            "integral": False,
            "num_missing": 0,
            "num_distinct": 2,
        },
        {
            "name": "word",
            "type": "categorical",
            "integral": False,
            "num_missing": 1,
            "num_distinct": 2,
        },
        {
            "name": "gappy",
            "type": "numeric",
            "integral": True,
            "num_missing": 2,
            "num_distinct": 2,
            "minimum": 1.0,
            "maximum": 3.0,
            "mean": 2.0,
        },
        {
            "name": "nothing",
            "type": "numeric",
            "integral": False,
            "num_missing": 4,
            "num_distinct": 0,
        },
    ]


def test_the_mean_of_the_largest_numbers_is_finite() -> None:
    (column,) = describe(pl.DataFrame({"x": [1.5e308, 1.7e308]}))
    assert column.mean == pytest.approx(1.6e308)


def column(kind: str, num_distinct: int, *, integral: bool = False, num_missing: int = 0) -> Column:
    return Column(
        name="target",
        type=kind,
        integral=integral,
        num_missing=num_missing,
        num_distinct=num_distinct,
    )


FEATURE = Column(name="x", type="numeric", integral=False, num_missing=0, num_distinct=9)


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (column("categorical", 2), "binary"),
        (column("categorical", 3), "multiclass"),
        (column("categorical", MAX_CLASSES), "multiclass"),
        (column("boolean", 2), "binary"),
        (column("numeric", 2, integral=True), "binary"),
        (column("numeric", 50, integral=True), "multiclass"),
        (column("numeric", 51, integral=True), "regression"),
        (column("numeric", 2), "regression"),
        (column("numeric", 1000), "regression"),
    ],
    ids=str,
)
def test_the_task_follows_from_the_target(target: Column, task: str) -> None:
    assert select([FEATURE, target], target="target").task == task


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (column("numeric", 2, integral=True), "regression"),
        (column("numeric", 2), "multiclass"),
        (column("numeric", 1000), "multiclass"),
    ],
    ids=str,
)
def test_a_task_that_is_asked_for_is_the_task(target: Column, task: Any) -> None:
    assert select([FEATURE, target], target="target", task=task).task == task


@pytest.mark.parametrize(
    ("target", "task", "message"),
    [
        (column("categorical", 3, num_missing=2), None, "2 values are missing"),
        (column("categorical", 3), "regression", "a regression needs a numeric target"),
        (column("boolean", 2), "regression", "a regression needs a numeric target"),
        (column("categorical", 1), None, "1 distinct values, classes need 2"),
        (column("numeric", 1, integral=True), None, "1 distinct values"),
        (column("categorical", MAX_CLASSES + 1), None, "10001 distinct values"),
        (column("numeric", MAX_CLASSES + 1), "multiclass", "10001 distinct values"),
        (column("categorical", 3), "binary", "a binary target has 2 classes, this one has 3"),
    ],
    ids=str,
)
def test_a_target_that_does_not_fit_its_task_is_refused(
    target: Column, task: Any, message: str
) -> None:
    with pytest.raises(DataError, match=f"column 'target': {message}") as caught:
        select([FEATURE, target], target="target", task=task)
    assert caught.value.field == "target"


def test_features_are_by_default_all_that_a_network_can_take() -> None:
    assert select(describe(FRAME), target="real").features == ("whole", "flag")


def test_features_keep_the_order_they_are_given_in() -> None:
    selection = select(describe(FRAME), target="real", features=["flag", "whole"])
    assert selection.features == ("flag", "whole")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["unheard of"], "column 'unheard of': the data has no such column"),
        (["real"], "column 'real': the target cannot be a feature"),
        (["whole", "whole"], "column 'whole': the feature is listed twice"),
        (["word"], "column 'word': a feature has to be numeric or boolean"),
        (["gappy"], "column 'gappy': 2 values are missing"),
    ],
)
def test_an_unusable_feature_is_named(features: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        select(describe(FRAME), target="real", features=features)
    assert caught.value.field == "features"


def test_without_any_usable_feature_there_is_nothing_to_learn_from() -> None:
    columns = describe(FRAME.select("word", "gappy", "real"))
    with pytest.raises(DataError, match="no other column is numeric") as caught:
        select(columns, target="real")
    assert caught.value.field == "features"


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(
        DataError, match="column 'unheard of': the data has no such column"
    ) as caught:
        select(describe(FRAME), target="unheard of")
    assert caught.value.field == "target"
