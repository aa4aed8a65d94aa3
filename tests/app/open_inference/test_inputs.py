import json
import tracemalloc
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from app.http.errors import RequestError
from app.open_inference import inputs
from app.open_inference.requests import parse
from dropout_core.config import FeatureType
from dropout_core.data.encoder import Encoder
from dropout_core.model import predictor as predictor_module
from dropout_core.model.predictor import Predictor
from tests.support.inference_requests import body, in_bytes, in_json, packed, rows
from tests.support.served_models import make_model, tabular_run

KINDS: dict[str, FeatureType] = {
    "age": "numeric",
    "member": "boolean",
    "city": "categorical",
    "since": "datetime",
    "note": "text",
}
PEOPLE = [
    [41.0, True, "Oslo", "2024-03-01", "a good year"],
    [None, False, "Rome", "2024-12-24T18:30:00Z", "good"],
    [18.5, True, None, "24.12.2024", None],
    [77, False, "somewhere else", "2024-01-31", ""],
]


def make_predictor(types: dict[str, FeatureType]) -> Predictor:
    """A model of these of the features; `age`, a city and a note were missing in training."""
    columns = {
        "age": [None, 20.0, 50.0, 80.0] * 5,
        "member": [True, False] * 10,
        "city": ["Oslo", "Rome", "Bonn", None] * 5,
        "since": ["2024-01-01", "2024-07-14T10:00:00", "2025-02-03", "2024-05-06"] * 5,
        "note": ["a good year", "bad", None, "so so"] * 5,
    }
    target = pl.Series("leaves", ["yes", "no"] * 10)
    frame = pl.DataFrame(columns).select(list(types)).with_columns(target)
    if "since" in types:
        frame = frame.with_columns(pl.col("since").str.to_datetime(format=None, strict=False))
    run = tabular_run(frame, target="leaves", types=types)
    return Predictor(run.model, run.description)


@pytest.fixture(scope="module")
def mixed() -> Predictor:
    return make_predictor(KINDS)


@pytest.fixture(scope="module")
def numeric() -> Predictor:
    return make_predictor({"age": "numeric", "member": "boolean"})


def matrix_of(
    predictor: Predictor, *tensors: dict[str, Any], contents: bytes = b"", **parameters: Any
) -> NDArray[np.float64]:
    content, length = body(*tensors, contents=contents, parameters=parameters)
    request = parse(content, length)
    table = inputs.table_of(predictor, request.inputs)
    parts = inputs.encoded(predictor, table, refuse_missing=request.refuse_missing)
    return np.concatenate(list(parts))


def refusal(predictor: Predictor, *tensors: dict[str, Any], **parameters: Any) -> str:
    with pytest.raises(RequestError) as refused:
        matrix_of(predictor, *tensors, **parameters)
    assert refused.value.status == 400
    return refused.value.detail


def encoder_of(predictor: Predictor) -> Encoder:
    return predictor.description.encoder


def encoded(predictor: Predictor, instances: list[Any]) -> NDArray[np.float64]:
    return encoder_of(predictor).encode(predictor.frame_of(instances))


