import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.config import FeatureType, SplitConfig
from dropout_core.data.columns import Column, TopValue, describe
from dropout_core.data.selection import MAX_CLASSES, select
from dropout_core.errors import DataError

FRAME = pl.DataFrame(
    {
        "whole": [1, 2, 2, 4],
        "real": [0.5, -1.5, 0.5, 2.5],
        "flag": [True, False, True, True],
        "word": ["a", "b", None, "a"],
        "gappy": [1, None, None, 3],
        "when": [datetime(2024, 2, 29, 12, 0, 0, 500_000), datetime(1969, 7, 20), None, None],
        "same": ["x"] * 4,
        "same or missing": ["x", "x", None, "x"],
        "nothing": pl.Series([None] * 4, dtype=pl.Float64),
    }
)


def test_columns_are_described_as_they_are() -> None:
    assert [column.model_dump(exclude_defaults=True) for column in describe(FRAME)] == [
        {
            "name": "whole",
            "type": "numeric",
            "stored_as": "number",
            "integral": True,
            "num_missing": 0,
            "num_distinct": 3,
            "minimum": 1.0,
            "maximum": 4.0,
            "mean": 2.25,
            "standard_deviation": pytest.approx(1.0897247),
            "top_values": (
                {"value": 2, "count": 2},
                {"value": 1, "count": 1},
                {"value": 4, "count": 1},
            ),
        },
        {
            "name": "real",
            "type": "numeric",
            "stored_as": "number",
            "integral": False,
            "num_missing": 0,
            "num_distinct": 3,
            "minimum": -1.5,
            "maximum": 2.5,
            "mean": 0.5,
            "standard_deviation": pytest.approx(1.4142136),
        },
        {
            "name": "flag",
            "type": "boolean",
            "stored_as": "boolean",
            "integral": False,
            "num_missing": 0,
            "num_distinct": 2,
            "top_values": ({"value": True, "count": 3}, {"value": False, "count": 1}),
        },
        {
            "name": "word",
            "type": "categorical",
            "stored_as": "text",
            "integral": False,
            "num_missing": 1,
            "num_distinct": 2,
            "top_values": ({"value": "a", "count": 2}, {"value": "b", "count": 1}),
        },
        {
            "name": "gappy",
            "type": "numeric",
            "stored_as": "number",
            "integral": True,
            "num_missing": 2,
            "num_distinct": 2,
            "minimum": 1.0,
            "maximum": 3.0,
            "mean": 2.0,
            "standard_deviation": 1.0,
            "top_values": ({"value": 1, "count": 1}, {"value": 3, "count": 1}),
        },
        {
            "name": "when",
            "type": "datetime",
            "stored_as": "datetime",
            "integral": False,
            "num_missing": 2,
            "num_distinct": 2,
            "earliest": "1969-07-20T00:00:00Z",
            "latest": "2024-02-29T12:00:00.500Z",
        },
        {
            "name": "same",
            "type": "constant",
            "stored_as": "text",
            "integral": False,
            "num_missing": 0,
            "num_distinct": 1,
            "top_values": ({"value": "x", "count": 4},),
        },
        {
            "name": "same or missing",
            "type": "categorical",
            "stored_as": "text",
            "integral": False,
            "num_missing": 1,
            "num_distinct": 1,
            "top_values": ({"value": "x", "count": 3},),
        },
        {
            "name": "nothing",
            "type": "numeric",
            "stored_as": "number",
            "integral": False,
            "num_missing": 4,
            "num_distinct": 0,
        },
    ]


def test_a_file_is_described_as_its_frame_is(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "table.parquet")
    assert describe(pl.scan_parquet(tmp_path / "table.parquet")) == describe(FRAME)


def test_a_column_comes_back_from_json() -> None:
    for column in describe(FRAME):
        assert Column(**json.loads(column.model_dump_json())) == column


def test_a_table_without_rows_or_columns_is_described() -> None:
    assert [column.num_distinct for column in describe(FRAME.clear())] == [0] * FRAME.width
    assert describe(pl.DataFrame()) == []


