import json
import math
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.http.errors import RequestError
from app.open_inference.requests import parse
from app.open_inference.tensors import DATATYPES
from app.serving.errors import TooManyRows
from app.serving.instances import MAX_ROWS
from tests.support.inference_requests import DTYPES, body, in_bytes, in_json, packed

FOUR = in_json("x", "FP64", [2, 2], [1.0, 2.0, 3.0, 4.0])


def input_of(content: bytes, header_length: int | None = None) -> Any:
    """The values of the one input, its dtype to be seen."""
    (tensor,) = parse(content, header_length).inputs.values()
    return tensor.values


def refusal(content: bytes, header_length: int | None = None) -> str:
    with pytest.raises(RequestError) as refused:
        parse(content, header_length)
    assert refused.value.status == 400
    return refused.value.detail


def refusal_of(*inputs: dict[str, Any], contents: bytes | None = None, **fields: Any) -> str:
    content, length = body(*inputs, contents=contents or b"", **fields)
    return refusal(content, None if contents is None else length)


def test_every_datatype_of_the_protocol_is_known() -> None:
    assert set(DATATYPES) == {*DTYPES, "BF16", "BYTES"}


@pytest.mark.parametrize("datatype", DTYPES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_numbers_are_the_same_in_json_and_in_bytes(datatype: str, data: st.DataObject) -> None:
    shapes = arrays.array_shapes(max_dims=2, max_side=4)
    values = data.draw(arrays.arrays(DTYPES[datatype], shapes))
    content = values.tobytes()
    sent = in_bytes("x", datatype, values.shape, len(content))
    binary = input_of(*body(sent, contents=content))
    assert binary.dtype == values.dtype
    assert binary.tobytes() == content
    if np.isinf(values).any():  # which JSON has not
        return
    for cells in (values.ravel().tolist(), values.tolist()):
        told = input_of(body(in_json("x", datatype, values.shape, cells))[0])
        np.testing.assert_array_equal(told.astype(values.dtype), values)


def test_bytes_are_texts() -> None:
    texts = ["", "a", "größer", "\0"]
    content = packed([text.encode() for text in texts])
    sent = in_bytes("x", "BYTES", [4], len(content))
    assert input_of(*body(sent, contents=content)).tolist() == texts
    told = in_json("x", "BYTES", [2, 2], [[*texts[:2]], [None, texts[3]]])
    assert input_of(body(told)[0]).tolist() == [["", "a"], [None, "\0"]]


def test_bf16_is_the_upper_half_of_an_fp32() -> None:
    values = np.array([1.0, -2.5, math.inf], dtype="<f4")
    content = (values.view("<u4") >> 16).astype("<u2").tobytes()
    sent = in_bytes("x", "BF16", [3], len(content))
    assert input_of(*body(sent, contents=content)).tolist() == values.tolist()


def test_json_and_binary_inputs_may_be_mixed_in_any_order() -> None:
    first, second = np.array([1.5, 2.5]), np.array([7, 8], dtype="<i4")
    inputs = [
        in_bytes("a", "FP64", [2], 16),
        in_json("b", "BOOL", [2], [True, False]),
        in_bytes("c", "INT32", [2], 8),
    ]
    request = parse(*body(*inputs, contents=first.tobytes() + second.tobytes()))
    assert {name: tensor.values.tolist() for name, tensor in request.inputs.items()} == {
        "a": [1.5, 2.5],
        "b": [True, False],
        "c": [7, 8],
    }


@pytest.mark.parametrize("missing", ["null", "NaN"])
def test_null_and_nan_are_missing(missing: str) -> None:
    text = '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, %s]}]}'
    values = input_of((text % missing).encode())
    assert values.dtype == np.float32
    assert np.isnan(values).tolist() == [False, True]


def test_null_is_missing_among_whole_numbers_and_truth_values() -> None:
    large = 2**63 - 1  # which no float has
    for datatype, cells in {"INT64": [large, None], "BOOL": [None, True]}.items():
        assert input_of(body(in_json("x", datatype, [2], cells))[0]).tolist() == cells


def test_a_number_is_rounded_as_its_datatype_has_it() -> None:
    values = input_of(body(in_json("x", "FP32", [3], [0.1, 1e39, 16777217]))[0])
    assert values.tolist() == [float(np.float32(0.1)), math.inf, 16777216.0]


def test_numbers_are_the_nearest_to_what_is_written() -> None:
    written = [
        "0.1",
        "1e-400",
        "-0.0",
        "9007199254740993",
        "123456789012345678901234567890",
        "5e-324",
    ]
    for text in (*written, "1.7976931348623157e308"):
        json_text = '{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [%s]}]}'
        (value,) = input_of((json_text % text).encode()).tolist()
        assert (value, math.copysign(1, value)) == (float(text), math.copysign(1, float(text)))


def test_what_is_not_given_is_by_default() -> None:
    request = parse(body(FOUR)[0], None)
    assert (request.id, request.outputs) == (None, None)
    assert (request.binary_output, request.refuse_missing) == (False, True)
    nulls = parse(body(FOUR, id=None, parameters=None, outputs=None)[0], None)
    assert nulls.outputs is None
    assert parse(body(FOUR, outputs=[])[0], None).outputs is None


def test_an_output_says_itself_whether_it_is_binary() -> None:
    outputs = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}]
    request = parse(body(FOUR, outputs=outputs, parameters={"binary_data_output": True})[0], None)
    assert request.outputs == {"a": True, "b": False}


