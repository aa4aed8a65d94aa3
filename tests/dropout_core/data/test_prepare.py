from typing import Any

import polars as pl
import pytest
import torch

from dropout_core.data.errors import DataError
from dropout_core.data.prepare import class_tensor, feature_tensor, find_classes, value_tensor

FRAME = pl.DataFrame(
    {
        "whole": [3, 1, 2],
        "real": [0.5, -1.5, 1e300],
        "flag": [True, False, True],
        "word": ["b", "a", "B"],
        "gappy": [1, None, 3],
    }
)


def test_features_are_columns_in_the_order_asked_for() -> None:
    features = feature_tensor(FRAME, ["flag", "whole", "real"])
    assert features.dtype == torch.float64
    assert features.tolist() == [[1, 3, 0.5], [0, 1, -1.5], [1, 2, 1e300]]


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        ("word", ("B", "a", "b")),
        ("whole", (1, 2, 3)),
        ("flag", (False, True)),
        ("real", (-1.5, 0.5, 1e300)),
    ],
)
def test_classes_are_sorted_and_rows_hold_their_places(
    target: str, classes: tuple[Any, ...]
) -> None:
    assert find_classes(FRAME, target) == classes
    indices = class_tensor(FRAME, target, classes)
    assert indices.dtype == torch.int64
    assert [classes[index] for index in indices] == FRAME[target].to_list()


def test_a_value_that_is_no_class_is_named_with_its_place() -> None:
    with pytest.raises(DataError, match="row 3, column 'word': 'B' is none of the 2 classes"):
        class_tensor(FRAME, "word", ("a", "b"))


@pytest.mark.parametrize("target", ["whole", "real"])
def test_values_are_numbers(target: str) -> None:
    values = value_tensor(FRAME, target)
    assert values.dtype == torch.float64
    assert values.tolist() == FRAME[target].to_list()


@pytest.mark.parametrize("target", ["word", "flag"])
def test_values_that_are_no_numbers_are_refused(target: str) -> None:
    with pytest.raises(DataError, match=f"column '{target}': the target of a regression"):
        value_tensor(FRAME, target)


def test_words_are_no_features() -> None:
    with pytest.raises(DataError, match="column 'word': a feature has to be numeric or boolean"):
        feature_tensor(FRAME, ["whole", "word"])


@pytest.mark.parametrize(
    "use",
    [
        lambda name: feature_tensor(FRAME, [name]),
        lambda name: find_classes(FRAME, name),
        lambda name: class_tensor(FRAME, name, (1, 3)),
        lambda name: value_tensor(FRAME, name),
    ],
    ids=["features", "find classes", "classes", "values"],
)
def test_missing_columns_and_missing_values_are_named(use: Any) -> None:
    with pytest.raises(DataError, match="column 'unheard of': the data has no such column"):
        use("unheard of")
    with pytest.raises(DataError, match="row 2, column 'gappy': a value is missing"):
        use("gappy")


def test_tensors_may_be_written_to() -> None:
    feature_tensor(FRAME, ["real"]).zero_()
    value_tensor(FRAME, "real").zero_()
    assert FRAME["real"].to_list() == [0.5, -1.5, 1e300]