@pytest.mark.parametrize("name", ["^.*$", "*", "count", "value", "0", ""])
def test_a_column_may_have_any_name(name: str) -> None:
    first, second = describe(pl.DataFrame({name: [1, 1, 2], "other": [True, False, None]}))
    assert (first.name, first.num_distinct, first.mean) == (name, 2, pytest.approx(4 / 3))
    assert first.top_values == (TopValue(value=1, count=2), TopValue(value=2, count=1))
    assert (second.name, second.num_distinct) == ("other", 2)


@given(
    values=st.lists(
        st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30
    )
)
@settings(deadline=None, max_examples=50)
def test_moments_are_those_of_the_values_however_large(values: list[float | None]) -> None:
    (column,) = describe(pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)}))
    present = np.array([value for value in values if value is not None])
    assert column.num_missing == len(values) - len(present)
    assert column.num_distinct == len(set(present))
    if not len(present):
        assert column.mean is column.standard_deviation is column.minimum is None
        return
    assert (column.minimum, column.maximum) == (present.min(), present.max())
    assert column.mean is not None
    assert column.standard_deviation is not None
    # Sums of up to 30 values that are rounded after each addition, relative to the largest.
    largest = float(np.abs(present).max()) or 1.0
    assert column.mean / largest == pytest.approx((present / largest).mean(), abs=1e-14)
    # The root of a variance that is lost below 1e-308 is lost below 1e-154.
    deviation = column.standard_deviation / largest
    assert deviation == pytest.approx((present / largest).std(), abs=max(1e-7, 1e-150 / largest))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="column 'x': not all of its numbers are finite"):
        describe(pl.DataFrame({"ok": [1.0, 2.0], "x": [1.0, value]}))


def test_values_of_another_type_are_refused() -> None:
    with pytest.raises(DataError, match=r"column 'x': values of type List\(Int64\)"):
        describe(pl.DataFrame({"x": [[1], [2]]}))


@pytest.mark.parametrize("num_distinct", [9_000, 10_000])
def test_distinct_values_are_counted_to_10_000(num_distinct: int) -> None:
    numbers = pl.DataFrame({"whole": np.arange(20_000) % num_distinct * 7})
    frame = numbers.with_columns(real=pl.col("whole") / 3, word=pl.col("whole").cast(pl.String))
    assert [column.num_distinct for column in describe(frame)] == [num_distinct] * 3


def test_more_distinct_values_are_estimated_and_never_more_than_there_are() -> None:
    values = np.random.default_rng(0).permutation(100_000)
    frame = pl.DataFrame({"all": values / 7, "half": (values % 50_000) / 7})
    for column, num_distinct in zip(describe(frame), (100_000, 50_000), strict=True):
        # 6.11 times the error of 3.25 % of HyperLogLog with 1024 registers.
        assert column.num_distinct == pytest.approx(num_distinct, rel=0.2)
        assert column.num_distinct <= 100_000


def test_the_most_frequent_values_come_first_and_equals_in_order() -> None:
    counts = {f"v{i:02}": 1 + (i == 14) + (i == 3) for i in range(15)}
    words = [word for word, count in counts.items() for _ in range(count)][::-1]
    (column,) = describe(pl.DataFrame({"word": words}))
    assert [top.value for top in column.top_values] == [
        *("v03", "v14"),
        *("v00", "v01", "v02", "v04", "v05", "v06", "v07", "v08"),
    ]
    assert [top.count for top in column.top_values] == [2, 2, *[1] * 8]


def type_of(values: Any, name: str = "x") -> str:
    (column,) = describe(pl.DataFrame({name: values}))
    return column.type


SENTENCE = "the parcel number {} arrived late"
REVIEW = "A long review, which is the {}th of many that say about the same of one thing"


