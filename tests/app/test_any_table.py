"""Tables as nobody would make them on purpose, all the way from upload to prediction."""

import csv
import io
import json
import math
import os
from datetime import datetime
from typing import Any

import httpx
import polars as pl
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.support.client import finished

NUM_TABLES = int(os.environ.get("TABLES", "20"))
MAX_ROWS = 60

WORDS = st.one_of(
    st.sampled_from(["", " ", "NA", "nan", "-0", "1e5", "007", "yes", "=1+1", "31/12/2024", "a,b"]),
    st.sampled_from(["red", "green", "blue"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e308, 5e-324, 0.1]),
)
CELLS = [
    WORDS,
    NUMBERS,
    st.booleans(),
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(str),
    st.one_of(WORDS, NUMBERS, st.none()),
    st.one_of(st.just("same")),
]
NAMES = st.one_of(st.sampled_from(["id", "x", "target", "", "*", "^x$", "^.*$"]), WORDS)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    """Names, and columns of cells that are mostly of one kind, each with a hole here and there."""
    num_rows = draw(st.integers(1, MAX_ROWS))
    names = draw(st.lists(NAMES, min_size=1, max_size=6))
    columns = []
    for _ in names:
        cells = draw(st.sampled_from(CELLS))
        # Few distinct values are what classes, groups and splits are made of.
        pool = draw(st.lists(cells, min_size=1, max_size=num_rows))
        holes = draw(st.booleans())
        columns.append(
            [None if holes and row % 7 == 3 else pool[row % len(pool)] for row in range(num_rows)]
        )
    return names, columns


def as_csv(names: list[str], columns: list[list[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def as_parquet(names: list[str], columns: list[list[Any]]) -> bytes:
    file = io.BytesIO()
    frame = pl.DataFrame(
        [
            pl.Series(name, _alike(column), strict=False)
            for name, column in zip(_unique(names), columns, strict=True)
        ]
    )
    frame.write_parquet(file)
    return file.getvalue()


def _alike(column: list[Any]) -> list[Any]:
    """As they are if polars takes them so, else as words."""
    try:
        pl.Series(column)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return [None if cell is None else str(cell) for cell in column]
    return column


def _unique(names: list[str]) -> list[str]:
    return [f"{name}{index}" for index, name in enumerate(names)]


def jobs(columns: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Jobs on a dataset of these columns, most of which it makes sense to ask for."""
    names = st.sampled_from([column["name"] for column in columns])
    kinds = st.sampled_from(["numeric", "categorical", "boolean", "datetime", "text"])
    fractions = st.sampled_from([0.0, 0.1, 0.4])
    splits = st.one_of(
        st.fixed_dictionaries(
            {"kind": st.sampled_from(["random", "stratified"])},
            optional={"validation": fractions, "test": fractions, "folds": st.just(2)},
        ),
        st.fixed_dictionaries(
            {"kind": st.sampled_from(["grouped", "time", "column"]), "column": names}
        ),
    )
    dataset = st.fixed_dictionaries(
        {"target": st.one_of(names, names, st.lists(names, min_size=1, max_size=3, unique=True))},
        optional={
            "split": splits,
            "weight": names,
            "types": st.dictionaries(names, kinds, max_size=2),
            "features": st.lists(names, min_size=1, max_size=4, unique=True),
        },
    )
    return st.fixed_dictionaries(
        {
            "dataset": dataset,
            "model": st.just({"hidden": [4]}),
            "training": st.just({"epochs": 1}),
        },
        optional={
            "preprocessing": st.sampled_from([{"scale": "quantile"}, {"max_one_hot": 1}]),
            "task": st.sampled_from(["auto", "multiclass", "regression", "multilabel"]),
        },
    )


def checked(response: httpx.Response, *good: int) -> Any:
    """The answer, which is one of success, or of what is wrong with the request."""
    assert response.status_code in (*good, 400, 409, 413, 422), response.text
    assert response.status_code in good or response.json()["errors"], response.text
    return response.json() if response.status_code in good else None


@given(table=tables(), data=st.data())
@settings(
    max_examples=NUM_TABLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # making an example smaller takes minutes here
)
def test_any_table_is_trained_on_and_predicted_or_refused_with_a_reason(
    live: httpx.Client, table: tuple[list[str], list[list[Any]]], data: st.DataObject
) -> None:
    make = data.draw(st.sampled_from([as_csv, as_parquet]), label="format")
    file = {"file": ("table", make(*table))}
    dataset = checked(live.post("/v1/datasets", files=file), 201)
    event(f"upload: {dataset is not None}")
    if dataset is None:
        return
    job = data.draw(jobs(dataset["columns"]), label="job")
    job["dataset"]["id"] = dataset["id"]
    submitted = checked(live.post("/v1/jobs", json=job), 202)
    event(f"job: {submitted is not None}")
    if submitted is None:
        return
    over = finished(live, submitted["id"])
    assert (over["state"], over["state_reason"]) in {
        ("succeeded", "completed"),
        ("failed", "invalid_data"),
        ("failed", "diverged"),
    }, over
    event(f"ended: {over['state_reason']}")
    if over["state"] == "failed":
        assert over["detail"]
        return
    model = f"/v1/models/{over['model']}"
    features = live.get(model).json()["features"]
    rows = [
        dict(zip(dataset_names(dataset, table), row, strict=False))
        for row in zip(*table[1], strict=True)
    ]
    instances = [{name: row.get(name) for name in features} for row in rows]
    body = json.dumps({"instances": _without_nan(instances)})
    headers = {"Content-Type": "application/json"}
    checked(live.post(f"{model}/predict", content=body, headers=headers), 200)
    checked(live.post(f"{model}/evaluate", json={"dataset": dataset["id"]}), 200)
    checked(live.post(f"{model}/importance", json={"num_repeats": 1}), 200)
    answer = live.post(f"{model}/predict-file", files=file)
    if answer.status_code == 200:
        assert len(list(csv.reader(io.StringIO(answer.text)))) > 1
    else:
        checked(answer)


def dataset_names(dataset: dict[str, Any], table: tuple[list[str], list[list[Any]]]) -> list[str]:
    """The names of the table's columns where the dataset has kept them all, or nearly."""
    kept = [column["name"] for column in dataset["columns"]]
    return kept if len(kept) == len(table[0]) else table[0]


def _without_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            name: None if isinstance(cell, float) and not math.isfinite(cell) else cell
            for name, cell in row.items()
        }
        for row in rows
    ]