def same_bits(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    return first.tobytes() == second.tobytes()


def column(name: str, datatype: str) -> dict[str, Any]:
    cells = [row[list(KINDS).index(name)] for row in PEOPLE]
    return in_json(name, datatype, [len(cells)], cells)


def people() -> list[dict[str, Any]]:
    datatypes = {"age": "FP64", "member": "BOOL", "city": "BYTES", "since": "BYTES"}
    return [column(name, datatypes.get(name, "BYTES")) for name in KINDS]


def test_a_cell_means_what_it_means_in_a_row_of_json(mixed: Predictor) -> None:
    expected = encoded(mixed, PEOPLE)
    assert same_bits(matrix_of(mixed, *people()), expected)
    assert same_bits(matrix_of(mixed, *reversed(people())), expected)


def test_texts_may_come_as_bytes_and_columns_upright(mixed: Predictor) -> None:
    texts = ["2024-03-01", "2024-12-24T18:30:00Z", "24.12.2024", "2024-01-31"]
    contents = packed([text.encode() for text in texts])
    tensors = [tensor for tensor in people() if tensor["name"] != "since"]
    tensors += [in_bytes("since", "BYTES", [4, 1], len(contents))]
    expected = matrix_of(mixed, *people())
    assert same_bits(matrix_of(mixed, *tensors, contents=contents), expected)


def test_what_is_not_given_is_missing(mixed: Predictor) -> None:
    known = ["2024-03-01", True]
    tensors = [in_json("since", "BYTES", [1], known[:1]), in_json("member", "BOOL", [1], known[1:])]
    expected = encoded(mixed, [{"since": known[0], "member": known[1]}])
    assert same_bits(matrix_of(mixed, *tensors), expected)


def test_a_category_may_be_a_number_or_a_truth_value() -> None:
    frame = pl.DataFrame({"zone": [1, 2, 3, 4] * 5, "y": ["a", "b"] * 10})
    run = tabular_run(frame, target="y", types={"zone": "categorical"})
    predictor = Predictor(run.model, run.description)
    expected = encoded(predictor, [[3], [1]])
    for datatype, cells in {"INT8": [3, 1], "FP32": [3.0, 1.0], "BYTES": ["3", "1"]}.items():
        found = matrix_of(predictor, in_json("zone", datatype, [2], cells))
        assert same_bits(found, expected)


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16", "INT64", "INT8", "UINT8"])
def test_numbers_of_any_datatype_are_the_features_at_once(
    numeric: Predictor, datatype: str
) -> None:
    matrix = np.array([[41, 1], [18, 0], [77, 1]])
    expected = encoder_of(numeric).encode_numbers(matrix.astype(np.float64))
    assert same_bits(matrix_of(numeric, rows(matrix, datatype=datatype)), expected)


def test_numbers_may_come_by_the_names_of_their_features(numeric: Predictor) -> None:
    expected = encoder_of(numeric).encode_numbers(np.array([[41.0, 1.0], [np.nan, 0.0]]))
    ages = in_json("age", "INT32", [2, 1], [41, None])
    members = in_json("member", "BOOL", [2], [True, False])
    assert same_bits(matrix_of(numeric, members, ages), expected)
    numbers = in_json("member", "UINT8", [2], [1, 0])
    assert same_bits(matrix_of(numeric, ages, numbers), expected)


def test_a_feature_may_be_called_input() -> None:
    names = ["input", "x"]
    frame = pl.DataFrame({name: [0.0, 1.0] * 10 for name in names} | {"y": ["a", "b"] * 10})
    run = tabular_run(frame, target="y", types=dict.fromkeys(names, "numeric"))
    predictor = Predictor(run.model, run.description)
    both = matrix_of(predictor, rows(np.array([[1.0, 2.0]])))
    apart = [in_json("x", "FP64", [1], [2.0]), in_json("input", "FP64", [1], [1.0])]
    assert same_bits(matrix_of(predictor, *apart), both)


def test_what_training_never_missed_is_imputed_if_asked(
    numeric: Predictor, mixed: Predictor
) -> None:
    hole = rows(np.array([[41.0, 1.0], [41.0, np.nan]]))
    assert "row 2, column 'member': a value is missing" in refusal(numeric, hole)
    expected = encoder_of(numeric).encode_numbers(
        np.array([[41.0, 1.0], [41.0, np.nan]]), refuse_missing=False
    )
    assert same_bits(matrix_of(numeric, hole, missing="impute"), expected)
    assert "'member': a value is missing" in refusal(mixed, column("since", "BYTES"))
    assert matrix_of(mixed, column("since", "BYTES"), missing="impute").shape[0] == len(PEOPLE)


def test_rows_are_encoded_in_parts_that_name_their_rows(
    mixed: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor_module, "MAX_CELLS", 1)
    num_rows = 3 * predictor_module.TILE_ROWS
    dates = ["2024-03-01"] * num_rows
    members: list[bool | None] = [True] * num_rows
    since = in_json("since", "BYTES", [num_rows], dates)
    member = in_json("member", "BOOL", [num_rows], members)
    whole = matrix_of(mixed, since, member)
    assert same_bits(
        whole,
        encoded(mixed, [[None, True, None, d, None] for d in dates]),
    )
    members[70] = None
    assert "row 71, column 'member'" in refusal(
        mixed, since, in_json("member", "BOOL", [num_rows], members)
    )


def test_a_column_of_many_is_made_a_table_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "MAX_CELLS", 10_000)
    predictor = Predictor(*make_model(num_features=50))
    column = in_json("feature 0", "UINT8", [20_000], [1] * 20_000)
    request = parse(body(column)[0], None)
    tracemalloc.start()
    try:
        table = inputs.table_of(predictor, request.inputs)
        for part in inputs.encoded(predictor, table, refuse_missing=False):
            assert len(part) == 10_000 // 50
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All rows at once are 8 MB, and a part of them is 80 KB.
    assert peak < 1_000_000