@pytest.mark.parametrize(
    ("values", "name", "type_"),
    [
        (range(50), "x", "identifier"),
        (range(1000, 1050), "x", "identifier"),
        (range(49), "x", "numeric"),
        (range(49), "id", "numeric"),
        ([*range(49), 50], "x", "numeric"),
        ([*range(49), 50], "id", "identifier"),
        ([n % 101 * 7 for n in range(200)], "index", "identifier"),
        ([n % 99 * 7 for n in range(200)], "index", "numeric"),
        ([n % 101 * 7 for n in range(200)], "x", "numeric"),
        ([*range(49), 50], "user_id", "identifier"),
        ([*range(49), 50], "userId", "identifier"),
        ([*range(49), 50], "Order Key", "identifier"),
        ([*range(49), 50], "paid", "numeric"),
        ([*range(49), 50], "turkey", "numeric"),
        ([*range(49), 48], "id", "numeric"),
        ([float(i) for i in range(60)], "id", "numeric"),
        ([f"u{i}" for i in range(50)], "x", "identifier"),
        ([f"u{i}" for i in range(49)], "id", "categorical"),
        ([f"u{i % 45}" for i in range(50)], "x", "categorical"),
        ([f"u{i % 101}" for i in range(200)], "x", "identifier"),
        ([f"u{i % 101}" for i in range(203)], "x", "categorical"),
        ([hashlib.sha256(bytes([i])).hexdigest() for i in range(60)], "x", "identifier"),
        ([f"city {i % 40}" for i in range(200)], "x", "categorical"),
        ([SENTENCE.format(i) for i in range(101)], "x", "text"),
        ([SENTENCE.format(i) for i in range(5)], "x", "categorical"),
        ([REVIEW.format(i) for i in range(5)], "x", "text"),
        ([REVIEW.format(i % 5) for i in range(50)], "x", "categorical"),
        ([REVIEW.format(i % 110) for i in range(500)], "x", "text"),
        (["a", "b", "c", "d", "e"], "x", "categorical"),
        ([7] * 5, "x", "constant"),
        ([7, None], "x", "numeric"),
        ([True, True], "x", "constant"),
    ],
)
def test_the_type_follows_from_the_values(values: Any, name: str, type_: str) -> None:
    assert type_of(list(values), name) == type_


def test_a_large_table_is_judged_by_exact_counts() -> None:
    """Also where an estimate could not tell: one repetition, or just half of the values."""
    sequence = list(range(30_000))
    assert type_of(sequence) == "identifier"
    assert type_of([*sequence[:-1], 0]) == "numeric"
    assert type_of([*sequence[:-1], 0], "id") == "identifier"
    assert type_of([n % 15_001 for n in range(30_000)], "id") == "identifier"
    assert type_of([n % 15_000 for n in range(30_000)], "id") == "numeric"
    assert type_of([f"u{i % 15_001}" for i in range(30_000)]) == "identifier"
    assert type_of([f"u{i % 15_000}" for i in range(30_000)]) == "categorical"


def column(
    kind: Any, num_distinct: int, *, name: str = "target", stored_as: Any = None, **facts: Any
) -> Column:
    stored = {"categorical": "text", "text": "text", "boolean": "boolean", "datetime": "datetime"}
    facts = {"integral": False, "num_missing": 0, **facts}
    stored_as = stored_as or stored.get(kind, "number")
    return Column(name=name, type=kind, stored_as=stored_as, num_distinct=num_distinct, **facts)


FEATURE = column("numeric", 9, name="x")


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (column("categorical", 2), "binary"),
        (column("categorical", 3), "multiclass"),
        (column("categorical", MAX_CLASSES), "multiclass"),
        (column("text", 3), "multiclass"),
        (column("identifier", 60, stored_as="text"), "multiclass"),
        (column("boolean", 2), "binary"),
        (column("numeric", 2, integral=True), "binary"),
        (column("numeric", 50, integral=True), "multiclass"),
        (column("numeric", 51, integral=True), "regression"),
        (column("identifier", 60, integral=True), "regression"),
        (column("numeric", 2), "regression"),
        (column("numeric", 1000), "regression"),
    ],
    ids=str,
)
def test_the_task_follows_from_the_target(target: Column, task: str) -> None:
    assert select([FEATURE, target], target="target").task == task
    assert select([FEATURE, target], target=["target"]).task == task


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (column("numeric", 2, integral=True), "regression"),
        (column("numeric", 2), "multiclass"),
        (column("numeric", 1000), "multiclass"),
        (column("boolean", 2), "multilabel"),
    ],
    ids=str,
)
def test_a_task_that_is_asked_for_is_the_task(target: Column, task: Any) -> None:
    assert select([FEATURE, target], target="target", task=task).task == task


