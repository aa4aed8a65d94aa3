"""Requests of /v2 as its clients build them."""

import json
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

DTYPES: dict[str, str] = {
    "BOOL": "?",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}


def in_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data}


def in_bytes(name: str, datatype: str, shape: Sequence[int], num_bytes: Any) -> dict[str, Any]:
    parameters = {"binary_data_size": num_bytes}
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": parameters}


def body(*inputs: dict[str, Any], contents: bytes = b"", **fields: Any) -> tuple[bytes, int]:
    """Return the body of a request and the length of its JSON."""
    document = json.dumps({"inputs": inputs, **fields}).encode()
    return document + contents, len(document)


def packed(texts: Sequence[bytes]) -> bytes:
    """Return strings in the form of the binary extension."""
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def rows(values: NDArray[Any], *, datatype: str = "FP64", name: str = "input") -> dict[str, Any]:
    """Return an array as an input in JSON."""
    return in_json(name, datatype, values.shape, values.ravel().tolist())
