"""Answer requests for predictions: bodies of JSON, and files."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import orjson
import torch
from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from torch import Tensor

from app.context import Context
from app.http import bodies
from app.http.answers import answer, preferred
from app.http.errors import RequestError, invalid
from app.http.uploads import Upload, refusing_unusable
from app.inference import requests
from app.inference.schemas import Policy
from app.serving import instances, tables
from app.serving.model_server import QUICK_BYTES, ServedModel, run_inline_or_in_thread
from app.serving.tables import CSV, PARQUET
from dropout_core.data.ingest import Limits
from dropout_core.data.read_options import ReadOptions
from dropout_core.model.conformal import Conformal, LevelError
from dropout_core.model.predictor import Predictor, by_target
from dropout_core.model.uncertainty import Uncertainty

QUICK_ROWS = 10_000  # read one by one on the event loop, in a few milliseconds
MAX_SAMPLED_ROWS = 1_000_000  # rows times samples
MAX_SET_CHARACTERS = 100_000_000  # of the classes in all sets of an answer
MAX_SAMPLED_PRODUCTS = 10**12  # rows times samples times parameters: about twenty seconds


async def predict(context: Context, served: ServedModel, body: bytes) -> tuple[Response, int]:
    """Return the answer, and the number of rows predicted.

    Raises RequestError and RequestValidationError for a body that is no PredictRequest, and
    ServingError for rows that cannot be predicted.
    """
    is_quick = len(body) <= QUICK_BYTES and body.count(b"[") <= QUICK_ROWS
    tenant = served.model.tenant
    async with nullcontext() if is_quick else context.slots.hold(tenant):
        matrix = await run_inline_or_in_thread(
            is_quick, instances.numbers_of, body, served.predictor
        )
        if matrix is None:
            return await _predict_cell_by_cell(context, served, body, has_slot=not is_quick)
        served.require_room(matrix.shape[0])
        outputs = await context.model_server.outputs(served, matrix)
        is_quick = outputs.nbytes <= QUICK_BYTES
        response = await run_inline_or_in_thread(is_quick, _answer, context, served, outputs)
        return response, len(outputs)


def answer_type(accept: Sequence[str]) -> str:
    """Return the media type that Accept headers prefer. Raises RequestError (406) if none fits."""
    chosen = preferred(",".join(accept), [CSV, PARQUET])
    if chosen is None:
        detail = f"the answer is {CSV} or {PARQUET}, and neither is accepted"
        raise RequestError(406, "not_acceptable", detail)
    return chosen


def predict_file(
    predictor: Predictor,
    upload: Upload,
    options: ReadOptions,
    *,
    limits: Limits,
    media_type: str,
    with_inputs: bool,
    level: float | None = None,
    owner: str = "",
) -> Path:
    """Predict every row of the upload's file; return a file in the upload's folder.

    `missing` of the options may say `refuse` or `impute` too, as in the requests for predictions.
    Raises RequestError (422) naming the row and the column that cannot be used.
    """
    policies = set(options.missing) & set(get_args(Policy))
    if len(policies) > 1:
        raise invalid("/missing", "missing values are either refused or imputed, not both")
    words = tuple(word for word in options.missing if word not in policies)
    options = options.model_copy(update={"missing": words})
    conformal = conformal_at(predictor, level)
    with refusing_unusable():
        return tables.predict_file(
            predictor,
            upload.paths,
            upload.folder,
            options=options,
            limits=limits,
            media_type=media_type,
            refuse_missing="impute" not in policies,
            with_inputs=with_inputs,
            conformal=conformal,
            owner=owner,
        )


def conformal_at(predictor: Predictor, level: float | None) -> Conformal | None:
    """Return what finds the sets or intervals of a request. Raises RequestError (422)."""
    if level is None:
        return None
    try:
        return predictor.conformal(level)
    except LevelError as error:
        raise invalid("/level", str(error)) from error


async def _predict_cell_by_cell(
    context: Context, served: ServedModel, body: bytes, *, has_slot: bool
) -> tuple[Response, int]:
    """Predict rows whose cells are encoded one by one."""
    request, rows = await run_in_threadpool(requests.read, body)
    num_rows = len(rows)
    served.require_room(num_rows)
    sampling = request.mc_dropout
    if sampling is not None:
        if not served.predictor.has_dropout:
            raise invalid(
                "/mc_dropout",
                "the model has no dropout, so that its samples would all be equal and say nothing "
                "of its uncertainty: train one with dropout",
            )
        most = min(MAX_SAMPLED_ROWS, MAX_SAMPLED_PRODUCTS // served.model.num_parameters)
        if sampling.samples * num_rows > most:
            raise invalid(
                "/mc_dropout/samples", f"rows times samples may be at most {most} for this model"
            )
    conformal = conformal_at(served.predictor, request.level)
    tenant = served.model.tenant
    outputs, uncertainties = [], []
    is_quick = sampling is None or has_slot
    async with nullcontext() if is_quick else context.slots.hold(tenant):
        parts = instances.encode(served.predictor, rows, refuse_missing=request.missing == "refuse")
        while (matrix := await run_in_threadpool(next, parts, None)) is not None:
            outputs.append(await context.model_server.outputs(served, matrix))
            if sampling is not None:
                uncertainty = await run_in_threadpool(
                    served.predictor.monte_carlo,
                    torch.from_numpy(matrix),
                    num_samples=sampling.samples,
                    seed=sampling.seed,
                )
                uncertainties.append(uncertainty)
        whole = np.concatenate(outputs)
        response = await run_in_threadpool(
            _answer, context, served, whole, uncertainties, conformal
        )
        return response, len(whole)


def _answer(
    context: Context,
    served: ServedModel,
    outputs: NDArray[np.float64],
    uncertainties: Sequence[Uncertainty] = (),
    conformal: Conformal | None = None,
) -> Response:
    """Return a PredictAnswer. Raises InvalidInstance for outputs that are infinite."""
    instances.require_finite(outputs)
    predictor = served.predictor
    description = predictor.description
    told: dict[str, Any] = {
        "model": served.model.id,
        "task": description.task,
        "predictions": predictor.values(outputs),
        "probabilities": None if description.task == "regression" else outputs,
        "classes": description.classes,
        "fingerprint": predictor.fingerprint,
    }
    if description.quantiles is not None:
        of_targets = outputs.reshape(len(outputs), -1, description.num_quantiles)
        told["quantiles"] = by_target(description.targets, of_targets.tolist())
        told["quantile_levels"] = description.quantiles
    if uncertainties:
        told["uncertainty"] = {
            field.name: _joined([getattr(part, field.name) for part in uncertainties])
            for field in fields(Uncertainty)
        }
    if conformal is not None:
        told |= _conformal(predictor, torch.from_numpy(outputs), conformal)
    content = orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY)
    return answer(content, scratch=context.uploads, media_type=bodies.JSON)


def _conformal(predictor: Predictor, outputs: Tensor, conformal: Conformal) -> dict[str, Any]:
    """Return the field `sets` or `intervals`. Raises RequestError if all sets are too long."""
    description = predictor.description
    if description.task == "regression":
        return {"intervals": by_target(description.targets, conformal.intervals(outputs).tolist())}
    contained = conformal.contains(outputs)
    lengths = torch.tensor([len(str(value)) for value in description.output_names])
    num_characters = int(contained.sum(dim=0) @ lengths)
    if num_characters > MAX_SET_CHARACTERS:
        detail = f"the sets have {num_characters} characters, and {MAX_SET_CHARACTERS} are allowed"
        raise invalid("/level", f"{detail}: predict fewer rows at a time, or ask for a lower level")
    return {"sets": predictor.members(contained)}


def _joined(parts: Sequence[Tensor | None]) -> Any:
    known = [part.numpy() for part in parts if part is not None]
    return np.concatenate(known) if known else None