@pytest.mark.parametrize(
    ("target", "type_", "task"),
    [
        (column("numeric", 5, integral=True), "numeric", "regression"),
        (column("numeric", 2, integral=True), "numeric", "regression"),
        (column("numeric", 200, integral=True), "categorical", "multiclass"),
        (column("numeric", 2), "categorical", "binary"),
        (column("numeric", 2, minimum=0.0, maximum=1.0), "boolean", "binary"),
        (column("text", 3), "text", "multiclass"),
    ],
    ids=str,
)
def test_the_task_follows_from_the_type_that_a_target_is_given(
    target: Column, type_: FeatureType, task: str
) -> None:
    selection = select([FEATURE, target], target="target", types={"target": type_})
    assert selection.task == task
    assert selection.features == {"x": "numeric"}


@pytest.mark.parametrize(
    ("target", "task", "message"),
    [
        (column("categorical", 0, num_missing=4), None, "all values are missing"),
        (column("categorical", 3), "regression", "a regression needs a numeric target"),
        (column("boolean", 2), "regression", "a regression needs a numeric target"),
        (column("constant", 1, stored_as="text"), None, "1 distinct values, classes need 2"),
        (column("numeric", 1, integral=True), None, "1 distinct values"),
        (column("categorical", MAX_CLASSES + 1), None, "10001 distinct values"),
        (column("numeric", MAX_CLASSES + 1), "multiclass", "10001 distinct values"),
        (column("categorical", 3), "binary", "a binary target has 2 classes, this one has 3"),
        (column("datetime", 3), None, "a date cannot be a target"),
        (column("categorical", 2), "multilabel", "a label is a boolean, or a number"),
        (column("boolean", 1), "multilabel", "all values are the same"),
    ],
    ids=str,
)
def test_a_target_that_does_not_fit_its_task_is_refused(
    target: Column, task: Any, message: str
) -> None:
    with pytest.raises(DataError, match=f"column 'target': {message}") as caught:
        select([FEATURE, target], target="target", task=task)
    assert caught.value.field == "target"


LABELS = [
    column("boolean", 2, name="flag"),
    column("numeric", 2, name="zero_one", integral=True, minimum=0.0, maximum=1.0),
    column("numeric", 2, name="one_two", integral=True, minimum=1.0, maximum=2.0),
    column("numeric", 90, name="real"),
    column("categorical", 4, name="word"),
    FEATURE,
]


@pytest.mark.parametrize(
    ("targets", "types", "task"),
    [
        (("flag", "zero_one"), {}, "multilabel"),
        (("zero_one", "real"), {}, "regression"),
        (("one_two", "real"), {}, "regression"),
        (("zero_one", "one_two"), {}, "regression"),
        (("zero_one", "one_two"), {"zero_one": "numeric"}, "regression"),
    ],
)
def test_the_task_follows_from_several_targets(
    targets: tuple[str, ...], types: dict[str, FeatureType], task: str
) -> None:
    selection = select(LABELS, target=targets, types=types)
    assert (selection.task, selection.targets) == (task, targets)
    assert not set(targets) & set(selection.features)


def test_labels_may_be_numbers_if_that_is_asked_for() -> None:
    numbers = [LABELS[1], LABELS[1].model_copy(update={"name": "other"}), FEATURE]
    names = ["zero_one", "other"]
    assert select(numbers, target=names).task == "multilabel"
    assert select(numbers, target=names, task="regression").task == "regression"
    by_type = select(numbers, target=names, types={"zero_one": "numeric", "other": "numeric"})
    assert by_type.task == "regression"


