"""From the body of an inference request to its answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from starlette.datastructures import Headers
from starlette.responses import Response

from app.http.inference_errors import bad_request
from app.open_inference import bodies, inputs, outputs, requests
from app.open_inference.inputs import Table
from app.open_inference.requests import InferRequest
from app.serving.engine import Served, Serving, require_room
from app.serving.rows import TOO_LARGE, first_too_large
from dropout_core.model.predictor import Predictor

_QUICK_BYTES = 1024**2  # of numbers that are read or written without a thread, in a millisecond
_NUMBER_BYTES = 20  # as text

Result = TypeVar("Result")


@dataclass(frozen=True)
class Asked:
    """A model, and how the request calls it."""

    served: Served
    name: str
    version: str


@dataclass(frozen=True)
class Inference:
    """An answer, how many rows it is about, and how long its three parts took."""

    response: Response
    num_rows: int
    read_ns: int
    compute_ns: int
    write_ns: int


async def infer(
    serving: Serving, asked: Asked, headers: Headers, body: bytes, *, max_bytes: int
) -> Inference:
    """Answer a request whose body may take `max_bytes` once it is decompressed.

    Raises RequestError for what cannot be predicted, or (503) if too much waits.
    """
    started_at = time.perf_counter_ns()
    predictor = asked.served.predictor
    is_quick = predictor.description.encoder.is_numeric and not is_large(headers, body)
    request, table = await _soon(is_quick, _read, predictor, headers, body, max_bytes)
    read_at = time.perf_counter_ns()
    result = await _outputs(serving, asked.served, request, table, is_quick=is_quick)
    computed_at = time.perf_counter_ns()
    accepted = headers.get("accept-encoding")
    most_bytes = _QUICK_BYTES if accepted is None else bodies.MIN_COMPRESSED_BYTES
    is_quick = result.size * _NUMBER_BYTES <= most_bytes
    response = await _soon(is_quick, _response, asked, request, result, accepted)
    return Inference(
        response=response,
        num_rows=len(result),
        read_ns=read_at - started_at,
        compute_ns=computed_at - read_at,
        write_ns=time.perf_counter_ns() - computed_at,
    )


def is_large(headers: Headers, body: bytes) -> bool:
    """Whether the body takes long to read, or may do so once it is decompressed."""
    return len(body) > _QUICK_BYTES or "content-encoding" in headers


async def _soon(is_quick: bool, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call it here if it is quick, else in a thread: others wait for this one."""
    return function(*arguments) if is_quick else await run_in_threadpool(function, *arguments)


def _read(
    predictor: Predictor, headers: Headers, body: bytes, max_bytes: int
) -> tuple[InferRequest, Table]:
    encoding = bodies.content_encoding(headers)
    content = bodies.decompressed(body, encoding, max_bytes=max_bytes)
    request = requests.parse(content, bodies.header_length(headers))
    outputs.require(predictor.description, request.outputs)
    return request, inputs.table_of(predictor, request.inputs)


async def _outputs(
    serving: Serving, served: Served, request: InferRequest, table: Table, *, is_quick: bool
) -> NDArray[np.float64]:
    require_room(served, inputs.num_rows(table))
    parts = inputs.encoded(served.predictor, table, refuse_missing=request.refuse_missing)
    computed = []
    while (matrix := await _soon(is_quick, next, parts, None)) is not None:
        computed.append(await serving.outputs(served, matrix))
    whole = computed[0] if len(computed) == 1 else np.concatenate(computed)
    index = await _soon(is_quick, first_too_large, whole)
    if index is not None:
        raise bad_request(f"the inputs cannot be used: row {index + 1}: {TOO_LARGE}")
    return whole


def _response(
    asked: Asked, request: InferRequest, result: NDArray[np.float64], accepted: str | None
) -> Response:
    predictor = asked.served.predictor
    head: dict[str, Any] = {"model_name": asked.name, "model_version": asked.version}
    if request.id is not None:
        head["id"] = request.id
    head["parameters"] = {"fingerprint": predictor.fingerprint}
    content, json_length = outputs.answer(
        predictor.description, result, request.outputs, binary=request.binary_output, head=head
    )
    told: dict[str, str] = {"Vary": "Accept-Encoding"}
    if json_length is not None:
        told[bodies.HEADER_LENGTH] = str(json_length)
    content, encoding = bodies.compressed(content, accepted)
    if encoding is not None:
        told["Content-Encoding"] = encoding
    media_type = "application/json" if json_length is None else "application/octet-stream"
    return Response(content, headers=told, media_type=media_type)
