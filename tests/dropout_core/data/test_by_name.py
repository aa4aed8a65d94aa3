from pathlib import Path

import polars as pl
import pytest

from dropout_core.config import MLPConfig, ProblemConfig, SplitConfig, TrainingConfig
from dropout_core.data.by_name import exactly, existing, numbered
from dropout_core.errors import DataError
from dropout_core.evaluation.evaluator import evaluate
from dropout_core.model.predictor import Predictor
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun

PATTERNS = ["*", "^size$", "^.*$", "^$", "", " ", "\\", "0"]


@pytest.mark.parametrize("name", PATTERNS)
def test_a_name_is_no_pattern(name: str) -> None:
    frame = pl.DataFrame({"size": [1, 2], name: [3, None]})
    assert frame.select(exactly(name)).columns == [name]
    assert frame.lazy().drop_nulls(exactly(name)).collect().height == 1
    with numbered(frame, [name, "size"]) as columns:
        assert columns.columns == ["0", "1"]
        assert columns["0"].unique().len() == 2


def test_an_error_names_the_column_by_its_own_name() -> None:
    frame = pl.DataFrame({"a": [1], "*": [2]})
    with pytest.raises(DataError, match=r"row 1, column '\*': wrong"), numbered(frame, ["a", "*"]):
        raise DataError("wrong", row=1, column="1")


def test_a_column_that_is_not_there_is_named() -> None:
    assert existing(["a", "b"], ["b", "a"]) == ["b", "a"]
    with pytest.raises(DataError, match=r"column 'c': the data has no such column"):
        existing(["a"], ["a", "c"])


@pytest.mark.parametrize(("target", "kind"), [(0, "column"), (3, "grouped"), (1, "time")])
def test_columns_of_any_name_train_and_predict(target: int, kind: str, tmp_path: Path) -> None:
    """Every feature type, the target, the weight and the split have names that are patterns."""
    num = 60
    parts = {"column": ["train", "train", "validation", "test"]}.get(kind, [0, 1, 2, 3, 4])
    values = [
        [index % 3 for index in range(num)],
        [index / 7 for index in range(num)],
        [index % 2 == 0 for index in range(num)],
        ["red" if index % 3 else "blue" for index in range(num)],
        [f"2024-01-{index % 28 + 1:02}" for index in range(num)],
        ["some words here", "others"] * (num // 2),
        [parts[index % len(parts)] for index in range(num)],
        [1.0 + index % 2 for index in range(num)],
    ]
    frame = pl.DataFrame(dict(zip(PATTERNS, values, strict=True)))
    frame = frame.with_columns(frame[PATTERNS[4]].alias("").str.to_datetime().alias(PATTERNS[4]))
    problem = ProblemConfig(
        target=PATTERNS[target],
        types={PATTERNS[5]: "text", PATTERNS[3]: "categorical"},
        weight=PATTERNS[7],
        split=SplitConfig(kind=kind, column=PATTERNS[6], folds=3 if kind == "grouped" else None),
    )
    run = TabularRun(
        resolve_table(frame, problem),
        model=MLPConfig(hidden=(4,)),
        training=TrainingConfig(epochs=1),
    )
    for run_ in (run, *([run.fold(0)] if kind == "grouped" else [])):
        list(run_.training)
        assert run_.evaluate()["test"].num_rows
    run.save(tmp_path)
    predictor = Predictor.load(tmp_path)
    assert evaluate(predictor, frame).num_rows == num
    rows = frame.head(3).drop(exactly(PATTERNS[target]))
    instances = [
        {name: str(cell) for name, cell in zip(rows.columns, row, strict=True)}
        for row in rows.iter_rows()
    ]
    told = predictor.predict(predictor.frame_of(instances)).values
    assert told == predictor.predict(frame.head(3)).values
