"""A column that lists labels: what it says, and what it is refused for."""

from typing import Any

import polars as pl
import pytest

from dropout_core.config import ProblemConfig
from dropout_core.data.columns import describe
from dropout_core.data.labels import MAX_LABELS, LabelColumn, listed_labels, of_labels
from dropout_core.data.labels import target_columns as target_columns_of
from dropout_core.data.stored_types import StoredAs
from dropout_core.data.targets import labelled
from dropout_core.errors import DataError

GENRES = LabelColumn(name="^genres$", delimiter="|")  # a name that polars takes for a pattern
CELLS = ["action| drama", "drama||", "|", None, " ", "*|drama", "action|action"]
STORED: dict[str, StoredAs] = {"genres": "text", "size": "number", "town": "text"}


def films(cells: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({GENRES.name: cells, "size": range(len(cells))})


def test_labels_are_the_sorted_parts_of_all_cells_without_white_space() -> None:
    assert GENRES.find(films(CELLS)) == {"*": 1, "action": 2, "drama": 3}
    several = LabelColumn(name=GENRES.name, delimiter=" / ")
    assert several.find(films(["a/b / c", "c"])) == {"a/b": 1, "c": 2}
    words = LabelColumn(name=GENRES.name, delimiter=" ")
    assert words.find(films(["b  a", " a "])) == {"a": 2, "b": 1}


def test_each_label_has_a_column_and_an_empty_cell_has_no_target() -> None:
    expanded = GENRES.expand(films(CELLS), ["*", "action", "drama"])
    assert expanded.columns == ["size", "*", "action", "drama"]
    assert expanded["action"].to_list() == [True, False, False, None, None, False, True]
    assert expanded["drama"].to_list() == [True, True, False, None, None, True, False]
    assert expanded["*"].to_list() == [False, False, False, None, None, True, False]
    assert GENRES.expand(films(CELLS).drop("size"), ["*", "action", "drama"]).shape == (7, 3)
    assert GENRES.expand(films(CELLS).clear(), ["action"]).shape == (0, 2)


def test_rows_beyond_those_that_are_split_at_once_are_expanded_alike() -> None:
    cells = [f"label {row % 7}|all" for row in range(10_000)]
    labels = GENRES.find(films(cells))
    assert labels["all"] == 10_000
    expanded = GENRES.expand(films(cells), labels)
    assert expanded["label 3"].to_list() == [row % 7 == 3 for row in range(10_000)]


def test_labels_are_described_as_their_columns_would_be() -> None:
    table = films(["a|b", None, "b", "c|b"])
    labels = GENRES.find(table)
    (genres, _) = describe(table)
    told = GENRES.described(labels, genres, num_rows=len(table))
    facts = ("name", "stored_as", "integral", "num_missing", "num_distinct")
    columns = describe(GENRES.expand(table, labels))[1:]
    for column, expected in zip(told, columns, strict=True):
        assert [getattr(column, fact) for fact in facts] == [getattr(expected, f) for f in facts]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["|", None], "no row has a label"),
        (["a", "b" * 201], "a label has more than 200 characters"),
        (["a", "|".join("ab" * MAX_LABELS)], "row 2, .*more than 1000 labels"),
        ([str(number) for number in range(MAX_LABELS + 1)], "more than 1000 labels"),
    ],
)
def test_labels_that_cannot_be_outputs_are_refused(cells: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        GENRES.find(films(cells))
    assert (refused.value.column, refused.value.field) == (GENRES.name, "target_delimiter")


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"target": ["genres", "town"]}, "target_delimiter", "one column"),
        ({"target": "size"}, "target_delimiter", "a number column"),
        ({"target": "kind"}, "target", "no such column"),
        ({"task": "multiclass"}, "target_delimiter", "multilabel task, not multiclass"),
        ({"types": {"genres": "text"}}, "types", "no type"),
        ({"features": ["size", "genres"]}, "features", "cannot be a feature"),
        ({"weight": "genres"}, "weight", "cannot be the weight"),
        ({"split": {"kind": "grouped", "column": "genres"}}, "split", "by their target"),
    ],
)
def test_a_problem_that_uses_the_column_otherwise_is_refused(
    changes: dict[str, Any], field: str, message: str
) -> None:
    problem = ProblemConfig(**{"target": "genres", "target_delimiter": "|"} | changes)
    with pytest.raises(DataError, match=message) as refused:
        listed_labels(problem, STORED)
    assert refused.value.field == field


def test_a_label_with_the_name_of_a_column_is_refused_with_advice() -> None:
    problem = ProblemConfig(target=["genres"], target_delimiter="|")
    assert listed_labels(problem, STORED) == LabelColumn(name="genres", delimiter="|")
    assert of_labels(problem, ["a", "b"], columns=STORED).target == ("a", "b")
    with pytest.raises(DataError, match=r"'town'.*rename the column"):
        of_labels(problem, ["a", "town"], columns=STORED)


def test_a_table_is_scored_on_the_column_or_on_one_for_each_label() -> None:
    def targets(table: pl.DataFrame) -> Any:
        rows, values = labelled(table, ["1", "2"], "multilabel", ("1", "2"), label_column=GENRES)
        assert len(rows) == len(values)
        return values.tolist()

    expected = [[1.0, 1.0], [0.0, 1.0]]
    assert targets(films(["1|2", None, "2", "NA"])) == expected
    assert targets(pl.DataFrame({"2": [1, 1, None], "1": [True, False, True]})) == expected
    assert targets(films([1, 2])) == [[1.0, 0.0], [0.0, 1.0]]  # a file of no cell with two
    with pytest.raises(DataError, match=r"row 2, .*'2\|3' has '3', which is none of the 2 labels"):
        targets(films(["1", "2|3"]))
    with pytest.raises(DataError, match="nor a column for each label"):
        target_columns_of(["1", "size"], ["1", "2"], GENRES)