def test_hints_and_parameters_of_others_are_passed_over() -> None:
    parameters = {"priority": 3, "timeout": 1, "sequence_id": 0, "team": "garden"}
    assert parse(body(FOUR, parameters=parameters)[0], None).inputs


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{'inputs': 1}", b"\xff", b'{"a": "\\ud800"}', b"[" * 20_000, b"{} {}"],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    assert "not JSON" in refusal(content)


BAD_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "no inputs": ({"inputs": []}, "`inputs` has no tensor"),
    "inputs that are none": ({"inputs": {"x": 1}}, "`inputs` has to be an array"),
    "an input that is none": ({"inputs": [1]}, "inputs[0] has to be an object"),
    "an unknown field": ({"dropout": True}, "there is no field 'dropout'"),
    "a field that ends before its end": ({"inputs\0": []}, "there is no field 'inputs\\x00'"),
    "an id that is a number": ({"id": 3}, "`id`"),
    "parameters that are none": ({"parameters": [1]}, "`parameters` has to be an object"),
    "missing values as ever": ({"parameters": {"missing": "drop"}}, "'missing'"),
    "a sequence": ({"parameters": {"sequence_id": 7}}, "'sequence_id'"),
    "a flag that is none": ({"parameters": {"binary_data_output": 1}}, "'binary_data_output'"),
    "an output without a name": ({"outputs": [{}]}, "outputs[0]: `name`"),
    "an output twice": ({"outputs": [{"name": "y"}, {"name": "y"}]}, "output 'y'"),
    "classification": (
        {"outputs": [{"name": "y", "parameters": {"classification": 2}}]},
        "output 'y': classification is not supported",
    ),
    "output in shared memory": (
        {"outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        "output 'y': shared memory is not supported",
    ),
}


@pytest.mark.parametrize("flaw", BAD_FIELDS)
def test_a_field_that_is_wrong_is_named(flaw: str) -> None:
    fields, reason = BAD_FIELDS[flaw]
    assert reason in refusal(json.dumps({"inputs": [FOUR], **fields}).encode())


BAD_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"contents": []}, "there is no field 'contents'"),
    "no name": ({"name": None}, "inputs[0]: `name`"),
    "an unknown datatype": ({"datatype": "FP128"}, "`datatype`"),
    "a datatype that is none": ({"datatype": ["FP64"]}, "`datatype`"),
    "a shape that is none": ({"shape": 4}, "`shape`"),
    "a negative size": ({"shape": [-1, 2]}, "`shape`"),
    "a fraction for a size": ({"shape": [2.0, 2]}, "`shape`"),
    "a truth value for a size": ({"shape": [True, 4]}, "`shape`"),
    "no dimension": ({"shape": []}, "the shape []"),
    "three dimensions": ({"shape": [2, 2, 1]}, "the shape [2, 2, 1]"),
    "no rows": ({"shape": [0, 2], "data": []}, "the shape [0, 2]"),
    "another number of values": ({"shape": [2, 3]}, "`data` has not the shape [2, 3]"),
    "sizes beyond all measure": ({"shape": [1, 10**18]}, "`data` has not the shape"),
    "a row that is too short": ({"data": [[1.0, 2.0, 3.0], [4.0]]}, "`data` has not the shape"),
    "rows within rows": ({"shape": [4], "data": [[1, 2], [3, 4]]}, "`data` has not the shape"),
    "rows of nothing": ({"shape": [2, 1], "data": [[[]], [[]]]}, "a FP64 is a number"),
    "data that are none": ({"data": "1234"}, "`data` has to be an array"),
    "no data": ({"data": None}, "either `data` or"),
    "data twice": ({"parameters": {"binary_data_size": 32}}, "either `data` or"),
    "shared memory": ({"parameters": {"shared_memory_region": "r"}}, "shared memory"),
    "a text for a number": ({"data": [1, 2, 3, "4"]}, "a FP64 is a number"),
    "a truth value for a number": ({"data": [1, 2, 3, True]}, "a FP64 is a number"),
    "an object for a number": ({"data": [1, 2, 3, {}]}, "a FP64 is a number"),
    "a fraction": ({"datatype": "INT8", "data": [1, 2, 3, 4.5]}, "a whole number"),
    "a number too large": ({"datatype": "UINT8", "data": [1, 2, 3, 256]}, "between 0 and 255"),
    "a negative number": ({"datatype": "UINT64", "data": [1, 2, 3, -1]}, "between 0 and"),
    "one far too large": ({"datatype": "INT64", "data": [1, 2, 3, 2**64]}, "between -"),
    "one beyond all measure": ({"data": [1, 2, 3, 10**400]}, "a number is too large"),
    "a number for a truth value": ({"datatype": "BOOL", "data": [True, 1, 0, 0]}, "a BOOL"),
    "a number for a text": ({"datatype": "BYTES", "data": ["a", "b", "c", 4]}, "a BYTES"),
    "BF16": ({"datatype": "BF16"}, "has to be binary data"),
}