@pytest.mark.parametrize(
    ("targets", "task", "message"),
    [
        (("flag", "real"), None, "several targets are either all numbers, or all booleans"),
        (("word", "real"), None, "several targets are either all numbers, or all booleans"),
        (("zero_one", "real"), "multilabel", "column 'real': a label is a boolean"),
        (("flag", "zero_one"), "regression", "column 'flag': a regression needs a numeric"),
        (("flag", "zero_one"), "binary", "a binary task has one target, not 2"),
        (("flag", "flag"), None, "column 'flag': the column is listed twice"),
        ((), None, "there is no target"),
    ],
)
def test_targets_that_do_not_go_together_are_refused(
    targets: tuple[str, ...], task: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        select(LABELS, target=targets, task=task)
    assert caught.value.field == "target"


TO_USE_ONE = "to use one, name it in `features` or `types`"

EVERY_TYPE = [
    column("numeric", 90, name="number"),
    column("numeric", 2, name="bit", minimum=0.0, maximum=1.0),
    column("boolean", 2, name="flag"),
    column("categorical", 4, name="word", num_missing=3),
    column("datetime", 80, name="when"),
    column("text", 99, name="prose"),
    column("constant", 1, name="same"),
    column("identifier", 99, name="id", integral=True),
    column("identifier", 99, name="hash", stored_as="text"),
    column("categorical", 0, name="nothing", num_missing=99),
    column("numeric", 90, name="target", num_missing=1),
]


@pytest.mark.parametrize(
    "name",
    [
        *("__index_level_0__", "__UNNAMED__0", "Unnamed: 0", "Unnamed: 0.1", "...1"),
        *("level_0", "level_1", "rownames", "row.names"),
    ],
)
def test_what_a_library_names_an_index_is_no_feature(name: str) -> None:
    frame = pl.DataFrame({name: [7, 7, 3, 4], "a": [1, 2, 3, 3], "y": ["b", "c", "b", "c"]})
    columns = describe(frame)
    assert [column.type for column in columns] == ["identifier", "numeric", "categorical"]
    selection = select(columns, target="y")
    assert list(selection.features) == ["a"]
    assert selection.warnings == (f"left out, being of identifiers: {name!r}; {TO_USE_ONE}",)
    assert list(select(columns, target="y", features=[name]).features) == [name]
    assert select(columns, target="y", types={name: "numeric"}).features[name] == "numeric"


@pytest.mark.parametrize("name", ["index", "Unnamed: 1", "level", "row", "name"])
def test_a_name_that_may_be_a_features_is_no_index(name: str) -> None:
    assert describe(pl.DataFrame({name: [1, 1, 2, 5]}))[0].type == "numeric"


def test_features_are_by_default_all_that_can_be_learnt_from() -> None:
    selection = select(EVERY_TYPE, target="target")
    assert list(selection.features.items()) == [
        ("number", "numeric"),
        ("bit", "numeric"),
        ("flag", "boolean"),
        ("word", "categorical"),
        ("when", "datetime"),
    ]
    assert selection.warnings == (
        "column 'target': 1 row is left out, having no target",
        f"left out, being of text: 'prose'; {TO_USE_ONE}",
        f"left out, being of one value: 'same'; {TO_USE_ONE}",
        f"left out, being of identifiers: 'id', 'hash'; {TO_USE_ONE}",
        "left out, being without a value: 'nothing'",
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_whole_numbers_that_a_network_cannot_tell_apart_are_told(sign: int) -> None:
    account = [sign * (2**53 + n % 4) for n in range(40)]
    columns = describe(pl.DataFrame({"account": account, "y": [0.5 * n for n in range(40)]}))
    (warning,) = select(columns, target="y").warnings
    assert warning.startswith("numbers beyond 2^53 lose their last digits as numeric features: 'ac")
    assert select(columns, target="y", types={"account": "categorical"}).warnings == ()


def test_features_keep_the_order_they_are_given_in_and_are_what_they_are_stored_as() -> None:
    listed = ["hash", "id", "same", "prose", "word", "number"]
    selection = select(EVERY_TYPE, target="target", features=listed)
    assert list(selection.features.items()) == [
        ("hash", "categorical"),
        ("id", "numeric"),
        ("same", "numeric"),
        ("prose", "text"),
        ("word", "categorical"),
        ("number", "numeric"),
    ]


def test_a_column_that_is_given_a_type_is_a_feature_unless_features_are_listed() -> None:
    types: dict[str, FeatureType] = {"prose": "text", "number": "categorical"}
    asked_for = select(EVERY_TYPE, target="target", types=types).features
    assert (asked_for["prose"], asked_for["number"]) == ("text", "categorical")
    listed = select(EVERY_TYPE, target="target", types=types, features=["number", "flag"])
    assert listed.features == {"number": "categorical", "flag": "boolean"}


def test_weight_and_split_column_are_no_features() -> None:
    split = SplitConfig(kind="time", column="when")
    positive = column("numeric", 5, name="w", minimum=0.0, maximum=2.0)
    selection = select([*EVERY_TYPE, positive], target="target", weight="w", split=split)
    assert selection.weight == "w"
    assert not {"w", "when", "target"} & set(selection.features)
    listed = select(EVERY_TYPE, target="target", split=split, features=["when"])
    assert listed.features == {"when": "datetime"}


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("number", {"numeric", "categorical"}),
        ("bit", {"numeric", "categorical", "boolean"}),
        ("flag", {"numeric", "categorical", "boolean"}),
        ("word", {"categorical", "text", "numeric", "datetime"}),  # the latter two by force
        ("when", {"categorical", "datetime"}),
    ],
)
def test_only_what_a_column_can_be_is_it_made(name: str, possible: set[str]) -> None:
    every_type: tuple[FeatureType, ...] = ("numeric", "categorical", "boolean", "datetime", "text")
    for type_ in every_type:
        if type_ in possible:
            selection = select(EVERY_TYPE, target="target", types={name: type_})
            assert selection.features[name] == type_
            continue
        with pytest.raises(DataError, match=f"column '{name}': a (boolean )?column of") as caught:
            select(EVERY_TYPE, target="target", types={name: type_})
        assert caught.value.field == "types"


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["unheard of"], "column 'unheard of': the data has no such column"),
        (["target"], "column 'target': the target cannot be a feature"),
        (["bit"], "column 'bit': the weight cannot be a feature"),
        (["word", "word"], "column 'word': the feature is listed twice"),
        (["nothing"], "column 'nothing': all values are missing"),
        ([], "there is no feature"),
    ],
)
def test_an_unusable_feature_is_named(features: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        select(EVERY_TYPE, target="target", features=features, weight="bit")
    assert caught.value.field == "features"


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (column("numeric", 3, name="w", minimum=-0.5, maximum=1.0), "the smallest is -0.5"),
        (column("numeric", 3, name="w", minimum=0.5, num_missing=2), "2 values are missing"),
        (column("constant", 1, name="w", minimum=0.0, maximum=0.0), "all weights are 0"),
        (column("boolean", 2, name="w"), "a weight has to be a number"),
        (column("numeric", 3, name="other"), "the data has no such column"),
    ],
    ids=str,
)
def test_an_unusable_weight_is_refused(weight: Column, message: str) -> None:
    with pytest.raises(DataError, match=f"column 'w': .*{message}") as caught:
        select([*EVERY_TYPE, weight], target="target", weight="w")
    assert caught.value.field == "weight"


