"""Answer an inference request: read its body, compute its rows, write the answer."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import Headers
from starlette.responses import Response

from app.http.answers import answer
from app.http.inference_errors import bad_request
from app.open_inference import bodies, inputs, outputs, requests
from app.open_inference.inputs import Table
from app.open_inference.requests import InferRequest
from app.serving.errors import FEATURES_TOO_LARGE
from app.serving.instances import first_not_finite
from app.serving.model_server import (
    QUICK_BYTES,
    ModelServer,
    ServedModel,
    run_inline_or_in_thread,
)
from dropout_core.model.predictor import Predictor

_NUMBER_BYTES = 20  # as text


@dataclass(frozen=True)
class RequestedModel:
    """A model, with its name and its version in the request."""

    served: ServedModel
    name: str
    version: str


@dataclass(frozen=True)
class Inference:
    """An answer, the number of rows predicted, and the time of each of the three parts."""

    response: Response
    num_rows: int
    read_ns: int
    compute_ns: int
    write_ns: int


async def infer(
    server: ModelServer,
    requested: RequestedModel,
    headers: Headers,
    body: bytes,
    *,
    scratch: Path,
) -> Inference:
    """Answer a request; a large answer is in a file in `scratch`.

    Raises RequestError for a request that cannot be read, and ServingError for rows that cannot be
    predicted.
    """
    started_at = time.perf_counter_ns()
    predictor = requested.served.predictor
    is_quick = predictor.description.encoder.is_numeric and not is_large(body)
    request, table = await run_inline_or_in_thread(is_quick, _read, predictor, headers, body)
    read_at = time.perf_counter_ns()
    result = await _outputs(server, requested.served, request, table, is_quick=is_quick)
    computed_at = time.perf_counter_ns()
    accepted = headers.get("accept-encoding")
    most_bytes = QUICK_BYTES if accepted is None else bodies.MIN_COMPRESSED_BYTES
    is_quick = result.size * _NUMBER_BYTES <= most_bytes
    response = await run_inline_or_in_thread(
        is_quick, _response, requested, request, result, accepted, scratch
    )
    return Inference(
        response=response,
        num_rows=len(result),
        read_ns=read_at - started_at,
        compute_ns=computed_at - read_at,
        write_ns=time.perf_counter_ns() - computed_at,
    )


def is_large(body: bytes) -> bool:
    """Return whether the body takes long to read."""
    return len(body) > QUICK_BYTES


def _read(predictor: Predictor, headers: Headers, body: bytes) -> tuple[InferRequest, Table]:
    request = requests.parse(body, bodies.header_length(headers))
    outputs.require(predictor.description, request.outputs)
    return request, inputs.table_of(predictor, request.inputs)


async def _outputs(
    server: ModelServer, served: ServedModel, request: InferRequest, table: Table, *, is_quick: bool
) -> NDArray[np.float64]:
    served.require_room(inputs.num_rows(table))
    parts = inputs.encoded(served.predictor, table, refuse_missing=request.refuse_missing)
    computed = []
    while (matrix := await run_inline_or_in_thread(is_quick, next, parts, None)) is not None:
        computed.append(await server.outputs(served, matrix))
    whole = computed[0] if len(computed) == 1 else np.concatenate(computed)
    index = await run_inline_or_in_thread(is_quick, first_not_finite, whole)
    if index is not None:
        raise bad_request(f"the inputs cannot be used: row {index + 1}: {FEATURES_TOO_LARGE}")
    return whole


def _response(
    requested: RequestedModel,
    request: InferRequest,
    result: NDArray[np.float64],
    accepted: str | None,
    scratch: Path,
) -> Response:
    predictor = requested.served.predictor
    head: dict[str, Any] = {"model_name": requested.name, "model_version": requested.version}
    if request.id is not None:
        head["id"] = request.id
    head["parameters"] = {"fingerprint": predictor.fingerprint}
    content, json_length = outputs.answer(
        predictor.description, result, request.outputs, binary=request.binary_output, head=head
    )
    response_headers: dict[str, str] = {"Vary": "Accept-Encoding"}
    if json_length is not None:
        response_headers[bodies.HEADER_LENGTH] = str(json_length)
    content, encoding = bodies.compressed(content, accepted)
    if encoding is not None:
        response_headers["Content-Encoding"] = encoding
    media_type = "application/json" if json_length is None else "application/octet-stream"
    return answer(content, scratch=scratch, headers=response_headers, media_type=media_type)