@pytest.mark.parametrize("flaw", BAD_INPUTS)
def test_an_input_that_is_wrong_is_named(flaw: str) -> None:
    fields, reason = BAD_INPUTS[flaw]
    detail = refusal_of({**FOUR, **fields})
    assert reason in detail
    assert detail.startswith(("input 'x'", "inputs[0]"))


def test_an_input_is_given_once() -> None:
    assert "'x' is given twice" in refusal_of(FOUR, FOUR)


def test_a_request_has_so_many_rows_and_no_more() -> None:
    many = in_json("x", "INT8", [MAX_ROWS + 1], [0] * (MAX_ROWS + 1))
    content, _ = body(many)
    with pytest.raises(TooManyRows, match=f"input 'x': a request may have {MAX_ROWS} rows"):
        parse(content, None)
    few = in_json("x", "INT8", [MAX_ROWS], [0] * MAX_ROWS)
    assert len(input_of(body(few)[0])) == MAX_ROWS


BAD_BINARY: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "too few bytes": (in_bytes("x", "FP64", [2], 8), bytes(8), "takes 16 bytes, 8 were sent"),
    "too many bytes": (in_bytes("x", "FP64", [2], 24), bytes(24), "takes 16 bytes, 24 were sent"),
    "more than follow": (in_bytes("x", "FP64", [2], 16), bytes(15), "only 15 bytes follow"),
    "bytes of nobody": (in_bytes("x", "FP64", [2], 16), bytes(17), "1 bytes of the body"),
    "a negative size": (in_bytes("x", "FP64", [2], -16), bytes(16), "`binary_data_size`"),
    "a truth value": (in_bytes("x", "BOOL", [1], True), bytes(1), "`binary_data_size`"),
    "a text for a size": (in_bytes("x", "FP64", [2], "16"), bytes(16), "`binary_data_size`"),
    "no truth value": (in_bytes("x", "BOOL", [2], 2), b"\1\2", "0 or 1"),
    "sizes beyond all measure": (in_bytes("x", "FP64", [9, 10**18], 8), bytes(8), "8 were sent"),
    "a length cut off": (in_bytes("x", "BYTES", [1], 3), bytes(3), "cut off"),
    "a text cut off": (in_bytes("x", "BYTES", [1], 5), b"\2\0\0\0a", "longer than the bytes"),
    "a length beyond measure": (in_bytes("x", "BYTES", [1], 5), b"\xff" * 5, "longer than"),
    "too few texts": (in_bytes("x", "BYTES", [2], 5), packed([b"a"]), "1 texts were sent"),
    "too many texts": (in_bytes("x", "BYTES", [1], 10), packed([b"a"] * 2), "more texts were sent"),
    "no Unicode": (in_bytes("x", "BYTES", [1], 5), packed([b"\xff"]), "not UTF-8"),
}