def test_the_target_cannot_be_the_weight() -> None:
    with pytest.raises(DataError, match="the target cannot be the weight"):
        select(EVERY_TYPE, target="target", weight="target")


def test_without_any_usable_feature_there_is_nothing_to_learn_from() -> None:
    columns = [c for c in EVERY_TYPE if c.name in ("prose", "id", "target")]
    message = r"taken for a feature \(left out, being of text: 'prose'; left out, being of ident"
    with pytest.raises(DataError, match=message) as caught:
        select(columns, target="target")
    assert caught.value.field == "features"


@pytest.mark.parametrize("field", ["target", "types"])
def test_an_unknown_column_is_named(field: str) -> None:
    arguments: dict[str, Any] = {"target": "target", "types": {}}
    arguments[field] = {"target": "unheard of", "types": {"unheard of": "numeric"}}[field]
    message = "column 'unheard of': the data has no such column"
    with pytest.raises(DataError, match=message) as caught:
        select(EVERY_TYPE, **arguments)
    assert caught.value.field == field


@pytest.mark.parametrize("values", [[0.0, 1.0], [1.0, 2.0], [-1.0, 1.0]])
def test_two_whole_numbers_are_classes_also_beside_a_hole(values: list[float]) -> None:
    columns = describe(pl.DataFrame({"x": [0.5, 1.5, 2.5] * 3, "y": [*values, None] * 3}))
    assert select(columns, target="y").task == "binary"
    assert select(columns, target="y", types={"y": "numeric"}).task == "regression"


