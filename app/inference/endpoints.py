"""`/v1/models/{id}/predict` and `/evaluate`: deterministic, dropout off."""

from fastapi import APIRouter, Depends

from app.datasets.service import load
from app.deps import ContextDep, require_json
from app.errors import invalid, problem_responses
from app.inference import service
from app.inference.schemas import EvaluateRequest, PredictAnswer, PredictRequest
from app.models.schemas import EvaluationAnswer
from store import datasets, models
from store.errors import DatasetNotFound

router = APIRouter(
    prefix="/v1/models/{model_id}",
    tags=["inference"],
    dependencies=[Depends(require_json)],
    responses=problem_responses(400, 404, 413, 415, 422),
)


@router.post("/predict")
def predict(context: ContextDep, model_id: str, request: PredictRequest) -> PredictAnswer:
    """Predict rows. A row's answer is the same bits in whatever company it comes."""
    with context.database.read() as transaction:
        model = models.get(transaction, model_id)
    predictor = context.predictors.get(model)
    facts = predictor.description
    features = service.feature_rows(request.instances, facts.features)
    predictions = service.predict(predictor, features)
    return PredictAnswer(
        model=model.id,
        task=facts.task,
        predictions=predictions.values,
        probabilities=(
            None if predictions.probabilities is None else predictions.probabilities.tolist()
        ),
        classes=None if facts.classes is None else list(facts.classes),
        fingerprint=predictor.fingerprint,
    )


@router.post("/evaluate")
def evaluate(context: ContextDep, model_id: str, request: EvaluateRequest) -> EvaluationAnswer:
    """Score the model on every row of a dataset."""
    with context.database.read() as transaction:
        model = models.get(transaction, model_id)
        try:
            dataset = datasets.get(transaction, request.dataset)
        except DatasetNotFound as error:
            raise invalid("/dataset", str(error)) from error
    evaluation = service.evaluate(context.predictors.get(model), load(context, dataset))
    return EvaluationAnswer(**evaluation.to_dict())