@pytest.mark.parametrize("flaw", BAD_BINARY)
def test_binary_data_have_to_be_what_the_shape_says(flaw: str) -> None:
    tensor, contents, reason = BAD_BINARY[flaw]
    detail = refusal_of(tensor, contents=contents)
    assert reason in detail
    assert "'x'" in detail or flaw == "bytes of nobody"


def test_binary_data_need_the_length_of_the_json() -> None:
    content, length = body(in_bytes("x", "FP64", [1], 8), contents=bytes(8))
    assert "not JSON" in refusal(content)
    assert "only 0 bytes follow" in refusal(content[:length])
    assert "Inference-Header-Content-Length" in refusal(content, len(content) + 1)
    assert "not JSON" in refusal(content, length - 1)
    assert "not JSON" in refusal(content, 0)
    assert input_of(content, length).tolist() == [0.0]


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        *(
            ([2], [[1, 2], 0]),
            ([2], [[1, 2], [3]]),
            ([2], [[], 0]),
            ([4], [[1, 2], [3, 4], [], []]),
        ),
        *(([2, 2], [[1, 2], [3]]), ([2, 2], [[1, 2], 3]), ([2, 2], [[1, 2, 3], [4]])),
    ],
    ids=str,
)
@pytest.mark.parametrize("datatype", ["FP64", "INT64"])
def test_data_that_are_nested_otherwise_than_the_shape_are_refused(
    shape: list[int], data: list[Any], datatype: str
) -> None:
    content = json.dumps({"inputs": [in_json("x", datatype, shape, data)]}).encode()
    assert "input 'x'" in refusal(content)


@given(content=st.binary(max_size=60), length=st.none() | st.integers(0, 80))
def test_no_bytes_at_all_are_a_fault(content: bytes, length: int | None) -> None:
    refusal(content, length)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, -1, 1, 2.5, 10**400, "x", "\0", "\ud800", [], {}]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(value=VALUES, datatype=st.sampled_from(DATATYPES), data=st.data())
def test_no_value_anywhere_is_a_fault(value: Any, datatype: str, data: st.DataObject) -> None:
    tensor = in_json("x", datatype, [2, 1], [1, 2])
    documents = [
        *({**tensor, field: value} for field in tensor),
        *({**tensor, "data": cells} for cells in ([value, value], [[value], [value]])),
        {**tensor, "parameters": value},
    ]
    request = {"inputs": [data.draw(st.sampled_from(documents))]}
    request |= data.draw(st.sampled_from([{}, {"outputs": value}, {"parameters": value}]))
    with suppress(RequestError, TooManyRows):
        parse(json.dumps(request).encode(), None)


NAMES = b",".join(b'"%x":0' % number for number in range(100_000))
MANY = b"1," * 1_000_000
INPUT = b'{"name":"a","shape":[1],"datatype":"FP64","data":[1]}'
FLOODS = {
    "fields": b"{%s}" % NAMES,
    "one field": b'{%s"inputs":[]}' % (b'"id":"a",' * 100_000),
    "parameters": b'{"parameters":{%s}}' % NAMES,
    "shape": b'{"inputs":[%s]}' % INPUT.replace(b"[1],", b"[%s1]," % MANY),
    "datatype": b'{"inputs":[%s]}' % INPUT.replace(b'"FP64"', b"[%s1]" % MANY),
    "data": b'{"inputs":[%s]}' % INPUT.replace(b"[1]}", b"[%s1]}" % MANY),
    "rows": b'{"inputs":[%s]}' % INPUT.replace(b"[1]}", b"[%s[]]}" % (b"[]," * 1_000_000)),
    "inputs": b'{"inputs":[%s1]}' % MANY,
    "outputs": b'{"inputs":[%s],"outputs":[%s1]}' % (INPUT, MANY),
    "NaN": b'{"inputs":[%s],"id":NaN}' % INPUT.replace(b"[1]}", b"[%s1]}" % (2 * MANY)),
}


@pytest.mark.parametrize("content", FLOODS.values(), ids=FLOODS)
def test_no_object_is_made_of_values_that_are_too_many(content: bytes) -> None:
    tracemalloc.start()
    try:
        detail = refusal(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(detail) < 1_000
    assert peak < 2 * len(content) + 1_000_000
