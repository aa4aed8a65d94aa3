"""Read and write tensors of the protocol: JSON or bytes, in row-major order.

Raises RequestError (400) naming the tensor whose data do not fit its datatype and shape.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
import simdjson
from numpy.typing import NDArray

from app.http.errors import RequestError
from app.http.inference_errors import bad_request

BYTES = "BYTES"
_BF16 = "BF16"
_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
DATATYPES = (*_DTYPES, _BF16, BYTES)

# The parser's types of numbers, by NumPy's `dtype.kind`.
_PARSED: dict[str, tuple[Any, Any]] = {
    "f": ("d", np.float64),
    "i": ("i", np.int64),
    "u": ("u", np.uint64),
}
_LENGTH = struct.Struct("<I")  # before each text


@dataclass(frozen=True)
class Tensor:
    """`values` have the tensor's shape; a missing value is None or NaN.

    The dtype is object for texts, and where a value may be None.
    """

    name: str
    datatype: str
    values: NDArray[Any]


def of_bytes(name: str, datatype: str, shape: Sequence[int], content: memoryview) -> Tensor:
    """Return a tensor of the binary extension; numbers are not copied."""
    if datatype == BYTES:
        texts = np.array(_texts(name, content, shape), dtype=object)
        if len(texts) != math.prod(shape):
            raise _refused(name, f"{len(texts)} texts were sent for the shape {list(shape)}")
        return Tensor(name, datatype, texts.reshape(shape))
    dtype = np.dtype("<u2") if datatype == _BF16 else _DTYPES[datatype]
    size_bytes = math.prod(shape) * dtype.itemsize
    if len(content) != size_bytes:
        what = f"{datatype} of the shape {list(shape)} takes {size_bytes} bytes"
        raise _refused(name, f"{what}, {len(content)} were sent")
    if datatype == "BOOL" and np.frombuffer(content, np.uint8).max(initial=0) > 1:
        raise _refused(name, "a BOOL is the byte 0 or 1")
    numbers = np.frombuffer(content, dtype)
    if datatype == _BF16:  # the upper half of an FP32
        numbers = (numbers.astype("<u4") << 16).view("<f4")
    return Tensor(name, datatype, numbers.reshape(shape))


def of_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Tensor:
    """Return a tensor of `data`, an array that is flat or nested like the shape; null is missing.

    simdjson's arrays become NumPy's without a Python object for each number.
    """
    if not _is_array(data):
        raise _refused(name, "`data` has to be an array")
    _require_shape(name, shape, data)
    match datatype:
        case "BYTES":
            values = _cells(name, data, {str}, "a BYTES is a string here")
        case "BOOL":
            values = _cells(name, data, {bool}, "a BOOL is true or false")
        case "BF16":
            raise _refused(name, "BF16 has to be binary data")
        case _:
            values = _numbers(name, datatype, data, num_values=math.prod(shape))
    return Tensor(name, datatype, values.reshape(shape))


def packed(texts: Iterable[bytes]) -> list[bytes]:
    """Return each text after its length, as the protocol encodes BYTES."""
    return [_LENGTH.pack(len(text)) + text for text in texts]


def _texts(name: str, content: memoryview, shape: Sequence[int]) -> list[str]:
    texts: list[str] = []
    start, num_texts = 0, math.prod(shape)
    while start < len(content):
        if len(texts) == num_texts:
            raise _refused(name, f"more texts were sent than the shape {list(shape)} has")
        begin = start + _LENGTH.size
        if begin > len(content):
            raise _refused(name, "the length of a text is cut off")
        start = begin + _LENGTH.unpack_from(content, start)[0]
        if start > len(content):
            raise _refused(name, "a text is longer than the bytes that were sent")
        try:
            texts.append(str(content[begin:start], "utf-8"))
        except UnicodeDecodeError as error:
            raise _refused(name, "a text is not UTF-8") from error
    return texts


def _is_array(value: Any) -> bool:
    return isinstance(value, list | simdjson.Array)


def _is_nested(data: Any) -> bool:
    return len(data) > 0 and _is_array(data[0])


def _require_shape(name: str, shape: Sequence[int], data: Any) -> None:
    if _is_nested(data):
        fits = len(shape) == 2 and len(data) == shape[0]
        fits = fits and all(_is_array(row) and len(row) == shape[1] for row in data)
    else:
        fits = len(data) == math.prod(shape)
    if not fits:
        raise _refused(name, f"`data` has not the shape {list(shape)}")


def _flat(data: Any) -> list[Any]:
    """Return the elements as Python objects."""
    cells: list[Any] = data.as_list() if isinstance(data, simdjson.Array) else data
    return list(chain.from_iterable(cells)) if _is_nested(cells) else cells


def _cells(name: str, data: Any, types: set[type], otherwise: str) -> NDArray[Any]:
    cells = _flat(data)
    if not set(map(type, cells)) <= types | {NoneType}:
        raise _refused(name, otherwise)
    return np.array(cells, dtype=object)


def _numbers(name: str, datatype: str, data: Any, *, num_values: int) -> NDArray[Any]:
    dtype = _DTYPES[datatype]
    if isinstance(data, simdjson.Array):
        letter, parsed = _PARSED[dtype.kind]
        with suppress(TypeError, ValueError):  # null, and values that are refused below
            numbers = np.frombuffer(data.as_buffer(of_type=letter), parsed)
            if len(numbers) == num_values:  # `as_buffer` flattens nested arrays
                return _narrowed(name, numbers, dtype)
    if dtype.kind == "f":
        cells = _cells(name, data, {int, float}, f"a {datatype} is a number")
        try:
            return _narrowed(name, cells.astype(np.float64), dtype)
        except OverflowError as error:
            raise _refused(name, "a number is too large") from error
    cells = _cells(name, data, {int}, f"an {datatype} is a whole number")
    _require_range(name, [cell for cell in cells if cell is not None], dtype)
    return cells


def _narrowed(name: str, numbers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if numbers.dtype == dtype:
        return numbers
    if dtype.kind != "f" and len(numbers):
        _require_range(name, [int(numbers.min()), int(numbers.max())], dtype)
    with np.errstate(over="ignore"):  # infinite values are refused later
        return numbers.astype(dtype)


def _require_range(name: str, numbers: Sequence[int], dtype: np.dtype[Any]) -> None:
    limits = np.iinfo(dtype)
    if numbers and not limits.min <= min(numbers) <= max(numbers) <= limits.max:
        raise _refused(name, f"a number is not between {limits.min} and {limits.max}")


def _refused(name: str, detail: str) -> RequestError:
    return bad_request(f"input {name!r}: {detail}")
