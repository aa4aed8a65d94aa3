import datetime as dt

import polars as pl
import pytest
import torch

from dropout_core.data.targets import find_classes, target_tensor
from dropout_core.errors import DataError


def frame(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(columns)


@pytest.mark.parametrize(
    ("values", "classes", "indices"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([True, False, True], (False, True), [1, 0, 1]),
        ([7, 3, 5], (3, 5, 7), [2, 0, 1]),
        ([0.5, -1.5, 0.5], (-1.5, 0.5), [1, 0, 1]),
    ],
)
def test_classes_are_sorted_and_counted_from_zero(
    values: list[object], classes: tuple[object, ...], indices: list[int]
) -> None:
    table = frame(target=values)
    found = find_classes(table, ["target"], "multiclass")
    assert found == classes
    assert target_tensor(table, ["target"], "multiclass", found).tolist() == indices


def test_a_value_that_is_no_class_is_named() -> None:
    with pytest.raises(DataError, match=r"row 2, column 'target': 'c' is none of the 2 classes"):
        target_tensor(frame(target=["a", "c"]), ["target"], "multiclass", ("a", "b"))


def test_the_targets_of_a_regression_are_numbers_in_their_own_units() -> None:
    table = frame(first=[1, 2, 3], second=[0.5, 1e300, -2.0])
    assert find_classes(table, ["second", "first"], "regression") is None
    targets = target_tensor(table, ["second", "first"], "regression", None)
    assert targets.dtype == torch.float64
    assert targets.tolist() == [[0.5, 1.0], [1e300, 2.0], [-2.0, 3.0]]
    with pytest.raises(DataError, match=r"row 1, column 'word': 'a' is no number"):
        target_tensor(frame(word=["a"]), ["word"], "regression", None)


def test_labels_are_zero_and_one_under_the_names_of_their_columns() -> None:
    table = frame(spam=[True, False], ad=[0, 1], odd=[0, 2], word=["a", "b"])
    classes = find_classes(table, ["spam", "ad"], "multilabel")
    assert classes == ("spam", "ad")
    targets = target_tensor(table, ["spam", "ad"], "multilabel", classes)
    assert targets.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(DataError, match=r"row 2, column 'odd': 2 is neither 0 nor 1"):
        target_tensor(table, ["odd"], "multilabel", ("odd",))
    with pytest.raises(DataError, match=r"row 1, column 'word': 'a' is no number"):
        target_tensor(table, ["word"], "multilabel", ("word",))


@pytest.mark.parametrize("task", ["binary", "multilabel", "regression"])
def test_a_missing_value_is_named_by_row_and_column(task: str) -> None:
    table = frame(target=[1, 0, None, None])
    with pytest.raises(DataError, match=r"row 3, column 'target': a value is missing"):
        target_tensor(table, ["target"], task, (0, 1))


WORDS = ("1", "2", "unk")


@pytest.mark.parametrize(
    ("classes", "values", "indices"),
    [
        (WORDS, [2, 1], [1, 0]),
        (WORDS, [2.0, 1.0], [1, 0]),
        (WORDS, [" 2", "unk ", "1.0"], [1, 2, 0]),
        (("01", "02", "10"), [10, 1], [2, 0]),
        (("False", "Maybe", "True"), [True, False], [2, 0]),
        ((False, True), [1, 0], [1, 0]),
        ((False, True), ["true", "FALSE"], [1, 0]),
        ((0, 1), [True, False], [1, 0]),
        ((1, 2), ["1.0", "2"], [0, 1]),
        ((0.5, 2.0), ["2", ".5"], [1, 0]),
        (("2024-01-31", "later"), [dt.datetime(2024, 1, 31)], [0]),
        ((2**53, 2**53 + 1), [str(2**53 + 1)], [1]),
    ],
)
def test_a_label_is_matched_as_a_feature_is_however_it_is_stored(
    classes: tuple[object, ...], values: list[object], indices: list[int]
) -> None:
    table = frame(target=values)
    assert target_tensor(table, ["target"], "multiclass", classes).tolist() == indices


def test_numbers_and_labels_in_text_are_read() -> None:
    table = frame(price=["1.5", " 2"], spam=["true", "0"])
    assert target_tensor(table, ["price"], "regression", None).tolist() == [[1.5], [2.0]]
    assert target_tensor(table, ["spam"], "multilabel", ("spam",)).tolist() == [[1.0], [0.0]]


def test_a_class_that_was_not_seen_is_named_however_it_is_stored() -> None:
    with pytest.raises(DataError, match=r"row 2, column 'target': 3 is none of the 3 classes"):
        target_tensor(frame(target=[1, 3]), ["target"], "multiclass", WORDS)


def test_a_long_value_is_no_class() -> None:
    table = pl.DataFrame({"target": ["x" * 201, "y"]})
    with pytest.raises(DataError, match="column 'target': a value has more than 200 characters"):
        find_classes(table, ["target"], "multiclass")
