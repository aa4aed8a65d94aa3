"""`/v1/models/{id}/predict` and its relatives: deterministic, dropout off."""

from typing import Annotated

from fastapi import Depends, File, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from app.context import CallerDep, Context, ContextDep, take_place
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
from app.serving.dataset_rows import find_rows, scan_rows
from app.serving.tables import CSV, PARQUET
from store.access.keys import Scope

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
    answer, num_rows = await service.predict(context, served, body)
    context.instruments.predict_rows.observe(num_rows)
    return Response(answer, media_type=bodies.JSON)


@router.post(
    "/predict-file",
    response_class=StreamingResponse,
    dependencies=[Depends(require_form), Depends(only_fields("file")), Depends(take_place)],
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
    file: Annotated[UploadFile, File(description="CSV, TSV, Parquet, NPZ or IDX, also in gzip.")],
    options: UploadOptions,
) -> StreamingResponse:
    """Predict every row of a file. Its columns come back as they were, and beside them:

    `prediction`, or `prediction_<target>` of several targets, and of up to 100 classes
    `probability_<class>`. Text that a spreadsheet would take for a formula comes back behind an
    apostrophe in CSV. An error in any row is told before anything is answered.

    The file is read by itself: words for a missing value that the dataset was uploaded with, or
    another option, have to be given again.
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
        )
        # Opened while the upload's folder exists, which is deleted however the answer ends.
        return download(path, filename=f"predictions{path.suffix}", media_type=media_type)


@router.post("/evaluate", dependencies=[Depends(require_json), Depends(take_place)])
@demands(Scope.PREDICT)
def evaluate(
    context: ContextDep, caller: CallerDep, model_id: str, request: EvaluateRequest
) -> EvaluationAnswer:
    """Score the model on every row of a dataset that has the target."""
    model = context.model_server.model_of(model_id, tenant=caller.tenant)
    with context.database.read() as transaction:
        rows = find_rows(transaction, model, request.dataset)
    predictor = context.predictors.get(model)
    table = scan_rows(context.artifacts, rows, predictor.description)
    scores = evaluation.evaluate(
        predictor, table, num_rows=rows.dataset.num_rows, scratch=context.uploads
    )
    return EvaluationAnswer(**scores.to_dict())


@router.post(
    "/importance",
    dependencies=[Depends(require_json), Depends(take_place)],
)
@demands(Scope.PREDICT)
def measure_importance(
    context: ContextDep, caller: CallerDep, model_id: str, request: ImportanceRequest
) -> ImportanceAnswer:
    """Measure by how much the model gets worse when a feature is shuffled between rows."""
    model = context.model_server.model_of(model_id, tenant=caller.tenant)
    with context.database.read() as transaction:
        rows = find_rows(transaction, model, request.dataset)
    predictor = context.predictors.get(model)
    measured = importance.measure(
        predictor,
        scan_rows(context.artifacts, rows, predictor.description).collect(),
        metric=request.metric,
        num_repeats=request.num_repeats,
        seed=request.seed,
        split=rows.split,
        num_parameters=model.num_parameters,
    )
    return ImportanceAnswer.model_validate(measured)


STRAIGHT = [("/v1/models/{model_id}/predict", predict)]
"""The call that has to be quick; see StraightRoute."""
