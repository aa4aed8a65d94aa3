"""`/v1/models/{id}`: predict, evaluate, importance. All are deterministic, with dropout off."""

from typing import Annotated

import polars as pl
from fastapi import Depends, File, Form, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from app.context import SLOT, CallerDep, Context, ContextDep
from app.http import bodies
from app.http.answers import download
from app.http.bodies import body_of, require_form, require_json
from app.http.errors import problem_responses
from app.http.routes import BodyClass, demands
from app.http.security import Caller, keyed_router
from app.http.uploads import Upload, UploadOptions, only_fields, upload_limits
from app.inference import service
from app.inference.schemas import (
    EvaluateRequest,
    ImportanceAnswer,
    ImportanceRequest,
    PredictAnswer,
    PredictRequest,
)
from app.models.schemas import EvaluationAnswer
from app.serving import evaluation, importance
from app.serving.dataset_rows import DatasetRows, find_rows, scan_rows
from app.serving.tables import CSV, PARQUET
from dropout_core.model.predictor import Predictor
from store.access.keys import Scope
from store.models import Model

router = keyed_router(
    "/v1/models/{model_id}",
    "inference",
    responses=problem_responses(400, 404, 409, 413, 415, 422),
)


@router.post(
    "/predict",
    openapi_extra=bodies.documented(PredictRequest),
    response_model=PredictAnswer,
)
@demands(Scope.PREDICT, body=BodyClass.ROWS)
async def predict(http: Request, model_id: str) -> Response:
    """Predict rows. A row's answer has the same bits whatever other rows are computed with it.

    The model is an id, or a name, alone or as `NAME@VERSION` or `NAME@ALIAS`.
    """
    context: Context = http.app.state.context
    caller: Caller = http.state.caller
    bodies.require_media_type(http, bodies.JSON)
    body = await body_of(http)
    served = await context.model_server.find(model_id, tenant=caller.tenant)
    response, num_rows = await service.predict(context, served, body)
    context.instruments.predict_rows.observe(num_rows)
    return response


@router.post(
    "/predict-file",
    response_class=StreamingResponse,
    dependencies=[Depends(require_form), Depends(only_fields("file", "inputs", "level")), SLOT],
    responses={
        200: {
            "content": {CSV: {"schema": {"type": "string"}}, PARQUET: {}},
            "description": "The file, with its predictions; CSV unless Parquet is preferred.",
        },
        **problem_responses(406),
    },
)
@demands(Scope.PREDICT, body=BodyClass.FILE)
def predict_file(
    context: ContextDep,
    caller: CallerDep,
    http: Request,
    model_id: str,
    file: Annotated[UploadFile, File(description="A table in any format of a dataset's upload.")],
    options: UploadOptions,
    inputs: Annotated[
        bool, Form(description="Whether the answer has the file's columns too.")
    ] = True,
    level: Annotated[
        float | None,
        Form(gt=0, lt=1, description="The probability that the sets or intervals hold the truth."),
    ] = None,
) -> StreamingResponse:
    """Predict every row of a file, and return its columns with the predictions added.

    The new columns are `prediction`, or `prediction_<target>` for several targets, and
    `probability_<class>` for up to 100 classes. With a `level` there are also `set`, the classes
    that the row may have as a JSON array, or `lower` and `upper`, or `lower_<target>` and
    `upper_<target>`, the ends of the interval of each target. In CSV, text that a spreadsheet would
    take for a formula gets an apostrophe in front. An error in any row is the answer to the whole
    request.

    The file is read as the table was that the model learned from: with its words for a missing
    value, its decimal separators and its order of day and month. The options say where it is
    written otherwise, and `missing` adds words. The values `refuse` and `impute` of `missing` are
    no words: as in `predict`, they say what becomes of a value that is missing where no row of the
    model's table missed one.
    """
    media_type = service.answer_type(http.headers.getlist("accept"))
    model = context.model_server.model_of(model_id, tenant=caller.tenant)
    predictor = context.predictors.get(model)
    with Upload(context.uploads, [file]) as upload:
        path = service.predict_file(
            predictor,
            upload,
            options,
            limits=upload_limits(context.settings),
            media_type=media_type,
            with_inputs=inputs,
            level=level,
            owner=caller.tenant,
        )
        # Opened while the upload's folder exists, which is deleted however the answer ends.
        return download(path, filename=f"predictions{path.suffix}", media_type=media_type)


@router.post("/evaluate", dependencies=[Depends(require_json), SLOT])
@demands(Scope.PREDICT)
def evaluate(
    context: ContextDep, caller: CallerDep, model_id: str, request: EvaluateRequest
) -> EvaluationAnswer:
    """Score the model on every row of a dataset that has the target."""
    model = context.model_server.model_of(model_id, tenant=caller.tenant)
    rows, predictor, table = _rows_to_score(context, model, request.dataset)
    scores = evaluation.evaluate(
        predictor,
        table,
        num_rows=rows.dataset.num_rows,
        scratch=context.uploads,
        refuse_missing=request.missing == "refuse",
    )
    return EvaluationAnswer(**scores.to_dict())


@router.post(
    "/importance",
    dependencies=[Depends(require_json), SLOT],
)
@demands(Scope.PREDICT)
def measure_importance(
    context: ContextDep, caller: CallerDep, model_id: str, request: ImportanceRequest
) -> ImportanceAnswer:
    """Measure how much worse the model gets when a feature is shuffled between rows."""
    model = context.model_server.model_of(model_id, tenant=caller.tenant)
    rows, predictor, table = _rows_to_score(context, model, request.dataset)
    measured = importance.measure(
        predictor,
        table.collect(),
        metric=request.metric,
        num_repeats=request.num_repeats,
        seed=request.seed,
        split=rows.split,
        num_parameters=model.num_parameters,
        refuse_missing=request.missing == "refuse",
    )
    return ImportanceAnswer.model_validate(measured)


def _rows_to_score(
    context: Context, model: Model, dataset_id: str | None
) -> tuple[DatasetRows, Predictor, pl.LazyFrame]:
    with context.database.read() as transaction:
        rows = find_rows(transaction, model, dataset_id)
    predictor = context.predictors.get(model)
    return rows, predictor, scan_rows(context.artifacts, rows, predictor.description)


FAST_ROUTES = [("/v1/models/{model_id}/predict", predict)]
"""The call that has to be quick; see FastRoute."""
