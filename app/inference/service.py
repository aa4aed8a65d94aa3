"""From the body of a request for predictions to the body of its answer."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import orjson
import torch
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from torch import Tensor

from app.context import Context, place
from app.http import bodies
from app.http.errors import RequestError, invalid
from app.inference.schemas import MAX_ROWS, MonteCarloDropout, PredictRequest
from app.serving import rows
from app.serving.engine import Served, require_room
from dropout_core.model.predictor import Predictor
from dropout_core.model.uncertainty import Uncertainty

MAX_SAMPLED_ROWS = 1_000_000  # rows times samples
MAX_SAMPLED_PRODUCTS = 10**12  # those times the model's parameters: some twenty seconds alone
_QUICK_BYTES = 1024**2  # that are read or written without a thread, in a few milliseconds

Result = TypeVar("Result")


async def predict(context: Context, served: Served, body: bytes) -> tuple[bytes, int]:
    """The answer, and how many rows it is about.

    Raises RequestError and RequestValidationError for what cannot be predicted, and RequestError
    (503) if too much waits.
    """
    is_large = len(body) > _QUICK_BYTES
    async with place(context) if is_large else nullcontext():
        matrix = await _soon(len(body), rows.numbers_of, body, served.predictor)
        if matrix is None:
            return await _predict_one_by_one(context, served, body, has_place=is_large)
        require_room(served, matrix.shape[0])
        outputs = await context.serving.outputs(served, matrix)
        return await _soon(outputs.nbytes, _answer, served, outputs), len(outputs)


async def _predict_one_by_one(
    context: Context, served: Served, body: bytes, *, has_place: bool
) -> tuple[bytes, int]:
    """Of rows whose cells have to be looked at."""
    request = await run_in_threadpool(bodies.read_json, body, PredictRequest)
    num_rows = len(request.instances)
    if num_rows > MAX_ROWS:
        detail = f"a request may have {MAX_ROWS} rows, this has {num_rows}"
        raise RequestError(413, "too_many_rows", detail)
    require_room(served, num_rows)
    sampling = request.mc_dropout
    if sampling is not None:
        most = min(MAX_SAMPLED_ROWS, MAX_SAMPLED_PRODUCTS // served.model.num_parameters)
        if sampling.samples * num_rows > most:
            raise invalid("/mc_dropout/samples", f"rows times samples may be {most} of this model")
    outputs, uncertainties = [], []
    async with place(context) if sampling is not None and not has_place else nullcontext():
        parts = rows.encode(served.predictor, request)
        while (matrix := await run_in_threadpool(next, parts, None)) is not None:
            outputs.append(await context.serving.outputs(served, matrix))
            if sampling is not None:
                uncertainties.append(await _uncertainty(served.predictor, matrix, sampling))
        whole = np.concatenate(outputs)
        return await run_in_threadpool(_answer, served, whole, uncertainties), len(whole)


async def _uncertainty(
    predictor: Predictor, matrix: NDArray[np.float64], sampling: MonteCarloDropout
) -> Uncertainty:
    return await run_in_threadpool(
        predictor.monte_carlo,
        torch.from_numpy(matrix),
        num_samples=sampling.samples,
        seed=sampling.seed,
    )


async def _soon(size_bytes: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call it here if what it takes or gives is small, else in a thread: others wait for it."""
    if size_bytes <= _QUICK_BYTES:
        return function(*arguments)
    return await run_in_threadpool(function, *arguments)


def _answer(
    served: Served, outputs: NDArray[np.float64], uncertainties: Sequence[Uncertainty] = ()
) -> bytes:
    """The JSON of a PredictAnswer. Raises RequestError (422) for rows that are too large."""
    rows.check_finite(outputs)
    predictor = served.predictor
    facts = predictor.description
    answer: dict[str, Any] = {
        "model": served.model.id,
        "task": facts.task,
        "predictions": predictor.values(outputs),
        "probabilities": None if facts.task == "regression" else outputs,
        "classes": facts.classes,
        "fingerprint": predictor.fingerprint,
    }
    if uncertainties:
        answer["uncertainty"] = {
            field.name: _joined([getattr(part, field.name) for part in uncertainties])
            for field in fields(Uncertainty)
        }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _joined(parts: Sequence[Tensor | None]) -> Any:
    known = [part.numpy() for part in parts if part is not None]
    return np.concatenate(known) if known else None