ONE = {"age": in_json("age", "FP64", [1], [1.0]), "member": in_json("member", "BOOL", [1], [True])}
UNFIT: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a wide matrix": ([rows(np.ones((2, 3)))], "input 'input': the shape [2, 3] is not [-1, 2]"),
    "no matrix": ([rows(np.ones(2))], "input 'input': the shape [2] is not [-1, 2]"),
    "a matrix of texts": (
        [in_json("input", "BYTES", [1, 2], ["1", "2"])],
        "input 'input': BYTES",
    ),
    "a matrix and more": ([rows(np.ones((1, 2))), ONE["age"]], "input 'input' has all features"),
    "an unknown name": ([in_json("size", "FP64", [1], [1.0])], "input 'size': the model has no"),
    "the target": ([in_json("leaves", "BYTES", [1], ["no"])], "input 'leaves': the model has no"),
    "texts for numbers": ([in_json("age", "BYTES", [1], ["41"])], "input 'age': BYTES"),
    "a row of columns": ([in_json("age", "FP64", [1, 2], [1, 2])], "input 'age': the shape [1, 2]"),
    "uneven columns": (
        [ONE["age"], in_json("member", "BOOL", [2], [True, True])],
        "different numbers of rows",
    ),
    "no truth value": (
        [in_json("member", "FP64", [1], [2.0])],
        "row 1, column 'member': 2.0 is no",
    ),
    "infinity": ([in_json("age", "FP32", [1], [1e39]), ONE["member"]], "row 1, column 'age': inf"),
}


@pytest.mark.parametrize("flaw", UNFIT)
def test_an_input_that_does_not_fit_the_model_is_named(numeric: Predictor, flaw: str) -> None:
    tensors, reason = UNFIT[flaw]
    assert reason in refusal(numeric, *tensors)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (in_json("since", "INT64", [1], [1]), "input 'since': INT64"),
        (in_json("note", "FP64", [1], [1.0]), "input 'note': FP64"),
        (in_json("age", "BYTES", [1], ["41"]), "input 'age': BYTES"),
        (in_json("since", "BYTES", [1], ["some day"]), "row 1, column 'since': 'some day' is no"),
        (rows(np.ones((1, 5))), "input 'input': the model has no such input"),
    ],
)
def test_an_input_that_does_not_fit_its_feature_is_named(
    mixed: Predictor, tensor: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(mixed, tensor)


def test_half_of_a_surrogate_pair_is_no_text(mixed: Predictor) -> None:
    text = json.dumps({"inputs": [in_json("city", "BYTES", [1], ["\ud800"])]})
    with pytest.raises(RequestError, match="not JSON"):
        parse(text.encode(), None)