def test_two_other_numbers_are_a_regression_with_a_warning() -> None:
    columns = describe(pl.DataFrame({"x": [0.5, 1.5] * 3, "y": [0.5, 1.0] * 3}))
    selection = select(columns, target="y")
    assert selection.task == "regression"
    assert len(selection.warnings) == 1
    assert select(columns, target="y", task="regression").warnings == ()


def test_labels_beside_holes_are_labels() -> None:
    holed = pl.DataFrame({"x": [1.5, 2.5, 3.5], "a": [0.0, 1.0, None], "b": [1.0, None, 0.0]})
    assert select(describe(holed), target=("a", "b")).task == "multilabel"


@pytest.mark.parametrize("task", [None, "multiclass"])
@pytest.mark.parametrize("kind", ["identifier", "categorical"])
def test_classes_of_about_one_row_each_are_refused(task: Any, kind: Any) -> None:
    target = column(kind, 60, stored_as="text", num_missing=10)

    def selected(num_rows: int) -> Any:
        return select([FEATURE, target], target="target", task=task, num_rows=num_rows)

    with pytest.raises(DataError, match="60 classes in 60 rows: nothing is learned") as caught:
        selected(70)
    assert (caught.value.column, caught.value.field) == ("target", "target")
    with pytest.raises(DataError, match="60 classes in 119 rows"):
        selected(129)
    assert selected(130).task == "multiclass"


def test_a_small_table_may_have_a_class_for_each_row() -> None:
    target = column("categorical", 9, stored_as="text")
    assert select([FEATURE, target], target="target", num_rows=9).task == "multiclass"


@pytest.mark.parametrize(
    ("target", "task", "warning"),
    [
        (column("numeric", 90, num_missing=3), None, "3 rows are left out, having no target"),
        (column("numeric", 3), None, "its 3 numbers are taken for a regression; name the `task`"),
        (column("identifier", 99, stored_as="text"), None, "99 classes look like identifiers"),
        (column("constant", 1), "regression", "all values are the same"),
    ],
    ids=str,
)
def test_a_doubtful_target_is_warned_of(target: Column, task: Any, warning: str) -> None:
    (told,) = select([FEATURE, target], target="target", task=task).warnings
    assert warning in told
    assert "'target'" in told


def test_a_warning_names_a_few_columns_of_many() -> None:
    many = [column("constant", 1, name=f"pixel_{i}") for i in range(70)]
    (warning,) = select([*many, FEATURE, column("boolean", 2)], target="target").warnings
    assert "'pixel_3', 'pixel_4' and 65 more; to use one" in warning


def test_long_values_are_cut() -> None:
    words = ["x" * 10_000, "y" * 200, "z"]
    (column,) = describe(pl.DataFrame({"word": words * 2}))
    assert [top.value for top in column.top_values] == ["x" * 200 + "...", "y" * 200, "z"]


def test_a_long_value_is_no_class() -> None:
    columns = describe(pl.DataFrame({"x": [1.0, 2.0], "target": ["x" * 201, "y"]}))
    with pytest.raises(DataError, match="more than 200 characters") as caught:
        select(columns, target="target")
    assert caught.value.field == "target"


@pytest.mark.parametrize("num_rows", [2, 60_000])
def test_each_of_many_columns_gets_its_own_facts_whether_it_is_held_or_streamed(
    num_rows: int,
) -> None:
    frame = pl.DataFrame({f"x{i}": [float(i), i + 2.0] * (num_rows // 2) for i in range(101)})
    assert [column.mean for column in describe(frame)] == [i + 1.0 for i in range(101)]


def test_each_of_many_columns_gets_its_own_facts() -> None:
    columns = describe(pl.DataFrame({f"x{i}": [float(i), i + 2.0] for i in range(250)}))
    assert [column.mean for column in columns] == [i + 1.0 for i in range(250)]
