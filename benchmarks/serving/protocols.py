"""Encode rows as the body of a request, and decode the answer, in each of the protocols.

Shapes: N rows, F features, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.serving.network import Rows

HEADER_LENGTH = "Inference-Header-Content-Length"
DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Body:
    content: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Protocol:
    """`encode` makes a request of rows (N, F); `decode` reads probabilities (N, C) from its answer.

    The headers depend on the number of rows alone.
    """

    path: str
    encode: Callable[[Rows], Body]
    decode: Callable[[httpx.Response], Probabilities]

    def ask(self, client: httpx.Client, rows: Rows) -> Probabilities:
        body = self.encode(rows)
        response = client.post(self.path, content=body.content, headers=body.headers)
        return self.decode(response.raise_for_status())


def instances(path: str) -> Protocol:
    """Return the protocol `{"instances": [[...]]}` -> `{"probabilities": [[...]]}`."""

    def encode(rows: Rows) -> Body:
        return _json({"instances": rows})

    def decode(response: httpx.Response) -> Probabilities:
        answer = orjson.loads(response.content)
        return np.array(answer["probabilities"] if isinstance(answer, dict) else answer)

    return Protocol(path, encode, decode)


def v2_json(path: str, datatype: Literal["FP32", "FP64"]) -> Protocol:
    """Return the Open Inference Protocol, version 2."""

    def encode(rows: Rows) -> Body:
        return _json({"inputs": [_input(rows, datatype) | {"data": rows.ravel()}]})

    def decode(response: httpx.Response) -> Probabilities:
        outputs = orjson.loads(response.content)["outputs"]
        [output] = [each for each in outputs if each["name"] == "probabilities"]
        return np.array(output["data"]).reshape(output["shape"])

    return Protocol(path, encode, decode)


def v2_binary(path: str, datatype: Literal["FP32", "FP64"]) -> Protocol:
    """Return its extension for binary tensors, in requests and answers."""

    def encode(rows: Rows) -> Body:
        tensor = rows.astype(DTYPES[datatype]).tobytes()
        size = {"parameters": {"binary_data_size": len(tensor)}}
        request = {
            "inputs": [_input(rows, datatype) | size],
            "parameters": {"binary_data_output": True},
        }
        header = orjson.dumps(request)
        headers = {
            "Content-Type": "application/octet-stream",
            HEADER_LENGTH: str(len(header)),
        }
        return Body(header + tensor, headers)

    return Protocol(path, encode, _decode_binary)


def _decode_binary(response: httpx.Response) -> Probabilities:
    length = int(response.headers[HEADER_LENGTH])
    start = length
    for output in orjson.loads(response.content[:length])["outputs"]:
        stop = start + output["parameters"]["binary_data_size"]
        if output["name"] == "probabilities":
            tensor = np.frombuffer(response.content[start:stop], DTYPES[output["datatype"]])
            return np.array(tensor.reshape(output["shape"]), np.float64)
        start = stop
    raise ValueError("the answer has no probabilities")


def _input(rows: Rows, datatype: str) -> dict[str, Any]:
    return {"name": "input", "datatype": datatype, "shape": list(rows.shape)}


def _json(value: object) -> Body:
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Body(content, {"Content-Type": "application/json"})
